# Storm 26: of three endpoints of the same events one hangs, one fails, one is
# well: the well one gets everything while the others are still being tried, as
# soon as beside two that are well.

use strict;
use warnings;

use Test::More;
use Time::HiRes qw(sleep time);

use lib 't/lib';
use IDash;
use IDash::Wait;
use Oracle;
use Outbound;

my $n = Oracle::scale(3000);
my $o = Outbound->new(conf => { dispatch_in_flight => 64,
    dispatch_probe => '1s' });

# milliseconds from the call to the hit
sub latencies {
    my ($path) = @_;
    return sort { $a <=> $b }
        map { $_->{ms} - ($_->{body} =~ /"t":(\d+)/)[0] } $o->hits($path);
}

sub p99 { my @l = @_; return $l[ int(@l * 0.99) ] // 0 }

sub run_events {
    my ($action) = @_;

    my @ids;
    for my $i (1 .. $n / 10) {
        push @ids, $o->events(10, sub { { payload => {
            t => int(time() * 1000) } } }, action_id => $action);
        sleep 0.02;
    }
    return @ids;
}

$o->integration(url => $o->url("/ok/$_"), concurrency => 20, nowait => 1)
    for qw(one two);
$o->integration(url => $o->url('/ok/calm'), concurrency => 20);
run_events(1);
ok($o->settle(30), 'three that are well: all have ended');
my $given_back = $o->d->counter('dispatch_given_back');

$o->integration(url => $o->url('/hang/x'), timeout_ms => 5000,
    concurrency => 100, action_id => 2, nowait => 1);
$o->integration(url => $o->url('/fail/x'), concurrency => 100, action_id => 2,
    nowait => 1);
my $well = $o->integration(url => $o->url('/ok/well'), concurrency => 20,
    action_id => 2);
run_events(2);

wait_for(sub { scalar(my @l = $o->hits('/ok/well')) >= $n }, 60);
my @well = latencies('/ok/well');
my @calm = latencies('/ok/calm');
is(scalar @calm, $n, 'beside well ones it got everything');
is(scalar @well, $n, 'the well one got everything');
cmp_ok($o->open_logs, '>', 0, 'while others are still under way');
my %got;
$got{ $_->{id} }++ for $o->hits('/ok/well');
$given_back = $o->d->counter('dispatch_given_back') - $given_back;
cmp_ok($given_back, '<', $n + 1000,        # looks go by time, not by event
    'and those are not tried in circles');

figure('r26.p99_ratio', sprintf('%.2f', (p99(@well) + 1) / (p99(@calm) + 1)),
    'of beside well ones');
figure('r26.p99_well', p99(@well), 'ms');
figure('r26.p99_calm', p99(@calm), 'ms');
figure('r26.given_back', $given_back, "of $n");
figure('r26.lost', $n - keys %got, 'deliveries');
figure('r26.dup', @well - keys %got, 'deliveries');

done_testing();
