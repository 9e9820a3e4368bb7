# Storm 07: kill -9 of Redis with appendfsync everysec.  What it had answered
# but not yet written is sent again after a restart: the 3 s hold, for which half
# of the ring must have room.

use strict;
use warnings;

use Test::More;
use Time::HiRes qw(sleep);

use lib 't/lib';
use IDash;
use Oracle;

my $o = Oracle->scene('r07', nginx => {
    http => 'capture_buffer 64m path={{ring}};'
        . ' capture_spool {{spool}} max=2g;',
});
my $redis = $o->{redis};
my $kills = 3 * Oracle::scale(10);
my $load = $o->load(rate => 2000, seconds => $kills * 3 + 2);

for my $n (1 .. $kills) {
    sleep(1 + rand 1.5);
    $redis->kill9;
    sleep 0.2;
    $redis->restart;
}

my $sum = $load->finish;
is($sum->{failed} + $sum->{unfinished}, 0, 'no request failed');
figure('r07.kills', $kills);

$o->verdict;
is($o->counters_add_up->{dropped}, 0, 'nothing was dropped');

done_testing();
