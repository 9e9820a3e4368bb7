#!/usr/bin/perl

# Response bodies: taken after subrequests are merged and before gzip, from
# memory and from files, never changed.

use strict;
use warnings;

use Compress::Zlib ();
use lib 't/lib';
use IDash;
use IDash::Capture;
use Test::More;

my $up = IDash::Capture::api();
my $url = $up->url;

my $pair = IDash::Capture->new(
    http => 'proxy_cache_path {{dir}}/tmp/cache keys_zone=c:1m;',
    server => <<"EOF_SERVER",
        root {{dir}}/www;
        capture on;
        capture_body_types *;
        proxy_http_version 1.1;
        location / { proxy_pass $url; }
        location /stream/ { proxy_buffering off; proxy_pass $url/; }
        location /spooled/ {
            proxy_buffer_size 1k; proxy_buffers 2 1k; proxy_busy_buffers_size 1k;
            proxy_temp_file_write_size 1k; limit_rate 400k; limit_rate_after 1k;
            sendfile on; proxy_pass $url/;
        }
        location /cache/ {
            proxy_cache c; proxy_cache_valid 1m; sendfile on; proxy_pass $url/;
        }
        location /gzip/ { gzip on; gzip_types *; gzip_min_length 1; proxy_pass $url/; }
        location /limited/ { limit_rate 60k; limit_rate_after 1k; proxy_pass $url/; }
        location /range/ { proxy_force_ranges on; proxy_pass $url/; }
        location /sub/ { sub_filter 0000001 replaced; sub_filter_types *; proxy_pass $url/; }
        location /static/ { sendfile on; }
        location /ssi/ { ssi on; ssi_types *; }
        location = /text { return 200 "plain text\\n"; }
        location = /none { return 204; }
        location /json/ { capture_body_types application/json *+json; proxy_pass $url/; }
        location /off/ { capture_response_body off; proxy_pass $url/; }
EOF_SERVER
);

for my $nginx ($pair->{on}, $pair->{off}) {
    my $www = $nginx->dir . '/www';
    mkdir "$www/$_" for qw(static ssi);
    write_file("$www/static/a.txt", IDash::Capture::pattern(5000));
    write_file("$www/ssi/a.html", 'one <!--#include virtual="/text" --> two '
        . '<!--#include virtual="/size/30" --> three');
    utime 1_700_000_000, 1_700_000_000, "$www/static/a.txt", "$www/ssi/a.html";
}

