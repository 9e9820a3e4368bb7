package IDash::Web;

# The web page on the real stack: Redis, integrationd on SQLite, nginx with
# conf/dashboard.conf and the built page; and scripts of t/ui/ that drive Debian's
# Chromium through it and print TAP.

use strict;
use warnings;

use ApiTest ();
use Compress::Zlib ();
use IDash;
use IDash::Wait;
use Test::More;

# Says why web tests cannot run here; in CI that is a failure, else a skip.
sub needed {
    my $why = missing();
    return if !$why;

    die "$why\n" if $ENV{CI} && !$ENV{IDASH_SANITIZE};
    plan skip_all => $why;
    return;
}

sub missing {
    return $ENV{IDASH_SANITIZE} ? 'the sanitizer run leaves the web out'
        : !chromium() ? 'no chromium'
        : !-f root_dir() . '/build/dashboard/index.html' ? 'make ui first'
        : undef;
}

# What the built page weighs, in kB of gzip: { first => what each visit loads,
# chunks => { file => kB } of what is loaded when it is needed }.
sub sizes {
    my $built = root_dir() . '/build/dashboard';
    my $manifest = from_json(read_file("$built/manifest.json"));
    my $kb = sub {
        return length(Compress::Zlib::memGzip(read_file("$built/$_[0]"))) / 1000;
    };

    my (%first, %seen, @todo);
    @todo = grep { $manifest->{$_}{isEntry} } keys %$manifest;
    while (my $name = shift @todo) {
        push @todo, @{ $manifest->{$name}{imports} || [] } if !$first{$name}++;
    }

    my $sum = 0;
    for my $m (map { $manifest->{$_} } keys %first) {
        $sum += $kb->($_) for grep { !$seen{$_}++ } $m->{file}, @{ $m->{css} || [] };
    }
    return { first => $sum, chunks => { map { $_->{file} => $kb->($_->{file}) }
        grep { $_->{isDynamicEntry} } values %$manifest } };
}

sub chromium {
    for my $dir (split /:/, $ENV{PATH}) {
        return "$dir/chromium" if -x "$dir/chromium";
    }
    return;
}

# start(conf => {..}, redis => .., store => .., server => "more of nginx' server{}",
#     proxy => 1: a fault proxy between nginx and integrationd)
sub start {
    my ($class, %opt) = @_;

    my $api = ApiTest::api((map { $opt{$_} ? ($_ => $opt{$_}) : () } qw(redis store)),
        conf => { roles => 'drain,dispatch,api',
        retention_ok => '3650d', retention_fail => '3650d',
        %{ $opt{conf} || {} } });
    my $dir = IDash::Process::dir('web');
    my $page = root_dir() . '/build/dashboard';
    system('cp', '-r', $page, "$dir/dashboard") == 0 or die "cp: $?";
    system('chmod', '-R', 'a+rX', $dir);

    my $conf = read_file(root_dir() . '/conf/dashboard.conf');
    my $proxy = $opt{proxy}
        && IDash::Proxy->start('unix:' . $api->d->socket);
    my $socket = $proxy ? $proxy->addr =~ s/^unix://r : $api->d->socket;
    $conf =~ s/\@API\@/$socket/g;
    $conf =~ s/\@ROOT\@/$dir/g;
    chmod 0755, $api->d->dir;

    my $nginx = nginx(module => $opt{module} // 0,
        redis => $opt{module} ? $api->redis_of : undef,
        http => 'include /etc/nginx/mime.types;', server => ($opt{server} || '') . $conf);
    return bless { api => $api, nginx => $nginx, dir => $dir,
        proxy => $proxy }, $class;
}

sub api { return $_[0]{api} }
sub fault { return $_[0]{proxy} }
sub url { return 'http://' . $_[0]{nginx}->addr }

# What a script has to know of us, as its environment.
sub about {
    my ($self) = @_;
    return (IDASH_URL => $self->url, IDASH_KEY => $self->{api}{admin},
        IDASH_CHROMIUM => chromium());
}

# Runs t/ui/NAME.mjs; each of its TAP lines is one of ours.  What the browser
# asked and was answered is then held against sidecar/openapi.yaml.  A line
# "# do WORD" of the script calls on => { WORD => sub }.
sub drive {
    my ($self, $name, %env) = @_;

    my $on = delete $env{on};

    my $root = root_dir();
    my %about = $self->about;
    local @ENV{ keys %about } = values %about;
    local $ENV{IDASH_SHOTS} = $ENV{IDASH_SHOTS} // '';
    local $ENV{IDASH_SEEN} = IDash::Process::dir('traffic') . "/$name";
    local @ENV{ keys %env } = values %env;

    run_tap("$root/mk/ui node $root/t/ui/$name.mjs", $name, $on);

    my $out = `/usr/bin/python3 $root/t/lib/openapi.py $root/sidecar/openapi.yaml traffic $ENV{IDASH_SEEN} 2>&1`;
    is($?, 0, "$name: all traffic is as openapi.yaml describes it") or diag $out;
    note $out;
    return;
}

# The TAP of a command as tests of this file.
sub run_tap {
    my ($command, $name, $on) = @_;

    open my $out, '-|', "$command 2>&1" or die "$command: $!";
    my ($n, $plan) = (0, undef);
    while (my $line = <$out>) {
        chomp $line;
        if ($line =~ /^(not )?ok \d+ - (.*)/) {
            ok(!$1, $2);
            $n++;
        } elsif ($line =~ /^1\.\.(\d+)$/) {
            $plan = $1;
        } elsif ($line =~ /^# do (\w+)$/ && $on->{$1}) {
            $on->{$1}->();
        } elsif ($line =~ /^# (\S+ [\d.]+ \S+)$/) {
            note $1;
        } elsif ($line ne '') {
            diag $line;
        }
    }
    close $out;
    is($?, 0, "$name ends well");
    is($n, $plan // -1, "$name ran all of its tests");
    return;
}

1;
