package IDash;

# The harness of the integration tests: t/README shows its use.

use strict;
use warnings;

use Exporter 'import';
use Fcntl ':flock';
use IDash::HTTP ();
use IDash::Nginx ();
use IDash::Peer ();
use IDash::Process ();
use IDash::Proxy ();
use IDash::Redis ();
use IDash::RedisClient ();
use IDash::Sidecar ();
use IDash::Wait;
use Test::More ();

our @EXPORT = (@IDash::Wait::EXPORT, qw(
    nginx redis sidecar upstream peer proxy http_request http_header
    have_command test_dir python_with));

sub nginx { return IDash::Nginx->start(@_) }
sub redis { return IDash::Redis->start(@_) }
sub sidecar { return IDash::Sidecar->start(@_) }
sub upstream { return IDash::Peer->upstream(@_) }
sub peer { return IDash::Peer->start(@_) }
sub proxy { return IDash::Proxy->start(@_) }
sub http_request { return IDash::HTTP::request(@_) }
sub http_header { return IDash::HTTP::header(@_) }
sub test_dir { return IDash::Process::dir(@_) }

# The Python of a virtual environment under build/ with one package of PyPI;
# what is there costs no network.
sub python_with {
    my ($name, $package) = @_;

    my $venv = root_dir() . "/build/$name";
    my $python = "$venv/bin/python3";
    my $stamp = "$venv/" . $package =~ tr/a-zA-Z0-9./_/cr;
    return $python if -e $stamp;

    system('mkdir', '-p', $venv);
    open my $lock, '>', "$venv.lock" or die "$venv.lock: $!";
    flock $lock, LOCK_EX;
    return $python if -e $stamp;

    my $log = test_dir() . '/pip.log';
    system("{ /usr/bin/python3 -m venv '$venv' && '$venv/bin/pip' install"
        . " --no-deps --disable-pip-version-check '$package'; }"
        . " >'$log' 2>&1") == 0
        or Test::More::BAIL_OUT("$package cannot be installed:\n"
            . slurp_tail($log, 9));
    write_file($stamp, '');
    return $python;
}

sub have_command {
    my ($name) = @_;
    return scalar grep { -x "$_/$name" } split(/:/, $ENV{PATH}), '/usr/sbin';
}

1;
