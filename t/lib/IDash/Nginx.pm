package IDash::Nginx;

# nginx with the module and an inline configuration.  Workers never run as
# root.  At the end of the test the error log is searched for alerts and
# sanitizer reports: one that was not allowed fails the test.

use strict;
use warnings;

use IDash::HTTP ();
use IDash::Process;
use IDash::Wait;

my $count = 0;

# start(%opt): running, or dies with nginx' own words.
#
#   location  text inside "location / { }" of the one server
#   server    text inside "server { }" (instead of, or beside, location)
#   http      text inside "http { }"; with a server{} of its own give
#             server => undef, and listen {{port}} yourself
#   main      text at top level           workers   worker_processes, 1
#   redis     IDash::Redis or address: adds capture_redis and capture_buffer
#   module    0: do not load the capture module; modules => ['x.so'] others
#   listen    parameters after the address, such as "http2"
#   daemon    1: nginx forks away, as it must for an upgrade by USR2
#
# {{dir}} {{port}} {{ring}} {{redis}} {{spool}} in any text are replaced.
sub start {
    my ($class, %opt) = @_;

    my $self = $class->prepare(%opt);
    $self->run;
    return $self;
}

# As start, without starting: write the files only.
sub prepare {
    my ($class, %opt) = @_;

    my $dir = IDash::Process::dir('nginx' . ++$count);
    my $self = bless {
        dir => $dir, opt => \%opt, port => free_port(), allow => [],
        ring => IDash::Process::shm_dir(), binary => binary(),
    }, $class;

    for my $sub (qw(tmp spool www)) {
        mkdir "$dir/$sub";
        IDash::Process::give_to_workers("$dir/$sub");
    }

    $self->write_conf;
    IDash::Process::at_end(sub { $self->clean_log });
    return $self;
}

sub binary {
    return $ENV{NGINX_BINARY} if $ENV{NGINX_BINARY};

    my $built = build_dir() . '/nginx-san/sbin/nginx';
    return $built if $ENV{IDASH_SANITIZE} && -x $built;
    return -x '/usr/sbin/nginx' ? '/usr/sbin/nginx' : 'nginx';
}

sub module_path {
    return $ENV{CAPTURE_MODULE}
        || build_dir() . '/ngx_http_capture_module.so';
}

