package IDash;

# The harness of the integration tests: t/README shows its use.

use strict;
use warnings;

use Exporter 'import';
use IDash::HTTP ();
use IDash::Nginx ();
use IDash::Peer ();
use IDash::Process ();
use IDash::Proxy ();
use IDash::Redis ();
use IDash::RedisClient ();
use IDash::Sidecar ();
use IDash::Wait;

our @EXPORT = (@IDash::Wait::EXPORT, qw(
    nginx redis sidecar upstream peer proxy http_request http_header
    have_command test_dir));

sub nginx { return IDash::Nginx->start(@_) }
sub redis { return IDash::Redis->start(@_) }
sub sidecar { return IDash::Sidecar->start(@_) }
sub upstream { return IDash::Peer->upstream(@_) }
sub peer { return IDash::Peer->start(@_) }
sub proxy { return IDash::Proxy->start(@_) }
sub http_request { return IDash::HTTP::request(@_) }
sub http_header { return IDash::HTTP::header(@_) }
sub test_dir { return IDash::Process::dir(@_) }

sub have_command {
    my ($name) = @_;
    return scalar grep { -x "$_/$name" } split(/:/, $ENV{PATH}), '/usr/sbin';
}

1;
