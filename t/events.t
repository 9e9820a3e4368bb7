# Events by REST and by Redis: each once, in order, durable before the answer;
# what a crash left half is completed.

use strict;
use warnings;

use lib 't/lib';
use ApiTest;
use IDash;
use IDash::Mongo;
use IDash::StoreClient;
use IDash::Wait;
use POSIX ();
use Test::More;

my $STORE_EVENT = 10;                      # of enum store_coll

our $store;                                # events_mongo.t sets it
my ($api, $peer, $mark);

sub post { my ($path, $json, @h) = @_; return $api->call('POST', $path, json => $json, headers => \@h) }
sub raw { my ($path, $body, @h) = @_; return $api->call('POST', $path, body => $body,
    headers => [ [ 'Content-Type', 'application/json' ], @h ]) }
sub event { return { action_id => 1, lab_id => 11, payload => { n => ++$mark }, @_ } }
sub bodies { return map { (split /\r\n\r\n/, $_, 2)[1] } $peer->seen }
sub arrived { my ($text) = @_; return scalar grep { $_ eq $text } bodies() }

sub arrives {
    my ($text, $what) = @_;
    ok(wait_for(sub { arrived($text) }), $what);
    return;
}

sub pointer { my ($r) = @_; return $r->{json}{errors}[0]{pointer} // '' }

sub integration {
    my (%f) = @_;

    my $r = post('/integrations', { org_id => 3, lab_id => 11, action_id => 1,
        allow_http => \1, url => $peer->url . '/', %f });
    is($r->{status}, 201, "$f{name}: made") or diag $r->{body};
    return $r->{json};
}

sub events_of {
    $peer = IDash::Peer->upstream(sub { return { body => '{}' } });
    $mark = 0;
    $api = api(store => $store, conf => {
        roles => 'drain,dispatch,api', outbound_allow => '127.0.0.0/8',
        outbound_ports => $peer->port, drain_reclaim => '200ms',
        drain_min_idle => '300ms', dispatch_reconcile => '1s',
        dispatch_lease => '3s',
    });
    my $i = integration(name => 'one');
    sleep 2;                               # the table of routes follows

    by_rest();
    refused() if !$store;                  # before a store is asked
    by_redis();
    half_done($i, $store ? 2 : 5);
    fans_out() if !$store;
    $api->d->stop;
    return;
}

sub by_rest {
    my $r = post('/events', event());
    is($r->{status}, 202, 'one event');
    arrives('{"n":1}', 'arrives');
    my $e = $r->{json}{event_id};
    ok(wait_for(sub { $api->get("/events/$e")->{json}{state} eq 'settled' }),
        'settled');
    my $got = $api->get("/events/$e")->{json};
    is_deeply([ map { @$_{qw(log_id status endpoint attempts)} }
        @{ $got->{deliveries} } ],
        [ $r->{json}{log_ids}[0], 'SUCCESS', 'one', 1 ], 'with its delivery');
    is($got->{raw}, to_json({ action_id => 1, lab_id => 11,
        payload => { n => 1 } }), 'and its exact text');
    my $viewer = $api->key('viewer', 3);
    ok(!exists $api->get("/events/$e", key => $viewer)->{json}{raw},
        'which is not for everybody');
    is($api->get("/events/$e", key => $api->key('viewer', 4))->{status}, 404,
        'of another org: nothing');

    # the bytes of the payload are the bytes that are sent
    my $odd = '{ "b" : 1.0,"a":[1e2, "\u00e9" ] }';
    is(raw('/events', qq({"action_id":1,"lab_id":11,"payload":$odd}))
        ->{status}, 202, 'an odd payload');
    arrives($odd, 'goes out byte for byte');

    # an array: each by itself, in order
    $r = post('/events', [ event(), event(lab_id => 99), event(), 7 ]);
    is($r->{status}, 207, 'some of an array');
    is_deeply([ map { $_->{error} ? $_->{error}{pointer} : 'ok' }
        @{ $r->{json}{data} } ], [ 'ok', '#/lab_id', 'ok', '#' ],
        'each has its own result, in order');
    arrives("{\"n\":$_}", "number $_ of it arrives") for 2, 4;
    is(post('/events', [ event(lab_id => 99) ])->{status}, 422, 'none');
    is(post('/events', [])->{status}, 202, 'an empty array is no fault');

    # keys, in the header and in the body
    my @key = [ 'Idempotency-Key', '"abc"' ];
    my $body = event();
    my $one = post('/events', $body, @key);
    my $two = post('/events', $body, @key);
    is($two->{json}{event_id}, $one->{json}{event_id}, 'the same key');
    is(http_header($two, 'Idempotency-Replayed'), 'true', 'is a repeat');
    is(post('/events', event(), @key)->{status}, 422, 'with another body not');
    is(post('/events', $body, [ 'Idempotency-Key', 'x' x 256 ])->{status},
        400, 'a key that is too long');
    my @list = (event(), event());
    @key = [ 'Idempotency-Key', 'def' ];
    $one = post('/events', \@list, @key)->{json}{data};
    $two = post('/events', \@list, @key)->{json}{data};
    is_deeply([ map { $_->{event_id} } @$two ],
        [ map { $_->{event_id} } @$one ], 'an array: each has its own');
    isnt($one->[0]{event_id}, $one->[1]{event_id}, 'which differ');
    arrives("{\"n\":$mark}", 'the last one arrives');
    is(arrived("{\"n\":$mark}"), 1, 'once');
    return;
}

# What the metrics count of events, by reason.
sub counts {
    my $text = $api->get('/metrics')->{body};
    return { $text =~ /^integrationd_events_(?:refused_total\{reason="(?=\w+"))?(\w+)(?:"\})? (\d+)$/mg };
}

sub refused {
    my $before = counts();
    refused_each();
    my $after = counts();
    is_deeply({ map { $after->{$_} == $before->{$_} ? ()
        : ($_ => $after->{$_} - $before->{$_}) } keys %$after },
        { accepted_total => 1, deliveries_total => 1, unknown => 2,
            invalid => 3 }, 'each is counted with its reason');
    my $one = event(idempotency_key => 'counted');
    post('/events', $one) for 1 .. 3;
    post('/events', event(idempotency_key => 'counted'));
    my $last = counts();
    is($last->{repeated_total} - $after->{repeated_total}, 2,
        'a key that came again is counted as that');
    is($last->{key_reused} - $after->{key_reused}, 1,
        'and one with another event as refused');
    return;
}

sub refused_each {
    is(pointer(post('/events', event(action_id => 999))), '#/action_id',
        'an unknown action');
    is(pointer(post('/events', [ map { event() } 1 .. 1001 ])), '#',
        'too many');
    is(raw('/events', '{"action_id":')->{status}, 400, 'half of one');
    is(raw('/events', '[' x 50 . ']' x 50)->{status}, 400, 'too deep');
    is(raw('/events', '{"action_id":1,"lab_id":11,"payload":"'
        . 'x' x $_ . '"}')->{status}, 413, "$_ bytes")
        for 2_000_000, 100_000_000;
    is(pointer(raw('/events', '{"action_id":1,"action_id":1}')), '#',
        'a member twice');
    is(pointer(post('/events', event(refs => { a => {} }))), '#/refs/a',
        'a reference that is none');
    is(pointer(post('/events', event(deliver_at => '2999-01-01T00:00:00Z'))),
        '#/deliver_at', 'in the far future');
    is(post('/events', event(), )->{status}, 202, 'and one that is right');
    is($api->call('POST', '/events', json => event(),
        key => $api->key('viewer', 3))->{status}, 403, 'not by a viewer');
    is(pointer($api->call('POST', '/events', json => event(lab_id => 21),
        key => $api->key('operator', 3))), '#/lab_id',
        "another org's lab is not there");
    return;
}

sub by_redis {
    my $redis = $api->redis_of;
    my $add = sub { $redis->call('XADD', 'idash:events', '*', @_) };
    my $length = sub { $redis->call('XLEN', 'idash:events') };

    my @ids = map { $add->('event', to_json(event())) } 1 .. 20;
    my $last = $mark;
    arrives("{\"n\":$last}", 'an entry of the stream arrives');
    is(scalar(grep { arrived("{\"n\":$_}") == 1 } $last - 19 .. $last), 20,
        'all do, once each') if wait_for(sub { 20 == grep {
            arrived("{\"n\":$_}") } $last - 19 .. $last });
    ok(wait_for(sub { $length->() == 0 }), 'and the stream is trimmed');

    # what can never be an event lies with the dead letters
    my $dead = $api->d->dead_letters if $api->d->store =~ /^sqlite/;
    $add->('event', '{');
    $add->('event', to_json(event(lab_id => 99)));
    $add->('x', 'y');
    my @dead;
    ok(wait_for(sub {
        @dead = grep { $_->{stream} eq 'idash:events' }
            @{ $api->get('/dead-letters')->{json}{data} };
        return @dead == 3;
    }), 'three that cannot be events are dead letters');
    ok(wait_for(sub { $length->() == 0 }), 'and out of the stream');
    is(scalar(grep { $_->{reason} =~ m{^#/lab_id: there is no such lab} }
        @dead), 1, 'with the reason');

    # one that is too long to be read stops nobody
    $add->('event', to_json(event()));
    $add->('event', to_json(event(payload => 'x' x (9 << 20))));
    $add->('event', to_json(event()));
    arrives("{\"n\":$_}", "number $_ beside 9 MB arrives")
        for $mark - 2, $mark;
    ok(wait_for(sub { $length->() == 0 }), 'and the stream is empty');
    my ($long) = grep { $_->{reason} =~ /longer than 8 MB/ }
        @{ $api->get('/dead-letters')->{json}{data} };
    ok($long, 'which is a dead letter');

    # one of them is replayed after the lab was made
    my ($lab) = grep { $_->{reason} =~ /lab_id/ } @dead;
    is(post('/labs', { id => 99, name => 'Late', org_id => 3 })->{status}, 201,
        'the lab is made');
    is(post("/dead-letters/$lab->{id}/replay", {})->{status}, 202, 'replayed');
    ok(wait_for(sub { $length->() == 0 }), 'and accepted');
    is(scalar(grep { $_->{stream} eq 'idash:events' && $_->{reason} =~ /lab/ }
        @{ $api->get('/dead-letters')->{json}{data} }), 0, 'now');

    # read by a consumer that died: taken over; delivered again: known
    $api->d->freeze;
    my $text = to_json(event());
    my $id = $add->('event', $text);
    $redis->call('XREADGROUP', 'GROUP', 'integrationd', 'dead', 'STREAMS',
        'idash:events', '>');
    $api->d->thaw;
    arrives("{\"n\":$mark}", 'what a dead consumer had read is taken over');
    ok(wait_for(sub { $length->() == 0 }), 'and acknowledged');
    $redis->call('XADD', 'idash:events', $id, 'event', $text)
        if eval { $redis->call('DEL', 'idash:events'); 1 };
    ok(wait_for(sub { $length->() == 0 }), 'the same entry again');
    my $after = event();
    $add->('event', to_json($after));
    arrives("{\"n\":$mark}", 'and another behind it');
    is(arrived('{"n":' . ($mark - 1) . '}'), 1, 'made no second event');
    return;
}

# A crash between the event and its logs, and between the key and the event.
sub half_done {
    my ($i, $rounds) = @_;

    my $us = int(time * 1_000_000);
    my ($event, $log) = map { ApiTest::uuid($us, $_) } 901, 902;
    my $n = ++$mark;
    my $raw = qq({"action_id":1,"lab_id":11,"payload":{"n":$n}});
    my $dir = $api->d->dir;

    write_file("$dir/doc", to_json({ event_id => $event, log_ids => [ $log ],
        integration_ids => [ $i->{id} ], action_id => 1, lab_id => 11,
        digest => '0' x 64, raw => $raw }));
    $api->d->kill9;
    my $client = IDash::StoreClient->start($api->d->store);
    is($client->ask("put $STORE_EVENT $event $dir/doc"), 'ok',
        'an event without its logs');
    $client->stop;
    $api->d->run;
    arrives("{\"n\":$n}", 'is completed at the next start');
    ok(wait_for(sub { ($api->get("/logs/$log")->{json}{status} // '')
        eq 'SUCCESS' }), 'by the log that was promised');
    like($api->d->log_text, qr/1 events that a crash had left/, 'and told');

    # killed while events with keys are posted; each is repeated until answered
    my %answer;

    for my $round (1 .. $rounds) {
        my $kill = fork // die;
        if ($kill == 0) {
            select undef, undef, undef, 0.05 + rand 0.2;
            kill 'KILL', $api->d->pid;
            POSIX::_exit(0);
        }
        for my $try (1 .. 400) {
            my $k = "$round-" . scalar(keys %answer);
            my $r = eval { post('/events', { action_id => 1, lab_id => 11,
                payload => { key => $k }, idempotency_key => "kill-$k" }) };
            last if !$r || !$r->{status} || $r->{status} != 202;
            $answer{$k} = $r->{json}{event_id};
        }
        waitpid $kill, 0;
        $api->d->stop('KILL');
        $api->d->run;
        my $k = "$round-" . scalar(keys %answer);
        my $r = post('/events', { action_id => 1, lab_id => 11,
            payload => { key => $k }, idempotency_key => "kill-$k" });
        is($r->{status}, 202, "round $round: the repeat is accepted");
        $answer{$k} = $r->{json}{event_id};
    }

    my %got;
    ok(wait_for(sub {
        %got = ();
        /^\{"key":"([^"]+)"\}$/ and $got{$1}++ for bodies();
        return keys %got == keys %answer;
    }), 'every accepted event arrives')
        or diag join ' ', grep { !$got{$_} } sort keys %answer;
    my %logs;
    $logs{$_}++ for map { @{ $api->get("/events/$_")->{json}{log_ids} } }
        values %answer;
    is(scalar keys %logs, scalar keys %answer, 'with one log each');
    my @all = $api->d->logs($api->{admin}, 'kind=webhook');
    my %of;
    $of{ $_->{event_id} }++ for @all;
    is(scalar(grep { $of{$_} != 1 } values %answer), 0, 'and no other');
    return;
}

sub fans_out {
    integration(name => "fan $_", action_id => 57, url => $peer->url . "/f$_")
        for 1 .. 12;
    sleep 2;
    my $r = post('/events', event(action_id => 57));
    is(scalar @{ $r->{json}{log_ids} }, 12, 'one event goes to twelve');
    my $n = $mark;
    ok(wait_for(sub { arrived("{\"n\":$n}") == 12 }), 'and arrives at each');
    is(scalar(grep { m{^POST /f\d+ } } $peer->seen), 12, 'by its own URL');
    return;
}

events_of();

answers_fit_description();
done_testing();
