# Storm 14, of dispatch: two dispatchers are stopped with sends in flight for
# longer than their lease; a third sends again and settles; resumed, the late
# ones change nothing and are counted.

use strict;
use warnings;

use Test::More;
use Time::HiRes qw(sleep);

use lib 't/lib';
use IDash;
use IDash::Wait;
use Oracle;
use Outbound;

my $o = Outbound->new(conf => { roles => 'drain,api' });
my %conf = (%{ $o->{conf} }, roles => 'dispatch,api', dispatch_lease => '3s',
    dispatch_in_flight => 40);
my @late = map { IDash::Sidecar->start(redis => $o->redis_of,
    beside => $o->d, conf => \%conf) } 1 .. 2;

$o->integration(url => $o->url('/slow/a'), concurrency => 100);
my $n = 60;
my @ids = $o->events($n);
wait_for(sub { scalar(my @h = $o->hits) >= 40 });
ok(freeze(), 'two are stopped, not within a transaction');

my $third = IDash::Sidecar->start(redis => $o->redis_of, beside => $o->d,
    conf => { %conf, dispatch_in_flight => 100 });
ok($o->settle(60), 'the third settles all');
my %before = map { $_ => join ' ', @{ $o->log_of($_) }{qw(status attempts)} }
    @ids;

sleep($ENV{SCALE} ? 300 * $ENV{SCALE} : 1);
$_->thaw for @late;
wait_for(sub { $late[0]->counter('dispatch_late')
    + $late[1]->counter('dispatch_late') >= 20 }, 30);
my $late = 0;
$late += $_->counter('dispatch_late') for @late;
my %after = map { $_ => join ' ', @{ $o->log_of($_) }{qw(status attempts)} }
    @ids;
my $overwritten = grep { $before{$_} ne $after{$_} } @ids;

cmp_ok($late, '>', 0, 'late outcomes are counted');
is($overwritten, 0, 'no outcome was overwritten');
is(scalar(grep { !/^SUCCESS/ } values %after), 0, 'all are delivered');

my %got;
$got{ $_->{id} }++ for $o->hits;
my $twice = 0;
$twice += $_ - 1 for values %got;
cmp_ok($twice, '<=', 80, 'sent twice: at most what was in flight');
my $attempts = () = map { @{ $o->api_of->get("/logs/$_/attempts")->{json}{data} } }
    @ids;
is($attempts, $n, 'the late ones left no attempt');
# One that is stopped within a transaction keeps SQLite from everybody.
sub freeze {
    my ($path) = $o->d->store =~ /^sqlite:(.*)/;

    for (1 .. 50) {
        $_->freeze for @late;
        return 1 if system("sqlite3 -cmd '.timeout 500' '$path'"
            . " 'BEGIN IMMEDIATE; ROLLBACK' >/dev/null 2>&1") == 0;
        $_->thaw for @late;
        sleep 0.01;
    }
    return 0;
}

figure('r14.regress', $overwritten, 'logs');
figure('r14.late', $late, 'outcomes');
figure('r14.twice', $twice, 'deliveries');
figure('r14.lost', $n - keys %got, 'deliveries');
figure('r14.dup', $twice, 'deliveries');

done_testing();
