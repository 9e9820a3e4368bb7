# Storm 09: FLUSHALL and DEL of the stream: the group comes back, from 0, and
# every later record arrives.

use strict;
use warnings;

use Test::More;
use Time::HiRes qw(sleep);

use lib 't/lib';
use IDash;
use Oracle;

my $o = Oracle->scene('r09');
my ($redis, $nginx, $d) = @$o{qw(redis nginx sidecar)};

# before: all of it is drained, so that the wipe takes nothing with it
my $before = $o->load(rate => 2000, seconds => 1);
$before->finish;
$o->verdict;

for my $wipe ([ 'FLUSHALL' ], [ 'DEL', 'idash:capture' ]) {
    wait_for(sub { my $lag = $o->lag; defined $lag && $lag == 0 });
    sleep 4;                            # the module's hold of 3 s is over
    $redis->call(@$wipe);

    my $from = now();
    my $load = $o->load(rate => 1000, seconds => 2);
    wait_for(sub { defined $o->lag });
    figure('r09.group_s', sprintf('%.1f', now() - $from), 's');
    $load->finish;

    $o->verdict;
}

is($o->counters_add_up->{dropped}, 0, 'nothing was dropped');

done_testing();
