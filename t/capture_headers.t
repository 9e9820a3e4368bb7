#!/usr/bin/perl

# Header blocks as they stood on the wire: order, repeats, bytes.

use strict;
use warnings;

use lib 't/lib';
use IDash;
use IDash::Capture;
use Test::More;

my $up = IDash::Capture::api();
my $raw = upstream(sub {
    return "HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\n"
        . "X-One: 1\r\nX-two: \xc3\xa9\xff\r\nX-One: 2\r\nSet-Cookie: a=b\r\n"
        . "ETag: \"x\"\r\nLast-Modified: Tue, 14 Nov 2023 22:13:20 GMT\r\n"
        . "Content-Length: 2\r\n\r\n{}";
});

my $pair = IDash::Capture->new(
    server => <<"EOF_SERVER",
        capture on;
        capture_key \$http_x_key;
        location / { proxy_pass @{[ $raw->url ]}; }
        location = /redirect { return 301 /elsewhere; }
        location = /relative { absolute_redirect off; return 302 /there; }
        location = /tokens { server_tokens off; add_header X-Added "one
 two: three"; return 200 x; }
        location = /charset { charset utf-8; default_type text/plain; return 200 x; }
        location = /status { proxy_pass @{[ $up->url ]}/status/200; }
EOF_SERVER
);

my @headers = (
    [ 'Host', 'api.example:8080' ], [ 'X-B', '1' ], [ 'x-a', "\xc3\xa9 \xfe" ],
    [ 'X-B', '2' ], [ 'Cookie', 'c=1' ], [ 'X-Key', 'secret key' ],
    [ 'Accept', '*/*' ], [ 'X-Empty', '' ],
);

my $text;
my ($res, $record) = $pair->exchange('all',
    sub { $_[0]->get('/', headers => \@headers) });

is($record->{request_headers}, "Host: api.example:8080\r\nX-B: 1\r\n"
    . "x-a: \xc3\xa9 \xfe\r\nX-B: 2\r\nCookie: ***\r\nX-Key: secret key\r\n"
    . "Accept: */*\r\nX-Empty: \r\nConnection: close\r\n",
    'request block: order, repeats, case, bytes');
is($record->{host}, 'api.example:8080', 'host as sent');
is(length $record->{key_sha256}, 64, 'key is hashed');

# the same lines, in nginx' own order; its hop-by-hop Connection is left out

my $block = join '', map { "$_->[0]: $_->[1]\r\n" }
    grep { $_->[0] ne 'Connection' } @{ $res->{headers} };
$block =~ s/^Set-Cookie: .*?\r$/Set-Cookie: ***\r/m;
is($record->{response_headers}, $block, 'response block');

for my $path ('/redirect', '/relative', '/charset', '/status') {
    ($res, $record) = $pair->exchange($path, sub { $_[0]->get($path) });
    my %got = map { split /: /, $_, 2 } split /\r\n/, $record->{response_headers};
    my %want = map { @$_ } grep { $_->[0] ne 'Connection' }
        @{ $res->{headers} };
    is_deeply(\%got, \%want, "$path: block");
}

# bytes that are no text, in the line too

my $odd = "/\xff\xfe/\xc3\x28?q=\xed\xa0\x80&r=%ff%C3";
($res, $record) = $pair->exchange('bytes', sub {
    my $c = IDash::HTTP->new($_[0]->addr);
    $c->send(IDash::HTTP::message('GET', $odd, close => 1));
    return $c->rest;
});
is($record->{uri}, $odd, 'bytes: uri as sent');

# repeated headers of one name, as they came

($res, $record) = $pair->exchange('repeats', sub { $_[0]->get('/', headers => [
    map { [ $_ % 2 ? 'X-Many' : 'x-many', $_ ] } 1 .. 20 ]) });
is(join(' ', $record->{request_headers} =~ /^x-many: (\d+)\r$/mig),
    join(' ', 1 .. 20), 'repeats: all, in order');

# a line feed in a value does not make a line of the record

$text = sub {
    my $c = IDash::HTTP->new($_[0]->addr);
    $c->send(IDash::HTTP::message('GET', '/tokens', close => 1));
    return $c->rest;
};
($res, $record) = $pair->exchange('tokens', $text);
like($record->{response_headers}, qr/^Server: nginx\r$/m, 'server_tokens off');
like($record->{response_headers}, qr/^X-Added: one  two: three\r$/m,
    'a value of two lines is one');

like($pair->on->get('/redirect')->{head}, qr{^Location: http://}m,
    'redirect: was absolute');
$pair->record('redirect');

# more than large_client_header_buffers would hold is nginx' to refuse; what it
# takes is kept whole

my @many = map { [ "X-Many-$_", 'v' x 200 ] } 1 .. 100;
($res, $record) = $pair->exchange('many',
    sub { $_[0]->get('/status', headers => \@many) });
is(scalar(() = $record->{request_headers} =~ /^X-Many-/mg), 100, 'many: all');

done_testing();
