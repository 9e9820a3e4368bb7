package IDash::RedisClient;

# A Redis client in plain Perl: RESP2, pipelines, errors as objects.

use strict;
use warnings;

use IO::Select;

use IDash::Wait;

sub new {
    my ($class, $addr, %opt) = @_;

    my $socket = connect_to($addr) or die "Redis at $addr: $!\n";
    my $self = bless {
        addr => $addr, socket => $socket, in => '', timeout => 30, %opt
    }, $class;

    $self->call('AUTH', @{ $opt{auth} }) if $opt{auth};
    return $self;
}

# call('SET', 'k', 'v'): the reply; dies on an error reply ("OOM ..").
sub call {
    my ($self, @argv) = @_;

    my $reply = $self->try(@argv);
    die "Redis $argv[0]: $$reply\n" if ref $reply eq 'IDash::RedisError';
    return $reply;
}

# As call, but an error reply is returned (a blessed scalar reference).
sub try {
    my ($self, @argv) = @_;

    $self->send(@argv);
    return $self->reply;
}

sub send {
    my ($self, @argv) = @_;

    my $out = '*' . @argv . "\r\n";
    for my $arg (@argv) {
        utf8::encode($arg) if utf8::is_utf8($arg);
        $out .= '$' . length($arg) . "\r\n$arg\r\n";
    }

    my $off = 0;
    local $SIG{PIPE} = 'IGNORE';
    while ($off < length $out) {
        my $n = syswrite $self->{socket}, $out, length($out) - $off, $off;
        die "Redis write: $!\n" if !defined $n;
        $off += $n;
    }
    return;
}

sub reply {
    my ($self) = @_;

    my $line = $self->line;
    my ($type, $rest) = $line =~ /^(.)(.*)$/s
        or die "Redis sent '$line'\n";

    return $rest if $type eq '+';
    return bless \$rest, 'IDash::RedisError' if $type eq '-';
    return $rest + 0 if $type eq ':';

    if ($type eq '$') {
        return undef if $rest < 0;
        $self->fill($rest + 2);
        my $bytes = substr $self->{in}, 0, $rest;
        substr($self->{in}, 0, $rest + 2) = '';
        return $bytes;
    }

    if ($type eq '*') {
        return undef if $rest < 0;
        return [ map { $self->reply } 1 .. $rest ];
    }

    die "Redis sent a reply of type '$type'\n";
}

sub line {
    my ($self) = @_;

    my $at;
    while (($at = index $self->{in}, "\r\n") < 0) {
        $self->fill(length($self->{in}) + 1);
    }

    my $line = substr $self->{in}, 0, $at;
    substr($self->{in}, 0, $at + 2) = '';
    return $line;
}

sub fill {
    my ($self, $want) = @_;

    my $select = IO::Select->new($self->{socket});

    while (length $self->{in} < $want) {
        die "Redis: no reply within $self->{timeout} s\n"
            if !$select->can_read($self->{timeout});
        my $n = sysread $self->{socket}, $self->{in}, 262_144,
            length $self->{in};
        die 'Redis closed the connection' . (defined $n ? '' : ": $!") . "\n"
            if !$n;
    }
    return;
}

# A stream's entries as [id, {field => value}], oldest first.
sub entries {
    my ($self, $stream, %opt) = @_;

    my $reply = $self->call('XRANGE', $stream || 'idash:capture',
        $opt{from} || '-', '+', $opt{count} ? ('COUNT', $opt{count}) : ());

    return map { [ $_->[0], { @{ $_->[1] } } ] } @$reply;
}

# INFO as a hash.
sub info {
    my ($self, @section) = @_;

    my $text = $self->call('INFO', @section);
    return { $text =~ /^(\w+):(.*?)\r?$/mg };
}

1;
