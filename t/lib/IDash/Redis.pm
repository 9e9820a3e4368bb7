package IDash::Redis;

# A private redis-server on a unix socket (and a TCP port when asked).

use strict;
use warnings;

use IDash::Process;
use IDash::RedisClient;
use IDash::Wait;

my $count = 0;

# start(aof => 1, maxmemory => '8mb', port => 1, conf => "text", acl => "text",
#     wrap => [ command .. ])
sub start {
    my ($class, %opt) = @_;

    my $dir = IDash::Process::dir('redis' . ++$count);
    my $self = bless { dir => $dir, socket => "$dir/s", opt => \%opt }, $class;

    $self->{port} = $opt{port} ? free_port() : 0;
    write_file("$dir/conf", $self->conf);
    $self->restart;
    return $self;
}

sub conf {
    my ($self) = @_;

    my $o = $self->{opt};
    my $text = <<"EOF_CONF";
port $self->{port}
bind 127.0.0.1
unixsocket $self->{socket}
unixsocketperm 777
dir $self->{dir}
daemonize no
logfile $self->{dir}/log
save ""
stream-node-max-bytes 64kb
maxmemory-policy noeviction
enable-debug-command local
EOF_CONF

    $text .= "appendonly yes\nappendfsync " . ($o->{fsync} || 'everysec')
        . "\n" if $o->{aof};
    $text .= "maxmemory $o->{maxmemory}\n" if $o->{maxmemory};

    if ($o->{acl}) {
        write_file("$self->{dir}/acl", $o->{acl});
        $text .= "aclfile $self->{dir}/acl\n";
    }

    return $text . ($o->{conf} || '');
}

# Starts the server (again); a private port stays the same.
sub restart {
    my ($self) = @_;

    unlink $self->{socket};
    $self->{pid} = IDash::Process::spawn('redis-server',
        [ @{ $self->{opt}{wrap} || [] }, 'redis-server', "$self->{dir}/conf" ],
        out => "$self->{dir}/out");

    wait_for(sub {
        IDash::Process::alive($self->{pid}) or die "redis-server ended: "
            . slurp_tail("$self->{dir}/log", 5)
            . slurp_tail("$self->{dir}/out", 5);
        my $reply = eval { $self->client->try('PING') };
        return defined $reply
            && (!ref $reply || $$reply =~ /^(NOAUTH|NOPERM|MASTERDOWN)/);
    }) or die "redis-server does not answer\n";

    return $self;
}

# A new connection; call() keeps one of its own.
sub client {
    my ($self, @opt) = @_;
    return IDash::RedisClient->new($self->{socket}, @opt);
}

sub call {
    my ($self, @argv) = @_;

    my $reply = eval {
        $self->{conn} ||= $self->client(%{ $self->{opt}{client} || {} });
        $self->{conn}->try(@argv);
    };

    if ($@) {                           # it was restarted, perhaps
        $self->{conn} = $self->client(%{ $self->{opt}{client} || {} });
        $reply = $self->{conn}->try(@argv);
    }

    die "Redis $argv[0]: $$reply\n" if ref $reply eq 'IDash::RedisError';
    return $reply;
}

sub entries {
    my ($self, @argv) = @_;

    $self->call('PING');
    return $self->{conn}->entries(@argv);
}

# Waits until the stream has N entries, returns them.
sub wait_entries {
    my ($self, $n, $stream) = @_;

    $stream ||= 'idash:capture';
    wait_for(sub { $self->call('XLEN', $stream) >= $n });
    return $self->entries($stream);
}

sub socket { return $_[0]{socket} }
sub port { return $_[0]{port} }
sub pid { return $_[0]{pid} }

sub stop {
    my ($self, $signal) = @_;

    delete $self->{conn};
    return IDash::Process::stop($self->{pid}, $signal || 'TERM');
}

sub kill9 { return $_[0]->stop('KILL') }
sub freeze { kill 'STOP', $_[0]{pid}; return }
sub thaw { kill 'CONT', $_[0]{pid}; return }

1;
