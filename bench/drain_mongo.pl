#!/usr/bin/perl
# drain_mongo: the store's insert of logs on the Mongo protocol against the
# driver's own bulk insert of the same documents.  PAIRS=n: interleaved pairs.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../t/lib";
use IDash;
use IDash::Mongo;

my $limit = 0.9;
my $missing = IDash::Mongo::missing();
if (defined $missing) {
    print "drain_mongo skipped: $missing\n";
    exit 0;
}

my $mongo = IDash::Mongo->start;
my $tool = build_dir() . '/tools/store_bench';
my $tag = "idash_bench_$$";
my $line = `'$tool' '@{[ $mongo->uri("${tag}_a") ]}' '@{[ $mongo->uri("${tag}_b") ]}' @{[ $ENV{PAIRS} || 10 ]}`;
die "drain_mongo: store_bench failed\n" if $?;

my ($ours, $raw, $ratio, $least, $cpu) = split ' ', $line;

print "drain_mongo.ours $ours records/s\n";
print "drain_mongo.driver $raw records/s\n";
print "drain_mongo.client_cpu $cpu us/record\n";
print "drain_mongo.ratio_of_least $least\n";
printf "drain_mongo.ratio %s limit >= %s %s\n", $ratio, $limit,
    $ratio >= $limit ? 'ok' : 'MISSED';

$mongo->stop if !IDash::Mongo::is_foreign();
