package IDash::StoreClient;

# build/tools/store_client as a child: one command, one answer.

use strict;
use warnings;

use IPC::Open2 ();

use IDash::Process;
use IDash::Wait;

my $count = 0;

sub start {
    my ($class, $uri) = @_;

    my $log = IDash::Process::dir() . '/client' . ++$count . '.log';
    my $program = build_dir() . '/tools/store_client';

    my $pid = IPC::Open2::open2(my $out, my $in,
        "exec '$program' 2>>'$log'");
    my $self = bless { pid => $pid, in => $in, out => $out, log => $log },
        $class;

    $self->{error} = $self->ask("open $uri");
    return $self;
}

# False when the store could not be opened; error() tells why.
sub is_open { return $_[0]{error} =~ /^ok/ }
sub error { return $_[0]{error} }
sub log_text { return read_file($_[0]{log}) }

sub send {
    my ($self, $line) = @_;

    local $SIG{PIPE} = 'IGNORE';
    my $bytes = "$line\n";
    syswrite $self->{in}, $bytes or die "store_client: $!";
    return;
}

sub answer {
    my ($self) = @_;

    my $line = readline $self->{out};
    die "store_client ended: " . slurp_tail($self->{log}, 5)
        if !defined $line;
    chomp $line;
    return $line;
}

sub ask {
    my ($self, $line) = @_;

    $self->send($line);
    return $self->answer;
}

# Inserts until it is known to have worked; the number of tries.
sub insist {
    my ($self, $line, $limit) = @_;

    for my $try (1 .. $limit || 100) {
        return $try if $self->ask($line) =~ /^ok/;
    }

    die "'$line' never worked: " . slurp_tail($self->{log}, 5);
}

sub kill_hard {
    my ($self) = @_;

    kill 'KILL', $self->{pid};
    waitpid $self->{pid}, 0;
    delete $self->{pid};
    return;
}

# The exit status: 0 unless it crashed or a sanitizer spoke.
sub stop {
    my ($self) = @_;

    close $self->{in};
    waitpid $self->{pid}, 0;
    delete $self->{pid};
    return $?;
}

sub DESTROY {
    my ($self) = @_;

    local ($?, $!);
    $self->kill_hard if $self->{pid};
    return;
}

1;
