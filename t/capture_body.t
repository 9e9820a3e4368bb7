#!/usr/bin/perl

# Request bodies: every way in which nginx reads, or does not read, one.

use strict;
use warnings;

use Compress::Zlib ();
use lib 't/lib';
use IDash;
use IDash::Capture;
use Test::More;

my $up = IDash::Capture::api();

my $pair = IDash::Capture->new(
    server => <<"EOF_SERVER",
        listen unix:{{dir}}/h2 http2;
        capture on;
        capture_body_types *;
        client_max_body_size 1m;
        location / { proxy_pass @{[ $up->url ]}; }
        location /file/ {
            client_body_buffer_size 1k;
            proxy_pass @{[ $up->url ]}/;
        }
        location /unbuffered/ {
            proxy_request_buffering off;
            proxy_http_version 1.1;
            proxy_pass @{[ $up->url ]}/;
        }
        location /only_file/ {
            client_body_in_file_only clean;
            proxy_pass @{[ $up->url ]}/;
        }
        location /types/ {
            capture_body_types application/json;
            proxy_pass @{[ $up->url ]}/;
        }
        location /timeout/ {
            client_body_timeout 1s;
            proxy_pass @{[ $up->url ]}/;
        }
        location = /return { return 200 "done\\n"; }
        location = /off { capture_request_body off; proxy_pass @{[ $up->url ]}/echo; }
        location = /small { capture_request_body 8; proxy_pass @{[ $up->url ]}/echo; }
EOF_SERVER
);

my $binary = join '', map { chr } 0 .. 255;
my $long = IDash::Capture::pattern(20_000);

sub whole {
    my ($name, $record, $body) = @_;

    ok($record->{request_body} eq $body, "$name: kept body");
    is($record->{request_bytes}, length $body, "$name: length");
    is($record->{request_cut}, undef, "$name: whole");
    return;
}

for my $case (
    [ memory => '/echo', 'a small body' ],
    [ binary => '/echo', "$binary\0$binary" ],
    [ file => '/file/echo', $long ],
    [ unbuffered => '/unbuffered/echo', $long ],
    [ only_file => '/only_file/echo', $long ])
{
    my ($name, $path, $body) = @$case;

    my ($res, $record) = $pair->exchange($name,
        sub { $_[0]->post($path, $body) });

    ok($res->{body} eq $body, "$name: the upstream had it too");
    whole($name, $record, $body);
}

for my $path ('/echo', '/file/echo', '/unbuffered/echo') {
    my @chunks = ('x', $long, $binary, 'y' x 300);

    my ($res, $record) = $pair->exchange("chunked $path",
        sub { $_[0]->post($path, undef, chunked => \@chunks) });

    whole("chunked $path", $record, join '', @chunks);
}

# bodies are kept as they came: packed, in parts, by their type

my $packed = Compress::Zlib::memGzip($long);
my ($res, $record) = $pair->exchange('gzip', sub {
    $_[0]->post('/echo', $packed, headers => [
        [ 'Content-Encoding', 'gzip' ], [ 'Content-Type', 'text/plain' ] ]) });
whole('gzip', $record, $packed);
like($record->{request_headers}, qr/^Content-Encoding: gzip\r$/m,
    'gzip: the block says so');

my $parts = join '', map { "--b\r\nContent-Disposition: form-data; name=\"$_\""
    . "\r\n\r\n$binary\r\n" } qw(a b);

for my $case ([ '/echo', 'parts' ], [ '/types/echo', 'parts not of a type' ]) {
    my ($path, $name) = @$case;

    ($res, $record) = $pair->exchange($name, sub {
        $_[0]->post($path, "$parts--b--\r\n", headers => [
            [ 'Content-Type', 'multipart/form-data; boundary=b' ] ]) });
    whole($name, $record, "$parts--b--\r\n") if $path eq '/echo';
}

is($record->{request_cut}, 'type', 'parts not of a type: reason');
is($record->{request_bytes}, length("$parts--b--\r\n"),
    'parts not of a type: length');

# that the end is missing is the API's to say
($res, $record) = $pair->exchange('half the parts', sub {
    $_[0]->post('/echo', $parts, headers => [
        [ 'Content-Type', 'multipart/form-data; boundary=b' ] ]) });
whole('half the parts', $record, $parts);

# slowly, with pauses in chunks; too slowly; ended in a chunk

