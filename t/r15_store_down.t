# Storm 15: the store is away while requests go on: SQLite's write lock is held
# by another process; the Mongo server is stopped, then killed.  The stream
# holds the records, memory does not grow, nothing is dead.

use strict;
use warnings;

use Test::More;
use Time::HiRes qw(sleep);

use lib 't/lib';
use IDash;
use IDash::Mongo;
use Oracle;

my $down = $ENV{SCALE} ? 600 * $ENV{SCALE} : 7;

subtest sqlite => \&sqlite;
subtest mongo => \&mongo;
done_testing();

sub sqlite {
    my $o = Oracle->scene('r15.sqlite');
    my $d = $o->{sidecar};
    my $load = $o->load(rate => 2000, seconds => $down + 1);

    sleep 1;
    my $lock = $d->lock_store;
    sleep $down;
    is_away($o);

    my $sum = $load->finish;
    is($sum->{failed} + $sum->{unfinished}, 0, 'no request failed');
    my ($from, $waiting) = (now(), $o->lag);
    $d->unlock_store($lock);
    is_back($o, $from, $waiting / 2000);
    is($d->dead_letters, 0, 'no dead letters');
    return;
}

sub mongo {
    my $missing = IDash::Mongo::missing();
    plan skip_all => $missing if defined $missing;
    plan skip_all => 'MONGO_URI names a server that is not ours to stop'
        if IDash::Mongo::is_foreign();

    my $mongo = IDash::Mongo->start;
    my $o = Oracle->mongo_scene('r15.mongo', $mongo->uri('r15',
        serverSelectionTimeoutMS => 1000, socketTimeoutMS => 2000));
    my $d = $o->{sidecar};

    # FerretDB reads all it has for most calls: 400 records
    my $rate = 400 / ($down + 1);
    my $load = $o->load(rate => $rate, seconds => $down + 1, body => '16:64');

    sleep 1;
    $mongo->freeze;
    sleep $down / 2;
    $mongo->kill_hard;
    sleep $down / 2;
    is_away($o);

    my $sum = $load->finish;
    is($sum->{failed} + $sum->{unfinished}, 0, 'no request failed');
    my $waiting = $o->lag;
    $mongo->restart;
    is_back($o, now(), $waiting / $rate);
    is_deeply($d->get('/api/v1/dead-letters', key => $d->key)->{json}{data},
        [], 'no dead letters');
    return;
}

sub is_away {
    my ($o) = @_;
    my $d = $o->{sidecar};

    cmp_ok($o->lag, '>', 0, 'the stream holds what the store cannot');
    is($d->get('/healthz')->{status}, 200, 'the sidecar lives');
    is($d->get('/readyz')->{status}, 503, 'and says that it is not ready');
    my $rss = IDash::Process::rss($d->pid);
    figure("$o->{name}.rss", sprintf('%.1f', $rss / 1e6), 'MB');
    cmp_ok($rss, '<=', 64 << 20, 'at most 64 MB resident');
    return;
}

# SECONDS of traffic wait; the time that it takes gives the multiple.
sub is_back {
    my ($o, $from, $seconds) = @_;

    wait_for(sub { my $lag = $o->lag; defined $lag && $lag == 0 }, 120);
    figure("$o->{name}.drain_x", sprintf('%.1f', $seconds / (now() - $from)),
        'x ingest');
    $o->verdict;
    is($o->counters_add_up->{dropped}, 0, 'nothing was dropped');
    return;
}
