# A batch retry: the plan says what would go and why not, the job sends each
# once, is paused, cancelled, stopped by failures, and survives kills.

use strict;
use warnings;

use Test::More;
use Time::HiRes qw(sleep);

use lib 't/lib';
use ApiTest;
use IDash;
use IDash::Wait;
use Outbound;

our $store;                                # retry_jobs_mongo.t sets it
on_store();
answers_fit_description();
done_testing();

sub on_store {
    my $o = Outbound->new(conf => { dispatch_lease => '2s',
        dispatch_probe => '1s' },
        store => $store);
    my $i = $o->integration(url => $o->url('/n500/a'), is_auto_retry => \0);

    # FerretDB 1 reads, then writes: of two that change a job at once both may
    # win, and each delivery takes it long
    if ($store) {
        command($o, $i);
        return;
    }

    plans($o, $i);
    acts($o, $i);
    stops($o, $i);
    command($o, $i);
    kills($o, $i);
    return;
}

# As api_of->get, for polls and loops: not held against the description.
sub get {
    my ($o, $path) = @_;
    return $o->d->get("/api/v1$path", key => $o->api_of->{admin});
}

# N deliveries that have failed; their ids.  Every second one goes well, so that
# no breaker opens.
sub failed {
    my ($o, $i, $n) = @_;

    $o->change($i->{id}, url => $o->url('/n500/a'));
    my (@ids, @fail);
    while (@fail < $n) {
        push @ids, $o->events(2 * ($n - @fail));
        ok($o->settle(60), 'all have ended');
        my %fail;
        my $path = '/logs?status=FAIL&limit=200';
        while ($path) {
            my $r = get($o, $path)->{json};
            $fail{ $_->{_id} } = 1 for @{ $r->{data} };
            $path = $r->{page}{has_more}
                && "/logs?status=FAIL&limit=200&cursor=$r->{page}{next}";
        }
        @fail = grep { $fail{$_} } @ids;
    }
    return @fail[0 .. $n - 1];
}

sub plan_of {
    my ($o, $filter, %opt) = @_;
    return $o->api_of->call('POST', '/retry-plans',
        json => { filter => $filter }, %opt);
}

sub job_of {
    my ($o, $plan, %f) = @_;
    return $o->post('/retry-jobs', { plan => $plan, rate_per_s => 200,
        reason => 'test', %f });
}

