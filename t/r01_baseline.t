# Storm 01: no fault; what the others are held against.

use strict;
use warnings;

use Test::More;

use lib 't/lib';
use IDash;
use Oracle;

my $o = Oracle->scene('r01');
my $load = $o->load(rate => 5000, count => Oracle::scale(500_000),
    body => '64:2048');
my $sum = $load->finish;

is($sum->{failed}, 0, 'no request failed');
is($sum->{unfinished}, 0, 'every request was answered');
figure('r01.p99', $sum->{p99_us}, 'us');
figure('r01.rate', int($sum->{finished} / $sum->{seconds}), 'requests/s');

my $verdict = $o->verdict;
is($verdict->{extra}, 0, 'no record without a request');

wait_for(sub { defined $o->lag && $o->lag == 0 });
is($o->lag, 0, 'all is acknowledged');

my $status = $o->counters_add_up;
is($status->{dropped}, 0, 'nothing was dropped');
is($status->{captured}, $sum->{finished}, 'each request was counted');

done_testing();
