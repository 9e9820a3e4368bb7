# Storm 34: allocations fail, in every unit program of module and sidecar: the
# program may fail, as it must, but never crash or hang.  By default a sample
# of the points; SCALE=1 fails each allocation once.

use strict;
use warnings;

use POSIX ();
use Test::More;

use lib 't/lib';
use IDash;

my $all = ($ENV{SCALE} || 0) >= 1;
my $slow = $all || $ENV{R34_SLOW};      # the slow ones too, by a sample
my $preload = build_dir() . '/tools/nomem.so';
my $out = test_dir() . '/nomem';
my $limit = 300;                        # seconds that no program takes

# these take seconds a run
my %slow = map { $_ => 1 } qw(jq_child store store_find store_count store_sqlite
    transport_http transport_mllp capture_ring);
my $spacing = 97;

# One run: (wait status or 'hung', text of the preloaded part, TAP).
sub run_program {
    my ($program, $at, $every) = @_;

    unlink $out, "$out.tap";
    my $pid = IDash::Process::spawn('unit', [ $program ], out => "$out.tap",
        env => { LD_PRELOAD => $preload, NOMEM_AT => $at,
            NOMEM_EVERY => $every, NOMEM_OUT => $out });
    my $status = IDash::Process::wait_pid($pid, $limit);

    if (!defined $status) {
        IDash::Process::stop($pid, 'KILL');
        return ('hung', '', slurp_tail("$out.tap", 3));
    }

    IDash::Process::forget($pid);
    return ($status, -e $out ? read_file($out) : '',
        slurp_tail("$out.tap", 5));
}

# Where a crash was: function and line of the frames of the program itself.
sub place {
    my ($program, $text) = @_;
    my @at = $text =~ /^FRAME \S*\Q$program\E ([0-9a-f]+)$/mg;

    my $out = `addr2line -f -e $program @at 2>/dev/null`;
    my @lines = split /\n/, $out;
    my @frames;
    while (my ($name, $line) = splice @lines, 0, 2) {
        push @frames, "$name " . ($line =~ m{((?:t/unit|sidecar|ngx_module)/\S+)$}
            ? $1 : $line);
    }
    return @frames;
}

my ($points, $runs, $crashes, $own, $hung, @skipped) = (0, 0, 0, 0, 0);

for my $source (glob root_dir() . '/t/unit/*.c') {
    my ($name) = $source =~ m{([^/]+)\.c$};
    my $program = build_dir() . "/unit/$name";

    next if defined $ENV{R34_ONLY} && $name !~ /$ENV{R34_ONLY}/;

    if ($slow{$name} && !$slow) {
        push @skipped, $name;
        next;
    }

    my ($ended, $text, $last) = run_program($program, 0, 1);
    my ($total) = $text =~ /^END 0 counted (\d+)/m;
    if (!ok($total, "$name: it counts allocations")) {
        diag "$ended: $last";
        next;
    }

    # every so many; the next run the ones beside
    my $every = $all ? $spacing : int($total / 40) + 13;
    my $times = $slow{$name} ? 3 : 8;
    my @at = $all ? 1 .. $spacing : map { 1 + int($every * $_ / $times) }
        0 .. $times - 1;
    my (%seen, $failed);

    for my $at (@at) {
        last if $at > $total;
        my ($status, $said, $tap) = run_program($program, $at, $every);
        $runs++;
        ($failed) = $said =~ /failed (\d+)$/m;
        $points += $failed // 0;

        if ($status eq 'hung') {
            $hung++;
            fail("$name: allocation $at, every $every: hangs");
            diag $tap;
            next;
        }

        next if !POSIX::WIFSIGNALED($status) && $said !~ /^CRASH/m;

        my @frames = place($program, $said);
        my $first = $frames[0] // "signal $status";

        # a test that uses what it did not get is no fault of the product
        if ($first =~ m{ t/unit/}) {
            $own++;
            next;
        }

        next if $seen{$first}++;
        $crashes++;
        fail("$name: allocation $at, every $every: crashes in $first");
        diag join "\n", @frames, $tap;
    }

    ok(!%seen, "$name: no crash");
}

print "# r34: only with SCALE=1 or R34_SLOW=1: @skipped\n" if @skipped;
figure('r34.points', $points, 'failed allocations');
figure('r34.runs', $runs, 'runs');
figure('r34.own', $own, 'crashes of tests themselves');
figure('r34.hung', $hung, 'runs');
figure('r34.crashes', $crashes, 'places');

cmp_ok($points, '>', defined $ENV{R34_ONLY} ? 0 : 100, 'allocations failed');

done_testing();
