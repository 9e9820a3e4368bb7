#!/usr/bin/perl

# Clients and upstreams that go away: never a success in the record.

use strict;
use warnings;

use Socket qw(SOL_SOCKET SO_LINGER SO_RCVBUF);
use lib 't/lib';
use IDash;
use IDash::Capture;
use Test::More;

my $up = IDash::Capture::api();
my $dead = free_port();
my $sink = peer(sub {
    my ($socket, $self) = @_;
    $self->note('connected') if sysread $socket, my $head, 65_536;
    sysread $socket, my $byte, 1 for 1 .. 2;
});
my $url = $up->url;

my $pair = IDash::Capture->new(listen => 'sndbuf=65536',
    http => "upstream two { server 127.0.0.1:$dead; server @{[ $up->addr ]}; }
        upstream drops { server @{[ $up->addr ]}; server @{[ $up->addr ]}; }",
    server => <<"EOF_SERVER",
        capture on;
        capture_body_types *;
        location / { proxy_pass $url; }
        location = /timeout { proxy_read_timeout 1s; proxy_pass $url/hang; }
        location = /next { proxy_pass http://two/status/200; }
        location = /refused { proxy_pass http://127.0.0.1:$dead; }
        location = /unbuffered { proxy_buffering off; proxy_pass $url/stall/5000; }
        location = /upload { proxy_request_buffering off; proxy_pass http://@{[ $sink->addr ]}; }
        location = /close { return 444; }
        location = /send_timeout {
            send_timeout 1s; proxy_pass $url/size/4000000;
        }
EOF_SERVER
);

# before the response

sub leave {
    my ($nginx, $bytes) = @_;

    my $c = IDash::HTTP->new($nginx->addr);
    $c->send($bytes);
    return $c;
}

my $c = leave($pair->on, IDash::HTTP::message('GET', '/hang'));
wait_for(sub { grep { m{/hang} } $up->seen });
$c->close;
my $record = $pair->record('499');
is($record->{status}, 499, '499: status');
is($record->{complete}, 0, '499: not complete');
is($record->{first_byte_us}, undef, '499: no first byte');
is($record->{response_headers}, undef, '499: no header block');

# in the body, by reset

$c = leave($pair->on, IDash::HTTP::message('GET', '/unbuffered'));
$c->more until length $c->{in} > 1000;
setsockopt($c->{socket}, SOL_SOCKET, SO_LINGER, pack 'ii', 1, 0);
$c->close;
$record = $pair->record('abort in the body');
is($record->{status}, 200, 'abort in the body: status that was sent');
is($record->{complete}, 0, 'abort in the body: not complete');
is($record->{response_bytes}, 5000, 'abort in the body: length');
ok(length $record->{response_body}, 'abort in the body: what was seen is kept');

# in the upload

$c = leave($pair->on, "POST /upload HTTP/1.1\r\nHost: h\r\n"
    . "Content-Length: 100\r\n\r\nten bytes.");
# the upstream is connected once the first bytes of the body were taken
wait_for(sub { $sink->seen });
$c->close;
$record = $pair->record('abort in the upload');
is($record->{complete}, 0, 'abort in the upload: not complete');
is($record->{request_cut}, 'not_read', 'abort in the upload: reason');
is($record->{request_bytes}, 100, 'abort in the upload: declared length');

# upstreams

my $res;
($res, $record) = $pair->exchange('timeout', sub { $_[0]->get('/timeout') });
is($record->{status}, 504, '504: status');
is($record->{upstream_status}, 504, '504: upstream');
is($record->{upstream_header_us}, '-', '504: no header came');
cmp_ok($record->{duration_us}, '>=', 990_000, '504: duration');

($res, $record) = $pair->exchange('next', sub { $_[0]->get('/next') });
is($record->{status}, 200, 'next upstream: status');
is($record->{upstream_addr}, "127.0.0.1:$dead, " . $up->addr,
    'next upstream: both addresses');
is($record->{upstream_status}, '502, 200', 'next upstream: both states');
like($record->{upstream_header_us}, qr/^-,\d+$/, 'next upstream: both times');

($res, $record) = $pair->exchange('refused', sub { $_[0]->get('/refused') });
is($record->{status}, 502, 'refused: status');
is($record->{complete}, 1, 'refused: the client got all of the 502');

($res, $record) = $pair->exchange('drop', sub { $_[0]->get('/drop') });
is($record->{status}, 502, 'drop: status');

($res, $record) = $pair->exchange('half', sub { $_[0]->get('/half/5000') });
is($res->{complete}, 0, 'half: the client saw the cut');
is($record->{complete}, 0, 'half: not complete');
is($record->{response_bytes}, 5000, 'half: what came');

($res, $record) = $pair->exchange('444', sub { $_[0]->get('/close') });
is($record->{status}, 444, '444: status');
is($record->{complete}, 0, '444: not complete');
is($record->{response_bytes}, 0, '444: nothing sent');

# a client that does not read

$c = IDash::HTTP->new($pair->on->addr);
$c->{socket}->setsockopt(SOL_SOCKET, SO_RCVBUF, 16_384);
$c->send(IDash::HTTP::message('GET', '/send_timeout'));
$record = $pair->record('send_timeout');
is($record->{complete}, 0, 'send_timeout: not complete');
$c->close;

done_testing();
