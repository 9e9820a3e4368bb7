# Storm 41: clients of the API that dawdle over their head, their body or our
# answer, and bodies of 1 GB, JSON 100,000 deep, a head of 1 MB: through nginx
# with conf/dashboard.conf, and at the API's own socket.  Memory is bounded and
# others are answered.

use strict;
use warnings;

use Test::More;
use Time::HiRes qw(sleep);

use lib 't/lib';
use ApiTest;
use IDash;
use Oracle;

my $api = api();
my $d = $api->d;
my $slow = Oracle::scale(10_000);
my $auth = "Authorization: Bearer $api->{admin}\r\n";
my $post = "POST /api/v1/views HTTP/1.1\r\nHost: x\r\n$auth"
    . "Content-Type: application/json\r\n";

# the answer that nobody reads: bodies of 60 KB each
$api->record(response_body => 'x' x 60_000) for 1 .. 50;
$api->stored(50);

my $conf = read_file(root_dir() . '/conf/dashboard.conf');
$conf =~ s/\@API\@/$d->socket/ge;
$conf =~ s/\@ROOT\@/test_dir()/ge;
my $nginx = IDash::Nginx->start(module => 0, server => $conf,
    connections => 1.5 * $slow + 1000);
$nginx->allow(qr/client (?:intended|sent|closed)|too large|reset/);

my $before = p99();
my $rss = IDash::Process::rss($d->pid);
my $highest = $rss;

# each kind a third of them; a byte more for all every round
my @kinds = (
    [ 'head', "GET /api/v1/logs HTTP/1.1\r\nHost: x\r\nX-A: ", 'a' ],
    [ 'body', $post . "Content-Length: 900000\r\n\r\n{\"name\":\"", 'a' ],
    [ 'answer', "GET /api/v1/logs?limit=10 HTTP/1.1\r\nHost: x\r\n"
        . "$auth\r\n", '' ],
);
my @clients = map { [ connect_to($nginx->addr), $kinds[$_ % 3] ] } 1 .. $slow;
is(scalar(grep { defined $_->[0] } @clients), $slow, "$slow slow clients");

{
    local $SIG{PIPE} = 'IGNORE';
    $_->[0]->blocking(0) for @clients;
    syswrite $_->[0], $_->[1][1] for @clients;

    my $during = 0;
    for my $round (1 .. 4) {
        my $took = p99();
        $during = $took if $took > $during;
        syswrite $_->[0], $_->[1][2] for @clients;
        my $now = IDash::Process::rss($d->pid);
        $highest = $now if $now > $highest;
        sleep 0.3;
    }
    figure('r41.p99_ratio', sprintf('%.2f', $during / $before), 'x');
}
close $_->[0] for @clients;

# too much of everything, through nginx and not
for my $addr ($nginx->addr, $d->socket) {
    my $name = $addr =~ m{^/} ? 'direct' : 'nginx';

    is(answer($addr, $post . 'Content-Length: ' . (1 << 30) . "\r\n\r\n"), 413,
        "$name: a body of 1 GB that is announced");
    # the answer can be lost when it overtakes what is still being sent
    like(answer($addr, $post . "Transfer-Encoding: chunked\r\n\r\n",
        sprintf("%x\r\n", 65_536) . 'x' x 65_536 . "\r\n", 16_384),
        $name eq 'nginx' ? qr/^413$/ : qr/^(?:413|0)$/,
        "$name: a body of 1 GB in chunks");
    is(answer($addr, $post . "Content-Length: 200000\r\n\r\n" . '[' x 100_000
        . ']' x 100_000), 400, "$name: JSON 100,000 deep");
    like(answer($addr, "GET /api/v1/me HTTP/1.1\r\nHost: x\r\n$auth",
        'X-A: ' . 'a' x 1000 . "\r\n", 1000), qr/^(?:400|413|431)$/,
        "$name: a head of 1 MB");

    my $last = IDash::Process::rss($d->pid);
    $highest = $last if $last > $highest;
    is($api->get('/me')->{status}, 200, "$name: others are answered");
}

# slow ones at the socket itself, where no nginx waits for them
my @direct = map { connect_to($d->socket) } 1 .. 300;
syswrite $_, "GET /api/v1/me HTTP/1.1\r\nHo" for @direct;
my @readers = map { connect_to($d->socket) } 1 .. 20;
syswrite $_, "GET /api/v1/logs?limit=200&format=ndjson HTTP/1.1\r\nHost: x\r\n"
    . "$auth\r\n" for @readers;
is($api->get('/me')->{status}, 200, 'others beside 300 at the socket');
ok(wait_for(sub { IO::Select->new($direct[0])->can_read(0.1) }, 60),
    'who sends no more is let go');

my $now = IDash::Process::rss($d->pid);
$highest = $now if $now > $highest;

my $grown = $highest - $rss;
figure('r41.slow', $slow, 'clients');
figure('r41.rss', sprintf('%.1f', $grown / 1e6), 'MB more');
cmp_ok($grown, '<=', (64 << 20) * ($ENV{IDASH_SANITIZE} ? 8 : 1),
    'at most 64 MB more resident');
is($d->stop, 0, 'it ends well');
done_testing();

# p99 of 100 calls that behave, each a connection of its own; all must be 200.
sub p99 {
    my ($good, @took) = (0);

    for (1 .. 100) {
        my $from = now();
        my $r = http_request($nginx->addr, 'GET', '/api/v1/me',
            headers => [ [ 'Authorization', "Bearer $api->{admin}" ] ]);
        push @took, now() - $from;
        $good++ if $r->{status} == 200;
    }
    is($good, 100, 'who behaves is answered');
    return (sort { $a <=> $b } @took)[98];
}

# Sends BYTES, then up to N times PIECE until there is an answer: its status.
sub answer {
    my ($addr, $bytes, $piece, $n) = @_;
    my $c = IDash::HTTP->new($addr, timeout => 20);
    my $ready = IO::Select->new($c->{socket});

    local $SIG{PIPE} = 'IGNORE';
    $c->send($bytes);
    for (1 .. $n || 0) {
        last if $ready->can_read(0) || !$c->send($piece);
    }
    my $r = $c->response;
    $c->close;
    return $r->{status} // 0;
}