for my $path ('/echo', '/unbuffered/echo') {
    ($res, $record) = $pair->exchange("slow $path", sub {
        my $c = IDash::HTTP->new($_[0]->addr);
        my $message = IDash::HTTP::message('POST', $path, close => 1,
            chunked => [ 'slow', 'body', "with\0pauses" ]);
        for my $piece ($message =~ /(.{1,24})/gs) {
            $c->send($piece);
            select undef, undef, undef, 0.02;
        }
        return $c->response;
    });
    whole("slow $path", $record, "slowbodywith\0pauses");
}

($res, $record) = $pair->exchange('too slow', sub {
    my $c = IDash::HTTP->new($_[0]->addr);
    $c->send(IDash::HTTP::message('POST', '/timeout/echo',
        headers => [[ 'Content-Length', 10 ]]) . 'half.');
    return $c->rest;
});
is($record->{status}, 408, 'too slow: status');
is($record->{complete}, 0, 'too slow: not complete');
is($record->{request_cut}, 'not_read', 'too slow: not read to the end');
is($record->{request_bytes}, 10, 'too slow: declared length');

($res, $record) = $pair->exchange('cut in a chunk', sub {
    my $c = IDash::HTTP->new($_[0]->addr);
    $c->send("POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n"
        . "\r\n5\r\nhello\r\n9\r\nhal");
    shutdown $c->{socket}, 1;
    return $c->rest;
});
is($record->{complete}, 0, 'cut in a chunk: not complete');
is($record->{request_cut}, 'not_read', 'cut in a chunk: not read to the end');

# one byte a packet, and 100-continue

($res, $record) = $pair->exchange('pieces', sub {
    my $c = IDash::HTTP->new($_[0]->addr);
    $c->{socket}->setsockopt(6, 1, 1);
    for my $byte (split //, IDash::HTTP::message('POST', '/echo',
        body => 'piecemeal', close => 1))
    {
        $c->send($byte);
    }
    return $c->response;
});
whole('pieces', $record, 'piecemeal');

($res, $record) = $pair->exchange('expect', sub {
    my $c = IDash::HTTP->new($_[0]->addr);
    $c->send(IDash::HTTP::message('POST', '/echo', close => 1, headers => [
        [ 'Content-Length', 5 ], [ 'Expect', '100-continue' ] ]));
    $c->more until $c->{in} =~ /100 Continue/ || $c->{eof};
    $c->send('later');
    return $c->response;
});
whole('expect', $record, 'later');

# not read, not kept, kept in part

($res, $record) = $pair->exchange('discarded',
    sub { $_[0]->post('/return', 'unread') });
is($record->{request_cut}, 'not_read', 'discarded: reason');
is($record->{request_bytes}, 6, 'discarded: length');
is($record->{request_body}, undef, 'discarded: no body');

($res, $record) = $pair->exchange('off', sub { $_[0]->post('/off', 'secret') });
is($record->{request_cut}, 'off', 'off: reason');
is($record->{request_bytes}, 6, 'off: length');
is($record->{request_body}, undef, 'off: no body');

($res, $record) = $pair->exchange('small',
    sub { $_[0]->post('/small', '123456789') });
is($record->{request_cut}, 'size', 'small: reason');
is($record->{request_bytes}, 9, 'small: length');
is($record->{request_body}, '12345678', 'small: prefix');

($res, $record) = $pair->exchange('none', sub { $_[0]->get('/status/200') });
is($record->{request_bytes}, 0, 'no body: length');
is($record->{request_cut}, undef, 'no body: whole');

# HTTP/2, with and without a length

SKIP: {
    skip 'no curl', 10 if !have_command('curl');

    my $file = write_file(test_dir() . '/body', $long);

    for my $extra ('', '-H Transfer-Encoding:chunked') {
        my ($text, $h2) = $pair->exchange("h2 $extra", sub {
            my $curl = 'curl -s --http2-prior-knowledge --unix-socket '
                . $_[0]->dir . "/h2 $extra --data-binary \@$file";
            return scalar `$curl http://localhost/file/echo`;
        });

        ok($text eq $long, "h2 $extra: the upstream had it too");
        is($h2->{protocol}, 'HTTP/2.0', "h2 $extra: protocol");
        whole("h2 $extra", $h2, $long);
    }
}

done_testing();
