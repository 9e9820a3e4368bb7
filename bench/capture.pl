#!/usr/bin/perl
# capture: what the module costs.  The event loop is pinned to one CPU, all else
# to another; requests with and without capture go through the same worker in
# turn, and the least of many slices counts.
#
#   make bench B=capture         QUICK=1: every line, in seconds
#                                PART="ship lua": only these parts

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../t/lib", $FindBin::Bin;
use Bench;
use Callgrind;
use IDash;

my @SIZES = ([ '0k', 0 ], [ '1k', 1024 ], [ '16k', 16_384 ], [ '64k', 65_536 ]);
my %COUNT = ('0k' => 400, '1k' => 400, '16k' => 200, '64k' => 100);
my $LOOP = 0;                           # the CPU of the event loop
my $REST = 1;

chomp(my $files = `sh -c 'ulimit -Hn'`);
$files = 65_536 if $files !~ /^\d+$/ || $files > 65_536;

my $up = upstream_nginx();

sub upstream_nginx {
    my $nginx = nginx(module => 0, connections => 20_000,
        modules => [ 'ngx_http_echo_module.so' ],
        main => "worker_rlimit_nofile $files;",
        http => 'keepalive_requests 1000000;', server => <<'CONF');
        root {{dir}}/www;
        default_type application/json;
        error_page 405 =200 $uri;
        location /sse {
            default_type text/event-stream;
            echo "data: one";
            echo_flush;
            echo_sleep 600;
        }
CONF
    for my $size (@SIZES) {
        my $text = $size->[1] ? '{"pad":"' . 'x' x ($size->[1] - 10) . '"}'
                              : '';
        write_file($nginx->dir . "/www/$size->[0]", $text);
    }
    pin($REST, worker($nginx));
    return $nginx;
}

# Two locations that differ in `capture` alone.
sub locations {
    my ($other) = @_;

    my $pass = 'proxy_pass http://api/; proxy_http_version 1.1;'
        . ' proxy_set_header Connection "";';
    my $text = <<'CONF';
        client_body_buffer_size 128k;
        proxy_buffers 16 8k;
        location /off/ { PASS }
        location /on/ {
            capture on;
            capture_action 57;
            capture_key $http_x_api_key;
            capture_ref lab_id $arg_lab;
            PASS
        }
        location = /capture_status { capture_status; }
CONF

    $text =~ s/location \/on.*//s if defined $other;
    $text .= $other // '';
    $text =~ s/PASS/$pass/g;
    return $text;
}

