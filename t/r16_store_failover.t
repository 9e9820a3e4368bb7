# Storm 16: the store's server is killed in the middle of bulk writes, again
# and again.  Mongo: kill -9 of the server, then of server and sidecar at once.
# SQLite has no server: its writer is killed (see also 02 and 51).

use strict;
use warnings;

use Test::More;
use Time::HiRes qw(sleep);

use lib 't/lib';
use IDash;
use IDash::Mongo;
use Oracle;

my $kills = 2 * Oracle::scale(20);

subtest 'mongo' => \&mongo;
subtest 'sqlite' => \&sqlite;
done_testing();

sub mongo {
    my $missing = IDash::Mongo::missing();
    plan skip_all => $missing if defined $missing;
    plan skip_all => 'MONGO_URI names a server that is not ours to kill'
        if IDash::Mongo::is_foreign();

    my $mongo = IDash::Mongo->start;
    my $o = Oracle->mongo_scene('r16.mongo', $mongo->uri('r16',
        serverSelectionTimeoutMS => 1000, socketTimeoutMS => 5000));
    my $d = $o->{sidecar};

    # 400 records in all, in bursts: FerretDB reads all it has for most calls
    my $burst = 10 + int(400 / $kills);
    my $cut = 0;

    for my $n (1 .. $kills) {
        my $load = $o->load(rate => 1000, count => $burst, body => '16:64');
        wait_for(sub { ($o->lag // 0) > 0 }, 2);
        sleep(rand 0.1);
        $cut++ if ($o->lag // 0) > 0;
        $mongo->kill_hard;
        $d->kill9 if $n % 4 == 0;
        is($load->finish->{failed}, 0, 'no request failed');
        sleep(rand 0.3);
        $mongo->restart;
        $d->run if $n % 4 == 0;
    }

    figure('r16.mongo.interrupted', $cut, "of $kills bursts");
    finish($o);
    is_deeply($d->get('/api/v1/dead-letters', key => $d->key)->{json}{data},
        [], 'no dead letters');
    return;
}

sub sqlite {
    my $o = Oracle->scene('r16.sqlite');
    my $d = $o->{sidecar};
    my $load = $o->load(rate => 2000, seconds => 600);

    for my $n (1 .. $kills) {
        my $stored = $d->counter('drain_stored');
        wait_for(sub { $d->counter('drain_stored') > $stored });
        sleep(rand 0.1);
        $d->kill9;
        $d->run;
    }

    my $sum = $load->stop;
    is($sum->{failed} + $sum->{unfinished}, 0, 'no request failed');
    finish($o);
    is($d->dead_letters, 0, 'no dead letters');
    is($d->sql('PRAGMA integrity_check'), 'ok', 'the file is whole');
    return;
}

sub finish {
    my ($o) = @_;

    $o->verdict;
    wait_for(sub { my $lag = $o->lag; defined $lag && $lag == 0 });
    is($o->lag, 0, 'all is acknowledged');
    figure("$o->{name}.failovers", $kills);
    $o->judge_buckets($o->{sidecar});
    is($o->counters_add_up->{dropped}, 0, 'nothing was dropped');
    return;
}
