# Storm 17: the store has committed, and its answer is lost: the same documents
# are sent again and each is acknowledged by the path of duplicates.

use strict;
use warnings;

use Test::More;

use lib 't/lib';
use IDash;
use IDash::Record;
use MongoFaults;
use Oracle;

my $mongo = mongo_server();

subtest 'by the store itself' => \&store;
subtest 'through the drain' => \&drain;
$mongo->stop;
done_testing();

sub store {
    my $n = 20 * Oracle::scale(100);
    my ($client, $relay, $again) = with_relay($mongo, 'lost', [ 'lost', 2 ],
        $n, batch => 20);

    is($again, $relay->faults, 'each one was an unknown outcome, sent again');
    like($client->log_text, qr/the connection broke/, 'and logged');
    is($client->ask('cells'), 'ok ' . ($n - 20 * $relay->faults) . " $n",
        'those batches are not counted yet');
    judge_client($client, $n, 'r17');
    is($client->stop, 0, 'exit');
    return;
}

# Records in Redis, the relay between sidecar and server.
sub drain {
    my $n = 200;
    my $redis = redis(aof => 1);
    my $relay = $mongo->relay;
    my @ids = map { add_record($redis) } 1 .. $n;

    $relay->fault('lost', 2);
    my $d = Oracle->sidecar($redis, store => $relay->uri('drain',
        socketTimeoutMS => 2000), conf => { drain_threads => 1,
        drain_batch => 20 });
    wait_for(sub { $d->counter('drain_stored') + $d->counter('drain_same')
        >= $n }, 60);
    $relay->fault('none', 1);

    my ($lost, $same) = ($relay->faults, $d->counter('drain_same'));
    ok($lost > 0, "$lost answers lost");
    cmp_ok($same, '>', 0, 'what they had stored was met again');
    is($d->counter('drain_stored') + $same, $n, 'each was acknowledged once');
    is($redis->call('XPENDING', 'idash:capture', 'integrationd')->[0], 0,
        'nothing is pending');

    my %stored;
    $stored{ $_->{_id} }++ for $d->logs($d->key);
    figure('r17.drain.lost', scalar(grep { !$stored{$_} } @ids), 'records');
    figure('r17.drain.dup', scalar(grep { $_ > 1 } values %stored), 'records');
    figure('r17.dup_acked', $same, 'records');
    is_deeply([ sort keys %stored ], [ sort @ids ], 'all stored, once');
    is($d->counter('drain_dead'), 0, 'no dead letter');
    return;
}
