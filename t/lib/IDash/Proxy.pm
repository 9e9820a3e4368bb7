package IDash::Proxy;

# A fault proxy between a client and a server of ours: passes bytes, or delays,
# throttles, swallows, cuts or refuses them, changed while it runs.

use strict;
use warnings;

use IO::Select;
use IO::Socket::INET;
use IO::Socket::UNIX;
use Socket;

use IDash::Process;
use IDash::Wait;

my $count = 0;

# start(target address, tcp => 1).  Modes of set():
#
#   up, down    what happens to bytes to, and from, the target: 'pass' or
#               'hold' (read nothing: back-pressure) or 'drop' (swallow)
#   delay       seconds each piece waits       rate   bytes a second, each way
#   cut         close both sides after so many more bytes (each connection)
#   refuse      1: close what connects, and what is connected
sub start {
    my ($class, $target, %opt) = @_;

    my $path = IDash::Process::dir() . '/proxy' . ++$count . '.s';
    my $listen = $opt{tcp}
        ? IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 128,
            ReuseAddr => 1)
        : IO::Socket::UNIX->new(Local => $path, Listen => 128);
    die "listen: $!" if !$listen;
    chmod 0777, $path if !$opt{tcp};

    socketpair(my $ours, my $theirs, AF_UNIX, SOCK_SEQPACKET, 0)
        or die "socketpair: $!";

    my $self = bless { target => $target, control => $ours,
        addr => $opt{tcp} ? '127.0.0.1:' . $listen->sockport : "unix:$path" },
        $class;

    $self->{pid} = IDash::Process::spawn('proxy', undef, code => sub {
        close $ours;
        serve($listen, $theirs, $target);
    });
    close $theirs;
    return $self;
}

sub addr { return $_[0]{addr} }

# Changes modes; returns when they hold.
sub set {
    my ($self, %mode) = @_;

    return $self->ask(\%mode);
}

# { connections, up, down }: counts of connections and bytes so far.
sub counts { return $_[0]->ask({}) }

sub ask {
    my ($self, $message) = @_;

    syswrite $self->{control}, to_json($message) or die "proxy: $!";
    IO::Select->new($self->{control})->can_read(10)
        or die "the fault proxy does not answer\n";
    sysread $self->{control}, my $reply, 65_536 or die "proxy: gone\n";
    return from_json($reply);
}

sub stop {
    my ($self) = @_;
    return IDash::Process::stop($self->{pid}, 'KILL');
}

# --- in the proxy's process ---

sub serve {
    my ($listen, $control, $target) = @_;

    my $s = {
        mode => { up => 'pass', down => 'pass' }, sides => {},
        counts => { connections => 0, up => 0, down => 0 },
        target => $target,
    };

    local $SIG{PIPE} = 'IGNORE';

    while (1) {
        my $read = IO::Select->new($listen, $control,
            grep { readable($s, $_) } map { $_->{socket} }
            values %{ $s->{sides} });
        my @ready = $read->can_read(pause($s));

        for my $socket (@ready) {
            if ($socket == $control) {
                control($s, $control);

            } elsif ($socket == $listen) {
                open_pair($s, $listen->accept);

            } else {
                take($s, $s->{sides}{ fileno $socket // -1 });
            }
        }

        flush($s);
    }
}

sub control {
    my ($s, $control) = @_;

    sysread $control, my $text, 65_536 or POSIX::_exit(0);
    my $mode = from_json($text);
    $s->{mode}{$_} = $mode->{$_} for keys %$mode;

    if (defined $mode->{cut}) {
        $_->{cut} = $mode->{cut} for values %{ $s->{sides} };
    }

    if ($mode->{refuse}) {
        my @sides = values %{ $s->{sides} };
        close_pair($s, $_) for @sides;
    }

    syswrite $control, to_json($s->{counts});
    return;
}

sub open_pair {
    my ($s, $client) = @_;

    return if !$client;
    $s->{counts}{connections}++;
    return close $client if $s->{mode}{refuse};

    my $server = connect_to($s->{target});
    return close $client if !$server;

    $_->blocking(0) for $client, $server;

    my $up = { socket => $client, to => $server, way => 'up', out => [] };
    my $down = { socket => $server, to => $client, way => 'down', out => [] };

    $up->{other} = $down;
    $down->{other} = $up;
    $_->{cut} = $s->{mode}{cut} for $up, $down;
    $s->{sides}{ fileno $client } = $up;
    $s->{sides}{ fileno $server } = $down;
    return;
}

sub readable {
    my ($s, $socket) = @_;

    my $side = $s->{sides}{ fileno $socket };
    return 0 if ($s->{mode}{ $side->{way} } || '') eq 'hold';
    return @{ $side->{out} } < 64;
}

sub take {
    my ($s, $side) = @_;

    return if !$side;
    my $size = $s->{mode}{rate} ? 1 + int($s->{mode}{rate} / 50) : 65_536;
    my $bytes;
    my $n = sysread $side->{socket}, $bytes, $size;

    return if !defined $n && $!{EAGAIN};
    return close_pair($s, $side) if !$n;

    $s->{counts}{ $side->{way} } += $n;
    return if ($s->{mode}{ $side->{way} } || '') eq 'drop';

    my $due = now() + ($s->{mode}{delay} || 0);
    if ($s->{mode}{rate}) {
        my $last = $side->{last_due} || 0;
        $due = $last if $last > $due;
        $due += $n / $s->{mode}{rate};
        $side->{last_due} = $due;
    }

    push @{ $side->{out} }, [ $due, $bytes ];
    return;
}

sub pause {
    my ($s) = @_;

    my $wait = 0.5;
    for my $side (values %{ $s->{sides} }) {
        next if !@{ $side->{out} };
        my $left = $side->{out}[0][0] - now();
        $left = 0.001 if $left < 0.001;
        $wait = $left if $left < $wait;
    }
    return $wait;
}

sub flush {
    my ($s) = @_;

    my @sides = values %{ $s->{sides} };

    for my $side (@sides) {
        while (@{ $side->{out} } && $side->{out}[0][0] <= now()) {
            my $bytes = $side->{out}[0][1];
            $bytes = substr $bytes, 0, $side->{cut} if defined $side->{cut};

            my $n = length $bytes ? syswrite($side->{to}, $bytes) : 0;
            last if !defined $n && $!{EAGAIN};
            if (!defined $n) { close_pair($s, $side); last }

            substr($side->{out}[0][1], 0, $n) = '';
            shift @{ $side->{out} } if $side->{out}[0][1] eq '';

            if (defined $side->{cut} && ($side->{cut} -= $n) <= 0) {
                close_pair($s, $side);
                last;
            }
        }
    }
    return;
}

sub close_pair {
    my ($s, $side) = @_;

    return if !$side->{other};           # closed a moment ago

    for my $one ($side, $side->{other}) {
        my $fd = fileno $one->{socket};
        delete $s->{sides}{$fd} if defined $fd;
    }

    close $side->{socket};
    close $side->{to};
    delete $side->{other}{other};
    delete $side->{other};
    return;
}

1;
