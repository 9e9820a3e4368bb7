# Storm 50: the spool is filled to its bound, drained, and filled again: each
# time it takes records, and what did not fit is counted.

use strict;
use warnings;

use Test::More;
use Time::HiRes qw(sleep);

use lib 't/lib';
use IDash;
use Oracle;

my $o = Oracle->scene('r50', nginx => {
    http => 'capture_buffer 2m path={{ring}};'
        . ' capture_spool {{spool}} max=8m segment=1m;',
});
my ($redis, $nginx) = @$o{qw(redis nginx)};
my ($dropped, @spooled) = (0);

for my $round (1 .. 2) {
    $redis->stop;
    my $sum = $o->load(rate => 3000, count => Oracle::scale(60_000),
        body => '2048:4096')->finish;
    is($sum->{failed} + $sum->{unfinished}, 0, "$round: no request failed");

    my $status = $o->counters_add_up;
    push @spooled, $status->{spooled};
    cmp_ok($status->{spooled}, '>', 500, "$round: the spool took records");
    cmp_ok($status->{dropped}, '>', $dropped, "$round: until it was full");
    my $bytes = 0;
    $bytes += -s $_ for glob $nginx->spool . '/*.seg';
    cmp_ok($bytes, '<=', 8 << 20, "$round: within its bound");

    $redis->restart;
    wait_for(sub { my $s = $nginx->status; $s->{spooled} + $s->{queued} == 0 },
        60);
    $status = $o->counters_add_up;
    is($status->{spooled}, 0, "$round: the spool is empty again");
    $dropped = $status->{dropped};
    sleep 4 if $round == 1;             # segments go when the hold is over
}

figure('r50.refilled', $spooled[1], 'records');
cmp_ok($spooled[1], '>=', 0.8 * $spooled[0], 'it took as many again');
my $verdict = $o->verdict(lost => $dropped, quiet => 2);
is($verdict->{lost}, $dropped, 'what is lost is what was counted');

done_testing();
