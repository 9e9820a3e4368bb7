# Storm 52: requests that two parsers could read differently, at nginx with
# capture on and off, at the API behind such an nginx, and at the API's own
# socket: one answer each, and no second request slips through anywhere.

use strict;
use warnings;

use Test::More;

use lib 't/lib';
use ApiTest;
use IDash;
use IDash::Capture;

my $api = api();
my $auth = "Authorization: Bearer $api->{admin}\r\n";
my $up = upstream(sub { return { body => "{\"uri\":\"$_[0]{uri}\"}" } });

my $pair = IDash::Capture->new(
    server => "capture on; capture_body_types *;
        location / { proxy_http_version 1.1; proxy_pass @{[ $up->url ]}; }
        location /api/ { proxy_http_version 1.1;
            proxy_pass http://unix:@{[ $api->d->socket ]}:; }",
);

# what would be a request of its own, were the first read otherwise
my $inner = "GET /api/v1/me?inner HTTP/1.1\r\nHost: x\r\n$auth\r\n";
my $n = length $inner;
my $hex = sprintf '%x', $n;

# PATH stands for the target; WANT is nginx' status, API the API's own
my @probes = (
    [ 'CL and TE', "POST PATH HTTP/1.1\r\nHost: x\r\nContent-Length: $n\r\n"
        . "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n$inner", '400', '400' ],
    [ 'TE and CL', "POST PATH HTTP/1.1\r\nHost: x\r\n"
        . "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n"
        . "$hex\r\n$inner\r\n0\r\n\r\n", '400', '400' ],
    [ 'two CLs', "POST PATH HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n"
        . "Content-Length: $n\r\n\r\n$inner", '400', '400' ],
    [ 'CL list', "POST PATH HTTP/1.1\r\nHost: x\r\nContent-Length: 0, $n\r\n"
        . "\r\n$inner", '400', '400' ],
    [ 'space before the colon', "POST PATH HTTP/1.1\r\nHost: x\r\n"
        . "Content-Length : $n\r\n\r\n$inner", '400', '400' ],
    # libmicrohttpd unfolds it, and finds the end where the folded one means
    [ 'folded TE', "POST PATH HTTP/1.1\r\nHost: x\r\nTransfer-Encoding:\r\n"
        . " chunked\r\n\r\n0\r\n\r\n$inner", '400|501', '400|405|501' ],
    [ 'CL +5', "POST PATH HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\n"
        . "hello$inner", '400', '400' ],
    [ 'CL -1', "POST PATH HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n"
        . $inner, '400', '400' ],
    [ 'CL over 64 bits', "POST PATH HTTP/1.1\r\nHost: x\r\n"
        . "Content-Length: 18446744073709551617\r\n\r\nx$inner", '400',
        '400|413' ],
    [ 'no Host', "GET PATH HTTP/1.1\r\n$auth\r\n", '400', '400' ],
    [ 'two Hosts', "GET PATH HTTP/1.1\r\nHost: x\r\nHost: y\r\n$auth\r\n",
        '400', '400' ],
    [ 'TE xchunked', "POST PATH HTTP/1.1\r\nHost: x\r\n"
        . "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n$inner", '501|400',
        '501|400' ],
    [ 'TE chunked, identity', "POST PATH HTTP/1.1\r\nHost: x\r\n"
        . "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n$inner",
        '501|400', '501|400' ],
    [ 'TE of 1.0', "POST PATH HTTP/1.0\r\nHost: x\r\n"
        . "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n$inner", '400', '400' ],
    [ '40 KB header', "GET PATH HTTP/1.1\r\nHost: x\r\nX-A: " . 'a' x 40_000
        . "\r\n$auth\r\n$inner", '400|414|431', '431|413' ],
    [ '1 MB header', "GET PATH HTTP/1.1\r\nHost: x\r\nX-A: " . 'a' x 1_048_576
        . "\r\n\r\n$inner", '400|431|0', '431|413|0' ],
    [ 'NUL in a header', "GET PATH HTTP/1.1\r\nHost: x\r\nX-A: a\0b\r\n\r\n",
        '400', undef ],
    [ 'CR in a header', "GET PATH HTTP/1.1\r\nHost: x\r\nX-A: a\rb: c\r\n"
        . "\r\n", '400', undef ],
    [ 'chunk size over 64 bits', "POST PATH HTTP/1.1\r\nHost: x\r\n"
        . "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n$inner",
        '400', '400|413|0' ],
    [ 'chunk size of words', "POST PATH HTTP/1.1\r\nHost: x\r\n"
        . "Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n$inner", '400',
        '400|0' ],
);

# may pass as what it is: one request
my @bare = (
    [ 'bare LF', "GET PATH HTTP/1.1\nHost: x\n${auth}Connection: close\n\n" ],
);

# Everything that comes back, and the statuses in it.  A half closed connection
# ends the wait of a server that wants more; nginx takes it for a client that
# left, so what may pass asks for the close itself.
sub probe {
    my ($addr, $bytes, %opt) = @_;

    my $c = IDash::HTTP->new($addr, timeout => 5);
    $c->send($bytes);
    shutdown $c->{socket}, 1 if !$opt{open};
    my $all = $c->rest;

    # libmicrohttpd says the head of its own refusals twice
    $all =~ s/\A(HTTP.*?\r\n\r\n)\1/$1/s;
    $all =~ s/^(X-Request-Id): \w+/$1: -/m;
    return ($all, $all =~ m{^HTTP/1\.[01] (\d+)}mg);
}

sub bytes {
    my ($probe, $path) = @_;
    my $bytes = $probe->[1];

    $bytes =~ s/PATH/$path/;
    return $bytes;
}

my ($passed, $answers, $records) = (0, 0, 0);
my $me = '/api/v1/me';

for my $probe (@probes) {
    my ($name, undef, $want, $own) = @$probe;

    for my $path ('/outer', $me) {
        my $bytes = bytes($probe, $path);
        my ($off) = probe($pair->{off}->addr, $bytes);
        my ($on, @status) = probe($pair->on->addr, $bytes);
        my $first = $status[0] // 0;

        is($pair->text($on), $pair->text($off), "$name: $path: same answer");
        ok($first =~ /^(?:$want)$/ && @status <= 1, "$name: $path: $first")
            or diag substr $on, 0, 400;
        $passed++ if @status > 1 || $first !~ /^(?:$want)$/;
        $answers += @status;
        $records++;
    }

    next if !defined $own;
    my ($all, @status) = probe($api->d->socket, bytes($probe, $me));
    my $first = $status[0] // 0;
    ok($first =~ /^(?:$own)$/ && @status <= 1, "$name: the API itself: $first")
        or diag substr $all, 0, 400;
    $passed++ if @status > 1 || $first !~ /^(?:$own)$/;
}

for my $probe (@bare) {
    for my $path ('/outer', $me) {
        my $bytes = bytes($probe, $path);
        my ($off) = probe($pair->{off}->addr, $bytes, open => 1);
        my ($on, @status) = probe($pair->on->addr, $bytes, open => 1);

        is($pair->text($on), $pair->text($off),
            "$probe->[0]: $path: same answer");
        ok(@status == 1 && $status[0] =~ /^(?:200|400)$/,
            "$probe->[0]: $path: as one") or diag $on;
        $passed++ if @status != 1;
        $records++;
    }
}

my @inner = grep { /inner/ } $up->seen;
is(scalar @inner, 0, 'no second request reached the upstream')
    or diag $inner[0];
$passed += @inner;

# each is one record, or none: the inner ones are not there
my $c = IDash::HTTP->new($pair->on->addr);
$c->send(IDash::HTTP::message('GET', '/marker', close => 1));
is($c->response->{status}, 200, 'it lives');
$records++;
wait_for(sub { grep { ($_->[1]{uri} // '') eq '/marker' }
    $pair->redis->entries });
my @have = map { $_->[1] } $pair->redis->entries;
is(scalar @have, $records, 'one record for each request');
my $extra = grep { ($_->{uri} // '') =~ /inner/ } @have;
is($extra, 0, 'none of them of an inner request');

my %twice;
my $dup = grep { $twice{ $_->{id} }++ } @have;
figure('r52.probes', scalar(@probes) + @bare, 'probes');
figure('r52.passed', $passed, 'probes');
figure('r52.lost', $records - @have + $dup, 'records');
figure('r52.dup', $dup, 'records');
is($passed, 0, 'nothing passed');

done_testing();
