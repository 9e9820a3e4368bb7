# kill -9 of integrationd, and the store away for some seconds, in the middle of
# a replay of an inbound call and of a retry job, on both stores: a replay is
# made once and says what came of it, a job sends each once more under the
# webhook-id of the first and ends with counts that add up.

use strict;
use warnings;

use Test::More;
use Time::HiRes qw(sleep);

use lib 't/lib';
use ApiTest;
use IDash;
use IDash::Mongo;
use IDash::Wait;
use Outbound;

my $away = 8;                              # longer than a write of SQLite waits

my $why = IDash::Mongo::missing()
    // (IDash::Mongo::is_foreign() ? 'MONGO_URI names a server that is not ours'
        : undef);
subtest 'sqlite: replay' => sub { replays(undef) };
subtest 'sqlite: retry job' => sub { retries(undef, 16) };
subtest 'mongo: replay' => sub { on_mongo(\&replays) };
subtest 'mongo: retry job' => sub { on_mongo(\&retries, 6) };
done_testing();

sub on_mongo {
    my ($code, @argv) = @_;

    plan skip_all => $why if defined $why;
    my $mongo = IDash::Mongo->start;
    $code->($mongo, @argv);
    $mongo->stop;
    return;
}

sub store_of {
    my ($mongo) = @_;
    return $mongo ? $mongo->uri('kill', serverSelectionTimeoutMS => 1000,
        socketTimeoutMS => 5000) : undef;
}

# Takes the store away; what is returned gives it back.
sub take_away {
    my ($mongo, $d) = @_;

    if ($mongo) {
        $mongo->kill_hard;
        return sub { $mongo->restart };
    }

    my $lock = $d->lock_store;
    return sub { $d->unlock_store($lock) };
}

# -- replay --------------------------------------------------------------------

