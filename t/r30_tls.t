# Storm 30: certificates that do not hold and protocols that are too old.
# Nothing of ours goes through such a connection, by no client of ours; through
# one that holds it does, and with our certificate where it is asked for.

use strict;
use warnings;

use lib 't/lib';
use IDash;
use IDash::TLS;
use IDash::Wait;
use Outbound;
use Test::More;

# Answers what it hears in the caller's own protocol, and notes it.
sub listener {
    my ($socket, $peer) = @_;

    sysread $socket, my $in, 65_536 or return;
    $peer->note($in);

    if ($in =~ /^\x0b/) {
        sysread $socket, $in, 65_536, length $in while $in !~ /\x1c\x0d/;
        my @msh = split /\|/, (split /\r/, $in)[0];
        print $socket "\x0bMSH|^~\\&|A|B|C|D|2026||ACK|1|P|2.5.1\r"
            . "MSA|AA|$msh[9]\r\x1c\x0d";
        return;
    }

    my $body = '{"access_token":"T0K","expires_in":60}';
    print $socket "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: "
        . length($body) . "\r\n\r\n$body" if $in =~ /^[A-Z]+ /;
    return;
}

my %good = map { $_ => 1 } qw(good good12 mutual);
my %options = (
    good => [ 'good' ], good12 => [ 'good', version => 'TLSv1_2' ],
    expired => [ 'expired' ], other => [ 'other' ], self => [ 'self' ],
    client => [ 'client' ], 'tls1.0' => [ 'good', version => 'TLSv1' ],
    'tls1.1' => [ 'good', version => 'TLSv1_1' ],
    mutual => [ 'good', client => 1 ],
    'mutual12' => [ 'good', client => 1, version => 'TLSv1_2' ],
);
my $ca = IDash::TLS::pem('ca.pem');
my @ours = (client_cert => IDash::TLS::pem('client.pem'),
    client_key => IDash::TLS::pem('client.key'));

# one server of each kind for each client, so that what came is whose
my %server;
for my $client (qw(webhook token hl7 mongo)) {
    for my $kind (sort keys %options) {
        my ($cert, %opt) = @{ $options{$kind} };
        $server{$client}{$kind} = IDash::TLS::peer($cert, \&listener, %opt);
    }
}
is(IDash::TLS::takes($server{webhook}{$_->[0]}->port, $_->[1]), $_->[1],
    "the old server speaks $_->[1]")
    for [ 'tls1.0', 'TLSv1' ], [ 'tls1.1', 'TLSv1_1' ];

my $plain = IDash::Peer->upstream(sub { return { status => 200 } });
my $o = Outbound->new(conf => { outbound_ports => join ',', $plain->port,
    map { $_->port } map { values %{ $server{$_} } } qw(webhook token) });
my %fields = (
    webhook => sub { return (url => "https://127.0.0.1:$_[0]/") },
    token => sub { return (url => $plain->url . '/', auth => 'oauth2',
        auth_user => 'u', auth_secret => 's',
        token_url => "https://127.0.0.1:$_[0]/token") },
    hl7 => sub { return (transport => 'mllp', host => '127.0.0.1', url => '',
        port => $_[0], tls => \1, hl7_raw => \1) },
);

for my $client (sort keys %fields) {
    $o->integration(nowait => 1, name => "$client $_", schedule => '1h',
        ca_cert => $ca, timeout_ms => 30_000, connect_timeout_ms => 30_000,
        $fields{$client}->($server{$client}{$_}->port),
        /^mutual$/ ? @ours : ()) for sort keys %options;
}

# a CA of our own is no CA of the system
my $stranger = IDash::TLS::peer('good', \&listener);
$o->integration(nowait => 1, name => 'hl7 system', schedule => '1h',
    $fields{hl7}->($stranger->port));
Time::HiRes::sleep(1.5);

my @ids = $o->event(payload =>
    "MSH|^~\\&|A|B|C|D|20260101||ADT^A04|ID1|P|2.5.1\r");
my %log = map { $_->{endpoint} => $_ } values %{ { $o->tried(90, @ids) } };
is(scalar keys %log, 3 * keys(%options) + 1, 'each has been tried');

my ($accepted, $cases) = (0, 0);
sub heard { return grep { !/^refused: / } $_[0]->seen }

for my $client (sort keys %fields) {
    for my $kind (sort keys %options) {
        my $log = $log{"$client $kind"};
        my $state = $good{$kind} ? 'SUCCESS' : 'RETRYING';
        my $came = scalar(() = heard($server{$client}{$kind}));

        $cases++;
        is($log->{status}, $state, "$client to $kind: $state")
            or diag $log->{error}{code} . ' ' . $log->{error}{message};
        $good{$kind} ? is($came, 1, "$client to $kind: spoken to")
            : is($came, 0, "$client to $kind: not a byte");
        $accepted += $came if !$good{$kind};
    }
}
is($log{'hl7 system'}{status}, 'RETRYING', 'our CA is not the system\'s');
is(scalar(() = heard($stranger)), 0, 'not a byte');

for my $kind (qw(expired other self client)) {
    is($log{"webhook $kind"}{error}{code}, 'tls_verify', "webhook to $kind");
}

# the store's client: its first command is the sign
my %running;
for my $kind (grep { !/^mutual$/ } sort keys %options) {
    my $port = $server{mongo}{$kind}->port;
    my $d = IDash::Sidecar->prepare(store => "mongodb://127.0.0.1:$port/idash?"
        . 'tls=true&tlsCAFile=' . IDash::TLS::path('ca.pem')
        . '&serverSelectionTimeoutMS=30000&connectTimeoutMS=20000');
    $running{$kind} = IDash::Process::spawn("migrate $kind",
        [ IDash::Sidecar::binary(), 'migrate', '-c', $d->dir . '/conf' ],
        out => $d->dir . '/out');
}
for my $kind (sort keys %running) {
    my $server = $server{mongo}{$kind};
    wait_for(sub { scalar(() = $server->seen) }, 60);
    my $came = scalar(() = heard($server));

    $cases++;
    cmp_ok(scalar(() = $server->seen), '>', 0, "store at $kind: was tried");
    $good{$kind} ? cmp_ok($came, '>', 0, "store at $kind: spoken to")
        : is($came, 0, "store at $kind: not a byte");
    $accepted += $came if !$good{$kind};
    IDash::Process::stop($running{$kind}, 'KILL');
}

figure('r30.cases', $cases);
figure('r30.accepted', $accepted);
figure('r30.lost', @ids - keys %log);
figure('r30.dup', scalar grep { (() = heard($_)) > 1 }
    map { values %{ $server{$_} } } keys %fields);
note 'Redis is reached without TLS: there is no client of it to test';

done_testing();
