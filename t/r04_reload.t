# Storm 04: reloads under load, with a long download that outlives them.

use strict;
use warnings;

use Test::More;
use Time::HiRes qw(sleep);

use lib 't/lib';
use IDash;
use Oracle;

my $limit = 3;
my $o = Oracle->scene('r04', nginx => {
    main => "worker_shutdown_timeout ${limit}s;",
    server => '        location /long { capture on; root {{dir}}/www;'
        . ' limit_rate 64k; }',
});
my $nginx = $o->{nginx};
write_file($nginx->dir . '/www/long', 'x' x (8 << 20));

my $master = $nginx->master;
my $long = IDash::HTTP->new($nginx->addr);
$long->send(IDash::HTTP::message('GET', '/long'));
ok($long->more, 'the long download began');

my $reloads = 2 * Oracle::scale(20);
my $load = $o->load(rate => 2000, seconds => $reloads + 1);

sleep 1;
$nginx->reload;
my ($rss, $fds) = (IDash::Process::rss($master), IDash::Process::fds($master));

my $exit_s = 0;
for my $n (2 .. $reloads) {
    my @old = $nginx->workers;
    my $from = now();

    $nginx->reload;
    wait_for(sub { !grep { -e "/proc/$_" } @old }, 10 * ($limit + 1));
    is(scalar(grep { -e "/proc/$_" } @old), 0, "old workers of $n are gone");
    $exit_s = now() - $from if now() - $from > $exit_s;
    sleep(rand 0.3);
}

my $sum = $load->finish;
is($sum->{failed} + $sum->{unfinished}, 0, 'no request failed');
figure('r04.reloads', $reloads);
figure('r04.exit_s', sprintf('%.2f', $exit_s), 's');
figure('r04.rss', sprintf('%.3f', IDash::Process::rss($master) / $rss), 'x');
figure('r04.fds', IDash::Process::fds($master) - $fds, 'more');
cmp_ok(IDash::Process::fds($master), '<=', $fds, 'descriptors do not grow');

# the download, cut by worker_shutdown_timeout, is one record too
$o->verdict(extra => 1);
is($o->counters_add_up->{dropped}, 0, 'nothing was dropped');

done_testing();