sub replays {
    my ($mongo) = @_;

    my $dir = IDash::Process::dir('hold' . ($mongo ? 'm' : 's'));
    my $up = upstream(sub {
        my ($req) = @_;
        return { status => 422, body => '{}' } if $req->{raw} !~ /Idash-Replay/;
        wait_for(sub { !-e "$dir/hold" }, 60);
        return { status => 201, body => '{}' };
    });
    my $redis = redis();
    my $nginx = nginx(redis => $redis, location => 'capture on;'
        . ' capture_action 57; capture_key $http_x_api_key;'
        . ' capture_ref lab_id $arg_lab; capture_route /patients;'
        . ' proxy_ignore_client_abort on; proxy_pass ' . $up->url . ';');
    my $api = api(redis => $redis, $mongo ? (store => store_of($mongo)) : (),
        conf => { roles => 'drain,dispatch,api', replay_lease => '9s',
            replay_base_url => 'http://127.0.0.1:' . $nginx->port });
    my $d = $api->d;

    $nginx->post('/api/patients?lab=11', '{"bad":1}', headers => [
        [ 'Content-Type', 'application/json' ],
        [ 'X-Api-Key', 'north-key-0123456789' ] ]);
    my $log;
    wait_for(sub { ($log) = @{ $api->get('/logs?http=422')->{json}{data} } });
    my $etag = http_header($api->get("/logs/$log->{_id}"), 'ETag');

    my $calls = 0;
    my $made = sub { return scalar(grep { /Idash-Replay/ } $up->seen) };
    my $begin = sub {
        write_file("$dir/hold", '');
        my $r = $api->call('POST', "/logs/$log->{_id}/replay", json => {
            reason => 'again', base_etag => $etag, body => { n => ++$calls } });
        is($r->{status}, 202, 'a replay is accepted') or diag $r->{body};
        ok(wait_for(sub { $made->() == $calls }), 'and under way');
        return $r->{json}{id};
    };
    my $ended = sub {
        my ($id, $limit) = @_;
        my $r;
        wait_for(sub {
            $r = $d->get("/api/v1/replays/$id", key => $api->{admin})->{json}
                || {};
            return ($r->{state} // '') =~ /^(?:sent|failed)$/ && $r->{log_id};
        }, $limit);
        ok($r->{log_id}, 'its log is known') if $r->{state} eq 'sent';
        return join ' ', map { $_ // '-' } $r->{state}, $r->{http_status},
            $r->{error}{code};
    };

    # the store is away as the call ends
    my $id = $begin->();
    my $back = take_away($mongo, $d);
    unlink "$dir/hold";
    sleep $away;
    $back->();
    is($ended->($id, 60), 'sent 201 -', 'the store was away: its end is kept');

    # the sidecar dies with it, once more with the store away
    my @killed = ($begin->());
    $d->kill9;
    $d->run;
    push @killed, $begin->();
    $back = take_away($mongo, $d);
    $d->kill9;
    unlink "$dir/hold";
    sleep 1;
    $back->();
    $d->run;
    is($ended->($_, 90), 'failed - interrupted',
        'killed: it says that it was interrupted') for @killed;

    is($made->(), $calls, 'each was made once');
    my @logs = $d->logs($api->{admin}, "replay_of=$log->{_id}");
    is(scalar @logs, $calls, 'and has its log');
    figure('kill_jobs.calls', $made->(), "of $calls");
    $nginx->stop;
    $d->stop;
    done_testing();
    return;
}

# -- retry job -----------------------------------------------------------------

sub retries {
    my ($mongo, $n) = @_;

    my $o = Outbound->new(conf => { dispatch_lease => '3s',
        dispatch_probe => '1s' }, $mongo ? (store => store_of($mongo)) : ());
    my $d = $o->d;
    my $get = sub {
        my $r = $d->get("/api/v1$_[0]", key => $o->api_of->{admin});
        return $r->{json} || {};
    };

    # few enough a place that no breaker opens
    my (@ids, @places);
    for my $place (1 .. ($n + 7) / 8) {
        push @places, $o->integration(url => $o->url("/fail/$place"),
            is_auto_retry => \0, action_id => $place);
        push @ids, $o->events($n > 8 ? 8 : $n, undef, action_id => $place);
    }
    $o->until_status($_, 'FAIL', 60) for @ids;
    my %message = map { $get->("/logs/$_")->{message_id} => 1 } @ids;
    is(scalar keys %message, $n, "$n have failed");
    $o->change($_->{id}, url => $o->url('/ok/again')) for @places;

    my $plan = $o->post('/retry-plans', { filter => 'status=FAIL' })->{json};
    is($plan->{eligible}, $n, 'all can go');
    my $job = $o->post('/retry-jobs', { plan => $plan->{plan}, reason => 'x',
        rate_per_s => 2 })->{json}{id};
    ok(wait_for(sub { $o->hits('/ok/again') >= 2 }), 'the job is under way');

    # away for a while, then killed while it is, and once more
    my $back = take_away($mongo, $d);
    sleep $away;
    $d->kill9;
    $back->();
    $d->run;
    my $hits = $o->hits('/ok/again');
    wait_for(sub { $o->hits('/ok/again') > $hits }) if $hits < $n;
    $back = take_away($mongo, $d);
    sleep 1;
    $d->kill9;
    sleep 1;
    $back->();
    $d->run;

    my $state;
    ok(wait_for(sub {
        $state = $get->("/retry-jobs/$job");
        return ($state->{state} // '') eq 'done';
    }, 120), 'the job ends') or diag to_json($state);
    is(join(' ', map { "$_ $state->{$_}" }
        qw(total done sent succeeded failed skipped)),
        "total $n done $n sent $n succeeded $n failed 0 skipped 0",
        'and its counts add up');

    my (%got, %copies);
    $got{ $_->{id} }++ for $o->hits('/ok/again');
    is_deeply([ grep { !$message{$_} } keys %got ], [],
        'nothing went out under another webhook-id');
    is(scalar keys %got, $n, 'each did under its own');
    $copies{ $_->{new_log_id} }++
        for @{ $get->("/retry-jobs/$job/items?limit=200")->{data} };
    is(scalar keys %copies, $n, 'a copy each');
    my @all = map { @{ $get->("/logs?resend_of=$_")->{data} } } @ids;
    is_deeply([ sort map { $_->{_id} } @all ], [ sort keys %copies ],
        'and no log beside them');
    is(scalar(grep { $_->{status} ne 'SUCCESS' } @all), 0, 'all delivered');
    my $twice = 0;
    $twice += $_ - 1 for values %got;
    figure('kill_jobs.twice', $twice, 'of the same webhook-id');
    figure('kill_jobs.lost', $n - keys %got, 'deliveries');
    $d->stop;
    done_testing();
    return;
}
