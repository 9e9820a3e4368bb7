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
use MongoFaults;

my $mongo = mongo_server();

subtest 'server killed during inserts' => \&server_killed;
subtest 'writer killed during inserts' => \&writer_killed;
subtest 'slow server' => \&slow_server;
subtest 'errors at open say what to do' => \&open_errors;

$mongo->stop;
done_testing();

sub server_killed {
    my $uri = $mongo->uri('killed', serverSelectionTimeoutMS => 2000);
    my $client = IDash::StoreClient->start($uri);
    my ($n, $failed) = (0, 0);

    ok($client->is_open, 'open') or diag $client->error;

    for my $round (1 .. 5) {
        $client->send("insert $n 120 2000");
        sleep(0.02 + rand(0.15));
        $mongo->kill_hard;
        $failed++ if $client->answer !~ /^ok/;
        $mongo->restart;
        $client->insist("insert $n 120 2000");
        $n += 120;
    }

    figure('server_killed.interrupted', $failed, 'of 5 inserts');
    judge_client($client, $n, 'server_killed');
    is($client->stop, 0, 'exit');
    return;
}

sub writer_killed {
    my $uri = $mongo->uri('writer');
    my $n = 0;

    for my $round (1 .. 5) {
        my $client = IDash::StoreClient->start($uri);

        ok($client->is_open, "open $round") or diag $client->error;
        $client->send("insert $n 120 2000");
        sleep(0.02 + rand(0.15));
        $client->kill_hard;

        $client = IDash::StoreClient->start($uri);
        $client->insist("insert $n 120 2000");
        $n += 120;
    }

    my $client = IDash::StoreClient->start($uri);
    judge_client($client, $n, 'writer_killed');
    is($client->stop, 0, 'exit');
    return;
}

sub slow_server {
    my $n = 300;
    my ($client, $relay, $again)
        = with_relay($mongo, 'slow', [ 'slow', 3, 1.5 ], $n, socketTimeoutMS => 700);

    ok($again > 0, "$again inserts ran into socketTimeoutMS");
    judge_client($client, $n, 'slow_server');
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
