package IDash::Capture;

# Two nginx of one configuration side by side: one captures, the other does
# not even load the module.  A test compares what clients got from both, and
# looks at the record that the first one left in Redis.

use strict;
use warnings;

use IDash::HTTP ();
use IDash::Nginx;
use IDash::Peer;
use IDash::Redis;
use IDash::Wait;
use Test::More;

# new(%opt): options of IDash::Nginx->start; {redis} is made when not given.
sub new {
    my ($class, %opt) = @_;

    my $redis = $opt{redis} || IDash::Redis->start;
    my %plain = %opt;

    for my $part (qw(main http server location)) {
        $plain{$part} =~ s/(?<![\$\w\/])capture\w*\b(?:\{\{\w+\}\}|[^;{}])*;//g
            if $plain{$part};
    }

    return bless {
        redis => $redis, last => '-',
        on => IDash::Nginx->start(%opt, redis => $redis),
        off => IDash::Nginx->start(%plain, module => 0, redis => undef),
    }, $class;
}

sub on { return $_[0]{on} }
sub redis { return $_[0]{redis} }

# Runs CODE->($nginx) on both, compares what it returns (a response, or text),
# gives the response of the capturing one and its record.
sub exchange {
    my ($self, $name, $code) = @_;

    my $off = $code->($self->{off});
    my $on = $code->($self->{on});

    is($self->text($on), $self->text($off), "$name: client bytes");
    return ($on, $self->record($name));
}

# Bytes of a response without what differs between any two runs.
sub text {
    my ($self, $res) = @_;

    my $text = ref $res ? $res->{raw} // $res->{head} : $res;
    $text =~ s/^(Date|Last-Modified): [^\r\n]*/$1: -/mgi;
    $text =~ s/\b(?:$self->{on}{port}|$self->{off}{port})\b/PORT/g;
    return $text;
}

# The next record; fails the test when none comes.
sub record {
    my ($self, $name) = @_;

    my ($entry) = $self->records(1);
    ok($entry, "$name: a record") or return {};
    return $entry;
}

# The next N records.
sub records {
    my ($self, $n) = @_;

    my @new;
    wait_for(sub {
        @new = $self->fresh;
        @new >= $n;
    });

    splice @new, $n if @new > $n;
    $self->{last} = "($new[-1][0]" if @new;
    return map { $_->[1] } @new;
}

sub fresh {
    my ($self) = @_;
    return $self->{redis}->entries('idash:capture', from => $self->{last});
}

# That nothing else was recorded: a marker request must come next.
sub quiet {
    my ($self, $name, $path) = @_;

    $self->{on}->get($path);
    my $record = $self->record($name);
    is($record->{uri}, $path, "$name: no other record");
    return;
}

# A scripted API.  The path says what it does:
#   /echo           the request's body      /size/N[/type]   N bytes of a pattern
#   /chunked/N/M    N chunks of M bytes     /status/N        that status
#   /drop           closes unanswered       /half/N          N of 2N bytes
#   /stall/N        as half, then waits     /hang            never answers
#   /sse            an event, then waits
#   /raw            what header X-Raw says, with \r\n in it, as it is
sub api {
    my (%opt) = @_;

    return IDash::Peer->upstream(sub {
        my ($req, $socket) = @_;
        return answer($req, $socket, $req->{uri} =~ m{([^/?]+)}g);
    }, %opt);
}

sub pattern {
    my ($n) = @_;

    my $text = '';
    my $i = 0;
    $text .= sprintf "%07d\n", $i++ while length $text < $n;
    return substr $text, 0, $n;
}

sub answer {
    my ($req, $socket, $what, $n, $more, @rest) = @_;

    $what //= '';

    return { body => $req->{body}, type => 'text/plain' } if $what eq 'echo';
    return { body => pattern($n), type => $more ? "$more/$rest[0]"
        : 'text/plain' } if $what eq 'size';
    return { status => $n, body => "{\"status\":$n}" } if $what eq 'status';
    return if $what eq 'drop';

    if ($what eq 'chunked') {
        return "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
            . "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
            . (sprintf("%x\r\n", $more) . pattern($more) . "\r\n") x $n
            . "0\r\n\r\n";
    }

    if ($what eq 'half' || $what eq 'stall') {
        my $part = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
            . 'Content-Length: ' . 2 * $n . "\r\n\r\n" . pattern($n);
        return $part if $what eq 'half';
        syswrite $socket, $part;
        sysread $socket, my $byte, 1;
        return;
    }

    if ($what eq 'sse') {
        syswrite $socket, "HTTP/1.1 200 OK\r\n"
            . "Content-Type: text/event-stream\r\n\r\ndata: one\n\n";
        sysread $socket, my $byte, 1;
        return;
    }

    if ($what eq 'raw') {
        my $raw = IDash::HTTP::header($req, 'X-Raw');
        $raw =~ s/\\r/\r/g;
        $raw =~ s/\\n/\n/g;
        return $raw;
    }

    if ($what eq 'hang') {
        sysread $socket, my $byte, 1;
        return;
    }

    return { body => "{\"path\":\"$req->{uri}\"}" };
}

1;
