# Storm 18: one insert in twenty is answered with a write concern error: it may
# be stored on one member only, so it is unknown, and sent again.

use strict;
use warnings;

use Test::More;

use lib 't/lib';
use IDash;
use MongoFaults;
use Oracle;

my $mongo = mongo_server();
my $n = 10 * Oracle::scale(600);
my ($client, $relay, $again) = with_relay($mongo, 'wtimeout',
    [ 'wtimeout', 20 ], $n, batch => 10);

figure('r18.timeouts', $relay->faults, 'inserts');
is($again, $relay->faults, 'each one was an unknown outcome, sent again');
judge_client($client, $n, 'r18');
is($client->stop, 0, 'exit');
$mongo->stop;
done_testing();
