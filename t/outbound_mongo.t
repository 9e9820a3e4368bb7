# All of outbound.t with its deliveries on a server of the Mongo protocol.

use strict;
use warnings;

use lib 't/lib';
use IDash::Mongo;
use IDash::Wait;
use Test::More;

my $missing = IDash::Mongo::missing();
plan skip_all => $missing if defined $missing;

my $mongo = IDash::Mongo->start;
our $store = $mongo->uri("outbound_$$");

do(root_dir() . '/t/outbound.t') or die $@ || $!;
