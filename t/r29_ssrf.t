# Storm 29: addresses that no webhook may reach, in every spelling, behind
# names that lie, change or mix, as token servers and as HL7 receivers; a
# proxy in the environment helps nobody.  Nothing connects, though every
# address is there and listens.

use strict;
use warnings;

use lib 't/lib';
use IDash::Alone;
use IDash;
use IDash::Wait;
use Outbound;
use Socket 'inet_aton';
use Test::More;

my $port = 8443;
my $public = '93.184.216.34';

# the first, one within and the last of each range that is refused
my @v4 = qw(
    0.0.0.0 0.0.0.1 0.255.255.255        10.0.0.0 10.1.2.3 10.255.255.255
    100.64.0.0 100.100.100.200 100.127.255.255
    127.0.0.0 127.0.0.1 127.0.0.53 127.255.255.255
    169.254.0.0 169.254.169.254 169.254.170.2 169.254.255.255
    172.16.0.0 172.17.0.1 172.31.255.255
    192.0.0.0 192.0.0.192 192.0.0.255    192.0.2.0 192.0.2.255
    192.88.99.0 192.88.99.1 192.88.99.255
    192.168.0.0 192.168.1.1 192.168.255.255
    198.18.0.0 198.19.255.255            198.51.100.0 198.51.100.255
    203.0.113.0 203.0.113.255            224.0.0.1 239.255.255.255
    240.0.0.0 255.255.255.254 255.255.255.255);
my @v6 = qw(
    :: ::1 ::2 ::127.0.0.1 ::ffff 64:ff9b:: 64:ff9b::a00:1
    64:ff9b::ffff:ffff 64:ff9b:1:: 64:ff9b:1::a9fe:a9fe
    64:ff9b:1:ffff:ffff:ffff:ffff:ffff 100:: 100::ffff:ffff:ffff:ffff
    2001:: 2001:0:7f00:1:: 2001:0:ffff:ffff:ffff:ffff:ffff:ffff
    2001:db8:: 2001:db8:ffff:ffff:ffff:ffff:ffff:ffff
    2002:: 2002:7f00:1:: 2002:a9fe:a9fe:: 2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff
    3fff:: 3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff
    5f00:: 5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff
    fc00:: fd00:ec2::254 fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff
    fe80:: fe80::1 febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff
    fec0:: fec0::1 feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ff00:: ff02::1
    ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff);

# The other spellings of an IPv4 address.
sub spellings {
    my ($v4) = @_;

    my @b = split /\./, $v4;
    my $n = unpack 'N', inet_aton($v4);

    return $n, sprintf('0x%x', $n), sprintf('0X%08X', $n), sprintf('0%o', $n),
        join('.', map { sprintf '0%o', $_ } @b),
        join('.', map { sprintf '0x%x', $_ } @b),
        sprintf('%d.%d', $b[0], $n & 0xffffff),
        sprintf('%d.%d.%d', @b[0, 1], $n & 0xffff),
        sprintf('0x%x.0%o.%d', $b[0], $b[1], $n & 0xffff), "$v4.",
        map({ "[$_]" } "::ffff:$v4", sprintf('::ffff:%x:%x', $n >> 16,
            $n & 0xffff), "::$v4", sprintf('64:ff9b::%x:%x', $n >> 16,
            $n & 0xffff), sprintf('2002:%x:%x::1', $n >> 16, $n & 0xffff),
            "0:0:0:0:0:ffff:$v4", "::ffff:0:$v4");
}

my @hosts = (@v4, map({ "[$_]" } @v6), (map { spellings($_) } qw(127.0.0.1
    169.254.169.254 10.0.0.1 192.168.0.1)),
    qw(0 0x0 00 1 127.1 127.0.1 0177.1 0x7f.1 localhost LOCALHOST localhost.
    ip6-localhost 127.0.0.1.nip.example [::ffff:7f00:1%25lo] [fe80::1%25lo]
    ①②⑦.⓪.⓪.① %31%32%37.0.0.1 127%2e0%2e0%2e1),
    map({ "$_.names.example" } qw(private v6 mixed mixed-last mixed-v6 many
    mapped nat64 cname-less metadata)));
my @odd = ('u:p@127.0.0.1', "$public\@127.0.0.1", "127.0.0.1#\@$public",
    "$public:80\@127.0.0.1", "127.0.0.1\\\@$public", '127.0.0.1 ', ' 127.0.0.1',
    "127.0.0.1\t", '127.0.0.1/', "127.0.0.1:$port#", '//127.0.0.1');

my %names = (
    private => [ [ '10.0.0.1' ], [] ], v6 => [ [], [ 'fd00::1' ] ],
    mixed => [ [ '10.0.0.1', $public ], [] ],
    'mixed-last' => [ [ $public, '169.254.169.254' ], [] ],
    'mixed-v6' => [ [ $public ], [ '::1' ] ],
    many => [ [ map { "127.0.0.$_" } 1 .. 20 ], [] ],
    mapped => [ [], [ '::ffff:127.0.0.1' ] ],
    nat64 => [ [], [ '64:ff9b::a9fe:a9fe' ] ],
    'cname-less' => [ [ '100.64.0.1' ], [] ],
    metadata => [ [ '169.254.169.254' ], [ 'fd00:ec2::254' ] ],
    well => [ [ $public ], [] ],
);

