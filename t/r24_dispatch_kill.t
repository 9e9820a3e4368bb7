# Storm 24: dispatchers are killed again and again while deliveries flow: each
# one arrives, those that arrive twice do so under the same webhook-id, and no
# more of them than were in flight at the kills.

use strict;
use warnings;

use Test::More;
use Time::HiRes qw(sleep);

use lib 't/lib';
use IDash;
use IDash::Wait;
use Oracle;
use Outbound;

our $store;                                # the Mongo run sets it
# FerretDB looks through all logs for each delivery
my $scale = $store ? 0.005 : $ENV{SCALE} || 0.1;
my $deliveries = int(20_000 * $scale);
my $kills = int(50 * $scale) || 2;
my $in_flight = $store ? 8 : 64;
my $o = Outbound->new(store => $store, conf => { roles => 'drain,api' });
my @dispatchers = map { IDash::Sidecar->start(redis => $o->redis_of,
    beside => $o->d, conf => { %{ $o->{conf} }, roles => 'dispatch,api',
    dispatch_in_flight => $in_flight, dispatch_lease => '2s' }) } 1 .. 2;

$o->integration(url => $o->url('/ok/a'), concurrency => 32);

my @ids;
my $left = $deliveries;
for my $kill (1 .. $kills) {
    my $n = int($left / ($kills - $kill + 1));
    $left -= $n;
    push @ids, $o->events($n);
    my $d = $dispatchers[$kill % 2];
    $d->kill9;
    $d->run;
}

ok($o->settle(60 + 600 * $scale), 'all have ended');

my %got;
$got{ $_->{id} }++ for $o->hits;
my $lost = grep { !$got{$_} } @ids;
my $copies = 0;
$copies += $_ - 1 for values %got;
my %accepted = map { $_ => 1 } @ids;

is(scalar @ids, $deliveries, 'all were accepted');
is($lost, 0, 'each arrived');
is(scalar(grep { !$accepted{$_} } keys %got), 0, 'under its own id');
cmp_ok($copies, '<=', $kills * $in_flight, 'copies only of what was in flight');
is($o->statuses->{SUCCESS}, $deliveries, 'all say so');
figure('r24.deliveries', $deliveries, 'deliveries');
figure('r24.kills', $kills, 'kills');
figure('r24.copies', $copies, 'deliveries');
figure('r24.lost', $lost, 'deliveries');
figure('r24.dup', $copies, 'deliveries');

done_testing();
