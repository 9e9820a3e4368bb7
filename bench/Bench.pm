package Bench;

# What the benchmarks share: lines of figures with their verdicts, CPU time of
# single threads, pinning, loads, and the least of interleaved slices.

use strict;
use warnings;

use Exporter 'import';
use List::Util ();
use Time::HiRes ();

use IDash;

our @EXPORT = qw(
    quick figure_line note pin pin_others hurry worker threads thread_ns other_ns settle
    load delivered bench_tool memory_kb least median quantile);

$| = 1;

# QUICK=1: every line, with figures that mean nothing.
sub quick {
    my ($full, $quick) = @_;

    return $ENV{QUICK} ? $quick : $full if @_;
    return $ENV{QUICK};
}

# figure_line(name, value, unit, [limit, [ratio]]): one line of the output.
# A limit that ends in x is one of the ratio; the ratio of another limit is
# value : limit.
sub figure_line {
    my ($name, $value, $unit, $limit, $ratio) = @_;

    my $verdict = '-';
    if (defined $limit) {
        my ($sign, $bound, $of_ratio) = $limit =~ /^([<>]=)([\d.]+)(x?)$/
            or die "limit $limit\n";
        my $judged = $of_ratio ? $ratio : $value;

        $ratio //= $value / $bound;
        $verdict = ($sign eq '<=' ? $judged <= $bound : $judged >= $bound)
            ? 'ok' : 'MISSED';
    }

    print join(' ', $name, number($value), $unit, $limit // '-',
        defined $ratio ? sprintf('%.3f', $ratio) : '-', $verdict), "\n";
    return;
}

sub number {
    my ($v) = @_;

    return $v if $v =~ /^-?\d+$/;
    return sprintf abs $v >= 100 ? '%.0f' : abs $v >= 10 ? '%.1f' : '%.2f', $v;
}

sub note {
    print "# @_\n";
    return;
}

# Threads to CPUs, and in front of what else the machine does, where we may.  A
# machine with one CPU is as it is.
my $cpus = () = read_file('/proc/cpuinfo') =~ /^processor\s/mg;

sub pin {
    my ($cpu, @pids) = @_;

    die "pin: no process of ours\n" if !@pids || grep { $_ <= 1 } @pids;
    return if $cpus < 2;
    for my $pid (@pids) {
        system("taskset -acp $cpu $pid >/dev/null 2>&1");
        hurry(threads($pid));
    }
    return;
}

# Where each session is scheduled as one (sched_autogroup) niceness counts within
# it only, so the session is put in front as well, until we end.
my $autogroup = "/proc/$$/autogroup";
my $usual;

sub hurry {
    return if $> != 0;
    setpriority(0, $_, -15) for @_;

    return if defined $usual || !-e $autogroup;
    ($usual) = read_file($autogroup) =~ /nice (-?\d+)/ or return;
    autogroup_nice(-15);
    return;
}

sub autogroup_nice {
    my ($nice) = @_;

    open my $fh, '>', $autogroup or return;
    print $fh $nice;
    close $fh;
    return;
}

my $self = $$;
END { autogroup_nice($usual) if defined $usual && $$ == $self }

# All threads but the first.
sub pin_others {
    my ($cpu, $pid) = @_;

    return if $cpus < 2;
    for my $tid (grep { $_ != $pid } threads($pid)) {
        system("taskset -cp $cpu $tid >/dev/null 2>&1");
    }
    return;
}

# The one worker of an nginx, which may just be starting.
sub worker {
    my ($nginx) = @_;

    my @pids;
    wait_for(sub { @pids = $nginx->workers }) or die "no worker\n";
    return $pids[0];
}

sub threads {
    my ($pid) = @_;

    opendir my $dh, "/proc/$pid/task" or return;
    my @tids = sort { $a <=> $b } grep { /^\d+$/ } readdir $dh;
    return @tids;
}

# Nanoseconds of CPU time, user and system, of a thread.
sub thread_ns {
    my ($pid, $tid) = @_;

    if (open my $fh, '<', "/proc/$pid/task/$tid/schedstat") {
        my ($ns) = split ' ', <$fh> // '';
        return $ns if $ns;
    }

    # a kernel without it: ticks of 10 ms
    open my $fh, '<', "/proc/$pid/task/$tid/stat" or return 0;
    my @f = split ' ', (<$fh> =~ /\) (.*)/s)[0];
    return ($f[11] + $f[12]) * 10_000_000;
}

# The same of all threads but the first.
sub other_ns {
    my ($pid) = @_;

    return List::Util::sum0(map { thread_ns($pid, $_) }
        grep { $_ != $pid } threads($pid));
}

# Waits until the other threads rest.
sub settle {
    my ($pid) = @_;

    my $end = now() + 5;
    my $last = other_ns($pid);

    while (now() < $end) {
        Time::HiRes::sleep(0.03);
        my $ns = other_ns($pid);
        return if $ns - $last < 1_000_000;
        $last = $ns;
    }
    return;
}

# load(addr => .., path => .., count => .., size => .., ..): the summary.
sub load {
    my (%o) = @_;

    my @argv = (build_dir() . '/tools/load', '-a', $o{addr}, '-p', $o{path},
        '-c', $o{connections} || 8,
        $o{size} ? ('-b', $o{size}) : '-g',
        $o{count} ? ('-n', $o{count}) : (),
        $o{rate} ? ('-r', $o{rate}) : (),
        $o{seconds} ? ('-t', $o{seconds}) : (),
        $o{file} ? ('-o', $o{file}) : ());
    unshift @argv, 'taskset', '-c', $o{cpu} if defined $o{cpu} && $cpus > 1;
    unshift @argv, 'nice', '-n', '-15' if defined $o{cpu} && $> == 0;

    open my $fh, '-|', @argv or die "load: $!\n";
    local $/;
    my $sum = from_json(<$fh>);
    close $fh;

    die "load: $sum->{unfinished} unfinished, $sum->{failed} failed\n"
        if $sum->{unfinished} + $sum->{failed};
    return $sum;
}

# Waits until a sidecar that was just run has delivered so many: how many a
# second, from the first twentieth on, so that the start does not count unless
# all came before the first look.
sub delivered {
    my ($d, $all) = @_;

    my ($from, $at, $n) = (now(), 0, 0);
    my $limit = $from + 300;
    while ($n < $all) {
        die "only $n of $all delivered\n" if now() > $limit;
        Time::HiRes::sleep(0.02);
        $n = $d->counter('dispatch_delivered');
        ($from, $at) = (now(), $n) if !$at && $n >= $all / 20 && $n < $all;
    }
    return ($n - $at) / (now() - $from);
}

sub bench_tool { return build_dir() . "/bench/$_[0]" }

# (resident, highest) of a process, in KB.
sub memory_kb {
    my ($pid) = @_;

    my $text = read_file("/proc/$pid/status");
    return map { $text =~ /^$_:\s+(\d+) kB/m } qw(VmRSS VmHWM);
}

sub least { return List::Util::min(@_) }

sub median { return quantile(0.5, @_) }

sub quantile {
    my ($q, @all) = @_;

    @all = sort { $a <=> $b } @all;
    my $i = int $q * @all;
    return $all[$i < @all ? $i : -1];
}

1;
