# Storm 46: kill -9 of master and workers at once: rings outlive them, and the
# next nginx sends what they hold.

use strict;
use warnings;

use Test::More;
use Time::HiRes qw(sleep);

use lib 't/lib';
use IDash;
use Oracle;

my $o = Oracle->scene('r46', nginx => { workers => 2 });
my ($nginx, $redis) = @$o{qw(nginx redis)};
my $rounds = 3 * Oracle::scale(10);

for my $n (1 .. $rounds) {
    my $load = $o->load(rate => 2000, seconds => 20);

    # with Redis frozen, the rings are all that knows of the last records
    wait_for(sub { $load->done > 1000 });
    $redis->freeze if $n % 2;
    sleep(0.2 + rand 0.3);
    $nginx->kill9;
    $redis->thaw if $n % 2;
    $load->stop;
    $nginx->run;
}

# one request a worker and a kill can be answered and not yet logged
$o->verdict(lost => 2 * $rounds);
figure('r46.kills', $rounds);

done_testing();
