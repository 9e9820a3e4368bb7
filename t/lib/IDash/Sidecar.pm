package IDash::Sidecar;

# integrationd: configuration, start, keys, REST.

use strict;
use warnings;

use IDash::HTTP ();
use IDash::Process;
use IDash::Wait;

my $count = 0;

# start(redis => IDash::Redis, store => "sqlite:..", conf => { key => value },
#     env => {}, beside => another IDash::Sidecar: same store and secret)
sub start {
    my ($class, %opt) = @_;

    my $self = $class->prepare(%opt);
    $self->run;
    return $self;
}

sub prepare {
    my ($class, %opt) = @_;

    my $dir = IDash::Process::dir('sidecar' . ++$count);
    my $self = bless { dir => $dir, opt => \%opt, socket => "$dir/api.s" },
        $class;
    my $beside = $opt{beside};

    $self->{store} = $beside ? $beside->{store}
        : $opt{store} || "sqlite:$dir/dash.db";

    my %conf = (
        store => $self->{store}, listen => $self->{socket},
        listen_mode => '0666', roles => 'drain,api', log_level => 'info',
        $opt{redis}
            ? (redis => ref $opt{redis} ? $opt{redis}->socket : $opt{redis})
            : (),
        $self->{store} =~ /^mongodb/
            ? (secret_file => $self->secret_file($beside)) : (),
        %{ $opt{conf} || {} },
    );

    write_file("$dir/conf", join '', map {
        $conf{$_} =~ /^-?\d+$/ && $_ !~ /mode/ ? "$_ = $conf{$_}\n"
            : "$_ = \"$conf{$_}\"\n"
    } sort keys %conf);
    IDash::Process::at_end(sub { $self->clean_log });
    return $self;
}

sub secret_file {
    my ($self, $beside) = @_;

    return $self->{secret} = $beside->{secret} if $beside;

    my $path = $self->{secret} = "$self->{dir}/secret";
    open my $random, '<:raw', '/dev/urandom' or die "/dev/urandom: $!";
    read $random, my $bytes, 32;
    write_file($path, $bytes);
    chmod 0400, $path;
    return $path;
}

sub binary { return build_dir() . '/integrationd' }

sub run {
    my ($self) = @_;

    unlink $self->{socket};
    my @wrap = @{ $self->{opt}{wrap} || [] };
    $self->{pid} = IDash::Process::spawn('integrationd',
        [ @wrap, binary(), 'run', '-c', "$self->{dir}/conf" ],
        out => "$self->{dir}/log", env => $self->{opt}{env});

    return $self if $self->{opt}{no_wait};

    wait_for(sub {
        IDash::Process::alive($self->{pid})
            or die "integrationd ended:\n" . $self->tail;
        return eval { $self->get('/healthz')->{status} == 200 };
    }) or die "integrationd does not answer\n" . $self->tail;

    return $self;
}

# A subcommand: (exit status, output of both).
sub command {
    my ($self, @argv) = @_;

    my $pid = open my $fh, '-|';
    die "fork: $!" if !defined $pid;

    if ($pid == 0) {
        open STDERR, '>&', \*STDOUT;
        my $name = shift @argv;
        exec binary(), $name, '-c', "$self->{dir}/conf", @argv
            or POSIX::_exit(127);
    }

    local $/;
    my $out = <$fh>;
    close $fh;
    return ($? >> 8, $out // '');
}

# An API key, made on the store itself; an admin of the platform by default.
sub key {
    my ($self, @argv) = @_;

    @argv = ('--role', 'admin', '--org', '0') if !@argv;

    my ($status, $out) = $self->command('key', 'create', @argv);
    die "key create: $out" if $status != 0;
    $out =~ /(idash_\w+)/ or die "no key in: $out";
    return $1;
}

# get('/api/v1/logs?..', key => .., headers => [..])
sub get {
    my ($self, $path, %opt) = @_;
    return $self->call('GET', $path, %opt);
}

sub call {
    my ($self, $method, $path, %opt) = @_;

    my $key = delete $opt{key};
    push @{ $opt{headers} ||= [] }, [ 'Authorization', "Bearer $key" ]
        if defined $key;

    my $r = IDash::HTTP::request($self->{socket}, $method, $path, %opt);
    $r->{json} = eval { from_json($r->{body}) };
    return $r;
}

# All logs that the filter lets through, page by page.
sub logs {
    my ($self, $key, $filter) = @_;
    my ($path, @all) = ('/api/v1/logs?limit=200' . ($filter ? "&$filter" : ''));

    while (defined $path) {
        my $r = $self->get($path, key => $key);
        die "GET $path: $r->{status} $r->{body}\n" if $r->{status} != 200;
        push @all, @{ $r->{json}{data} };

        my $next = $r->{json}{page}{next};
        $path = defined $next ? '/api/v1/logs?limit=200'
            . ($filter ? "&$filter" : '') . "&cursor=$next" : undef;
    }

    return @all;
}

sub pid { return $_[0]{pid} }
sub dir { return $_[0]{dir} }
sub socket { return $_[0]{socket} }
sub store { return $_[0]{store} }
sub tail { return slurp_tail("$_[0]{dir}/log", 20) }

sub log_text {
    my ($self) = @_;
    return -e "$self->{dir}/log" ? read_file("$self->{dir}/log") : '';
}

sub stop {
    my ($self, $signal) = @_;
    return IDash::Process::stop($self->{pid}, $signal || 'TERM');
}

sub kill9 { return $_[0]->stop('KILL') }
sub freeze { kill 'STOP', $_[0]{pid}; return }
sub thaw { kill 'CONT', $_[0]{pid}; return }

# Holds SQLite's write lock from a process of its own, until unlock_store.
sub lock_store {
    my ($self) = @_;
    my ($path) = $self->{store} =~ /^sqlite:(.*)/;

    my $pid = open my $fh, '|-', 'sqlite3', $path or die "sqlite3: $!";
    $fh->autoflush(1);
    print $fh ".timeout 5000\nBEGIN IMMEDIATE;\n.shell touch $path.locked\n";
    wait_for(sub { -e "$path.locked" }) or die "the store is not locked\n";
    unlink "$path.locked";
    return $fh;
}

sub unlock_store {
    my ($self, $fh) = @_;

    print $fh "ROLLBACK;\n";
    close $fh;
    return;
}

# What SQLite's own shell answers, read beside the writer.
sub sql {
    my ($self, $query) = @_;
    my ($path) = $self->{store} =~ /^sqlite:(.*)/;

    my $out = `sqlite3 -readonly -cmd '.timeout 5000' '$path' '$query'`;
    chomp $out;
    return $out;
}

# A counter of the metrics, such as drain_read; 0 before it is there.
sub counter {
    my ($self, $name) = @_;

    $self->{metrics_key} ||= $self->key;
    my $r = $self->get('/api/v1/metrics', key => $self->{metrics_key});
    die "metrics: $r->{status} $r->{body}\n" if $r->{status} != 200;
    my $text = $r->{body};
    return $text =~ /^integrationd_${name}_total(?:\{.*\})? (\d+)/m ? $1 : 0;
}

sub dead_letters { return 0 + $_[0]->sql('SELECT count(*) FROM dead_letter') }

sub clean_log {
    my ($self) = @_;

    my @bad = grep { /(?:Address|Leak|Thread)Sanitizer|runtime error:/ }
        split /\n/, $self->log_text;
    return 1 if !@bad;

    splice @bad, 20;
    print STDERR "# integrationd reported:\n";
    print STDERR "#   $_\n" for @bad;
    return 0;
}

1;
