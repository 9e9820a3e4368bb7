package IDash::Process;

# Processes and directories of a test.  Whatever is started here is ended by
# its exact process group at END and on signals, also when the test dies.

use strict;
use warnings;

use Errno qw(EINTR ESRCH);
use File::Path ();
use File::Temp ();
use POSIX ();
use Time::HiRes ();

# libmongoc's counters in shared memory outlive a killed process, and the next
# one of its pid warns on stderr
$ENV{MONGOC_DISABLE_SHM} = 1;

our $HANG = $ENV{IDASH_HANG} || 30;     # seconds: a limit, not an expectation

my %running;                            # pid => name
my %foreign;                            # pids that are no children of ours
my @dirs;
my @at_end;                             # checks, run after all have stopped
my $owner = $$;
my $base;

# The test's own directory, short (socket paths have 108 bytes), world-x.
sub dir {
    my ($name) = @_;

    if (!defined $base) {
        $base = File::Temp::mkdtemp('/tmp/id.XXXXXX');
        chmod 0755, $base or die "chmod $base: $!";
        push @dirs, $base;
    }

    return $base if !defined $name;

    my $path = "$base/$name";
    File::Path::make_path($path, { mode => 0755 });
    return $path;
}

# A directory on tmpfs for rings, owned by the workers' user.
sub shm_dir {
    my $path = -w '/dev/shm' ? File::Temp::mkdtemp('/dev/shm/id.XXXXXX')
                             : dir('ring.' . Time::HiRes::time());

    push @dirs, $path;
    give_to_workers($path);
    return $path;
}

# Workers of a root's nginx run as www-data.
sub give_to_workers {
    my ($path) = @_;

    return if $> != 0;

    my (undef, undef, $uid, $gid) = getpwnam('www-data');
    chown $uid, $gid, $path or die "chown $path: $!";
    return;
}

# spawn(name, [argv], out => file, env => {}, code => sub): the pid.  The child
# leads its own process group and dies with us.
sub spawn {
    my ($name, $argv, %opt) = @_;

    my $parent = $$;
    my $pid = fork();
    die "fork: $!" if !defined $pid;

    if ($pid == 0) {
        $SIG{$_} = 'DEFAULT' for qw(INT TERM HUP CHLD PIPE);
        POSIX::setpgid(0, 0);
        die_with_parent($parent);

        if (defined $opt{out}) {
            open STDOUT, '>>', $opt{out} or POSIX::_exit(126);
            open STDERR, '>&', \*STDOUT or POSIX::_exit(126);
        }

        open STDIN, '<', '/dev/null';
        $ENV{$_} = $opt{env}{$_} for keys %{ $opt{env} || {} };

        if ($opt{code}) {
            eval { $opt{code}->(); 1 } or print STDERR "$name: $@";
            POSIX::_exit($@ ? 1 : 0);
        }

        { no warnings 'exec'; exec { $argv->[0] } @$argv; }
        print STDERR "$name: cannot run $argv->[0]: $!\n";
        POSIX::_exit(127);
    }

    POSIX::setpgid($pid, $pid);
    $running{$pid} = $name;
    return $pid;
}

# PR_SET_PDEATHSIG: a test killed with SIGKILL leaves nothing behind either.
sub die_with_parent {
    my ($parent) = @_;

    my ($machine) = (POSIX::uname())[4];
    my $prctl = { x86_64 => 157, aarch64 => 167 }->{$machine};

    syscall($prctl, 1, 9, 0, 0, 0) if $prctl;
    POSIX::_exit(125) if getppid() != $parent;
    return;
}

# Takes care of a process that is no child of ours, such as a daemon.
sub adopt {
    my ($pid, $name) = @_;

    $running{$pid} = $name;
    $foreign{$pid} = 1;
    return $pid;
}

# There, and no zombie that some init forgot.
sub exists {
    my ($pid) = @_;

    open my $fh, '<', "/proc/$pid/stat" or return 0;
    my $line = <$fh>;
    return defined $line && $line !~ /\) Z /;
}

# Running: true; ended: false, with $? set.
sub alive {
    my ($pid) = @_;

    return 0 if !$running{$pid};

    if ($foreign{$pid}) {
        return 1 if IDash::Process::exists($pid);
        delete $running{$pid};
        return 0;
    }

    my $got = waitpid($pid, POSIX::WNOHANG());
    return 1 if $got == 0;

    delete $running{$pid};
    return 0;
}

