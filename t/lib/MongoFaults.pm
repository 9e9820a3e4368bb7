package MongoFaults;

# What the tests of the Mongo store's faults share: a server of our own, a
# client through the relay that falsifies its answers, and the judge.

use strict;
use warnings;

use Exporter 'import';
use Test::More;

use IDash;
use IDash::Mongo;
use IDash::StoreClient;

our @EXPORT = qw(mongo_server judge_client with_relay);

# A server that is ours to break; without one the test is skipped, which in CI
# is a failure.
sub mongo_server {
    my $missing = IDash::Mongo::missing();

    plan skip_all => $missing if defined $missing;
    plan skip_all => 'MONGO_URI names a server that is not ours to break'
        if IDash::Mongo::is_foreign();

    return IDash::Mongo->start;
}

# All is there once, nothing else is, and counted once.  Every 13th is compared:
# FerretDB reads the whole table to find one.
sub judge_client {
    my ($client, $n, $name) = @_;

    my ($r, $count) = split / /, $client->ask('count');
    my $checked = 1 + int(($n - 1) / 13);

    figure("$name.stored", $count, 'records');
    figure("$name.lost", $count < $n ? $n - $count : 0, 'records');
    figure("$name.dup", $count > $n ? $count - $n : 0, 'records');
    is("$r $count", "ok $n", 'all are there, none twice');
    is($client->ask("check 0 $n 2000 13"), "$checked 0 0", 'byte for byte');

    ok($client->insist('recount 0', 10), 'recount');
    like($client->ask('agree 2'), qr/^ok [1-9]\d* 0$/,
        'buckets equal the documents');
    return;
}

# Inserts N logs, BATCH at once, until each is known to be stored: the client,
# the relay, and how many inserts were sent again.
sub with_relay {
    my ($mongo, $db, $fault, $n, %opt) = @_;

    my $batch = delete $opt{batch} || 100;
    my $relay = $mongo->relay;
    my $client = IDash::StoreClient->start($relay->uri($db, %opt));
    my $tries = 0;

    ok($client->is_open, 'open') or diag $client->error;
    $relay->fault(@$fault);

    for (my $at = 0; $at < $n; $at += $batch) {
        $tries += $client->insist("insert $at $batch 2000");
    }

    ok($relay->faults > 0, $relay->faults . ' answers falsified');
    $relay->fault('none', 1);
    return ($client, $relay, $tries - $n / $batch);
}

1;
