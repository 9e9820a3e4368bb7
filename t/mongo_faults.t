# The Mongo store under faults: every log is kept once and byte for byte, and
# the heatmap equals the logs again after a recount.

use strict;
use warnings;

use Test::More;
use Time::HiRes qw(sleep);

use lib 't/lib';
use IDash;
use IDash::Mongo;
use IDash::StoreClient;

my $missing = IDash::Mongo::missing();
plan skip_all => $missing if defined $missing;
plan skip_all => 'MONGO_URI names a server that is not ours to break'
    if IDash::Mongo::is_foreign();

my $scale = $ENV{SCALE} || 0.1;
my $mongo = IDash::Mongo->start;

subtest 'server killed during inserts' => \&server_killed;
subtest 'writer killed during inserts' => \&writer_killed;
subtest 'reply lost after the commit' => \&reply_lost;
subtest 'write concern not met' => \&wtimeout;
subtest 'slow server' => \&slow_server;
subtest 'odd content leaves its neighbours alone' => \&odd_content;
subtest 'errors at open say what to do' => \&open_errors;

$mongo->stop;
done_testing();

# All is there once, nothing else is, and counted once.  Every 13th is compared:
# FerretDB reads the whole table to find one.
sub judge {
    my ($client, $n, $name) = @_;

    my ($r, $count) = split / /, $client->ask('count');
    my $checked = 1 + int(($n - 1) / 13);

    figure("$name.lost", $count < $n ? $n - $count : 0, 'records');
    figure("$name.dup", $count > $n ? $count - $n : 0, 'records');
    is("$r $count", "ok $n", 'all are there, none twice');
    is($client->ask("check 0 $n 2000 13"), "$checked 0 0", 'byte for byte');

    like($client->ask('recount 0'), qr/^ok/, 'recount');
    is($client->ask('cells'), "ok $n $n", 'buckets equal the documents');
    return;
}

sub server_killed {
    my $uri = $mongo->uri('killed', serverSelectionTimeoutMS => 2000);
    my $client = IDash::StoreClient->start($uri);
    my ($n, $failed) = (0, 0);

    ok($client->is_open, 'open') or diag $client->error;

    for my $round (1 .. 5) {
        $client->send("insert $n 300 2000");
        sleep(0.02 + rand(0.15));
        $mongo->kill_hard;
        $failed++ if $client->answer !~ /^ok/;
        $mongo->restart;
        $client->insist("insert $n 300 2000");
        $n += 300;
    }

    figure('server_killed.interrupted', $failed, 'of 5 inserts');
    judge($client, $n, 'server_killed');
    is($client->stop, 0, 'exit');
    return;
}

sub writer_killed {
    my $uri = $mongo->uri('writer');
    my $n = 0;

    for my $round (1 .. 5) {
        my $client = IDash::StoreClient->start($uri);

        ok($client->is_open, "open $round") or diag $client->error;
        $client->send("insert $n 300 2000");
        sleep(0.02 + rand(0.15));
        $client->kill_hard;

        $client = IDash::StoreClient->start($uri);
        $client->insist("insert $n 300 2000");
        $n += 300;
    }

    my $client = IDash::StoreClient->start($uri);
    judge($client, $n, 'writer_killed');
    is($client->stop, 0, 'exit');
    return;
}

sub with_relay {
    my ($db, $fault, $n, %opt) = @_;

    my $relay = $mongo->relay;
    my $client = IDash::StoreClient->start($relay->uri($db, %opt));
    my $tries = 0;

    ok($client->is_open, 'open') or diag $client->error;
    $relay->fault(@$fault);

    for (my $at = 0; $at < $n; $at += 100) {
        $tries += $client->insist("insert $at 100 2000");
    }

    ok($relay->faults > 0, $relay->faults . ' answers falsified');
    $relay->fault('none', 1);
    return ($client, $relay, $tries - $n / 100);
}

sub reply_lost {
    my $n = 100 * int(50 * $scale);
    my ($client, $relay, $again)
        = with_relay('lost', [ 'lost', 2 ], $n);

    figure('r17.dup_acked', 100 * $relay->faults, 'records');
    is($again, $relay->faults, 'each one was an unknown outcome, sent again');
    like($client->log_text, qr/the connection broke/, 'and logged');
    is($client->ask('cells'), 'ok ' . ($n - 100 * $relay->faults) . " $n",
        'those batches are not counted yet');
    judge($client, $n, 'r17');
    is($client->stop, 0, 'exit');
    return;
}

sub wtimeout {
    my $n = 100 * int(100 * $scale);
    my ($client, $relay, $again)
        = with_relay('wtimeout', [ 'wtimeout', 4 ], $n);

    figure('r18.timeouts', $relay->faults, 'inserts');
    is($again, $relay->faults, 'each one was an unknown outcome, sent again');
    judge($client, $n, 'r18');
    is($client->stop, 0, 'exit');
    return;
}

sub slow_server {
    my $n = 300;
    my ($client, $relay, $again)
        = with_relay('slow', [ 'slow', 3, 1.5 ], $n, socketTimeoutMS => 700);

    ok($again > 0, "$again inserts ran into socketTimeoutMS");
    judge($client, $n, 'slow_server');
    is($client->stop, 0, 'exit');
    return;
}

sub odd_content {
    my $client = IDash::StoreClient->start($mongo->uri('odd'));

    ok($client->is_open, 'open') or diag $client->error;
    # of 100 logs ten are odd, two of those have a body of 20 MB
    is($client->ask('odd 0 100'), 'ok 98 0 0 2', 'only what is too big');
    is($client->ask('odd 0 100'), 'ok 0 98 0 2', 'the same again');
    is($client->ask('check 0 100 -1'), '98 0 2', 'byte for byte');
    is($client->ask('cells'), 'ok 98 98', 'counted');
    figure('r19.refused', 2, 'records');
    is($client->stop, 0, 'exit');
    return;
}

sub open_errors {
    my $port = free_port();
    my @cases = (
        [ "mongodb://joe:hunter2\@127.0.0.1:$port/x?serverSelectionTimeoutMS=300",
          qr/127\.0\.0\.1:$port: .*is the server up/ ],
        [ "mongodb://joe:hunter2\@127.0.0.1:$port/x?w=0", qr/w=0 loses logs/ ],
        [ 'mongodb://joe:hunter2@h:99999/x', qr/malformed.*write mongodb:/ ],
        [ 'mongo://x', qr/unknown scheme/ ],
    );

    for my $case (@cases) {
        my ($uri, $want) = @$case;
        my $client = IDash::StoreClient->start($uri);

        like($client->error, $want, $want);
        unlike($client->error . $client->log_text, qr/hunter2/,
            'without the password');
    }

    return;
}