# "moves" is public at first and private ever after
IDash::Alone::names(sub {
    my ($name, $type, $n) = @_;
    my ($label) = $name =~ /^([^.]+)\.names\.example$/
        or return $name eq '127.0.0.1.nip.example'
            ? $type eq 'A' || $type eq 'any' ? '127.0.0.1' : () : ();

    return $type eq 'A' ? $n == 1 ? $public : '10.0.0.1'
        : $type eq 'any' ? 1 : () if $label eq 'moves';
    my $found = $names{$label} or return;
    return $type eq 'A' ? @{ $found->[0] } : $type eq 'AAAA'
        ? @{ $found->[1] } : 1;
});

my $all = IDash::Alone::listen_everywhere($port, sub {
    my ($socket, $peer) = @_;
    $peer->note($socket->sockhost);
    my $in = IDash::Peer::Reader->new($socket);
    my $req = $in->request or return;
    print $socket "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
        . "Connection: close\r\n\r\n";
});
my $proxy = IDash::Peer->start(sub { $_[1]->note('asked') });
IDash::Alone::count_packets("tcp dport $port");

my %env = map { $_ => $proxy->url } qw(http_proxy https_proxy all_proxy
    HTTP_PROXY HTTPS_PROXY ALL_PROXY);
my $api = ApiTest::api(conf => { roles => 'drain,dispatch,api',
    dispatch_reconcile => '1s' }, env => \%env);
my $o = bless { api => $api }, 'Outbound';

# each is refused when it is written or when it is sent
my ($refused, $n) = (0, 0);
sub make {
    my (%f) = @_;

    my $r = $o->post('/integrations', { org_id => 3, lab_id => 11,
        action_id => 1, allow_http => \1, schedule => '1s', name => 'n' . ++$n,
        %f });
    return 1 if $r->{status} == 201;

    is($r->{status}, 422, "$f{name}: refused when written");
    $refused++;
    return 0;
}

my $written = 0;
$written += make(name => "to $_", url => "http://$_:$port/") for @hosts;
$written += make(name => "odd $_", url => "http://$_:$port/") for @odd;
$written += make(name => "tls $_", url => "https://$_:$port/")
    for @v4[0 .. 9], '[::1]', '2130706433';
$written += make(name => "token $_", url => "http://$public:$port/token",
    auth => 'oauth2', auth_user => 'u', auth_secret => 's',
    token_url => "http://$_:$port/") for qw(127.0.0.1 169.254.169.254 0x7f.1
    [::1] private.names.example mixed.names.example);
$written += make(name => "mllp $_", transport => 'mllp', host => $_,
    port => $port, hl7_raw => \1, connect_timeout_ms => 5000)
    for @v4[0 .. 19], @v6[0 .. 9], qw(2130706433 0x7f.1 127.1 localhost
    private.names.example mixed.names.example mixed-v6.names.example);
my $cases = $written + $refused;
cmp_ok($cases, '>=', 150, 'enough addresses');

Time::HiRes::sleep(1.5);
my $text = "MSH|^~\\&|A|B|C|D|20260101||ADT^A04|ID1|P|2.5.1\r";
my @ids = $o->event(payload => $text);
is(scalar @ids, $written, 'the event goes to each that was written');
ok($o->settle(90), 'all have ended');

my $wrong = 0;
for my $id (@ids) {
    my $log = $o->log_of($id);
    my $why = ($log->{error}{code} // '') . ' '
        . ($log->{error}{message} // '');
    my $right = $log->{status} eq 'FAIL'
        && $why =~ /^(?:config|(?:exhausted )?(?:address_refused|dns|auth))\b/;

    ok($right, "$log->{endpoint}: refused") or $wrong++,
        diag "$log->{status} $why";
}

my @connected = $all->seen;
is_deeply(\@connected, [], 'nothing connected');
my $packets = IDash::Alone::packets();
is($packets, 0, 'nothing tried to');

figure('r29.cases', $cases);
figure('r29.connects', scalar @connected);
figure('r29.packets', $packets);
figure('r29.wrong', $wrong);
figure('r29.lost', @ids - scalar grep { $o->log_of($_)->{status} eq 'FAIL' }
    @ids);

# what is public is reached, and seen; what moves is refused when it has moved
ok(make(name => 'public', url => "http://$public:$port/", action_id => 57),
    'a public address is taken');
ok(make(name => 'named', url => "http://well.names.example:$port/",
    action_id => 57), 'and a name of it');
ok(make(name => 'moves', transport => 'mllp', host => 'moves.names.example',
    port => $port, hl7_raw => \1, ack_timeout_ms => 1000,
    action_id => 57, schedule => '1s,1s'), 'and one that will move');
Time::HiRes::sleep(1.5);
my %log = map { $_->{endpoint} => $_ } map { $o->until_status($_,
    'SUCCESS|FAIL') } $o->event(action_id => 57, payload => $text);

is($log{public}{status}, 'SUCCESS', 'the public address is reached');
is($log{named}{status}, 'SUCCESS', 'so is the name');
is($log{moves}{status}, 'FAIL', 'the name that moves is not');
my @codes = sort map { $_->{error}{code} // '' } $o->attempts_of(
    $log{moves}{_id});
is_deeply(\@codes, [ qw(ACK_TIMEOUT address_refused exhausted) ],
    'reached once, then refused') or diag "@codes";
is_deeply([ map { s/^::ffff://r } $all->seen ], [ ($public) x 3 ],
    'three connections, all of them public');
cmp_ok(IDash::Alone::packets(), '>', 0, 'packets are counted');
is(scalar(() = $proxy->seen), 0, 'the environment\'s proxy is not asked');

done_testing();
