# Storm 03: kill -9 of each worker; only what it had not finished may be lost.

use strict;
use warnings;

use Test::More;
use Time::HiRes qw(sleep);

use lib 't/lib';
use IDash;
use Oracle;

my $workers = 2;
my $o = Oracle->scene('r03', nginx => { workers => $workers });
my $nginx = $o->{nginx};
$nginx->allow(qr/\[alert\] .* worker process \d+ exited on signal 9/);

my $rounds = Oracle::scale(20);
my $kills = 0;
my $load = $o->load(rate => 2000, seconds => 2 + $rounds * $workers);

for my $round (1 .. $rounds) {
    for my $victim ($nginx->workers) {
        sleep(0.3 + rand 0.4);
        kill 'KILL', $victim;
        $kills++;
        wait_for(sub {
            my @now = $nginx->workers;
            return @now == $workers && !grep { $_ == $victim } @now;
        });
    }
}

$load->finish;

# the client has the last byte a moment before the worker has logged the
# request: one worker can be killed between the two for one request a kill
my $verdict = $o->verdict(lost => $kills);
my (undef, $unfinished) = $o->promised;
ok($kills >= $workers, "$kills workers were killed");
figure('r03.kills', $kills);
$o->counters_add_up;

done_testing();
