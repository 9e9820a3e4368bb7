# Raw bytes at the API's own socket: one answer each or none, then it lives on.
# r41 and r52 as far as they need no nginx.

use strict;
use warnings;

use lib 't/lib';
use ApiTest;
use IDash;
use Test::More;

my $api = api();
my $socket = $api->d->socket;
my $auth = "Authorization: Bearer $api->{admin}\r\n";
my $rss = IDash::Process::rss($api->d->pid);

sub raw {
    my ($bytes, %opt) = @_;
    return http_request($socket, 'GET', '/', raw => $bytes, timeout => 5, %opt);
}

sub get { return "GET $_[0] HTTP/1.1\r\nHost: x\r\n$auth$_[1]\r\n" }

my $post = "POST /api/v1/views HTTP/1.1\r\nHost: x\r\n$auth"
    . "Content-Type: application/json\r\n";
my $me = '/api/v1/me';

my @probes = (
    [ 'CL + TE', $post . "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n"
        . "\r\n0\r\n\r\n", '400' ],
    [ 'two CLs', $post . "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
        '400' ],
    [ 'equal CLs', $post . "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
        '400' ],
    [ 'CL +5', $post . "Content-Length: +5\r\n\r\n{}   ", '400' ],
    [ 'CL hex', $post . "Content-Length: 0x2\r\n\r\n{}", '400' ],
    [ 'CL huge', $post . "Content-Length: 99999999999999999999\r\n\r\n",
        '400|413' ],
    [ 'space before colon', $post . "Content-Length : 2\r\n\r\n{}", '400' ],
    [ 'TE xchunked', $post . "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        '501|400' ],
    [ 'TE twice', $post . "Transfer-Encoding: chunked\r\n"
        . "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", '400' ],
    [ 'chunk size junk', $post . "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        '400|0' ],
    [ 'no Host', "GET $me HTTP/1.1\r\n$auth\r\n", '400' ],
    [ 'two Hosts', get($me, "Host: y\r\n"), '400' ],
    [ 'two keys', get($me, $auth), '400' ],
    [ 'HTTP/0.9', "GET $me\r\n\r\n", '400|505|0' ],
    [ 'HTTP/9.9', "GET $me HTTP/9.9\r\nHost: x\r\n\r\n", '505|400|0' ],
    [ 'absolute form', get("http://x$me", ''), '400' ],
    [ 'no path', get('*', ''), '400' ],
    [ 'space in target', "GET /api/v1/me x HTTP/1.1\r\nHost: x\r\n$auth\r\n",
        '400|404|505|0' ],
    # libmicrohttpd ends the target there; nginx in front refuses it
    [ 'NUL in target', get("/api/v1/me\0x", ''), '200|400|404|0' ],
    [ 'NUL in header', get($me, "X-A: a\0b\r\n"), '400|200|0' ],
    [ 'long target', get('/' . 'a' x 5000, ''), '414' ],
    [ '40 KB header', get($me, 'X-A: ' . 'a' x 40_000 . "\r\n"), '431|413' ],
    [ '9 KB header', get($me, 'X-A: ' . 'a' x 9_000 . "\r\n"), '431' ],
    [ '101 headers', get($me, join '', map { "X-$_: 1\r\n" } 1 .. 101), '431' ],
    [ '129 parameters', get('/api/v1/logs?' . 'a&' x 129, ''), '400' ],
    [ 'escape out', get('/api/v1/logs/..%2f..%2fme', ''), '404' ],
    [ 'half escape', get('/api/v1/logs/%2', ''), '404' ],
    [ 'double slash', get('/api/v1//me', ''), '404' ],
    [ 'end slash', get('/api/v1/me/', ''), '404' ],
    [ 'body over 1 MB', $post . "Content-Length: 1048577\r\n\r\n", '413' ],
    [ 'chunks over 1 MB', $post . "Transfer-Encoding: chunked\r\n\r\n"
        . ("10000\r\n" . 'x' x 65536 . "\r\n") x 17 . "0\r\n\r\n", '413' ],
    [ 'depth', $post . "Content-Length: 200000\r\n\r\n" . '[' x 200_000,
        '400' ],
    [ 'TRACE', "TRACE $me HTTP/1.1\r\nHost: x\r\n$auth\r\n", '405' ],
    [ 'CONNECT', "CONNECT x:1 HTTP/1.1\r\nHost: x\r\n$auth\r\n", '400|405' ],
    [ 'junk', join('', map { chr(($_ * 7919) % 256) } 1 .. 5000)
        . "\r\n\r\n", '400|414|431|505|0' ],
    [ 'TLS hello', "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
        . "\0" x 300 . "\r\n\r\n", '400|505|0' ],
);

for my $probe (@probes) {
    my ($name, $bytes, $want) = @$probe;

    # a closed connection is asked for, so that one answer is all
    my $c = IDash::HTTP->new($socket, timeout => 3);
    $c->send($bytes);
    shutdown $c->{socket}, 1;
    my $all = $c->rest;

    # libmicrohttpd says the head of its own refusals twice
    $all =~ s/\A(HTTP.*?\r\n\r\n)\1/$1/s;
    my @answers = $all =~ m{^HTTP/1\.[01] (\d+)}mg;
    my $first = $answers[0] // 0;

    ok($first =~ /^(?:$want)$/, "$name: $first") or diag substr $all, 0, 300;
    ok(@answers <= 1, '  answered once') or diag $all;
    unlike($all, qr/"status":"ok"/, '  nothing slipped through');
}

# pipelined requests are each answered, in order
{
    my $c = IDash::HTTP->new($socket);
    $c->send(get($me, '') . get('/api/v1/nope', '') . get($me, ''));
    is(join(' ', map { $c->response->{status} } 1 .. 3), '200 404 200',
        'pipelined');
    $c->close;
}

# HEAD
{
    my $r = $api->call('HEAD', '/me');
    is($r->{status}, 200, 'HEAD');
    is($r->{body}, '', 'has no body');
}

# many that send nothing, or stop half way, do not keep others waiting
{
    my @slow = map { IDash::HTTP->new($socket) } 1 .. 200;
    $slow[$_]->send($_ % 2 ? "GET $me HT" : $post . "Content-Length: 99\r\n\r\n{")
        for 0 .. $#slow;
    is($api->get('/me')->{status}, 200, 'beside 200 slow clients');
    $_->close for @slow;
}

# clients that leave while they are answered
for (1 .. 50) {
    my $c = IDash::HTTP->new($socket);
    $c->send(get('/api/v1/logs?format=csv', ''));
    $c->close;
}

is($api->get('/me')->{status}, 200, 'it lives');
my $grown = IDash::Process::rss($api->d->pid) - $rss;
IDash::Wait::figure('r41.rss', $grown, 'bytes');
ok($grown < 64 * 1024 * 1024, 'and has not grown past 64 MB');
is($api->d->stop, 0, 'and stops well');

done_testing();
