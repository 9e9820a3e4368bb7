#!/usr/bin/perl
# drain: records a second from the stream into the store, held against the
# store's own bulk insert of the same rows, on SQLite and on the Mongo protocol;
# and what integrationd needs of memory for it.  Both write the same rows, with
# the same indexes, transactions and settings; bulk has them ready in memory and
# leaves out what is not a log's row: labels, parts of references, the heatmap's
# buckets.
#
#   make bench B=drain           QUICK=1: every line, in seconds
#                                STORE_DIR=path: where SQLite's files lie

use strict;
use warnings;

use FindBin;
use Time::HiRes ();
use lib "$FindBin::Bin/../t/lib", $FindBin::Bin;
use Bench;
use IDash;
use IDash::Mongo;

my $BATCH = 500;                        # of integrationd, by default
my $redis = redis();
my $filled = quick(60_000, 1000);       # with a checkpoint of SQLite's, or two
my $mongo_filled = quick(6000, 500);

# Records as the module writes them, bodies of 1 KB both ways.
sub fill {
    my $body = '{"pad":"' . 'x' x 1014 . '"}';
    my $up = nginx(module => 0, location =>
        "default_type application/json; return 200 '$body';");
    my $nginx = nginx(redis => $redis,
        http => "\ncapture_buffer 256m path={{ring}};", server => <<"CONF");
        client_body_buffer_size 16k;
        location / {
            capture on;
            capture_action 57;
            capture_ref lab_id 12;
            capture_ref bill_id \$arg_n;
            proxy_pass @{[ 'http://' . $up->addr ]};
        }
CONF

    load(addr => $nginx->addr, path => '/api', size => 1024,
        count => $filled, connections => 16);
    wait_for(sub { $redis->call('XLEN', 'idash:capture') == $filled }, 60)
        or die "the records do not come\n";
    $nginx->stop;
    $up->stop;
    $redis->call('RENAME', 'idash:capture', 'filled');

    return;
}

# A stream of the first N records, with nobody reading yet.
sub refill {
    my ($n) = @_;

    $redis->call('DEL', 'idash:capture', 'idash:changes');
    $redis->call('COPY', 'filled', 'idash:capture');
    $redis->call('XTRIM', 'idash:capture', 'MAXLEN', $n);
    $redis->call('XGROUP', 'CREATE', 'idash:capture', 'integrationd', 0);
    return;
}

# Records that are not stored and acknowledged yet.
sub left {
    my $groups = $redis->call('XINFO', 'GROUPS', 'idash:capture');
    my %group = @{ $groups->[0] || [] };

    return ($group{lag} // $filled) + ($group{pending} // 0);
}

# The pauses of wait_for grow to a tenth of what is measured; here they are
# short near the end, and before it long: who asks takes time, too.
sub wait_drained {
    my $end = now() + 120;

    while (my $left = left()) {
        die "the drain does not end\n" if now() > $end;
        Time::HiRes::sleep($left > 4000 ? 0.02 : 0.002);
    }
    return;
}

# Records/s, us of CPU time a record, KB at rest before, highest KB.
sub drain {
    my ($n, %opt) = @_;

    $redis->call('DEL', 'idash:capture');
    my $d = sidecar(redis => $redis, %opt);
    my $idle = resting($d->pid);

    hurry(threads($d->pid), threads($redis->pid));
    $d->freeze;
    refill($n);
    my $cpu = process_ns($d->pid);
    my $begun = now();
    $d->thaw;
    wait_drained();
    my $took = now() - $begun;
    $cpu = process_ns($d->pid) - $cpu;

    my (undef, $highest) = memory_kb($d->pid);
    $d->stop;
    return ($n / $took, $cpu / 1e3 / $n, $idle, $highest, $d);
}

sub process_ns {
    my ($pid) = @_;
    return other_ns($pid) + thread_ns($pid, $pid);
}

sub resting {
    my ($pid) = @_;

    settle($pid);
    return (memory_kb($pid))[0];
}

sub bulk {
    my ($from, $to) = @_;

    my $nice = $> == 0 ? 'nice -n -15' : '';
    my $out = `$nice '@{[ bench_tool('bulk') ]}' '$from' '$to' $BATCH`;
    die "bulk failed\n" if $?;
    return split ' ', $out;
}

# Drain and bulk insert in turn; the best of each counts.
sub compare {
    my ($name, $n, $rounds, $make) = @_;
    my (@ours, @peer, @cpu, @peer_cpu, @idle, @highest);

    for my $round (1 .. $rounds) {
        my ($to, %opt) = $make->($round);
        my ($rate, $cpu, $idle, $highest, $d) = drain($n, %opt);
        my ($rows, $bulk, $bulk_cpu) = bulk($d->store, $to);

        die "$rows rows of $n records\n" if $rows != $n;
        push @ours, $rate;
        push @peer, $bulk;
        push @peer_cpu, $bulk_cpu;
        push @cpu, $cpu;
        push @idle, $idle;
        push @highest, $highest;
    }

    my ($ours, $peer) = map { -least(map { -$_ } @$_) } \@ours, \@peer;
    figure_line("drain.$name.bulk", $peer, 'records/s');
    figure_line("drain.$name.bulk_cpu", least(@peer_cpu), 'us/record');
    figure_line("drain.$name", $ours, 'records/s', '>=0.9x', $ours / $peer);
    figure_line("drain.$name.cpu", least(@cpu), 'us/record');
    figure_line("drain.$name.rss_idle", least(@idle) / 1024, 'MB', '<=24');
    figure_line("drain.$name.rss_load", least(@highest) / 1024, 'MB', '<=64');
    return;
}

fill();

# STORE_DIR= on a tmpfs leaves the disk out, which others may keep busy
my $dir = $ENV{STORE_DIR} ? "$ENV{STORE_DIR}/drain.$$" : test_dir('bulk');
mkdir $dir;
compare('sqlite', $filled, quick(6, 1), sub {
    unlink glob "$dir/*";
    return ("sqlite:$dir/bulk$_[0].db", store => "sqlite:$dir/ours$_[0].db");
});
unlink glob "$dir/*";
rmdir $dir;

# The store's part alone: its insert against the driver's, in 60 buckets of the
# heatmap.  FerretDB has no index for an _id with a guard beside it and looks
# through all buckets for each: there the ratio is printed, not judged.
sub store_insert {
    my ($mongo) = @_;

    my $limit = IDash::Mongo::kind() eq 'ferretdb' ? undef : '>=0.9x';

    my @uri = map { $mongo->uri("idash_bench_$$" . $_) } qw(a b);
    my $out = `'@{[ build_dir() ]}/tools/store_bench' '$uri[0]' '$uri[1]' @{[ quick(5, 1) ]}`;
    die "store_bench failed\n" if $?;

    my ($ours, $raw, $ratio, $least, $cpu) = split ' ', $out;
    figure_line('drain.mongo.insert', $ours, 'records/s', $limit, $ratio);
    figure_line('drain.mongo.insert_cpu', $cpu, 'us/record');
    return;
}

if (defined(my $why = IDash::Mongo::missing())) {
    note("drain.mongo left out: $why");

} else {
    my $mongo = IDash::Mongo->start;

    compare('mongo', $mongo_filled, quick(3, 1), sub {
        return ($mongo->uri("idash_bulk_$$" . $_[0]),
            store => $mongo->uri("idash_drain_$$" . $_[0]));
    });
    store_insert($mongo);
    $mongo->stop if !IDash::Mongo::is_foreign();
}
