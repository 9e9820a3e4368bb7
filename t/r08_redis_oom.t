# Storm 08: Redis at maxmemory while nobody drains: XADD is refused, the module
# spools; when the sidecar is back, all heals by itself.

use strict;
use warnings;

use Test::More;
use Time::HiRes qw(sleep);

use lib 't/lib';
use IDash;
use Oracle;

my $o = Oracle->scene('r08', redis => { maxmemory => '16mb' }, nginx => {
    http => 'capture_buffer 2m path={{ring}};'
        . ' capture_spool {{spool}} max=512m segment=4m;',
});
my ($redis, $nginx, $d) = @$o{qw(redis nginx sidecar)};

$d->stop;
my $load = $o->load(rate => 2000, count => 2 * Oracle::scale(100_000),
    body => '1024:4096');
wait_for(sub { $nginx->status->{spooled} > 0 }, 60);
my $status = $nginx->status;
ok($status->{spooled} > 0, 'the module spools');

my $sum = $load->finish;
is($sum->{failed} + $sum->{unfinished}, 0, 'no request failed');
figure('r08.spooled', $nginx->status->{spooled}, 'records');

my $from = now();
$d->run;
$o->verdict;
wait_for(sub { $nginx->status->{spooled} + $nginx->status->{queued} == 0 });
figure('r08.heal_s', sprintf('%.1f', now() - $from), 's');

$status = $o->counters_add_up;
is($status->{spooled}, 0, 'the spool is empty again');
is($status->{dropped}, 0, 'nothing was dropped')
    or diag to_json($status);

done_testing();
