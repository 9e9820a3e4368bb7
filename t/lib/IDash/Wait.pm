package IDash::Wait;

# Waiting, ports, files and JSON: the small things that every test needs.

use strict;
use warnings;

use Exporter 'import';
use IO::Socket::INET;
use IO::Socket::UNIX;
use JSON::PP ();
use Time::HiRes ();

use IDash::Process;

our @EXPORT = qw(wait_for now free_port connect_to read_file write_file
    append_file from_json to_json slurp_tail build_dir root_dir figure);

my $json = JSON::PP->new->utf8->canonical->allow_nonref;

# Seconds, monotonic.
sub now {
    return Time::HiRes::clock_gettime(Time::HiRes::CLOCK_MONOTONIC());
}

# wait_for(sub {..}, [seconds]): the first true value, or nothing at the limit.
# The limit is a hang limit: a test asserts what came, not how fast.
sub wait_for {
    my ($code, $limit) = @_;

    my $end = now() + ($limit || $IDash::Process::HANG);
    my $pause = 0.002;

    while (1) {
        my $value = $code->();
        return $value if $value;
        return if now() > $end;
        Time::HiRes::sleep($pause);
        $pause *= 1.5 if $pause < 0.05;
    }
}

# A port that the kernel chose; the caller retries when another took it.
sub free_port {
    my $s = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1)
        or die "no port: $!";
    return $s->sockport;
}

# A connected socket for "/path", "unix:/path", "host:port" or a bare port.
sub connect_to {
    my ($addr) = @_;

    $addr =~ s/^unix://;
    $addr = "127.0.0.1:$addr" if $addr =~ /^\d+$/;

    my $s = $addr =~ m{^/}
        ? IO::Socket::UNIX->new(Peer => $addr)
        : IO::Socket::INET->new(PeerAddr => $addr, Timeout => 10);

    $s->autoflush(1) if $s;
    return $s;
}

sub read_file {
    my ($path) = @_;

    open my $fh, '<:raw', $path or die "$path: $!";
    local $/;
    my $text = <$fh>;
    return defined $text ? $text : '';
}

sub write_file {
    my ($path, $text) = @_;

    open my $fh, '>:raw', $path or die "$path: $!";
    print $fh $text or die "$path: $!";
    close $fh or die "$path: $!";
    return $path;
}

sub append_file {
    my ($path, $text) = @_;

    open my $fh, '>>:raw', $path or die "$path: $!";
    syswrite($fh, $text) == length $text or die "$path: $!";
    close $fh;
    return;
}

sub slurp_tail {
    my ($path, $lines) = @_;

    return '' if !-e $path;
    my @all = split /^/, read_file($path);
    splice @all, 0, @all - $lines if @all > $lines;
    return join '', @all;
}

sub from_json { return $json->decode($_[0]) }
sub to_json { return $json->encode($_[0]) }

sub root_dir {
    my ($root) = __FILE__ =~ m{^(.*?)/?t/lib/IDash/Wait\.pm$};
    return defined $root && $root ne '' ? $root : '.';
}

# Where the programs under test are; the Makefile says so for SANITIZE=.
sub build_dir {
    require Cwd;
    return $ENV{IDASH_BUILD}
        ? Cwd::abs_path($ENV{IDASH_BUILD})
        : Cwd::abs_path(root_dir()) . '/build';
}

# "r05.p99_ratio 1.02": a figure for people and for the closing note.
sub figure {
    my ($name, $value, $unit) = @_;

    $unit = '' if !defined $unit;
    print "# $name $value $unit\n" =~ s/ +\n/\n/r;
    return;
}

1;
