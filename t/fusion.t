# Fusion's calls as its callers make them: every endpoint and field, mixed
# arrays, retries, callbacks, and what a crash left half.

use strict;
use warnings;

use lib 't/lib';
use ApiTest;
use IDash;
use IDash::StoreClient;
use IDash::Wait;
use Test::More;

my $STORE_EVENT = 10;                      # of enum store_coll

my $dir = IDash::Process::dir('counts');
my $peer = IDash::Peer->upstream(sub {
    my ($req) = @_;
    my ($path) = ($req->{path} // $req->{target} // $req->{uri}) =~ m{^([^?]*)};

    return { status => 500 } if $path eq '/bad';
    if ($path =~ m{^/third}) {
        my $file = "$dir/third";
        append_file($file, 'x');
        return { status => -s $file < 3 ? 503 : 200, body => 'x' };
    }
    return { body => '{}' };
});
my $url = $peer->url;

our $store;                                # fusion_mongo.t sets it
my $api = api(store => $store, conf => {
    roles => 'drain,dispatch,api', outbound_allow => '127.0.0.0/8',
    outbound_ports => $peer->port, fusion_developer => 'dev-north',
    fusion_allow_http => 'yes', dispatch_reconcile => '1s',
    dispatch_lease => '3s',
});

sub call {
    my ($path, $body, %opt) = @_;

    my $r = $api->d->call('POST', $path, body => ref $body ? to_json($body)
        : $body, headers => [ [ 'Content-Type', 'application/json' ] ], %opt);
    return $r;
}

sub item {
    my (%f) = @_;
    my $data = delete $f{data} || {};
    return { task => 4, task_type => 7, data => { url => "$url/hook",
        payload => { a => 1 }, %$data }, %f };
}

sub info { my ($id) = @_; return call('/jobInfo/', { job_id => $id })->{json}{jobs}[0] }

sub becomes {
    my ($id, $state) = @_;
    my $job;
    wait_for(sub { $job = info($id); return ($job->{status} // '') eq $state })
        or diag "$id is " . to_json($job);
    return $job;
}

sub errors { return join ' ', map { "$_->{index}:$_->{field}" } @{ $_[0]{json}{errors} } }
sub requests { my ($path) = @_; return grep { m{^\S+ \Q$path\E[ ?]} } $peer->seen }

# -- /queue/ ----------------------------------------------------------------

{
    my $r = call('/queue/', [ item(log_tag => 'bills', override_priority => 2,
        headers => { Authorization => 'Bearer s3cret', 'X-N' => 5 }, retry => 3,
        data => { action_id => 1, lab_id => 11, refs => { bill_id => 'B-1' } }),
        item(data => { url => "$url/get?x=1", method => 'GET',
            payload => { y => 'z' } }) ]);
    is($r->{status}, 200, 'two items');
    is($r->{json}{code}, 200, 'code 200');
    my @ids = @{ $r->{json}{job_ids} };
    is(scalar @ids, 2, 'a job id each');

    my $job = becomes($ids[0], 'finished');
    is_deeply([ @$job{qw(task task_type log_tag attempts http_status result)} ],
        [ 4, 7, 'bills', 1, 200, 'SUCCESS' ], 'jobInfo tells of it');
    my ($raw) = requests('/hook');
    like($raw, qr/^POST .*\r\nAuthorization: Bearer s3cret\r/si, 'its headers');
    like($raw, qr/\r\nX-N: 5\r/, 'a number becomes text');
    like($raw, qr/\r\n\r\n\{"a":1\}$/, 'its payload');
    like($raw, qr/\r\nwebhook-id: $ids[0]\r/i, 'its id');

    my $log = $api->get("/logs/$ids[0]")->{json};
    is_deeply([ @$log{qw(kind status action_id lab_id org_id developer_id)} ],
        [ 'webhook', 'SUCCESS', 1, 11, 3, 'dev-north' ], 'a log like any');
    is($log->{refs}{bill_id}, 'B-1', 'with its reference');
    unlike($api->d->sql('select body from event'), qr/s3cret/,
        'its headers are sealed')
        if $api->d->store =~ /^sqlite/;
    unlike(to_json($api->get("/events/$log->{event_id}")->{json}), qr/s3cret/,
        'and not shown');
    becomes($ids[1], 'finished');
    like((requests('/get'))[0], qr{^GET /get\?x=1&y=z }, 'GET: a query');
}

# -- what is refused ---------------------------------------------------------

{
    my $before = () = $peer->seen;

    for my $task (1, 2, 3, 5, 6) {
        my $r = call('/queue/', [ item(), item(task => $task) ]);
        is($r->{status}, 422, "task $task");
        is(errors($r), '1:task', 'names the item');
        like($r->{json}{errors}[0]{message}, qr/only 4/, 'and says why');
    }

    for my $case (
        [ [ item(task => '4') ], '0:task' ], [ [ item(task_type => undef) ],
            '0:task_type' ],
        [ [ { task => 4, task_type => 1 } ], '0:data' ],
        [ [ item(override_priority => 3) ], '0:override_priority' ],
        [ [ item(retry => -1) ], '0:retry' ], [ [ item(retry => 'x') ],
            '0:retry' ],
        [ [ item(headers => { Host => 'x' }) ], '0:headers' ],
        [ [ item(headers => { 'X-A' => "a\r\nB: c" }) ], '0:headers' ],
        [ [ item(headers => [ 1 ]) ], '0:headers' ],
        [ [ item(headers => { map { ("X-$_" => 'x' x 8000) } 1 .. 5 }) ],
            '0:headers' ],
        [ [ item(log_tag => 5) ], '0:log_tag' ],
        [ [ item(data => { url => 'ftp://x/' }) ], '0:data.url' ],
        [ [ item(data => { url => 'https://u:p@x.org/' }) ], '0:data.url' ],
        [ [ item(data => { method => 'BREW' }) ], '0:data.method' ],
        [ [ item(data => { lab_id => 21 }) ], '0:data.lab_id' ],
        [ [ item(data => { action_id => 999 }) ], '0:data.action_id' ],
        [ [ item(subscribe => 'nonsense') ], '0:subscribe' ],
        [ [ item(success_task_handler => 5, failed_task_handler => 'x') ],
            '0:success_task_handler 0:failed_task_handler' ],
        [ [ item(), 7, item(task => 1) ], '1: 2:task' ],
        [ [ [ 1 ], [] ], '0: 1:' ], [ [], '0:' ], [ {}, '0:' ])
    {
        my $r = call('/queue/', $case->[0]);
        is($r->{status} . ' ' . errors($r), "422 $case->[1]",
            'refused: ' . $case->[1]);
    }

    is(call('/queue/', '[{')->{status}, 400, 'half of an array');
    is(call('/queue/', '[' . to_json(item()) . ',' . 'x' x 2_000_000)
        ->{status}, 413, '2 MB');
    is(call($_, {})->{status}, 422, $_) for '/mapping/', '/update_consent/';
    is($api->d->call('GET', '/queue/')->{status}, 405, 'GET');
    is(call('/api/v1/queue/', [ item() ])->{status}, 404,
        "not among the API's own paths");
    sleep 1;
    is((() = $peer->seen) - $before, 0, 'nothing of it was sent');
}

# -- retry, and what follows the end -----------------------------------------

{
    my $r = call('/queue/', [ map { item(retry => $_) } 0, 10, 11 ]);
    is_deeply([ map { "$_->{index}:$_->{field}" } @{ $r->{json}{warnings} } ],
        [ '0:retry', '2:retry' ], 'retry 0 and 11 are read, with warnings');

    $r = call('/queue/', [ item(retry => 1, log_tag => 't',
        success_task_handler => "$url/ok", failed_task_handler => "$url/no",
        subscribe => "$url/sub", data => { url => "$url/bad" }) ]);
    my ($id) = @{ $r->{json}{job_ids} };
    my $job = becomes($id, 'failed');
    is_deeply([ @$job{qw(attempts http_status error)} ], [ 1, 500,
        'exhausted' ], 'one attempt');
    ok(wait_for(sub { requests('/no') && requests('/sub') }),
        'the handlers are told');
    is(scalar(requests('/ok')), 0, 'but for the other one');
    my $told = from_json((split /\r\n\r\n/, (requests('/no'))[0], 2)[1]);
    is_deeply([ @$told{qw(job_id status task task_type log_tag attempts)} ],
        [ $id, 'failed', 4, 7, 't', 1 ], 'of what');
    unlike((requests('/no'))[0], qr/s3cret/, 'without the headers of the item');
    my @logs = $api->d->logs($api->{admin}, "ref[job_id]=$id");
    is_deeply([ sort map { $_->{endpoint} } @logs ],
        [ 'failed_task_handler', 'subscribe' ], 'by logs of their own');

    # the failed one again, to no better end; it is told of again
    $r = call('/retryTask/', { job_id => $id });
    is($r->{status}, 200, 'retryTask');
    my ($again) = @{ $r->{json}{job_ids} };
    isnt($again, $id, 'a new job');
    becomes($again, 'failed');
    is($api->get("/logs/$again")->{json}{resend_of}, $id, 'that says of what');
    ok(wait_for(sub { requests('/no') == 2 }), 'and its handler is told too');

    # settled while its callbacks could not be written: the sweep finds it
    $r = call('/queue/', [ item(success_task_handler => "$url/ok") ]);
    ($id) = @{ $r->{json}{job_ids} };
    ok(wait_for(sub { requests('/ok') }), 'success is told');
    is(call('/retryTask/', { job_id => $id })->{status}, 409,
        'a finished one is not retried');
    my $dir = $api->d->dir;
    write_file("$dir/doc", to_json({ success => "$url/ok",
        subscribe => "$url/late" }));
    $api->d->kill9;
    my $client = IDash::StoreClient->start($api->d->store);
    is($client->ask("put $STORE_EVENT callback:$id $dir/doc"), 'ok',
        'a note that a crash left');
    $client->stop;
    $api->d->run;
    ok(wait_for(sub { requests('/late') }), 'is told of after the start');
    sleep 2;
    is(scalar(requests('/ok')), 1, 'what was told already is not, again');
}

# -- later, cancelled, moved --------------------------------------------------

{
    is(errors(call('/schedule/', [ item() ])), '0:deliver_at', 'needs a time');
    my $r = call('/schedule/', [ map { item(deliver_at => $_,
        failed_task_handler => "$url/cancelled", data => { url => "$url/s" }) }
        time + 3600, '2027-01-01T00:00:00Z' ]);
    is($r->{status}, 200, 'scheduled');
    my @ids = @{ $r->{json}{job_ids} };
    is(info($_)->{status}, 'queued', 'waits') for @ids;

    $r = call('/cancelJob/', { job_ids => [ $ids[0] ] });
    is_deeply($r->{json}, { code => 200, job_ids => [ $ids[0] ] }, 'cancelled');
    is(info($ids[0])->{status}, 'failed', 'which is failed in its words');
    ok(wait_for(sub { requests('/cancelled') }), 'and told');
    $r = call('/cancelJob/', { job_ids => [ @ids ] });
    is($r->{status}, 409, 'what has ended cannot be cancelled');
    is(errors($r), '0:job_id', 'it says which');
    is_deeply($r->{json}{job_ids}, [ $ids[1] ], 'the other one is');

    $r = call('/schedule/', [ item(deliver_at => time + 3600,
        data => { url => "$url/moved" }) ]);
    my ($id) = @{ $r->{json}{job_ids} };
    is(errors(call('/rescheduleJob/', { job_id => $id })), '0:deliver_at',
        'a new time is needed');
    is(call('/rescheduleJob/', { job_id => $id, deliver_at => time - 5 })
        ->{status}, 200, 'moved');
    becomes($id, 'finished');

    # a known log goes on
    $r = call('/schedule/', [ item(deliver_at => time + 3600,
        data => { url => "$url/on" }) ]);
    ($id) = @{ $r->{json}{job_ids} };
    $r = call('/queue/', [ item(data => { log_id => $id }) ]);
    is_deeply($r->{json}{job_ids}, [ $id ], 'a known open log goes on');
    becomes($id, 'finished');
    is(scalar(requests('/on')), 1, 'as it was');

    is(call('/jobInfo/', { job_id => 'nonsense' })->{status}, 404, 'no job');
    is(call('/jobInfo/', {})->{status}, 422, 'none named');
    is(call('/cancelJob/', '{')->{status}, 400, 'no JSON');
}

# -- a crash between document and log -----------------------------------------

{
    my $us = int(time * 1_000_000);
    my ($event, $log) = map { ApiTest::uuid($us, $_) } 701, 702;
    my $dir = $api->d->dir;

    write_file("$dir/doc", to_json({ event_id => $event, log_ids => [ $log ],
        fusion => { url => "$url/half", method => 'POST', payload => '{"h":1}',
            org_id => 3, developer_id => 'dev-north', priority => 1,
            task_type => 7, due_us => $us,
            handlers => { success => "$url/half-ok" } } }));
    $api->d->kill9;
    my $client = IDash::StoreClient->start($api->d->store);
    is($client->ask("put $STORE_EVENT $event $dir/doc"), 'ok', 'half an item');
    $client->stop;
    $api->d->run;
    becomes($log, 'finished');
    ok(wait_for(sub { requests('/half-ok') }), 'is delivered and told of');
    is(scalar(requests('/half')), 1, 'once');
}

# -- the developer ---------------------------------------------------------

{
    my $dev = $api->get('/developers/dev-north');
    my %d = map { $_ => $dev->{json}{$_} } qw(name org_id);
    is($api->call('PUT', '/developers/dev-north', json => { %d,
        enabled => \0 }, headers => [ [ 'If-Match', '*' ] ])->{status}, 200,
        'the developer is disabled');
    is(call('/queue/', [ item() ])->{status}, 403, 'and refused');
}

done_testing();