# stop(pid, signal, seconds): the wait status.  SIGKILL after the limit, and
# always to what is left of the group.
sub stop {
    my ($pid, $signal, $limit) = @_;

    return 0 if !defined $pid || !$running{$pid};

    kill $signal || 'TERM', $pid;

    my $status = wait_pid($pid, $limit || $HANG);

    if (!defined $status) {
        warn "# $running{$pid} ($pid) did not end on "
            . ($signal || 'TERM') . ", killed\n";
        kill 'KILL', -$pid;
        $status = wait_pid($pid, $HANG);
    }

    kill 'KILL', -$pid;
    delete $running{$pid};
    return defined $status ? $status : -1;
}

sub wait_pid {
    my ($pid, $limit) = @_;

    my $end = Time::HiRes::clock_gettime(Time::HiRes::CLOCK_MONOTONIC())
        + $limit;

    while (1) {
        my $got = $foreign{$pid} ? 0 : waitpid($pid, POSIX::WNOHANG());

        return $? if $got == $pid;
        return 0 if $got < 0 && $! != EINTR;
        return 0 if $foreign{$pid} && !IDash::Process::exists($pid);
        return undef
            if Time::HiRes::clock_gettime(Time::HiRes::CLOCK_MONOTONIC())
            > $end;

        Time::HiRes::sleep(0.005);
    }
}

# kill -9 to exactly this process and reaped; its children live on.
sub kill_only {
    my ($pid) = @_;

    kill 'KILL', $pid;
    wait_pid($pid, $HANG);
    return;
}

sub forget {
    my ($pid) = @_;

    delete $running{$pid};
    return;
}

# Direct children of a process, by /proc.
sub children {
    my ($pid) = @_;
    my @kids;

    for my $stat (glob '/proc/[0-9]*/stat') {
        open my $fh, '<', $stat or next;
        my $line = <$fh>;
        next if !defined $line;
        push @kids, $1 if $line =~ /^(\d+) \(.*\) (\S) (\d+) /s
            && $3 == $pid && $2 ne 'Z';
    }

    @kids = sort { $a <=> $b } @kids;
    return @kids;
}

# Resident bytes and open files of a process.
sub rss {
    my ($pid) = @_;

    open my $fh, '<', "/proc/$pid/status" or return 0;
    while (my $line = <$fh>) {
        return $1 * 1024 if $line =~ /^VmRSS:\s+(\d+) kB/;
    }
    return 0;
}

sub fds {
    my ($pid) = @_;

    opendir my $dh, "/proc/$pid/fd" or return 0;
    return scalar grep { /^\d+$/ } readdir $dh;
}

# Seconds of CPU time, user and system.
sub cpu {
    my ($pid) = @_;

    open my $fh, '<', "/proc/$pid/stat" or return 0;
    my $line = <$fh>;
    my @f = split ' ', ($line =~ /\) (.*)/s)[0];
    return ($f[11] + $f[12]) / POSIX::sysconf(POSIX::_SC_CLK_TCK());
}

sub at_end {
    my ($check) = @_;

    push @at_end, $check;
    return;
}

sub stop_all {
    return if $$ != $owner;

    # nginx kills a worker 1.5 s after TERM: valgrind's need longer to report
    my $slow = $ENV{IDASH_VALGRIND};

    kill 'CONT', -$_ for keys %running;
    kill $slow && $running{$_} eq 'nginx' ? 'QUIT' : 'TERM', $_
        for keys %running;

    for my $pid (sort { $b <=> $a } keys %running) {
        wait_pid($pid, $slow ? 30 : 5);
        kill 'KILL', -$pid;
        wait_pid($pid, 5);
    }

    %running = ();
    return;
}

for my $signal (qw(INT TERM HUP)) {
    $SIG{$signal} = sub { exit 1 };
}

END {
    if ($$ == $owner) {
        my $status = $?;

        stop_all();
        for my $check (@at_end) {
            $status ||= 1 if !$check->();
        }

        if ($ENV{IDASH_KEEP}) {
            print STDERR "# kept: @dirs\n";

        } else {
            File::Path::remove_tree($_) for @dirs;
        }

        $? = $status;
    }
}

1;