# each dynamic module of nginx has its own ngx_module_names: no ODR check;
# what nginx itself leaks (contexts of PCRE2) is none of ours
if ($ENV{IDASH_SANITIZE}) {
    $ENV{ASAN_OPTIONS} = 'detect_odr_violation=0:exitcode=99:'
        . ($ENV{ASAN_OPTIONS} // '');
    $ENV{UBSAN_OPTIONS} //= 'print_stacktrace=1';
    $ENV{LSAN_OPTIONS} //= 'print_suppressions=0:suppressions='
        . write_file(IDash::Process::dir() . '/leaks',
            "leak:ngx_regex_malloc\n");
}

my @VALGRIND = qw(valgrind --quiet --trace-children=yes --leak-check=full
    --errors-for-leak-kinds=definite --error-exitcode=99);

# nginx -t on texts as of start: (ok, output).
sub check {
    my ($class, %opt) = @_;

    my $self = $class->prepare(%opt);
    my $dir = $self->{dir};
    return test_conf("-p $dir/ -c $dir/conf -e $dir/check.log"
        . " -g 'pid $dir/pid;'");
}

# nginx -t with options: (ok, output).  It leaves without freeing anything.
sub test_conf {
    my ($options) = @_;

    local $ENV{ASAN_OPTIONS} = 'detect_leaks=0:' . ($ENV{ASAN_OPTIONS} // '');
    my $binary = binary();
    my $out = `$binary -t $options 2>&1`;
    return ($? == 0, $out);
}

sub write_conf {
    my ($self, %change) = @_;

    my $o = $self->{opt};
    %$o = (%$o, %change);

    my $load = '';
    for my $file (($o->{module} // 1) ? module_path() : (),
        @{ $o->{modules} || [] })
    {
        $file = "/usr/lib/nginx/modules/$file" if $file !~ m{/};
        $load .= "load_module $file;\n";
    }

    my $text = $load . ($> == 0 ? "user www-data;\n" : '')
        . 'worker_processes ' . ($o->{workers} || 1) . ";\n"
        . ($o->{main} || '')
        . "\nevents {\n    worker_connections "
        . ($o->{connections} || 1024) . ";\n" . ($o->{events} || '') . "\n}\n"
        . "http {\n" . $self->http_part . "\n}\n";

    write_file("$self->{dir}/conf", $self->fill($text));
    return;
}

sub http_part {
    my ($self) = @_;

    my $o = $self->{opt};
    my $text = "    access_log off;\n";

    for my $kind (qw(client_body proxy fastcgi uwsgi scgi)) {
        $text .= "    ${kind}_temp_path $self->{dir}/tmp/$kind;\n";
    }

    my $given = join ' ', map { $o->{$_} // '' } qw(http server location);
    if (($o->{module} // 1) && $o->{redis}) {
        $text .= "    capture_redis {{redis}};\n"
            if $given !~ /(?:^|[;{])\s*capture_redis\s/m;
        $text .= "    capture_buffer 4m path={{ring}};\n"
            if $given !~ /(?:^|[;{])\s*capture_buffer\s/m;
    }

    $text .= ($o->{http} || '') . "\n";
    return $text if exists $o->{server} && !defined $o->{server};

    $text .= "    server {\n        listen 127.0.0.1:{{port}} "
        . ($o->{listen} || '') . ";\n" . ($o->{server} || '') . "\n";
    $text .= "        location / {\n$o->{location}\n        }\n"
        if defined $o->{location};
    return $text . "    }\n";
}

sub fill {
    my ($self, $text) = @_;

    my $redis = $self->{opt}{redis};
    $redis = 'unix:' . $redis->socket if ref $redis;

    my %value = (
        dir => $self->{dir}, port => $self->{port}, ring => $self->{ring},
        redis => $redis, spool => "$self->{dir}/spool",
    );

    $text =~ s/\{\{(\w+)\}\}/$value{$1} \/\/ die "no value for {{$1}}\n"/ge;
    return $text;
}

sub run {
    my ($self) = @_;

    for my $try (1 .. 5) {
        $self->launch;

        my $up = wait_for(sub {
            return 'ended' if !IDash::Process::alive($self->{pid});
            return -s "$self->{dir}/pid" && $self->listening && 'up';
        }) or die "nginx does not answer\n" . $self->tail;

        return $self if $up eq 'up';

        # another program took the port between our look and nginx' bind
        die "nginx did not start:\n" . $self->tail
            if $self->tail !~ /Address already in use/;
        truncate "$self->{dir}/error.log", 0;
        $self->{port} = free_port();
        $self->write_conf;
    }

    die "no free port for nginx\n";
}

sub launch {
    my ($self) = @_;

    my @argv = ($self->{binary}, '-p', "$self->{dir}/", '-c',
        "$self->{dir}/conf", '-e', "$self->{dir}/error.log", '-g',
        'daemon ' . ($self->{opt}{daemon} ? 'on' : 'off')
            . "; pid $self->{dir}/pid; "
            . "error_log $self->{dir}/error.log " . ($self->{opt}{log} || 'info') . ';');

    unshift @argv, @{ $self->{opt}{wrap} } if $self->{opt}{wrap};
    unshift @argv, @VALGRIND if $ENV{IDASH_VALGRIND};
    unlink "$self->{dir}/pid";
    $self->{pid} = IDash::Process::spawn('nginx', \@argv,
        out => "$self->{dir}/error.log", env => $self->{opt}{env});
    $self->follow if $self->{opt}{daemon};
    return;
}

# The daemon's pid is the one of the pid file; after USR2 it is another.
sub follow {
    my ($self) = @_;

    my $seen = $self->{pid};
    wait_for(sub { -s "$self->{dir}/pid" && $self->master != $seen })
        or return;
    $self->{pid} = IDash::Process::adopt($self->master, 'nginx');
    return;
}

sub listening {
    my ($self) = @_;

    return 1 if $self->{opt}{no_wait};
    return defined connect_to($self->addr);
}

sub addr { return "127.0.0.1:$_[0]{port}" }
sub port { return $_[0]{port} }
sub dir { return $_[0]{dir} }
sub ring { return $_[0]{ring} }
sub spool { return "$_[0]{dir}/spool" }

sub log_text {
    my ($self) = @_;

    return -e "$self->{dir}/error.log" ? read_file("$self->{dir}/error.log")
                                       : '';
}

sub tail { return slurp_tail("$_[0]{dir}/error.log", 20) }

# Master's pid now (USR2 changes it) and those of the workers.
sub master {
    my ($self) = @_;

    my $text = eval { read_file("$self->{dir}/pid") };
    return defined $text && $text =~ /^(\d+)/ ? $1 : $self->{pid};
}

sub workers {
    my ($self) = @_;
    return IDash::Process::children($self->master);
}

# Reload and wait until a worker of the new configuration runs.
sub reload {
    my ($self, %change) = @_;

    $self->write_conf(%change) if %change;

    my %old = map { $_ => 1 } $self->workers;
    kill 'HUP', $self->master;
    return wait_for(sub { grep { !$old{$_} } $self->workers });
}

sub signal {
    my ($self, $signal) = @_;

    kill $signal, $self->master;
    return;
}

# QUIT by default: graceful, so that the module drains.
sub stop {
    my ($self, $signal) = @_;
    return IDash::Process::stop($self->{pid}, $signal || 'QUIT');
}

# Master and workers at once, by kill -9.
sub kill9 {
    my ($self) = @_;

    kill 'KILL', $self->{pid}, $self->workers;
    IDash::Process::stop($self->{pid}, 'KILL');
    return;
}

# get('/path', %opt), post('/path', body, %opt): see IDash::HTTP::request.
sub get {
    my ($self, $path, %opt) = @_;
    return IDash::HTTP::request($self->addr, 'GET', $path, %opt);
}

sub post {
    my ($self, $path, $body, %opt) = @_;

    return IDash::HTTP::request($self->addr, 'POST', $path,
        body => $body, %opt);
}

# The module's counters, from a location with capture_status.
sub status {
    my ($self, $path) = @_;

    my $res = $self->get($path || '/capture_status');
    die "status $res->{status} of capture_status\n" if $res->{status} != 200;
    return from_json($res->{body});
}

# Lines that no test may cause unless it says so.
sub allow {
    my ($self, @patterns) = @_;

    push @{ $self->{allow} }, @patterns;
    return $self;
}

my $BAD = qr/\[(?:alert|emerg)\]
    |(?:Address|Leak|Thread|Memory)Sanitizer
    |runtime\ error:|exited\ on\ signal|^==\d+==.*(?:Invalid|uninit|lost:)/x;

sub alerts {
    my ($self) = @_;
    my @bad;

    for my $line (split /\n/, $self->log_text) {
        next if $line !~ $BAD;

        # nginx' own: misaligned words, memcpy of nothing
        next if $line =~ m{^src/\S+: runtime error: };
        next if grep { $line =~ $_ } @{ $self->{allow} };
        push @bad, $line;
    }

    return @bad;
}

sub clean_log {
    my ($self) = @_;

    my @bad = $self->alerts or return 1;

    splice @bad, 20;
    print STDERR "# nginx logged what it must not:\n";
    print STDERR "#   $_\n" for @bad;
    return 0;
}

1;
