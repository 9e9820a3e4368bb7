# Storm 02: kill -9 of integrationd, again and again, while it drains.

use strict;
use warnings;

use Test::More;
use Time::HiRes qw(sleep);

use lib 't/lib';
use IDash;
use Oracle;

my $o = Oracle->scene('r02');
my $d = $o->{sidecar};
my $kills = Oracle::scale(50);
my $load = $o->load(rate => 3000, count => Oracle::scale(200_000));

for my $n (1 .. $kills) {
    sleep(0.2 + rand 0.8);
    $d->kill9;
    $d->run;
}

my $sum = $load->finish;
is($sum->{failed} + $sum->{unfinished}, 0, 'no request failed');

$o->verdict;

my $from = now();
wait_for(sub { my $lag = $o->lag; defined $lag && $lag == 0 }, 60);
is($o->lag, 0, 'lag is back at 0');
figure('r02.lag_s', sprintf('%.1f', now() - $from), 's');
figure('r02.kills', $kills);
$o->judge_buckets($d);

done_testing();