sub start {
    my (%o) = @_;

    my $server = locations($o{other});
    my $nginx = nginx(connections => 20_000, modules => $o{modules},
        module => $o{module}, redis => $o{redis}, wrap => $o{wrap},
        main => $o{wrap} ? '' : "worker_rlimit_nofile $files;",
        http => 'keepalive_requests 1000000;'
            . ' upstream api { server ' . $up->addr . '; keepalive 32;'
            . ' keepalive_requests 1000000; }'
            . ($o{http} // '')
            . ($o{redis} ? "\ncapture_buffer 32m path={{ring}};"
                . ' capture_spool {{spool}} max=64m full=drop_old;' : ''),
        server => $server);

    pin_loop($nginx) if !$o{wrap};
    return $nginx;
}

sub pin_loop {
    my ($nginx) = @_;
    my $pid = worker($nginx);

    pin($LOOP, $pid);
    pin_others($REST, $pid);
    return;
}

# One slice: us of the loop and of the shipper a request.
sub slice {
    my ($nginx, $path, $size, $count) = @_;

    my $pid = worker($nginx);
    my ($loop, $ship) = (thread_ns($pid, $pid), other_ns($pid));

    load(addr => $nginx->addr, path => "$path/$size->[0]", cpu => $REST,
        size => $size->[1], count => $count);

    $loop = thread_ns($pid, $pid) - $loop;
    settle($pid) if $path eq '/on';
    $ship = other_ns($pid) - $ship;
    return ($loop / 1e3 / $count, $ship / 1e3 / $count);
}

# Slices of each side in turn, the order turned round each time; the least
# loop and ship of each.  A side is [nginx, path].
sub interleave {
    my ($sides, $size, $count, $rounds, $after) = @_;
    my (@loop, @ship);

    if (!quick()) {
        slice(@$_, $size, $count) for @$sides;
    }

    for my $round (1 .. $rounds) {
        my @order = 0 .. $#$sides;
        @order = reverse @order if $round % 2;

        for my $i (@order) {
            my ($loop, $ship) = slice(@{ $sides->[$i] }, $size, $count);
            push @{ $loop[$i] }, $loop;
            push @{ $ship[$i] }, $ship;
        }
        $after->() if $after;
    }

    return ([ map { least(@$_) } @loop ], [ map { least(@$_) } @ship ]);
}

# --- Redis, well and otherwise ---

my $redis = redis();
pin($REST, $redis->pid);

sub full_redis {
    my $full = redis();

    $full->call('SET', 'fill', 'x' x 4_000_000);
    $full->call('CONFIG', 'SET', 'maxmemory', '1mb');
    pin($REST, $full->pid);
    return $full;
}

my $hole = IDash::Peer->black_hole;
my %address = (
    up => $redis, refused => '127.0.0.1:' . free_port(),
    hole => $hole->addr, oom => full_redis(),
);

sub forget { $redis->call('DEL', 'idash:capture'); return }

sub bench_loop {
    my (%nginx) = @_;

    for my $mode (qw(up refused hole oom)) {
        for my $size (@SIZES) {
            my $name = $size->[0];
            my $main = $name eq '1k';
            my $count = quick($COUNT{$name}, 100);
            my $rounds = quick($main ? $mode eq 'up' ? 100 : 50 : 15, 1);

            my ($loop, $ship) = interleave(
                [ map { [ $nginx{$mode}, $_ ] } '/off', '/on' ],
                $size, $count, $rounds, \&forget);

            figure_line("capture.loop.$mode.$name", $loop->[1], 'us/request',
                $main ? '<=1.06x' : undef, $loop->[1] / $loop->[0]);
            figure_line("capture.cost.$mode.$name", $loop->[1] - $loop->[0],
                'us/request');
            figure_line("capture.ship.$mode.$name", $ship->[1], 'us/record');
        }
    }

    return;
}

# Loaded and off everywhere, then off beside locations that capture: both
# against an nginx that has no such module.
sub bench_unloaded {
    my ($beside) = @_;

    my $bare = start(module => 0, other => '');
    my $off = start(other => '');
    my ($loop) = interleave(
        [ map { [ $_, '/off' ] } $bare, $off, $beside ],
        $SIZES[1], quick($COUNT{'1k'}, 100), quick(100, 1), \&forget);

    figure_line('capture.unloaded', $loop->[1], 'us/request', '<=1.005x',
        $loop->[1] / $loop->[0]);
    figure_line('capture.off_beside', $loop->[2], 'us/request', undef,
        $loop->[2] / $loop->[0]);
    $_->stop for $bare, $off;
    return;
}

sub bench_ship {
    my ($nginx) = @_;

    my $pid = worker($nginx);
    my $count = quick(5000, 200);
    my (@ours, @bare);

    for my $round (1 .. quick(8, 1)) {
        forget();
        my (undef, $ship) = slice($nginx, '/on', $SIZES[1], $count);
        my $bare = sprintf "'%s' '%s' idash:capture 3 100",
            bench_tool('bare'), $redis->socket;
        push @ours, $ship;
        chomp(my $us = `taskset -c $REST $bare`);
        die "bare failed\n" if $?;
        push @bare, $us;
    }

    forget();
    figure_line('capture.ship_bare', least(@bare), 'us/record');
    figure_line('capture.ship_ratio', least(@ours), 'us/record', '<=1.2x',
        least(@ours) / least(@bare));
    return;
}

# --- latency at half load ---

sub bench_latency {
    my (%nginx) = @_;

    my $full = load(addr => $nginx{up}->addr, path => '/off/1k', size => 1024,
        cpu => $REST, count => quick(10_000, 300), connections => 8);
    my $rate = int $full->{finished} / $full->{seconds} / 2;

    figure_line('capture.rate', $rate, 'requests/s');

    # neither CPU has Redis and the shipper alone
    pin('0-1', $redis->pid);
    pin_others('0-1', worker($_)) for values %nginx;

    for my $mode (qw(up refused hole oom)) {
        my %seen;
        for my $round (1 .. quick(40, 1)) {
            for my $path ($round % 2 ? qw(off on) : qw(on off)) {
                my $sum = load(addr => $nginx{$mode}->addr,
                    path => "/$path/1k", size => 1024, cpu => $REST,
                    rate => $rate, seconds => quick(0.25, 0.1),
                    connections => 64);
                push @{ $seen{$path}{$_} }, $sum->{$_}
                    for qw(p50_us p99_us p999_us);
                forget();
            }
        }

        for my $q (qw(p50 p99 p999)) {
            my ($off, $on) = map { least(@{ $seen{$_}{"${q}_us"} }) }
                qw(off on);
            figure_line("capture.$q.$mode", $on, 'us', undef, $on / $off);
            figure_line("capture.p99_added.$mode", $on - $off, 'us', '<=50')
                if $q eq 'p99';
        }
    }

    pin($REST, $redis->pid);
    pin_others($REST, worker($_)) for values %nginx;
    return;
}

# --- the same in Lua ---

sub bench_lua {
    my ($ours) = @_;

    my $nginx = start(module => 0,
        modules => [ 'ndk_http_module.so', 'ngx_http_lua_module.so' ],
        http => "lua_package_path '$FindBin::Bin/?.lua;;';"
            . " init_worker_by_lua_block { require('capture').redis ="
            . " 'unix:" . $redis->socket . "' }",
        other => <<'CONF');
        location /lua/ {
            access_by_lua_block { require("capture").access() }
            body_filter_by_lua_block { require("capture").body() }
            log_by_lua_block { require("capture").log() }
            PASS
        }
CONF
    forget();
    my ($loop) = interleave(
        [ [ $nginx, '/off' ], [ $nginx, '/lua' ], [ $ours, '/off' ],
            [ $ours, '/on' ] ],
        $SIZES[1], quick($COUNT{'1k'}, 100), quick(50, 1), sub {
            $redis->call('XLEN', 'idash:capture') > 0
                or die "nothing was captured\n" . $nginx->tail;
            forget();
        });
    my $lua = $loop->[1] - $loop->[0];
    my $cost = $loop->[3] - $loop->[2];

    figure_line('capture.lua', $lua, 'us/request', undef,
        $loop->[1] / $loop->[0]);
    figure_line('capture.to_lua', $cost, 'us/request', '<=0.0833x',
        $cost / $lua);
    $nginx->stop;
    return;
}

# --- instructions ---

sub bench_instructions {
    my ($up) = @_;

    if (my $why = Callgrind::missing()) {
        note("capture.instructions left out: $why");
        return;
    }

    my $count = quick(400, 50);
    my $dir = test_dir('callgrind');
    my (%loop, $ship);
    chmod 0777, $dir;

    for my $loaded (0, 1) {
        my $nginx = start(wrap => [ Callgrind::command($dir) ],
            $loaded ? (redis => $redis) : (module => 0, other => ''));
        my $pid = worker($nginx);
        my $run = sub {
            my ($path, $n) = @_;
            load(addr => $nginx->addr, path => "$path/1k", size => 1024,
                count => $n);
        };

        for my $path ($loaded ? qw(/off /on) : '/off') {
            $run->($path, 50);
            $loop{"$loaded$path"} = Callgrind::measure($nginx, $dir,
                sub { $run->($path, $count) }) / $count;
        }
        settle($pid);
        $nginx->stop;
        $ship = Callgrind::others($pid, $dir) / ($count + 50);
        forget();
    }

    figure_line('capture.instructions.loop', $loop{'1/on'},
        'instructions/request', undef, $loop{'1/on'} / $loop{'1/off'});
    figure_line('capture.instructions.off_beside', $loop{'1/off'},
        'instructions/request', undef, $loop{'1/off'} / $loop{'0/off'});
    figure_line('capture.instructions.ship', $ship, 'instructions/record');
    return;
}

# --- throughput with everything on the same CPUs ---

sub bench_throughput {
    my ($nginx) = @_;

    my $d = sidecar(redis => $redis);
    my $pid = worker($nginx);
    my %best;

    pin('0-1', $pid, $redis->pid, worker($up));

    for my $round (1 .. quick(5, 1)) {
        for my $path ($round % 2 ? qw(off on) : qw(on off)) {
            my $sum = load(addr => $nginx->addr, path => "/$path/1k",
                size => 1024, count => quick(20_000, 300),
                connections => 32);
            my $rate = $sum->{finished} / $sum->{seconds};
            $best{$path} = $rate if $rate > ($best{$path} // 0);
        }
        wait_for(sub { drained() }, 60) or die "the drain does not end\n";
    }

    figure_line('capture.throughput', $best{on}, 'requests/s', undef,
        $best{on} / $best{off});
    figure_line('capture.memory.worker', (memory_kb($pid))[0] / 1024, 'MB');
    figure_line('capture.memory.integrationd', (memory_kb($d->pid))[1] / 1024,
        'MB');
    $d->stop;

    pin($REST, $redis->pid, worker($up));
    pin_loop($nginx);
    return;
}

sub drained {
    return $redis->call('XLEN', 'idash:capture') == 0;
}

# --- memory of requests that do not end ---

# Each crowd has an nginx of its own: what one leaves in malloc's lists the
# next would use.
sub bench_memory {
    my $count = least(quick(10_000, 100), int(($files - 500) / 2));
    my (%each, %left);

    for my $path (qw(off on)) {
        my $nginx = start(redis => $redis);
        my $pid = worker($nginx);

        $nginx->get("/$path/1k");
        settle($pid);
        my $before = (memory_kb($pid))[0];
        my @clients = map { sse_client($nginx, "/$path/sse") } 1 .. $count;
        sysread $_, my $bytes, 4096 for @clients;

        $each{$path} = ((memory_kb($pid))[0] - $before) * 1024 / $count;
        close $_ for @clients;
        wait_for(sub { IDash::Process::fds($pid) < 50 }, 60)
            or die "connections stay\n";
        settle($pid);
        $left{$path} = ((memory_kb($pid))[0] - $before) * 1024 / $count;
        $nginx->stop;
        forget();
    }

    figure_line('capture.memory.sse', $each{on} - $each{off}, 'B/client',
        '<=2048', $each{on} / ($each{off} || 1));
    figure_line('capture.memory.left', $left{on} - $left{off}, 'B/client');
    return;
}

sub sse_client {
    my ($nginx, $path) = @_;

    my $s = connect_to($nginx->addr) or die "connect: $!\n";
    syswrite $s, "GET $path HTTP/1.1\r\nHost: a\r\n\r\n";
    return $s;
}

my %nginx = map { $_ => start(redis => $address{$_}) } keys %address;
$_->get('/on/1k') for values %nginx;

my @parts = (
    [ loop => sub { bench_loop(%nginx) } ],
    [ unloaded => sub { bench_unloaded($nginx{up}) } ],
    [ ship => sub { bench_ship($nginx{up}) } ],
    [ latency => sub { bench_latency(%nginx) } ],
    [ lua => sub { bench_lua($nginx{up}) } ],
    [ throughput => sub { bench_throughput($nginx{up}) } ],
    [ memory => sub { bench_memory() } ],
    [ instructions => sub { bench_instructions() } ],
);

for my $part (@parts) {
    my ($name, $run) = @$part;
    $run->() if !$ENV{PART} || $ENV{PART} =~ /\b$name\b/;
}
