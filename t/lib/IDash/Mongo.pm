package IDash::Mongo;

# A private server of the Mongo protocol (t/lib/mongo-server tells which), and
# a relay in front of it that knows where a message ends, to lose, delay or
# falsify the answers to inserts of logs.

use strict;
use warnings;

use IO::Select;
use IO::Socket::UNIX;
use Test::More ();

use IDash::Peer;
use IDash::Process;
use IDash::Wait;

my $count = 0;

# Why there is no server, undef when there is one.  In CI that dies instead.
sub missing {
    my ($text, $status) = find();

    return undef if $status == 0;
    die $text if $ENV{CI};
    chomp $text;
    return $text;
}

# "uri", "mongod" or "ferretdb"; of what is not missing.
sub kind { return (split ' ', (find())[0])[0] }

sub find {
    my $tool = root_dir() . '/t/lib/mongo-server';
    my $text = `$tool find 2>&1`;

    return ($text, $?);
}

# True when MONGO_URI names a server, which is then not ours to kill.
sub is_foreign { return ($ENV{MONGO_URI} // '') ne '' }

# The whole of t/NAME.t, whose `our $store` is such a server: for files that
# hold no more than this.
sub rerun {
    my ($name) = @_;

    my $missing = missing();
    Test::More::plan(skip_all => $missing) if defined $missing;

    my $server = IDash::Mongo->start;
    my $file = root_dir() . "/t/$name.t";

    package main;                          # which is where it is compiled
    our $store = $server->uri("${name}_$$");
    do $file or die $@ || $!;
    return $server;
}

sub start {
    my ($class) = @_;

    my $dir = IDash::Process::dir('mongo' . ++$count);
    my $self = bless { dir => $dir }, $class;

    return is_foreign() ? $self : $self->restart;
}

sub restart {
    my ($self) = @_;

    unlink "$self->{dir}/uri";
    $self->{pid} = IDash::Process::spawn('mongo-server',
        [ root_dir() . '/t/lib/mongo-server', 'run', $self->{dir} ],
        out => "$self->{dir}/out");

    wait_for(sub {
        IDash::Process::alive($self->{pid}) or die 'mongo-server ended: '
            . slurp_tail("$self->{dir}/out", 5);
        return -s "$self->{dir}/uri"
            && IO::Socket::UNIX->new(Peer => $self->socket);
    }) or die "mongo-server does not answer\n";

    return $self;
}

sub socket { return "$_[0]{dir}/mongo.sock" }

# uri(database, option => value): each test has a database of its own.
sub uri {
    my ($self, $db, %opt) = @_;

    my $uri = is_foreign() ? $ENV{MONGO_URI} : read_file("$self->{dir}/uri");
    return with_database($uri, $db, %opt);
}

sub with_database {
    my ($uri, $db, %opt) = @_;

    $uri =~ s/\s+\z//;
    my ($hosts, $query) = $uri =~ m{^(mongodb(?:\+srv)?://[^/?]+)[^?]*(?:\?(.*))?}
        or die "not a mongodb URI\n";
    my @options = ((defined $query ? $query : ()),
        map { "$_=$opt{$_}" } sort keys %opt);

    return "$hosts/$db" . (@options ? '?' . join('&', @options) : '');
}

sub freeze { kill 'STOP', $_[0]{pid}; return }
sub thaw { kill 'CONT', $_[0]{pid}; return }

sub kill_hard {
    my ($self) = @_;

    IDash::Process::stop($self->{pid}, 'KILL');
    return;
}

sub stop {
    my ($self) = @_;
    return IDash::Process::stop($self->{pid});
}

# --- the relay ---
#
# fault(mode, every): every n-th insert of logs
#   lost      is done, and the connection closed instead of the answer
#   wtimeout  is done, and the answer gets a write concern error
#   slow      waits SECONDS before it is done

sub relay {
    my ($self) = @_;

    my $relay = bless { file => IDash::Process::dir() . '/relay' . ++$count },
        'IDash::Mongo::Relay';
    my $target = $self->socket;

    $relay->fault('none', 1);
    $relay->{peer} = IDash::Peer->start(sub {
        my ($client) = @_;
        IDash::Mongo::Relay::serve($relay->{file}, $client, $target);
    });
    return $relay;
}

package IDash::Mongo::Relay;

use IDash::Wait;

sub fault {
    my ($self, $mode, $every, $seconds) = @_;

    write_file("$self->{file}.new", join ' ', $mode, $every, $seconds || 0);
    rename "$self->{file}.new", $self->{file} or die "$self->{file}: $!";
    return;
}

sub uri {
    my ($self, $db, %opt) = @_;
    return IDash::Mongo::with_database('mongodb://' . $self->{peer}->addr, $db,
        %opt);
}

# How many answers were falsified.
sub faults { return -s "$_[0]{file}.count" || 0 }

sub serve {
    my ($file, $client, $target) = @_;

    my $server = IO::Socket::UNIX->new(Peer => $target) or return;
    my %in = ($client => '', $server => '');
    my %faulty;
    my $select = IO::Select->new($client, $server);

    while (1) {
        for my $from ($select->can_read) {
            sysread $from, $in{$from}, 65_536, length $in{$from} or return;

            while (defined(my $message = cut_message(\$in{$from}))) {
                if ($from == $client) {
                    ask($file, \%faulty, $message);
                    send_all($server, $message);

                } else {
                    my $fault = delete $faulty{ unpack 'x8 V', $message };
                    return if $fault && $fault eq 'lost';
                    $message = with_write_concern_error($message)
                        if $fault && $fault eq 'wtimeout';
                    send_all($client, $message);
                }
            }
        }
    }
}

sub cut_message {
    my ($buffer) = @_;

    return undef if length $$buffer < 4;
    my $length = unpack 'V', $$buffer;
    return undef if length $$buffer < $length;
    return substr $$buffer, 0, $length, '';
}

# Notes that the answer to this message shall be falsified.
sub ask {
    my ($file, $faulty, $message) = @_;

    return if $message !~ /^.{12}\xdd\x07\0\0.{5}.{0,80}\x02insert\0.{4}integration_directory\0/s;

    my ($mode, $every, $seconds) = split / /, read_file($file);
    return if $mode eq 'none';

    append_file("$file.seen", '.');
    return if (-s "$file.seen") % $every;

    append_file("$file.count", '.');
    select undef, undef, undef, $seconds if $mode eq 'slow';
    $faulty->{ unpack 'x4 V', $message } = $mode;
    return;
}

# OP_MSG, one section of kind 0: header 16, flags 4, kind 1, document.
sub with_write_concern_error {
    my ($message) = @_;

    my $text = 'waiting for replication timed out';
    my $error = "\x10code\0" . pack('V', 64)
        . "\x02errmsg\0" . pack('V', 1 + length $text) . "$text\0";
    my $sub = pack('V', 5 + length $error) . $error . "\0";
    my $body = substr($message, 25, -1) . "\x03writeConcernError\0$sub\0";
    my $document = pack('V', 4 + length $body) . $body;
    my $rest = substr($message, 4, 17) . $document;

    return pack('V', 4 + length $rest) . $rest;
}

sub send_all {
    my ($to, $bytes) = @_;

    while (length $bytes) {
        my $n = syswrite $to, $bytes or POSIX::_exit(0);
        substr $bytes, 0, $n, '';
    }

    return;
}

1;