sub same {
    my ($name, $record, $body) = @_;

    ok(($record->{response_body} // '') eq $body, "$name: kept body");
    is($record->{response_bytes}, length $body, "$name: length");
    is($record->{response_cut}, undef, "$name: whole");
    is($record->{complete}, 1, "$name: complete");
    return;
}

for my $case (
    [ proxy => '/size/3000' ], [ chunked => '/chunked/7/900' ],
    [ unbuffered => '/stream/chunked/5/2000' ], [ large => '/size/60000' ],
    [ sub => '/sub/size/3000' ], [ ssi => '/ssi/a.html' ],
    [ return => '/text' ], [ range_off => '/range/size/3000' ])
{
    my ($name, $path) = @$case;
    my ($res, $record) = $pair->exchange($name, sub { $_[0]->get($path) });
    same($name, $record, $res->{body});
}

like((($pair->exchange('ssi', sub { $_[0]->get('/ssi/a.html') }))[1]{response_body}),
    qr/^one plain text\n two 0000000\n/, 'ssi: merged in the order of the client');

# a temporary file and a cached one are in the page cache: the prefix is read,
# or, on a file system that cannot say so, cut

for my $case ([ spooled => '/spooled/size/60000' ],
    [ miss => '/cache/size/9000' ], [ hit => '/cache/size/9000' ])
{
    my ($name, $path) = @$case;
    my ($res, $record) = $pair->exchange($name, sub { $_[0]->get($path) });

    if (($record->{response_cut} // '') eq 'file') {
        my $kept = $record->{response_body} // '';
        is($kept, substr($res->{body}, 0, length $kept), "$name: a prefix");
        is($record->{response_bytes}, length $res->{body}, "$name: length");

    } else {
        same($name, $record, $res->{body});
    }
}

my ($res, $record) = $pair->exchange('static', sub { $_[0]->get('/static/a.txt') });
is($record->{response_cut}, 'file', 'static: length only');
is($record->{response_bytes}, 5000, 'static: length');
is($record->{complete}, 1, 'static: complete');

# the record stands before gzip, the client behind it

($res, $record) = $pair->exchange('gzip', sub {
    $_[0]->get('/gzip/size/3000', headers => [[ 'Accept-Encoding', 'gzip' ]]) });
is(IDash::HTTP::header($res, 'Content-Encoding'), 'gzip', 'gzip: client');
same('gzip', $record, Compress::Zlib::memGunzip($res->{body}));
unlike($record->{response_headers}, qr/^Content-Encoding/mi,
    'gzip: the block tells the encoding of the kept body');

# what the upstream compressed stays so

my $packed = Compress::Zlib::memGzip('packed by the upstream');
my $gz = IDash::Peer->upstream(sub {
    return "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: "
        . length($packed) . "\r\n\r\n$packed" });
my $pair2 = IDash::Capture->new(redis => $pair->redis,
    location => "capture on; capture_body_types *; proxy_pass @{[ $gz->url ]};");
$pair2->{last} = $pair->{last};
($res, $record) = $pair2->exchange('upstream gzip', sub {
    $_[0]->get('/', headers => [[ 'Accept-Encoding', 'gzip' ]]) });
same('upstream gzip', $record, $packed);
like($record->{response_headers}, qr/^Content-Encoding: gzip\r$/m,
    'upstream gzip: encoding');
$pair->{last} = $pair2->{last};

# ranges: the header filter sees 200, the record the 206 that was sent

($res, $record) = $pair->exchange('range', sub {
    $_[0]->get('/range/size/3000', headers => [[ 'Range', 'bytes=10-19' ]]) });
is($res->{status}, 206, 'range: client');
is($record->{status}, 206, 'range: status');
same('range', $record, $res->{body});

my $boundary;
($res, $record) = $pair->exchange('ranges', sub {
    my $r = $_[0]->get('/static/a.txt',
        headers => [[ 'Range', 'bytes=0-9,100-109,-5' ]]);
    ($boundary) = $r->{body} =~ /^--(\d+)/m;
    $r->{raw} =~ s/\b$boundary\b/BOUNDARY/g;
    return $r;
});
is($record->{status}, 206, 'ranges: status');
is($record->{response_bytes}, length $res->{body}, 'ranges: length');
is($record->{complete}, 1, 'ranges: complete');

# held back by limit_rate

($res, $record) = $pair->exchange('limit_rate',
    sub { $_[0]->get('/limited/size/30000') });
same('limit_rate', $record, $res->{body});
cmp_ok($record->{duration_us}, '>', 0, 'limit_rate: duration');

# no body

($res, $record) = $pair->exchange('head', sub {
    IDash::HTTP::request($_[0]->addr, 'HEAD', '/size/100') });
is($record->{method}, 'HEAD', 'head: method');
is($record->{complete}, 1, 'head: complete');
is($record->{response_bytes}, 0, 'head: length');

($res, $record) = $pair->exchange('304', sub { $_[0]->get('/static/a.txt',
    headers => [[ 'If-Modified-Since', 'Tue, 14 Nov 2023 22:13:20 GMT' ]]) });
is($record->{status}, 304, '304: status');
is($record->{complete}, 1, '304: complete');

($res, $record) = $pair->exchange('204', sub { $_[0]->get('/none') });
is($record->{status}, 204, '204: status');
is($record->{complete}, 1, '204: complete');

# not of a type, off

($res, $record) = $pair->exchange('type', sub { $_[0]->get('/json/size/50') });
is($record->{response_cut}, 'type', 'type: reason');
is($record->{response_bytes}, 50, 'type: length');
is($record->{response_body}, undef, 'type: no body');

for my $type ('application/json', 'application/problem+json') {
    ($res, $record) = $pair->exchange($type,
        sub { $_[0]->get("/json/size/50/$type") });
    same($type, $record, $res->{body});
}

($res, $record) = $pair->exchange('off', sub { $_[0]->get('/off/size/50') });
is($record->{response_cut}, 'off', 'off: reason');
is($record->{response_bytes}, 50, 'off: length');

done_testing();
