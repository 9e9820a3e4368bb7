# Storm 32, nginx' part: the file system below the spool, nginx' error log and
# the rings is full: nothing crashes, clients notice nothing, what does not fit
# is counted, and with room or Redis back all goes on.

use strict;
use warnings;

use Test::More;

use lib 't/lib';
use IDash;
use Oracle;

my $back = 0;

# Redis goes, the disk fills; room comes back, and is used; then Redis.
sub storm {
    my ($name, $nginx, $redis, $fill, $room) = @_;

    my $o = Oracle->new(name => 'r32', redis => $redis, nginx => $nginx);
    my @workers;
    ok(wait_for(sub { @workers = $nginx->workers; @workers == 2 }),
        "$name: two workers");
    my $part = Oracle::scale(20_000);

    $redis->stop;
    $fill->();
    my $sum = $o->load(rate => 2000, count => 2 * $part, body => '1024:4096')
        ->finish;
    is($sum->{failed} + $sum->{unfinished}, 0, "$name: no request failed");

    my $full = $o->counters_add_up;
    cmp_ok($full->{dropped}, '>', 0, "$name: what does not fit is dropped");
    ok($full->{drops}{spool_full} + $full->{drops}{ring} == $full->{dropped},
        "$name: for want of room") or diag to_json($full);

    # it looks again for room by itself
    $room->();
    ok(wait_for(sub {
        $nginx->status->{spooled} > $full->{spooled}
    }, 20), "$name: with room the spool takes records again");
    # each worker looks for itself: until the last of them has emptied its ring
    ok(wait_for(sub { $nginx->status->{queued} == 0 }, 20),
        "$name: and all that waited");

    $sum = $o->load(rate => 500, count => $part / 4)->finish;
    is($sum->{failed} + $sum->{unfinished}, 0, "$name: no request failed");
    is($o->counters_add_up->{dropped}, $full->{dropped},
        "$name: and nothing more is dropped");

    my $from = now();
    $redis->restart;
    wait_for(sub {
        my $s = $nginx->status;
        $s->{queued} + $s->{spooled} == 0;
    }, 60);
    my $took = now() - $from;
    $back = $took if $took > $back;

    my $status = $o->counters_add_up;
    is($status->{queued} + $status->{spooled}, 0, "$name: all has an outcome");
    is("@{[ $nginx->workers ]}", "@workers", "$name: no worker crashed");
    my $verdict = $o->judge_stream($redis, lost => $status->{dropped},
        quiet => 2);
    is($verdict->{lost}, $status->{dropped}, "$name: what is lost is counted");
    return;
}

# The error log lies there too; the one that the harness reads does not.
my %part = (
    workers => 2,
    main => 'error_log {{dir}}/full/error.log info;',
    http => 'capture_buffer 1m path={{ring}};'
        . ' capture_spool {{dir}}/full/spool max=1g segment=256k;',
);

# A file that takes all the room there is.
sub fill_up {
    my ($path) = @_;

    open my $fh, '>', $path or die "$path: $!";
    my $block = 'x' x 65_536;
    1 while (syswrite($fh, $block) // 0) == length $block;
    close $fh;
    return;
}

my $private = $> == 0 && system('unshare -m true 2>/dev/null') == 0;

# A tmpfs of 6 MB, mounted for nginx alone
my $user = $> == 0 ? 'chown www-data $d $d/spool &&' : '';
my $mounted = [ 'unshare', '-m', 'sh', '-c', 'd=${3}full; mkdir -p $d;'
    . ' mount -t tmpfs -o size=6m,mode=0755 none $d && mkdir $d/spool &&'
    . " $user chmod 0700 \$d/spool && exec \"\$@\"", 'sh' ];

subtest tmpfs => sub {
    plan skip_all => 'no private mounts without root: the limit below'
        if !$private;

    my $redis = redis(aof => 1);
    my $nginx = Oracle->nginx(%part, redis => $redis, wrap => $mounted);
    my $inside = '/proc/' . $nginx->master . '/root' . $nginx->dir . '/full';
    ok(-e "$inside/error.log", 'the log is there');

    storm('tmpfs', $nginx, $redis, sub { fill_up("$inside/big") },
        sub { unlink "$inside/big" or die "$inside/big: $!" });
    is($nginx->stop, 0, 'nginx ends well');
    done_testing();
};

# RLIMIT_FSIZE, set on the running workers and lifted again
subtest limit => sub {
    my $redis = redis(aof => 1);
    my $nginx = Oracle->nginx(%part, redis => $redis,
        wrap => [ 'sh', '-c', 'trap "" XFSZ; d=${3}full;'
            . ' mkdir -p -m 0755 $d; exec "$@"', 'sh' ]);
    my @as = $> == 0 ? qw(setpriv --reuid=www-data --regid=www-data
        --clear-groups) : ();
    my $limit = sub {
        my ($size) = @_;
        for my $pid ($nginx->workers) {
            system(@as, 'prlimit', '--pid', $pid, "--fsize=$size:unlimited")
                == 0 or die "prlimit of $pid failed\n";
        }
    };

    # a segment is allocated whole: 256 KB do not fit under 100
    storm('limit', $nginx, $redis, sub { $limit->(100_000) },
        sub { $limit->('unlimited') });
    is($nginx->stop, 0, 'nginx ends well');
    done_testing();
};

# No room for a ring: anonymous memory, with a warning
subtest ring => sub {
    plan skip_all => 'no private mounts without root' if !$private;

    my $redis = redis();
    my $nginx = Oracle->nginx(redis => $redis, wrap => $mounted,
        http => 'capture_buffer 8m path={{dir}}/full;');

    is($nginx->get('/x')->{status}, 200, 'served');
    is(scalar $redis->wait_entries(1), 1, 'and recorded');
    like($nginx->log_text, qr/the ring is anonymous/, 'with a warning');
    is($nginx->stop, 0, 'nginx ends well');
    done_testing();
};

figure('r32.back_s', sprintf('%.1f', $back), 's');
done_testing();
