# Storm 06: Redis is stopped, then black-holed: connections stand, nothing
# comes back.  A fault proxy is the black hole, in place of a namespace.

use strict;
use warnings;

use Test::More;
use Time::HiRes qw(sleep);

use lib 't/lib';
use IDash;
use Oracle;

my $redis = redis(aof => 1);
my $proxy = proxy($redis->socket);
my $nginx = Oracle->nginx(redis => $proxy->addr, http =>
    'capture_redis ' . $proxy->addr . ' timeout=1s;'
    . ' capture_buffer 4m path={{ring}}; capture_spool {{spool}} segment=1m;');
my $d = Oracle->sidecar($redis);
my $o = Oracle->new(name => 'r06', nginx => $nginx, redis => $redis,
    sidecar => $d);

my $frozen = 60 * ($ENV{SCALE} || 0.1);
my $load = $o->load(rate => 2000, seconds => 2 * $frozen + 4);

sleep 1;
$redis->freeze;
sleep $frozen;
$redis->thaw;

wait_for(sub { $nginx->status->{queued} + $nginx->status->{spooled} < 2000 });
$proxy->set(up => 'drop', down => 'drop');
sleep $frozen;
my $status = $o->counters_add_up;
ok($status->{queued} + $status->{spooled} > 0, 'records wait');
$proxy->set(up => 'pass', down => 'pass');

my $from = now();
my $acked = $status->{acked};
wait_for(sub { $nginx->status->{acked} > $acked });
cmp_ok($nginx->status->{acked}, '>', $acked, 'Redis gets records again');
figure('r06.back_s', sprintf('%.1f', now() - $from), 's');

my $sum = $load->finish;
is($sum->{failed} + $sum->{unfinished}, 0, 'no request failed');
figure('r06.stall_ms', sprintf('%.1f', $sum->{max_us} / 1000), 'ms');

$o->verdict;
$status = $o->counters_add_up;
is($status->{dropped}, 0, 'nothing was dropped') or diag to_json($status);

done_testing();
