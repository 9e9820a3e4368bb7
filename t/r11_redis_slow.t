# Storm 11: Redis answers 200 ms late, then its line carries 64 KB/s: clients
# notice nothing, what the line cannot take waits in the spool.

use strict;
use warnings;

use Test::More;
use Time::HiRes qw(sleep);

use lib 't/lib';
use IDash;
use Oracle;

my $redis = redis(aof => 1);
my $proxy = proxy($redis->socket);
my $nginx = Oracle->nginx(redis => $proxy->addr,
    server => 'location /off { proxy_http_version 1.1;'
    . ' proxy_set_header Connection ""; proxy_pass http://storm; }');
my $o = Oracle->new(name => 'r11', nginx => $nginx, redis => $redis,
    sidecar => Oracle->sidecar($redis));

my $slow = 3 * ($ENV{SCALE} ? 10 * $ENV{SCALE} : 1);
my $off = Oracle->new(name => 'off', nginx => $nginx)
    ->load(rate => 1000, seconds => $slow, path => '/off')->finish;

for my $fault ([ 'delay', 0.2 ], [ 'rate', 65_536 ]) {
    my ($name, $value) = @$fault;

    $proxy->set($name => $value);
    my $sum = $o->load(rate => 1000, seconds => $slow)->finish;
    is($sum->{failed} + $sum->{unfinished}, 0, "$name: no request failed");
    figure('r11.p99_ratio', sprintf('%.2f', $sum->{p99_us} / $off->{p99_us}),
        "x, $name");

    my $status = $o->counters_add_up;
    ok($status->{queued} + $status->{spooled} > 0, "$name: records wait")
        if $name eq 'rate';
    $proxy->set($name => 0);
}

$o->verdict;
wait_for(sub { my $s = $nginx->status; $s->{queued} + $s->{spooled} == 0 });
is($o->counters_add_up->{dropped}, 0, 'nothing was dropped');

done_testing();
