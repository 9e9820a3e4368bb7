package IDash::HTTP;

# A raw HTTP/1 client: what goes out and what came back, byte for byte.

use strict;
use warnings;

use IO::Select;
use Time::HiRes ();

use IDash::Wait;

# request(addr, method, path, headers => [[n, v], ..], body => bytes,
#     chunked => [bytes, ..], raw => bytes instead of all that, timeout => s)
# gives { status, reason, headers => [[n, v]], body, head, raw, complete }.
sub request {
    my ($addr, $method, $path, %opt) = @_;

    my $c = __PACKAGE__->new($addr, %opt);
    $c->send(exists $opt{raw} ? $opt{raw}
        : message($method, $path, close => 1, %opt));
    return $c->response(method => $method);
}

# The bytes of a request.
sub message {
    my ($method, $path, %opt) = @_;

    my @headers = @{ $opt{headers} || [] };
    my %have = map { lc $_->[0] => 1 } @headers;

    unshift @headers, [ 'Host', $opt{host} || 'localhost' ] if !$have{host};
    push @headers, [ 'Connection', 'close' ]
        if $opt{close} && !$have{connection};

    my $body = '';
    if ($opt{chunked}) {
        push @headers, [ 'Transfer-Encoding', 'chunked' ];
        $body = join '', map { sprintf("%x\r\n", length) . "$_\r\n" }
            @{ $opt{chunked} };
        $body .= "0\r\n\r\n";

    } elsif (defined $opt{body}) {
        $body = $opt{body};
        utf8::encode($body) if utf8::is_utf8($body);
        push @headers, [ 'Content-Length', length $body ]
            if !$have{'content-length'};
    }

    return "$method $path HTTP/" . ($opt{version} || '1.1') . "\r\n"
        . join('', map { "$_->[0]: $_->[1]\r\n" } @headers)
        . "\r\n" . $body;
}

# A connection that is kept.
sub new {
    my ($class, $addr, %opt) = @_;

    my $socket = connect_to($addr) or die "connect $addr: $!\n";
    return bless {
        socket => $socket, in => '', eof => 0,
        timeout => $opt{timeout} || 30,
    }, $class;
}

sub send {
    my ($self, $bytes) = @_;

    local $SIG{PIPE} = 'IGNORE';
    my $off = 0;
    while ($off < length $bytes) {
        my $n = syswrite $self->{socket}, $bytes, length($bytes) - $off, $off;
        return 0 if !defined $n;        # the peer closed; its answer counts
        $off += $n;
    }
    return 1;
}

sub close {
    my ($self) = @_;

    close $self->{socket};
    return;
}

# Reads more; false at the end of the stream or at the time limit.
sub more {
    my ($self) = @_;

    return 0 if $self->{eof};

    if (!IO::Select->new($self->{socket})->can_read($self->{timeout})) {
        $self->{timed_out} = 1;
        return 0;
    }

    my $n = sysread $self->{socket}, $self->{in}, 262_144, length $self->{in};
    $self->{eof} = 1 if !$n;
    return $n ? 1 : 0;
}

# Everything until the peer closes.
sub rest {
    my ($self) = @_;

    1 while $self->more;
    return delete $self->{in};
}

# One response; interim ones (100, 103) are collected in {interim}.
sub response {
    my ($self, %opt) = @_;
    my @interim;

    while (1) {
        my $r = $self->head or return $self->broken;

        if ($r->{status} >= 100 && $r->{status} < 200 && $r->{status} != 101) {
            push @interim, $r;
            next;
        }

        $r->{interim} = \@interim;
        $self->body($r, $opt{method} || 'GET') if $r->{status} != 101;
        return $r;
    }
}

sub broken {
    my ($self) = @_;

    return { status => 0, headers => [], body => '', head => '',
        raw => $self->{in}, complete => 0, timed_out => $self->{timed_out} };
}

sub head {
    my ($self) = @_;

    my $at;
    while (($at = index $self->{in}, "\r\n\r\n") < 0) {
        return if !$self->more;
    }

    my $head = substr $self->{in}, 0, $at + 4;
    substr($self->{in}, 0, $at + 4) = '';

    my ($line, @lines) = split /\r\n/, $head;
    my ($status, $reason) = $line =~ m{^HTTP/1\.[01] (\d{3}) ?(.*)$}
        or return;

    return {
        status => $status + 0, reason => $reason, head => $head,
        headers => [ map { [ /^([^:]+):\s*(.*?)\s*$/ ] } @lines ],
        body => '', complete => 0,
    };
}

sub body {
    my ($self, $r, $method) = @_;

    my $length = header($r, 'Content-Length');
    my $coding = lc(header($r, 'Transfer-Encoding') // '');
    my $start = time;

    if ($method eq 'HEAD' || $r->{status} =~ /^(204|304)$/) {
        $r->{complete} = 1;

    } elsif ($coding eq 'chunked') {
        $self->chunks($r);

    } elsif (defined $length) {
        1 while length $self->{in} < $length && $self->more;
        $r->{body} = substr $self->{in}, 0, $length, '';
        $r->{complete} = length $r->{body} == $length ? 1 : 0;

    } else {
        $r->{body} = $self->rest;
        $self->{in} = '';
        $r->{complete} = $self->{eof};
    }

    $r->{raw} = $r->{head} . $r->{body};
    return;
}

sub chunks {
    my ($self, $r) = @_;

    while (1) {
        my $at;
        while (($at = index $self->{in}, "\r\n") < 0) {
            return if !$self->more;
        }

        my ($hex) = substr($self->{in}, 0, $at) =~ /^([0-9a-fA-F]+)/
            or return;
        my $n = hex $hex;

        1 while length $self->{in} < $at + 2 + $n + 2 && $self->more;
        return if length $self->{in} < $at + 2 + $n + 2;

        $r->{body} .= substr $self->{in}, $at + 2, $n;
        push @{ $r->{chunks} }, $n;
        substr($self->{in}, 0, $at + 2 + $n + 2) = '';

        if ($n == 0) {
            $r->{complete} = 1;
            return;
        }
    }
}

# The first value of a header, or undef; in list context all of them.
sub header {
    my ($r, $name) = @_;

    my @values = map { $_->[1] } grep { lc $_->[0] eq lc $name }
        @{ $r->{headers} };
    return wantarray ? @values : $values[0];
}

1;
