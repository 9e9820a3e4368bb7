# Storm 47: reloads without a pause under load, then an upgrade of the binary
# by USR2: nothing lost, no [alert], no old process left.

use strict;
use warnings;

use Test::More;
use Time::HiRes qw(sleep);

use lib 't/lib';
use IDash;
use Oracle;

my $o = Oracle->scene('r47', nginx => {
    main => 'worker_shutdown_timeout 10s;', daemon => 1,
});
my $nginx = $o->{nginx};
my $reloads = $ENV{RELOADS} || 2 * Oracle::scale(100);
my $load = $o->load(rate => 2000, seconds => 600);

for my $n (1 .. $reloads) {
    $nginx->reload or die "no new worker after reload $n\n";
    sleep 0.05;
}

# USR2: a second master beside the first, which then leaves
my $old = $nginx->master;
$nginx->signal('USR2');
wait_for(sub { -e $nginx->dir . '/pid.oldbin' && $nginx->master != $old });
isnt($nginx->master, $old, 'a new master runs');
wait_for(sub { scalar $nginx->workers });
$nginx->follow;
kill 'QUIT', $old;
wait_for(sub { !IDash::Process::exists($old) }, 60);
ok(!IDash::Process::exists($old), 'the old master left');

my $sum = $load->stop;
is($sum->{failed} + $sum->{unfinished}, 0, 'no request failed');
figure('r47.reloads', $reloads);

$o->verdict;
is($o->counters_add_up->{dropped}, 0, 'nothing was dropped');
wait_for(sub { $nginx->workers == 1 }, 30);
is(scalar $nginx->workers, 1, 'old workers are gone');

$nginx->stop;
my @alerts = $nginx->alerts;
is(scalar @alerts, 0, 'no alert');
figure('r47.alerts', scalar @alerts);

done_testing();
