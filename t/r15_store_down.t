# Storm 15: SQLite's write lock is held by another process while requests go
# on: the stream holds the records, memory does not grow, nothing is dead.

use strict;
use warnings;

use Test::More;
use Time::HiRes qw(sleep);

use lib 't/lib';
use IDash;
use Oracle;

my $o = Oracle->scene('r15');
my $d = $o->{sidecar};
my $down = $ENV{SCALE} ? 600 * $ENV{SCALE} : 7;
my $load = $o->load(rate => 2000, seconds => $down + 1);

sleep 1;
my $lock = $d->lock_store;
sleep $down;
my $waiting = $o->lag;
cmp_ok($waiting, '>', 0, 'the stream holds what the store cannot');
is($d->get('/healthz')->{status}, 200, 'the sidecar lives');
my $rss = IDash::Process::rss($d->pid);
figure('r15.rss', sprintf('%.1f', $rss / 1e6), 'MB');
cmp_ok($rss, '<=', 64 << 20, 'at most 64 MB resident');

my $sum = $load->finish;
is($sum->{failed} + $sum->{unfinished}, 0, 'no request failed');

my $from = now();
$waiting = $o->lag;
$d->unlock_store($lock);
wait_for(sub { my $lag = $o->lag; defined $lag && $lag == 0 }, 120);
figure('r15.drain_x', sprintf('%.1f', $waiting / (now() - $from) / 2000),
    'x ingest');

$o->verdict;
is($d->dead_letters, 0, 'no dead letters');
is($o->counters_add_up->{dropped}, 0, 'nothing was dropped');

done_testing();
