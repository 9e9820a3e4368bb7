# Storm 32, behind nginx: the file system below the SQLite store, below the
# sidecar's log, or below Redis' AOF is full: nothing crashes, what waits is in
# the stream or in nginx' spool, nothing is dead, and with room all goes on.
#
# The disk is a tmpfs in a mount namespace of this test; without the right to
# make one, a limit on the size of files (prlimit) stands in for it.

use strict;
use warnings;

use Test::More;
use Time::HiRes qw(sleep);

my $private;
BEGIN {
    $private = $> == 0 && system('unshare -m true 2>/dev/null') == 0;
    if ($private && !$ENV{IDASH_PRIVATE}) {
        $ENV{IDASH_PRIVATE} = 1;
        exec 'unshare', '-m', $^X, $0 or die "unshare: $!";
    }
}

use lib 't/lib';
use IDash;
use Oracle;

my @unlimited = $private ? () : ('sh', '-c', 'trap "" XFSZ; exec "$@"', 'sh');
my $back = 0;

diag 'no private mounts: prlimit --fsize in place of a full tmpfs' if !$private;

subtest 'SQLite store' => \&store;
subtest 'log of the sidecar' => \&log_file;
subtest 'AOF of Redis' => \&aof;
figure('r32.back_s', sprintf('%.1f', $back), 's');
done_testing();

sub disk {
    my ($name, $size) = @_;
    my $disk = test_dir($name);

    if ($private) {
        system("mount -t tmpfs -o size=$size,mode=0777 none $disk") == 0
            or die "no tmpfs on $disk\n";
        IDash::Process::at_end(sub { system("umount $disk") == 0 });
    }
    return $disk;
}

# No byte more for what the process writes; room() lifts it.
sub fill {
    my ($disk, $pid, $largest) = @_;

    if (!$private) {
        system('prlimit', '--pid', $pid, "--fsize=$largest:unlimited") == 0
            or die "prlimit of $pid failed\n";
        return;
    }

    open my $fh, '>', "$disk/big" or die "$disk/big: $!";
    my $block = 'x' x 4096;
    1 while (syswrite($fh, $block) // 0) == length $block;
    close $fh;
    return;
}

sub room {
    my ($disk, $pid) = @_;

    if (!$private) {
        return system('prlimit', '--pid', $pid, '--fsize=unlimited') == 0;
    }
    return unlink "$disk/big";
}

sub goes_on {
    my ($o, $acked) = @_;
    my $from = now();
    my $d = $o->{sidecar};

    wait_for(sub { $d->counter('drain_stored') > $acked }, 100);
    $back = now() - $from if now() - $from > $back;
    $o->verdict;
    is($d->dead_letters, 0, 'no dead letters');
    is($o->counters_add_up->{dropped}, 0, 'nothing was dropped');
    return;
}

sub store {
    # the write-ahead log alone takes 64 MB before it begins anew
    my $disk = disk('store', '192m');
    my $o = Oracle->scene('r32.store', sidecar => { wrap => \@unlimited,
        store => "sqlite:$disk/dash.db" });
    my $d = $o->{sidecar};

    $o->load(rate => 1000, count => 500)->finish;
    wait_for(sub { $d->counter('drain_stored') >= 500 });
    fill($disk, $d->pid, 65_536);
    my $sum = $o->load(rate => 1000, count => Oracle::scale(30_000))->finish;
    is($sum->{failed} + $sum->{unfinished}, 0, 'no request failed');

    cmp_ok($o->lag, '>', 0, 'the stream holds what the store cannot');
    is($d->get('/healthz')->{status}, 200, 'the sidecar lives');
    like($d->log_text, qr/\[error\].*(?:full|disk I\/O)/i, 'and says why');
    my $stored = $d->counter('drain_stored');
    ok(room($disk, $d->pid), 'there is room again');
    goes_on($o, $stored);
    is($d->sql('PRAGMA integrity_check'), 'ok', 'the file is whole');
    is($d->stop, 0, 'it ends well');
    return;
}

sub log_file {
    my $disk = disk('log', '4m');
    my $o = Oracle->scene('r32.log', sidecar => { wrap => \@unlimited,
        conf => { log_file => "$disk/log", log_level => 'debug' } });
    my $d = $o->{sidecar};

    ok(wait_for(sub { -s "$disk/log" }), 'the log is there');
    fill($disk, $d->pid, -s "$disk/log");
    my $full = -s "$disk/log";

    # without a log all goes on; SQLite has a disk of its own, or is lifted
    room($disk, $d->pid) if !$private;
    my $sum = $o->load(rate => 1000, count => Oracle::scale(10_000))->finish;
    is($sum->{failed} + $sum->{unfinished}, 0, 'no request failed');
    $o->verdict;
    is($d->get('/healthz')->{status}, 200, 'the sidecar lives');
    room($disk, $d->pid);
    kill 'USR1', $d->pid;
    $d->get('/api/v1/logs', key => 'idash_wrong');
    is($d->stop, 0, 'it ends well');
    cmp_ok(-s "$disk/log", '>', $full, 'with room it writes again');
    return;
}

sub aof {
    my $disk = disk('aof', '48m');
    my $o = Oracle->scene('r32.aof', redis => { wrap => \@unlimited,
        conf => "dir $disk\n" }, nginx => {
        http => 'capture_buffer 1m path={{ring}};'
            . ' capture_spool {{spool}} segment=1m;' });
    my ($redis, $nginx, $d) = @$o{qw(redis nginx sidecar)};
    my $pid = $redis->pid;

    $o->load(rate => 1000, count => 500)->finish;
    wait_for(sub { $d->counter('drain_stored') >= 500 });
    fill($disk, $pid, 65_536);
    my $sum = $o->load(rate => 1000, count => Oracle::scale(30_000))->finish;
    is($sum->{failed} + $sum->{unfinished}, 0, 'no request failed');
    my $status = $o->counters_add_up;
    cmp_ok($status->{queued} + $status->{spooled}, '>', 0, 'nginx keeps them');
    ok(IDash::Process::alive($pid), 'Redis lives');
    is($d->get('/healthz')->{status}, 200, 'so does the sidecar');
    ok(wait_for(sub { $d->log_text =~ /MISCONF/ }), 'which says why');

    my $stored = $d->counter('drain_stored');
    ok(room($disk, $pid), 'there is room again');
    goes_on($o, $stored);
    $_->stop for $nginx, $d, $redis;
    return;
}
