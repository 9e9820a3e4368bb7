#!/usr/bin/perl

# Caps at -1, 0 and +1, the bound of all requests in progress, and what an idle
# stream of events costs.

use strict;
use warnings;

use IO::Select;
use lib 't/lib';
use IDash;
use IDash::Capture;
use Test::More;

my $up = IDash::Capture::api();
my $url = $up->url;

my @caps = (1, 1000, 1024, 4096, 5064, 65_536, 1_048_576);
my $pair = IDash::Capture->new(
    server => join('', 'client_max_body_size 4m; capture_body_types *;',
        map { "location /cap$_/ { capture on; capture_request_body $_;
            capture_response_body $_; proxy_pass $url/; }" } @caps),
);

for my $cap (@caps) {
    for my $n ($cap - 1, $cap, $cap + 1) {
        my $body = IDash::Capture::pattern($n);
        my ($res, $record) = $pair->exchange("cap $cap of $n",
            sub { $_[0]->post("/cap$cap/echo", $body) });

        my $kept = substr $body, 0, $cap;
        my $reason = $n > $cap ? 'size' : undef;

        for my $side (qw(request response)) {
            ok(($record->{"${side}_body"} // '') eq $kept,
                "cap $cap of $n: $side prefix");
            is($record->{"${side}_bytes"}, $n, "cap $cap of $n: $side length");
            is($record->{"${side}_cut"}, $reason, "cap $cap of $n: $side reason");
        }
    }
}

# lengths that no header tells: every split of chunks

my ($res, $record) = $pair->exchange('chunked',
    sub { $_[0]->get('/cap65536/chunked/100/1000') });
is($record->{response_bytes}, 100_000, 'chunked: length');
is(length $record->{response_body}, 65_536, 'chunked: prefix');

# random sizes of chunks, on against off

srand 7;
for my $round (1 .. 10) {
    my @chunks = map { IDash::Capture::pattern(1 + int rand 3000) } 1 .. 30;
    ($res, $record) = $pair->exchange("random $round", sub {
        $_[0]->post('/cap1048576/echo', undef, chunked => \@chunks) });
    ok($record->{request_body} eq join('', @chunks), "random $round: request");
    ok($record->{response_body} eq join('', @chunks), "random $round: response");
}

# all requests in progress share one bound: bodies are cut, then records drop,
# traffic never

my $held = IDash::Peer->start(sub {
    my ($socket) = @_;
    sysread $socket, my $in, 65_536;
    syswrite $socket, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n"
        . 'x' x 20_000;
    sysread $socket, $in, 1;
});

my $redis = redis();
my $tight = nginx(redis => $redis,
    http => 'capture_buffer 4m inprogress=64k path={{ring}};',
    server => "location = /st { capture_status; }
        location / { capture on; proxy_buffering off;
            proxy_pass http://@{[ $held->addr ]}; }");

my @open = map {
    my $c = IDash::HTTP->new($tight->addr);
    $c->send(IDash::HTTP::message('GET', '/'));
    $c->more until length $c->{in} >= 20_000 || $c->{eof};
    $c;
} 1 .. 12;

is(scalar(grep { length $_->{in} > 20_000 } @open), 12, 'inprogress: all served');
$_->close for @open;

my $status;
wait_for(sub {
    $status = $tight->status('/st');
    $status->{captured} == 12 && $status->{queued} == 0;
});
is($status->{acked} + $status->{dropped}, 12, 'inprogress: each has an end');

my @entries = $redis->entries('idash:capture');
ok((grep { ($_->[1]{response_cut} // '') eq 'memory' } @entries),
    'inprogress: bodies were cut for it');
ok((grep { !$_->[1]{response_cut} } @entries), 'inprogress: not all of them');
ok(!(grep { $_->[1]{response_bytes} != 20_000 } @entries),
    'inprogress: lengths are true');

# idle clients of events; SCALE=1 is the size that was promised.  nginx holds two
# descriptors for each, and 20,000 are a usual limit: two workers share them

my $clients = $ENV{SCALE} ? 10_000 : 500;

my $events = IDash::Peer->start(undef, deaf => 1, backlog => 4096);
$events->{listen}->blocking(0);
my @servers = map { IDash::Process::spawn('events', undef, code => sub {
    my $listen = $events->{listen};
    my $select = IO::Select->new($listen);
    my %socket;

    while (1) {
        for my $ready ($select->can_read) {
            if ($ready == $listen) {
                my $new = $listen->accept or next;
                $select->add($socket{fileno $new} = $new);
                next;
            }

            if (!sysread $ready, my $in, 65_536) {
                $select->remove($ready);
                delete $socket{fileno $ready};
                close $ready;
                next;
            }

            syswrite $ready, "HTTP/1.1 200 OK\r\nContent-Type: "
                . "text/event-stream\r\n\r\ndata: hello\n\n";
        }
    }
}) } 0 .. $clients / 1000;

sub resident {
    my $sum = 0;
    $sum += IDash::Process::rss($_) for @_;
    return $sum;
}

sub idle {
    my ($capture) = @_;

    my $nginx = nginx(redis => $redis, connections => 4 * $clients + 100,
        workers => 2, listen => 'reuseport',
        location => "capture $capture; proxy_buffering off;
            proxy_pass http://127.0.0.1:$events->{port};");
    my (@workers, $before, @clients);
    wait_for(sub { @workers = $nginx->workers; @workers == 2 });

    # the first clients pay for what a worker has but once

    for my $n (1 .. $clients + 200) {
        $before = resident(@workers) if $n == 201;

        my $c = IDash::HTTP->new($nginx->addr);
        $c->send(IDash::HTTP::message('GET', '/'));
        $c->more until $c->{in} =~ /data: hello/ || $c->{eof};
        push @clients, $c;
    }

    my $each = (resident(@workers) - $before) / $clients;
    $_->close for @clients;
    $nginx->stop;
    return $each;
}

my $off = idle('off');
my $on = idle('on');
figure('capture.sse_bytes', int($on - $off), 'B');

# what a checker keeps around each allocation is not ours
cmp_ok($on - $off, '<=', $ENV{IDASH_VALGRIND} || $ENV{IDASH_SANITIZE} ? 8192
    : 2048, 'an idle stream of events costs at most 2 KB');

IDash::Process::stop($_, 'KILL') for @servers;
done_testing();
