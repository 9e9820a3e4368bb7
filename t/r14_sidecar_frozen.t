# Storm 14: one of two sidecars is stopped for longer than the lease, with
# records in hand; the other takes them over, and the late one changes nothing.

use strict;
use warnings;

use Test::More;
use Time::HiRes qw(sleep);

use lib 't/lib';
use IDash;
use Oracle;

my $o = Oracle->scene('r14');
my $one = $o->{sidecar};
my $two = Oracle->sidecar($o->{redis}, beside => $one);
my $frozen = $ENV{SCALE} ? 300 * $ENV{SCALE} : 4;
my $load = $o->load(rate => 2000, seconds => $frozen + 2);

# both wait for the store with records in hand when one is stopped
sleep 0.5;
my $lock = $one->lock_store;
sleep 0.5;
$one->freeze;
$one->unlock_store($lock);
sleep $frozen;
my $at = $o->count_rows($two->store);
ok($at > 0, "the other went on: $at logs");
my %before = map { $_->[0] => "@$_" } $o->store_rows($two->store);

$one->thaw;
my $sum = $load->finish;
is($sum->{failed} + $sum->{unfinished}, 0, 'no request failed');
$o->verdict;

my $regress = grep { defined $before{ $_->[0] }
    && $before{ $_->[0] } ne "@$_" } $o->store_rows($two->store);
is($regress, 0, 'no log changed once it was stored');
figure('r14.regress', $regress, 'logs');

my ($read, $stored) = map { $one->counter($_) + $two->counter($_) }
    qw(drain_read drain_stored);
figure('r14.twice', $read - $stored, 'records read again');
wait_for(sub { my $lag = $o->lag; defined $lag && $lag == 0 });
is($o->lag, 0, 'all is acknowledged');
is($one->dead_letters, 0, 'no dead letters');

done_testing();
