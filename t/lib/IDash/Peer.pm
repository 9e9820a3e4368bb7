package IDash::Peer;

# Scripted servers, forked: a TCP or unix peer that runs a sub for each
# connection, and on top of it an HTTP upstream that says exact bytes, waits,
# or cuts.  What it was sent is kept for the test to look at.

use strict;
use warnings;

use Fcntl qw(:flock);
use IO::Socket::INET;
use IO::Socket::UNIX;
use MIME::Base64 ();
use Time::HiRes ();

use IDash::HTTP ();
use IDash::Process;
use IDash::Wait;

my $count = 0;

# start(sub { my ($socket, $peer, $number) = @_; .. }, unix => 1, backlog => n,
#     listen => a socket that listens already)
sub start {
    my ($class, $code, %opt) = @_;

    my $n = ++$count;
    my $dir = IDash::Process::dir();
    my $self = bless { log => "$dir/peer$n.log", n => $n }, $class;

    my $listen = $opt{listen} ? $opt{listen} : $opt{unix}
        ? IO::Socket::UNIX->new(Local => $self->{path} = "$dir/peer$n.s",
            Listen => $opt{backlog} || 128)
        : IO::Socket::INET->new(LocalAddr => '127.0.0.1', ReuseAddr => 1,
            LocalPort => $opt{port} || 0, Listen => $opt{backlog} || 128);

    die "listen: $!" if !$listen;
    chmod 0777, $self->{path} if $opt{unix};
    $self->{port} = $listen->sockport if !$opt{unix};
    write_file($self->{log}, '');

    $self->{listen} = $listen if $opt{deaf};
    return $self if $opt{deaf};

    $self->{pid} = IDash::Process::spawn("peer$n", undef,
        code => sub { $self->serve($listen, $code) });
    close $listen;
    return $self;
}

# A black hole: two connect and hear nothing, the next hang.
sub black_hole {
    my ($class, %opt) = @_;
    return $class->start(undef, deaf => 1, backlog => 1, %opt);
}

sub serve {
    my ($self, $listen, $code) = @_;
    my $number = 0;

    local $SIG{CHLD} = 'IGNORE';
    local $SIG{PIPE} = 'IGNORE';

    while (1) {
        my $socket = $listen->accept or next;
        $number++;

        my $pid = fork();
        if (defined $pid && $pid == 0) {
            close $listen;
            $socket->autoflush(1);
            eval { $code->($socket, $self, $number); 1 }
                or print STDERR "# peer: $@";
            close $socket;
            POSIX::_exit(0);
        }

        close $socket;
    }
}

# "127.0.0.1:port" or "unix:/path", as nginx and capture_redis take it.
sub addr {
    my ($self) = @_;
    return $self->{path} ? "unix:$self->{path}" : "127.0.0.1:$self->{port}";
}

# For proxy_pass: http://host:port or http://unix:/path:
sub url {
    my ($self) = @_;

    return $self->{path} ? "http://unix:$self->{path}:"
                         : "http://127.0.0.1:$self->{port}";
}

sub port { return $_[0]{port} }

sub stop {
    my ($self, $signal) = @_;

    close $self->{listen} if $self->{listen};
    return IDash::Process::stop($self->{pid}, $signal || 'KILL');
}

# Called in the peer: keeps bytes for seen().
sub note {
    my ($self, $bytes) = @_;

    open my $fh, '>>', $self->{log} or die "$self->{log}: $!";
    flock $fh, LOCK_EX;
    syswrite $fh, MIME::Base64::encode_base64($bytes, '') . "\n";
    close $fh;
    return;
}

# Called in the test: all that was noted, in order.
sub seen {
    my ($self) = @_;

    return map { MIME::Base64::decode_base64($_) }
        split /\n/, read_file($self->{log});
}

# An HTTP upstream.  The handler gets ($request, $socket, $number of the
# request on this connection); request is { line, method, uri, headers, body,
# raw }.  It returns bytes (sent as they are), a hash { status, headers, body }
# or nothing, when it has written to the socket itself.  False {keep}: closed.
sub upstream {
    my ($class, $handler, %opt) = @_;

    $handler ||= sub { return { body => 'ok' } };

    return $class->start(sub {
        my ($socket, $self) = @_;
        my $in = IDash::Peer::Reader->new($socket);

        for (my $n = 1; my $req = $in->request; $n++) {
            $self->note($req->{raw});

            my $answer = $handler->($req, $socket, $n);
            last if !defined $answer;

            my $keep = ref $answer && ($answer->{keep} // 1);
            send_all($socket, ref $answer ? response($answer) : $answer);
            last if !$keep || $req->{close};
        }
    }, %opt);
}

sub send_all {
    my ($socket, $bytes) = @_;

    my $off = 0;
    while ($off < length $bytes) {
        my $n = syswrite $socket, $bytes, length($bytes) - $off, $off;
        return if !defined $n;
        $off += $n;
    }
    return;
}

sub response {
    my ($r) = @_;

    my $body = $r->{body} // '';
    my $status = $r->{status} || 200;
    my @headers = @{ $r->{headers} || [] };

    push @headers, [ 'Content-Type', $r->{type} || 'application/json' ]
        if !grep { lc $_->[0] eq 'content-type' } @headers;
    push @headers, [ 'Content-Length', length $body ];

    return "HTTP/1.1 $status " . ($r->{reason} || 'OK') . "\r\n"
        . join('', map { "$_->[0]: $_->[1]\r\n" } @headers) . "\r\n$body";
}

package IDash::Peer::Reader;

# Requests of one connection, de-chunked.

sub new {
    my ($class, $socket) = @_;
    return bless { socket => $socket, in => '' }, $class;
}

sub more {
    my ($self) = @_;

    return sysread $self->{socket}, $self->{in}, 65_536, length $self->{in};
}

sub request {
    my ($self) = @_;

    my $at;
    while (($at = index $self->{in}, "\r\n\r\n") < 0) {
        return if !$self->more;
    }

    my $head = substr $self->{in}, 0, $at + 4, '';
    my ($line, @lines) = split /\r\n/, $head;
    my ($method, $uri, $version) = split / /, $line;
    my $req = {
        line => $line, method => $method, uri => $uri,
        headers => [ map { [ /^([^:]+):\s*(.*?)\s*$/ ] } @lines ],
    };

    $req->{body} = $self->body($req) // return;
    $req->{raw} = $head . $req->{body};
    $req->{close} = $version eq 'HTTP/1.0'
        || (IDash::HTTP::header($req, 'Connection') // '') =~ /close/i;
    return $req;
}

sub body {
    my ($self, $req) = @_;

    if (IDash::HTTP::header($req, 'Transfer-Encoding')) {
        my $body = '';
        while (1) {
            while ($self->{in} !~ /\r\n/) { return if !$self->more }
            $self->{in} =~ s/^([0-9a-fA-F]+)[^\r\n]*\r\n// or return;
            my $n = hex $1;
            while (length $self->{in} < $n + 2) { return if !$self->more }
            $body .= substr $self->{in}, 0, $n;
            substr($self->{in}, 0, $n + 2) = '';
            return $body if $n == 0;
        }
    }

    my $n = IDash::HTTP::header($req, 'Content-Length') || 0;
    while (length $self->{in} < $n) { return if !$self->more }
    return substr $self->{in}, 0, $n, '';
}

1;
