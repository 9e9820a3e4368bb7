# Storm 10: the primary is killed and its replica promoted, in turns.  What the
# replica had not yet is within the module's hold of 3 s and is sent again.

use strict;
use warnings;

use Test::More;
use Time::HiRes qw(sleep);

use lib 't/lib';
use IDash;
use Oracle;

my @redis = map { redis(aof => 1, port => 1,
    conf => "repl-diskless-sync-delay 0\n") } 1 .. 2;
my $addrs = join ' ', map { 'unix:' . $_->socket } @redis;
my $nginx = Oracle->nginx(redis => $redis[0], http =>
    "capture_redis $addrs;\ncapture_buffer 32m path={{ring}};\n"
    . "capture_spool {{spool}};\n");

my ($primary, $replica) = @redis;
follow($replica, $primary);

my $o = Oracle->new(name => 'r10', nginx => $nginx);
my $promotions = 3 * Oracle::scale(10);
my $load = $o->load(rate => 2000, seconds => 600);

for my $n (1 .. $promotions) {
    sleep(0.8 + rand 0.7);
    $primary->kill9;
    my $from = now();
    my $acked = $nginx->status->{acked};
    $replica->call('REPLICAOF', 'NO', 'ONE');
    wait_for(sub { $nginx->status->{acked} > $acked });
    figure("r10.back_s", sprintf('%.2f', now() - $from), 's');

    $primary->restart;
    follow($primary, $replica);
    ($primary, $replica) = ($replica, $primary);
}

my $sum = $load->stop;
is($sum->{failed} + $sum->{unfinished}, 0, 'no request failed');
figure('r10.promotions', $promotions);

my $verdict = $o->judge_stream($primary);
figure('r10.lost_ms', sprintf('%.0f', $verdict->{lost} / 2), 'ms');
wait_for(sub { my $s = $nginx->status; $s->{queued} + $s->{spooled} == 0 });
is($o->counters_add_up->{dropped}, 0, 'nothing was dropped');

done_testing();

sub follow {
    my ($one, $of) = @_;

    $one->call('REPLICAOF', '127.0.0.1', $of->port);
    wait_for(sub {
        return $one->client->info('replication')->{master_link_status} eq 'up';
    }) or die "the replica does not follow\n";
    return;
}
