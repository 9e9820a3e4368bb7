# Storm 05: Redis is off; the ring, then the spool, hold the records.

use strict;
use warnings;

use Test::More;
use Time::HiRes qw(sleep);

use lib 't/lib';
use IDash;
use Oracle;

my $o = Oracle->scene('r05', nginx => {
    http => 'capture_buffer 4m path={{ring}};'
        . ' capture_spool {{spool}} max=1g segment=1m;',
    server => 'location /off { proxy_http_version 1.1;'
        . ' proxy_set_header Connection ""; proxy_pass http://storm; }',
});
my ($redis, $nginx) = @$o{qw(redis nginx)};
my $away = 60 * ($ENV{SCALE} || 0.1);

# the same load, not captured, to hold the latency against
my $off = Oracle->new(name => 'off', nginx => $nginx)
    ->load(rate => 2000, seconds => 3, path => '/off')->finish;

my ($worker) = $nginx->workers;
my $rss = IDash::Process::rss($worker);
my $load = $o->load(rate => 2000, seconds => $away + 3);

sleep 1;
$redis->stop;
sleep $away;
my $status = $o->counters_add_up;
ok($status->{spooled} > 0, 'records are in the spool')

    or diag to_json($status);
figure('r05.rss', sprintf('%.1f', (IDash::Process::rss($worker) - $rss) / 1e6),
    'MB more');
$redis->restart;

my $sum = $load->finish;
is($sum->{failed} + $sum->{unfinished}, 0, 'no request failed');
figure('r05.p99_ratio', sprintf('%.2f', $sum->{p99_us} / $off->{p99_us}), 'x');

$o->verdict;
wait_for(sub { $nginx->status->{spooled} == 0 });
$status = $o->counters_add_up;
is($status->{spooled}, 0, 'the spool is empty again');
is($status->{dropped}, 0, 'nothing was dropped')
    or diag to_json($status);

done_testing();
