# Storm 25: Redis forgets everything with retries and appointments due later:
# the reconciler brings the whole index back, and each goes at its time.

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
# more than a page of 1000; FerretDB looks through them for each that is sent
my $n = $store ? 1020 : Oracle::scale(5000);
my $soon = $store ? 4 : 50;
my $o = Outbound->new(store => $store, conf => { dispatch_reconcile => '2s' });
$o->integration(url => $o->url('/ok/a'), concurrency => 100);

sub waiting {
    my $sum = 0;
    $sum += $o->redis_of->call('ZCARD', "idash:due:$_") for 0 .. 2;
    return $sum;
}

my $far = $n - $soon;
my @far = $o->events($far, undef, deliver_at => time + 7200);
my $at = time + 8;
my @near = $o->events($soon, undef, deliver_at => $at);
is(waiting(), $n, 'all are in the index');

$o->redis_of->call('FLUSHALL');
my $from = now();
is(waiting(), 0, 'and gone');
wait_for(sub { waiting() >= $n }, 120);
figure('r25.rebuild_s', sprintf('%.2f', now() - $from), 's');
is(waiting(), $n, 'all are back');

$o->until_status($_, 'SUCCESS', 60) for @near;
my %got;
$got{ $_->{id} } = $_ for $o->hits;
my $early = grep { $_->{ms} < $at * 1000 } values %got;
my $lost = grep { !$got{$_} } @near;
is($lost, 0, 'those due soon arrived');
is($early, 0, 'none early');
is(scalar keys %got, $soon, 'and no other');
is($o->log_of($far[0])->{status}, 'PENDING', 'the rest waits for its time');
figure('r25.deliveries', $n, 'deliveries');
figure('r25.lost', $lost, 'deliveries');
figure('r25.dup', scalar(my @all = $o->hits) - keys %got, 'deliveries');

done_testing();
