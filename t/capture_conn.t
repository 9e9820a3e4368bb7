#!/usr/bin/perl

# What connections do around requests: keepalive, pipelining, lingering,
# streams of HTTP/2, upgrades, events.

use strict;
use warnings;

use lib 't/lib';
use IDash;
use IDash::Capture;
use Test::More;

my $up = IDash::Capture::api();
my $url = $up->url;

my $echo = peer(sub {
    my ($socket) = @_;
    my $in = '';
    $in .= $_ while $in !~ /\r\n\r\n/ && sysread $socket, $_, 4096;
    syswrite $socket, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\n"
        . "Connection: Upgrade\r\n\r\n";
    syswrite $socket, $_ while sysread $socket, $_, 4096;
});

my $pair = IDash::Capture->new(
    server => <<"EOF_SERVER",
        listen unix:{{dir}}/h2 http2;
        capture on;
        location / { proxy_pass $url; }
        location = /ws {
            proxy_http_version 1.1;
            proxy_set_header Upgrade \$http_upgrade;
            proxy_set_header Connection upgrade;
            proxy_pass http://@{[ $echo->addr ]};
        }
        location = /sse { proxy_buffering off; proxy_pass $url/sse; }
        location = /full { capture_response_body 64k; proxy_buffering off;
            proxy_pass $url/size/9000/text/event-stream; }
        location = /events { proxy_pass $url/size/9000/text/event-stream; }
        location = /return { return 200 "body not read\\n"; }
EOF_SERVER
);

# keepalive: each its own times, bytes and ids

my ($res, @records);
my $text = sub {
    my $c = IDash::HTTP->new($_[0]->addr);
    my $all = '';
    for my $n (1 .. 3) {
        $c->send(IDash::HTTP::message('POST', '/echo', body => "call $n"));
        $all .= $c->response->{raw};
    }
    return $all;
};
is($pair->text($text->($pair->{on})), $pair->text($text->($pair->{off})),
    'keepalive: client bytes');
@records = $pair->records(3);
is($records[$_]{response_body}, 'call ' . ($_ + 1), "keepalive: body $_")
    for 0 .. 2;
is($records[0]{sent_bytes}, $records[2]{sent_bytes}, 'keepalive: bytes are its own');
is(scalar(keys %{ { map { $_->{id} => 1 } @records } }), 3, 'keepalive: ids');
ok((join ' ', map { $_->{id} } @records)
    eq (join ' ', sort map { $_->{id} } @records), 'keepalive: ids sort by time');

$text = sub {
    my $c = IDash::HTTP->new($_[0]->addr);
    $c->send(join '', map { IDash::HTTP::message('POST', '/echo',
        body => "piped $_", close => $_ == 4) } 1 .. 4);
    return $c->rest;
};
is($pair->text($text->($pair->{on})), $pair->text($text->($pair->{off})),
    'pipelining: client bytes');
@records = $pair->records(4);
is($records[$_]{request_body} // '', '', "pipelining: text/plain not given $_")
    for 0 .. 3;
is($records[$_]{request_cut}, 'type', "pipelining: no type, no body $_")
    for 0 .. 3;
is($records[$_]{response_body}, 'piped ' . ($_ + 1), "pipelining: order $_")
    for 0 .. 3;

# lingering: the client still sends while the answer is out

my $record;
($res, $record) = $pair->exchange('lingering', sub {
    my $c = IDash::HTTP->new($_[0]->addr);
    $c->send(IDash::HTTP::message('POST', '/return', close => 1,
        headers => [[ 'Content-Length', 20_000 ]]));
    my $r = $c->response;
    $c->send('x' x 20_000);
    $c->close;
    return $r;
});
is($record->{complete}, 1, 'lingering: complete');
is($record->{request_cut}, 'not_read', 'lingering: body not read');
is($record->{request_bytes}, 20_000, 'lingering: declared length');

# an upgrade: headers, at close

my $ws = IDash::HTTP->new($pair->on->addr);
$ws->send(IDash::HTTP::message('GET', '/ws', headers => [
    [ 'Upgrade', 'echo' ], [ 'Connection', 'Upgrade' ] ]));
is($ws->response->{status}, 101, 'upgrade: client');
$ws->send('hello there');
$ws->more until length $ws->{in} >= 11 || $ws->{eof};
is($ws->{in}, 'hello there', 'upgrade: bytes pass');
$ws->close;
$record = $pair->record('upgrade');
is($record->{status}, 101, 'upgrade: status');
is($record->{response_cut}, 'upgrade', 'upgrade: reason');
is($record->{response_body}, undef, 'upgrade: no body');
is($record->{complete}, 1, 'upgrade: complete');
like($record->{response_headers}, qr/^Connection: upgrade\r$/m,
    'upgrade: header block');
like($record->{response_headers}, qr/^Upgrade: echo\r$/m, 'upgrade: protocol');

# events: at close, 4k by default

my $sse = IDash::HTTP->new($pair->on->addr);
$sse->send(IDash::HTTP::message('GET', '/sse'));
$sse->more until $sse->{in} =~ /data: one\n\n/ || $sse->{eof};
is(scalar $pair->fresh, 0, 'events: no record while open');
$sse->close;
$record = $pair->record('events');
is($record->{response_body}, "data: one\n\n", 'events: prefix');
is($record->{complete}, 0, 'events: the client went');

($res, $record) = $pair->exchange('many events', sub { $_[0]->get('/events') });
is(length $record->{response_body}, 4096, 'events: 4k by default');
is($record->{response_cut}, 'size', 'events: reason');
($res, $record) = $pair->exchange('all events', sub { $_[0]->get('/full') });
is(length $record->{response_body}, 9000, 'events: what is set counts');

# streams of one HTTP/2 connection

SKIP: {
    skip 'no curl', 6 if !have_command('curl');

    my $out = sub {
        my $curl = 'curl -s --http2-prior-knowledge --unix-socket '
            . $_[0]->dir . '/h2 http://localhost/size/';
        return join '', map { scalar `$curl${_}00` } 1 .. 5;
    };
    is($out->($pair->{on}), $out->($pair->{off}), 'h2: client bytes');
    @records = sort { $a->{response_bytes} <=> $b->{response_bytes} }
        $pair->records(5);
    for my $n (1 .. 5) {
        my $r = $records[$n - 1];
        is_deeply([ @$r{qw(protocol status complete response_bytes method host)} ],
            [ 'HTTP/2.0', 200, 1, $n * 100, 'GET', 'localhost' ],
            "h2: stream $n");
    }
}

# many at once

SKIP: {
    skip 'no h2load', 2 if !have_command('h2load');

    my $socket = 'unix:' . $pair->on->dir . '/h2';
    my $out = `h2load -n 60 -c 1 -m 20 -B $socket http://localhost/size/700 2>&1`;
    like($out, qr/60 succeeded/, 'h2 streams: clients');

    my %seen = map { ("$_->{complete} $_->{response_bytes} "
        . length $_->{response_body}) => 1 } $pair->records(60);
    is_deeply([ keys %seen ], [ '1 700 700' ], 'h2 streams: records');
}

done_testing();
