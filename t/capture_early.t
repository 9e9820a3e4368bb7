#!/usr/bin/perl

# Requests that end before any location, or before their body: one record
# each, under the server's settings, and no crash over what nginx never set.

use strict;
use warnings;

use lib 't/lib';
use IDash;
use IDash::Capture;
use Test::More;

my $up = IDash::Capture::api();

my $pair = IDash::Capture->new(
    server => <<"EOF_SERVER",
        capture on;
        capture_action 3;
        client_header_timeout 1s;
        client_max_body_size 1k;
        large_client_header_buffers 2 1k;
        client_header_buffer_size 1k;
        location / { proxy_pass @{[ $up->url ]}; }
        location = /return { return 200 "short"; }
EOF_SERVER
);

sub raw {
    my ($bytes) = @_;

    return sub {
        my $c = IDash::HTTP->new($_[0]->addr);
        $c->send($bytes);
        return $c->rest;
    };
}

my $long = 'x' x 3000;

for my $case (
    [ 'bad line' => "\x01\x02 nonsense\r\n\r\n", 400 ],
    [ 'no host' => "GET /a HTTP/1.1\r\n\r\n", 400, '/a' ],
    [ 'bad header' => "GET /a HTTP/1.1\r\nHost: a b/\r\n\r\n", 400, '/a' ],
    [ 'version' => "GET /a HTTP/3.7\r\n\r\n", 505 ],
    [ 'uri too long' => "GET /$long HTTP/1.1\r\nHost: h\r\n\r\n", 414 ],
    [ 'huge header' => "GET /a HTTP/1.1\r\nHost: h\r\nX: $long\r\n\r\n",
        400, '/a' ],
    [ 'bad length' => "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n",
        400, '/a' ],
    [ 'length and chunked' => "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 1"
        . "\r\nTransfer-Encoding: chunked\r\n\r\n", 400, '/a' ],
    [ 'bad chunk' => "POST /a HTTP/1.1\r\nHost: h\r\n"
        . "Transfer-Encoding: chunked\r\n\r\nzzz\r\n", 400, '/a' ],
    [ 'two lengths' => "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n"
        . "Content-Length: 1\r\n\r\nx", 400, '/a' ],
    [ 'two hosts' => "GET /a HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n",
        400, '/a' ],
    [ 'two authorizations' => "GET /a HTTP/1.1\r\nHost: h\r\n"
        . "Authorization: a\r\nAuthorization: b\r\n\r\n", 400, '/a' ],
    [ 'NUL in a header' => "GET /a HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n",
        400, '/a' ],
    [ 'NUL in the line' => "GET /a\0b HTTP/1.1\r\nHost: h\r\n\r\n", 400 ],
    [ 'NUL escaped' => "GET /a%00b HTTP/1.1\r\nHost: h\r\n\r\n", 400 ],
    [ 'half an escape' => "GET /a%4 HTTP/1.1\r\nHost: h\r\n\r\n", 400 ],
    [ 'out of the root' => "GET /../a HTTP/1.1\r\nHost: h\r\n\r\n", 400 ],
    [ 'method' => "PRI /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        200, '/a' ],
    [ 'trace' => "TRACE /a HTTP/1.1\r\nHost: h\r\n\r\n", 405, '/a' ],
    [ 'http/0.9' => "GET /return\r\n", 200, '/return' ],
    [ 'http/1.0' => "GET /return HTTP/1.0\r\n\r\n", 200, '/return' ],
    [ 'timeout' => "GET /a HTTP/1.1\r\nHost: h\r\n", 408, '/a' ],
    [ 'timeout in the line' => 'GET /a', 408 ])
{
    my ($name, $bytes, $status, $uri) = @$case;
    my ($res, $record) = $pair->exchange($name, raw($bytes));

    is($record->{status}, $status, "$name: status");
    is($record->{uri}, $uri, "$name: uri");
    like($record->{client_ip}, qr/^127\.0\.0\.1$/, "$name: client");
    is($record->{action}, 3, "$name: the server's settings");
    is($record->{complete}, $status == 408 ? 0 : 1, "$name: complete");
}

# a line that nginx does not read to its end: its answer may be lost in the
# reset, the record is not

my $c = IDash::HTTP->new($pair->on->addr);
$c->send("GET /a HTTP/1.1\r\nHost: h\r\nX: " . 'x' x 1_048_576 . "\r\n\r\n");
$c->close;
my $huge = $pair->record('1 MB header');
is($huge->{status}, 400, '1 MB header: status');
is($huge->{uri}, '/a', '1 MB header: uri');
$pair->quiet('1 MB header', '/return');

my ($res, $record) = $pair->exchange('0.9', raw("GET /return\r\n"));
is($record->{protocol}, 'HTTP/0.9', '0.9: protocol');
is($record->{request_headers}, undef, '0.9: no headers');
is($record->{response_body}, 'short', '0.9: body');

($res, $record) = $pair->exchange('413',
    sub { $_[0]->post('/a', 'y' x 2000) });
is($record->{status}, 413, '413: status');
is($record->{request_cut}, 'not_read', '413: not read');
is($record->{request_bytes}, 2000, '413: declared length');
is($record->{request_body}, undef, '413: nothing kept');
is($record->{method}, 'POST', '413: method');

($res, $record) = $pair->exchange('413 chunked', sub { $_[0]->post('/a', undef,
    chunked => [ 'z' x 600, 'z' x 600 ],
    headers => [[ 'Content-Type', 'text/plain' ]]) });
is($record->{status}, 413, '413 chunked: status');
is($record->{request_cut}, 'not_read', '413 chunked: not read to the end');
is($record->{request_bytes}, undef, '413 chunked: length unknown');

done_testing();
