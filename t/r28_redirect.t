# Storm 28: an endpoint that sends us elsewhere, to the cloud's metadata for
# one, is never followed: no packet goes there.

use strict;
use warnings;

use lib 't/lib';
use IDash::Alone;
use IDash;
use IDash::Wait;
use Outbound;
use Test::More;

my $port = 8443;
my $elsewhere = "http://169.254.169.254:$port/latest/meta-data/";

# status and the headers that send elsewhere
my @cases = (
    (map { [ $_, [ 'Location', $elsewhere ] ] } 300 .. 305, 307, 308, 399),
    [ 302, [ 'Location', "//169.254.169.254:$port/" ] ],
    [ 302, [ 'Location', "https://169.254.169.254:$port/" ] ],
    [ 302, [ 'Location', "http://[fe80::1]:$port/" ] ],
    [ 302, [ 'Location', "http://metadata.example:$port/" ] ],
    [ 302, [ 'Location', "gopher://169.254.169.254:$port/" ] ],
    [ 302, [ 'Location', 'file:///etc/passwd' ] ],
    [ 302, [ 'Location', '/again' ] ], [ 307, [ 'Location', '' ] ],
    [ 301, [ 'Location', "$elsewhere\x{01}" ] ],
    [ 302, [ 'Location', 'a' ], [ 'Location', $elsewhere ] ],
    [ 200, [ 'Location', $elsewhere ] ], [ 201, [ 'Location', $elsewhere ] ],
    [ 200, [ 'Refresh', "0; url=$elsewhere" ] ],
    [ 200, [ 'Link', "<$elsewhere>; rel=preload" ] ],
    [ 200, [ 'Content-Location', $elsewhere ] ],
    [ 200, [ 'Alt-Svc', "h2=\"169.254.169.254:$port\"; ma=3600" ] ],
    [ 401, [ 'WWW-Authenticate', 'Negotiate' ] ],
    [ 407, [ 'Proxy-Authenticate', 'Basic realm="x"' ] ],
    [ 421, [ 'Location', $elsewhere ] ], [ 503, [ 'Location', $elsewhere ] ],
    [ 426, [ 'Upgrade', 'h2c' ], [ 'Connection', 'Upgrade' ] ],
);

IDash::Alone::names(sub {
    my ($name, $type) = @_;
    return $type eq 'A' || $type eq 'any' ? '169.254.169.254' : ();
});
my $there = IDash::Alone::listen_everywhere($port);
IDash::Alone::count_packets('ip daddr 169.254.0.0/16', 'ip6 daddr fe80::/10');

my $peer = IDash::Peer->upstream(sub {
    my ($req) = @_;
    my ($at) = $req->{uri} =~ m{^/c/(\d+)$} or return { status => 200 };
    my ($status, @headers) = @{ $cases[$at] };

    return { status => $status, headers => \@headers };
});

# round and round: each of the two points to the other
my @ring;
my $ports = [ free_port(), free_port() ];
for my $i (0, 1) {
    push @ring, IDash::Peer->upstream(sub {
        return { status => 302, headers => [ [ 'Location',
            "http://127.0.0.1:$ports->[1 - $i]/ring" ] ] };
    }, port => $ports->[$i]);
}

my $o = Outbound->new(conf => {
    outbound_ports => join(',', $peer->port, @$ports) });

$o->integration(nowait => 1, name => "c$_", schedule => '1s',
    url => $peer->url . "/c/$_") for 0 .. $#cases;
$o->integration(nowait => 1, name => 'token', schedule => '1s',
    url => $peer->url . '/well', auth => 'oauth2', auth_user => 'u',
    auth_secret => 's', token_url => $peer->url . '/c/2');
$o->integration(name => 'ring', schedule => '1s', url => $ring[0]->url . '/');

my @ids = $o->event;
is(scalar @ids, @cases + 2, 'the event goes to all');
ok($o->settle(60), 'all have ended');

my ($wrong, %log) = (0);
for my $id (@ids) {
    my $log = $o->log_of($id);
    my ($at) = $log->{endpoint} =~ /^c(\d+)/;
    my $status = defined $at ? $cases[$at][0] : 302;
    my $ends = $status < 300 ? 'SUCCESS' : 'FAIL';

    is($log->{status}, $ends, "$log->{endpoint}, $status: $ends") or $wrong++;
    next if $status < 300 || $log->{endpoint} eq 'token';

    is($log->{attempts}, 2, "$log->{endpoint}, $status: two attempts")
        or $wrong++;
    $log{$id} = $log;
}

# two attempts of each that fails, one of each that does not: no more
my %hit;
$hit{$_}++ for map { /^webhook-id: (\S+)/mi ? $1 : () } map { $_->seen } $peer,
    @ring;
is_deeply([ grep { $hit{$_} != ($log{$_} ? 2 : 1) } sort keys %hit ], [],
    'each attempt is one request');
is(scalar(() = $ring[1]->seen), 0, 'nobody goes round');

my $packets = IDash::Alone::packets();
is($packets, 0, 'no packet there');
is(scalar(() = $there->seen), 0, 'no connection there');

figure('r28.packets', $packets);
figure('r28.wrong', $wrong);
figure('r28.lost', @ids - scalar grep { $o->log_of($_)->{status} =~
    /SUCCESS|FAIL/ } @ids);
figure('r28.dup', scalar grep { $hit{$_} > ($log{$_} ? 2 : 1) } keys %hit);

# and they would have been seen
my $socket = connect_to("169.254.169.254:$port");
ok($socket, 'the place is there');
wait_for(sub { scalar $there->seen });
cmp_ok(IDash::Alone::packets(), '>', 0, 'its packets are counted');
like(join(' ', $there->seen), qr/169\.254\.169\.254/, 'and its connections');

done_testing();