sub until_state {
    my ($o, $id, $states, $limit) = @_;

    my $job;
    wait_for(sub {
        $job = get($o, "/retry-jobs/$id")->{json} || {};
        return ($job->{state} // '') =~ /^(?:$states)$/;
    }, $limit || 60) or diag "job is $job->{state}";
    return $job;
}

sub items_of {
    my ($o, $id, $query) = @_;

    my (@items, $next);
    do {
        my $r = $o->api_of->get("/retry-jobs/$id/items?limit=7" . ($query // '')
            . ($next ? "&cursor=$next" : ''));
        is($r->{status}, 200, 'items') or diag $r->{body};
        push @items, @{ $r->{json}{data} };
        $next = $r->{json}{page}{next};
    } while ($next);
    return @items;
}

sub plans {
    my ($o, $i) = @_;

    my @ids = failed($o, $i, 20);
    my %message = map { $_ => $o->log_of($_)->{message_id} } @ids;
    my $before = scalar $o->hits;

    my $r = plan_of($o, 'status=FAIL&kind=webhook');
    is($r->{status}, 201, 'a plan') or diag $r->{body};
    my $plan = $r->{json};
    is($plan->{matched}, 20, 'of what failed');
    is($plan->{eligible}, 20, 'all can go');
    is_deeply($plan->{ineligible}, {}, 'none cannot');
    is($plan->{by_endpoint}[0]{eligible}, 20, 'to one endpoint');
    is(scalar @{ $plan->{sample} }, 10, 'ten are shown');
    like($plan->{filter}, qr/^status=FAIL&kind=webhook&to=2/, 'the end is frozen');
    is($o->api_of->get("/retry-plans/$plan->{plan}")->{json}{eligible}, 20,
        'it can be read again');
    is(scalar $o->hits, $before, 'a plan sends nothing');

    is(plan_of($o, { status => [ 'FAIL', 'CANCELLED' ], kind => 'webhook' })
        ->{json}{eligible}, 20, 'the same as an object');
    for my $bad ([ 'colour=red', 'parameter' ], [ 'status=RED', 'value' ],
        [ 'limit=3', 'parameter' ], [ 7, 'required' ])
    {
        $r = plan_of($o, $bad->[0]);
        is("$r->{status} $r->{json}{errors}[0]{pointer} "
            . $r->{json}{errors}[0]{code}, "422 #/filter $bad->[1]",
            "refused: $bad->[0]");
    }

    # who may
    my $far = $o->api_of->key('operator', 4);
    my $viewer = $o->api_of->key('viewer', 3);
    is(plan_of($o, 'status=FAIL', key => $viewer)->{status}, 403, 'a viewer');
    is(plan_of($o, 'status=FAIL', key => $far)->{json}{matched}, 0,
        'another tenant selects its own');
    is($o->api_of->get("/retry-plans/$plan->{plan}", key => $far)->{status},
        404, 'and does not see the plan');
    is($o->api_of->call('POST', '/retry-jobs', key => $far, json => {
        plan => $plan->{plan}, reason => 'mine' })->{status}, 404,
        'nor runs it');

    # what a job wants
    is(job_of($o, $plan->{plan}, reason => '')->{json}{errors}[0]{pointer},
        '#/reason', 'a reason');
    is(job_of($o, $plan->{plan}, rate_per_s => 0)->{json}{errors}[0]{code},
        'range', 'a rate');
    is(job_of($o, '0197c000-0000-7000-8000-000000000000')->{status}, 404,
        'a plan');

    # one recovers meanwhile, a new one fails: neither goes
    $o->change($i->{id}, url => $o->url('/ok/a'));
    my $own = $o->post("/logs/$ids[3]/resend", {})->{json}{_id};
    $o->until_status($own, 'SUCCESS');

    $r = job_of($o, $plan->{plan});
    is($r->{status}, 202, 'a job') or diag $r->{body};
    is($r->{json}{total}, 20, 'of twenty');
    my $id = $r->{json}{id};
    like(scalar http_header($r, 'Location'), qr{/retry-jobs/\Q$id\E$},
        'its place');
    my $job = until_state($o, $id, 'done');
    is("$job->{done} $job->{sent} $job->{succeeded} $job->{failed} "
        . $job->{skipped}, '20 19 19 0 1', 'done');
    ok($job->{ended_at}, 'and says when');

    my @hits = $o->hits('/ok/a');
    is(scalar @hits, 20, 'each arrived');
    my %got;
    $got{ $_->{id} }++ for @hits;
    is_deeply([ sort keys %got ], [ sort values %message ],
        'once, with the webhook-id of the first');
    is($o->log_of($_)->{status}, 'FAIL', 'an original stays') for $ids[0];

    my @items = items_of($o, $id);
    is(scalar @items, 20, 'twenty items');
    is_deeply([ map { $_->{log_id} } @items ], [ sort @ids ], 'oldest first');
    my ($skipped) = items_of($o, $id, '&status=skipped');
    is("$skipped->{log_id} $skipped->{reason}", "$ids[3] already_succeeded",
        'the recovered one was left out');
    is($o->log_of($items[0]{new_log_id})->{resend_of}, $items[0]{log_id},
        'a new log each');
    is($o->api_of->get("/retry-jobs/$id/items?status=red")->{status}, 400,
        'an unknown status');

    $r = job_of($o, $plan->{plan});
    is($r->{status}, 409, 'a plan runs once');
    like($r->{json}{type}, qr/#plan-used$/, 'and says so');
    is_deeply(plan_of($o, 'status=FAIL')->{json}{ineligible},
        { already_succeeded => 20 }, 'now none is left');
    is(job_of($o, plan_of($o, 'status=FAIL')->{json}{plan})->{status}, 409,
        'and nothing to run');

    is($o->api_of->get("/retry-jobs/$id", key => $far)->{status}, 404,
        "another's job");
    is_deeply($o->api_of->get('/retry-jobs', key => $far)->{json}{data}, [],
        'is in no list of his');
    is($o->api_of->get('/retry-jobs?state=done')->{json}{data}[0]{id}, $id,
        'it is in ours');
    my %audit = map { $_->{action} => $_ }
        @{ $o->api_of->get('/audit?limit=200')->{json}{data} };
    is($audit{'retry_job.create'}{reason}, 'test', 'audited with its reason');

    # what cannot go
    my @more = failed($o, $i, 2);
    $o->change($i->{id}, enabled => \0);
    is_deeply(plan_of($o, "id=$more[0]&id=$more[1]")->{json}{ineligible},
        { integration_disabled => 2 }, 'held: not now');
    $o->change($i->{id}, enabled => \1);
    my $in = $o->api_of->record;
    wait_for(sub { $o->api_of->get("/logs/$in")->{status} == 200 });
    is_deeply(plan_of($o, "id=$in")->{json}{ineligible}, { inbound => 1 },
        'an inbound call is replayed, not retried');
    return;
}

sub acts {
    my ($o, $i) = @_;

    my @ids = failed($o, $i, 30);
    $o->change($i->{id}, url => $o->url('/ok/acts'));
    my $filter = join '&', map { "id=$_" } @ids;
    my $r = $o->api_of->call('POST', '/retry-jobs', json => {
        plan => plan_of($o, $filter)->{json}{plan}, rate_per_s => 4,
        reason => 'slowly' }, headers => [ [ 'Idempotency-Key', 'job-1' ] ]);
    my $id = $r->{json}{id};
    my $viewer = $o->api_of->key('viewer', 3);
    is($o->api_of->call('POST', "/retry-jobs/$id/cancel", key => $viewer)
        ->{status}, 403, 'a viewer cancels nothing');
    wait_for(sub { $o->hits('/ok/acts') >= 2 });
    $r = $o->post("/retry-jobs/$id/pause", {});
    is("$r->{status} $r->{json}{state}", '200 paused', 'paused');
    is($o->post("/retry-jobs/$id/pause", {})->{status}, 409, 'once');
    sleep 1;
    my $sent = scalar $o->hits('/ok/acts');
    sleep 1.5;
    is(scalar $o->hits('/ok/acts'), $sent, 'it rests');
    is($o->api_of->get("/retry-jobs/$id")->{json}{sent}, $sent,
        'and says how many went');

    is($o->post("/retry-jobs/$id/resume", { reason => 'on' })->{json}{state},
        'queued', 'resumed');
    wait_for(sub { $o->hits('/ok/acts') > $sent });
    ok($o->hits('/ok/acts') > $sent, 'it goes on');
    $r = $o->post("/retry-jobs/$id/cancel", { reason => 'enough' });
    like($r->{json}{state}, qr/^cancel(?:ling|led)$/, 'cancelled');
    my $job = until_state($o, $id, 'cancelled');
    sleep 1;
    $sent = scalar $o->hits('/ok/acts');
    is($o->api_of->get("/retry-jobs/$id")->{json}{sent}, $sent,
        "$sent had gone out");
    ok($sent < 30, 'the rest did not');
    is(scalar(items_of($o, $id, '&status=cancelled')), 30 - $sent,
        'and is listed as cancelled');
    is($o->post("/retry-jobs/$id/resume", {})->{status}, 409, 'for good');
    return;
}

sub stops {
    my ($o, $i) = @_;

    my @ids = failed($o, $i, 20);
    $o->change($i->{id}, url => $o->url('/fail/stops'));
    my $plan = plan_of($o, join '&', map { "id=$_" } @ids)->{json};
    my $id = job_of($o, $plan->{plan}, rate_per_s => 10,
        stop_after_consecutive_failures => 3)->{json}{id};
    my $job = until_state($o, $id, 'stopped');
    ok($job->{sent} < 20, "stopped after $job->{sent}");
    wait_for(sub { get($o, "/retry-jobs/$id")->{json}{failed}
        == $job->{sent} });
    $o->change($i->{id}, url => $o->url('/ok/stops'));
    is($o->post("/retry-jobs/$id/resume", {})->{status}, 200, 'resumed');
    $job = until_state($o, $id, 'done');
    is($job->{succeeded} + $job->{failed}, 20, 'to its end');
    is(scalar $o->hits('/ok/stops'), $job->{succeeded}, 'as counted');
    my ($bad) = items_of($o, $id, '&status=failed');
    is($bad->{reason}, 'exhausted', 'a failed item says why');
    return;
}

# the same from a terminal
sub command {
    my ($o, $i) = @_;

    my @ids = failed($o, $i, 3);
    $o->change($i->{id}, url => $o->url('/ok/command'));
    my $from = get($o, "/logs/$ids[0]")->{json}{timing}{started_at};
    my @filter = ('status=FAIL', "from=$from");
    my ($status, $out) = $o->d->command('retry', '--dry-run', @filter);
    is($status, 0, 'retry --dry-run');
    like($out, qr/^3 match, 3 can be sent again\n  3 to i/, 'counts');
    is(scalar $o->hits('/ok/command'), 0, 'and sends nothing');
    ($status, $out) = $o->d->command('retry', @filter);
    is($status, 2, 'without --reason it is a question');
    ($status, $out) = $o->d->command('retry', 'colour=red', '--dry-run');
    is($status, 2, 'an unknown filter');
    ($status, $out) = $o->d->command('retry', @filter, '--yes', '--reason',
        'by hand', '--rate=50');
    is($status, 0, 'retry --yes') or diag $out;
    like($out, qr/^job [0-9a-f-]{36}\ndone: 3 sent, 3 succeeded, 0 failed/m,
        'runs to its end');
    is(scalar $o->hits('/ok/command'), 3, 'and sent');
    my ($audit) = grep { $_->{reason} && $_->{reason} eq 'by hand' }
        @{ get($o, '/audit?limit=50')->{json}{data} };
    is($audit->{actor}{key_id}, 'cli', 'audited');
    return;
}

# kill -9 of the runner, Redis flushed, two runners: each once
sub kills {
    my ($o, $i) = @_;

    my @ids = failed($o, $i, 60);
    $o->change($i->{id}, url => $o->url('/ok/kills'));
    my %message = map { $_ => 1 }
        map { get($o, "/logs/$_")->{json}{message_id} } @ids;
    my $plan = plan_of($o, 'status=FAIL&from='
        . $o->log_of($ids[0])->{timing}{started_at})->{json};
    is($plan->{eligible}, 60, 'all can go');
    my $two = IDash::Sidecar->start(redis => $o->redis_of, beside => $o->d,
        conf => { %{ $o->{conf} }, roles => 'dispatch,api' });
    my $id = job_of($o, $plan->{plan}, rate_per_s => 15)->{json}{id};

    for my $n (1 .. 6) {
        my $d = $n % 2 ? $o->d : $two;
        sleep 0.4;
        $d->kill9;
        $o->redis_of->call('FLUSHALL') if $n == 4;
        $d->run;
    }

    my $job = until_state($o, $id, 'done', 120);
    is("$job->{done} $job->{succeeded}", '60 60', 'done all the same');
    my %got;
    $got{ $_->{id} }++ for $o->hits('/ok/kills');
    my %copies;
    $copies{ $_->{new_log_id} }++ for items_of($o, $id);
    is(scalar(grep { !$got{$_} } keys %message), 0, 'none is lost');
    is(scalar keys %copies, 60, 'one copy each');
    my $logs = 0;
    for my $log (@ids) {
        $logs += @{ get($o, "/logs?resend_of=$log")->{json}{data} };
    }
    is($logs, 60, 'and no log beside them');
    IDash::Wait::figure('retry_jobs.lost',
        scalar(grep { !$got{$_} } keys %message), 'deliveries');
    IDash::Wait::figure('retry_jobs.dup', $logs - 60, 'copies');
    $two->stop;
    return;
}
