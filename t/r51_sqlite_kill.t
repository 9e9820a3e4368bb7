# Storm 51: kill -9 of SQLite's writer in the middle of commits, the lock held
# by another process for longer than SQLite waits, files that may not grow: all
# is kept once, the file is whole, and buckets equal the documents.

use strict;
use warnings;

use Test::More;
use Time::HiRes qw(sleep time);

use lib 't/lib';
use IDash;
use IDash::StoreClient;
use Oracle;

my $uri = 'sqlite:' . test_dir('store') . '/dash.db';
my ($path) = $uri =~ /:(.*)/;
my $batch = 1000;
my ($n, $bad) = (0, 0);

subtest 'kill -9 in commits' => \&killed;
subtest 'locked' => \&locked;
subtest 'files may not grow' => \&full;
subtest 'all of it' => \&judge;
done_testing();

sub whole {
    my ($when) = @_;

    my $said = `sqlite3 -cmd '.timeout 9000' '$path' 'PRAGMA integrity_check'`;
    $bad++ if $said ne "ok\n";
    is($said, "ok\n", "integrity_check: $when");
    return;
}

sub killed {
    my $kills = 10 * Oracle::scale(20);
    my $interrupted = 0;
    my $took = insert_time();

    for my $round (1 .. $kills) {
        my $client = IDash::StoreClient->start($uri);
        ok($client->is_open, "open $round") or diag $client->error;

        $client->send("insert $n $batch 2000");
        sleep rand 2 * $took;              # before, in and after the commit
        $client->kill_hard;

        # what the dead one had written is there, and met as the same
        $client = IDash::StoreClient->start($uri);
        my ($r, $new, $same) = split / /, $client->ask("insert $n $batch 2000");
        is($r, 'ok', 'inserted again');
        is($new + $same, $batch, "$new new, $same the same");
        $interrupted++ if $new > 0;
        $n += $batch;
        is($client->stop, 0, 'exit');
        whole("after kill $round") if $round % 5 == 0;
    }

    figure('r51.kills', $kills);
    figure('r51.interrupted', $interrupted, 'inserts');
    ok($interrupted > 0, 'some were hit before their end');
    return;
}

# seconds that a batch takes when nobody is killed
sub insert_time {
    my $client = IDash::StoreClient->start($uri);
    my $from = time;

    like($client->ask("insert $n $batch 2000"), qr/^ok $batch 0\b/, 'a whole one');
    my $took = time - $from;
    $n += $batch;
    is($client->stop, 0, 'exit');
    return $took;
}

sub locked {
    my $client = IDash::StoreClient->start($uri);
    my $holder = IDash::Sidecar::lock_store({ store => $uri });

    $client->send("insert $n $batch 2000");
    like($client->answer, qr/^failed/, 'BUSY is an unknown outcome');
    like($client->log_text, qr/locked|busy/i, 'and logged');
    IDash::Sidecar::unlock_store(undef, $holder);
    is($client->insist("insert $n $batch 2000"), 1, 'then it goes on');
    $n += $batch;
    is($client->stop, 0, 'exit');
    whole('after a lock');
    return;
}

# RLIMIT_FSIZE, for the disk that is full see 32
sub full {
    local $SIG{XFSZ} = 'IGNORE';
    my $client = IDash::StoreClient->start($uri);

    is(system('prlimit', '--pid', $client->{pid}, '--fsize=32768:unlimited'),
        0, 'a limit');
    like($client->ask("insert $n $batch 2000"), qr/^failed/, 'no room');
    is(system('prlimit', '--pid', $client->{pid}, '--fsize=unlimited'), 0,
        'lifted');
    is($client->insist("insert $n $batch 2000"), 1, 'it goes on, unopened');
    $n += $batch;
    is($client->stop, 0, 'exit');
    whole('after a full disk');
    return;
}

sub judge {
    my $client = IDash::StoreClient->start($uri);
    my ($r, $count) = split / /, $client->ask('count');

    figure('r51.captured', $n, 'records');
    figure('r51.stored', $count, 'records');
    figure('r51.lost', $count < $n ? $n - $count : 0, 'records');
    figure('r51.dup', $count > $n ? $count - $n : 0, 'records');
    figure('r51.bad', $bad, 'integrity checks');
    is("$r $count", "ok $n", 'all are there, none twice');
    is($client->ask("check 0 $n 2000"), "$n 0 0", 'byte for byte');
    like($client->ask('recount 0'), qr/^ok/, 'recount');
    like($client->ask('agree'), qr/^ok [1-9]\d* 0$/,
        'buckets equal the documents');
    is($client->stop, 0, 'exit');
    return;
}
