# The queue: priority without starvation, a stop that gives work back, rate and
# breaker, what is held and resumes, what cancels, and what gives up.

use strict;
use warnings;

use Test::More;
use Time::HiRes qw(sleep);

use lib 't/lib';
use IDash;
use IDash::Wait;
use Outbound;

our $store;                                # the Mongo run sets it
my $o = Outbound->new(store => $store, conf => { dispatch_probe => '500ms',
    dispatch_give_up => '6s', dispatch_lease => '20s' });
my $api = $o->api_of;

# FerretDB looks through all logs for each that is claimed or given back
sub few { my ($n, $few) = @_; return $store ? $few : $n }

sub numbers { return map { $_->{body} =~ /"n":(\d+)/ } $o->hits($_[0]) }

# -- priority ------------------------------------------------------------------

{
    my $i = $o->integration(url => $o->url('/ok/prio'), concurrency => 1);
    my ($low, $high) = (few(200, 4), few(900, 16));
    $o->d->stop;

    # accepted while nobody dispatches; low first, so that it is the oldest
    my $front = IDash::Sidecar->start(redis => $o->redis_of, beside => $o->d,
        conf => { %{ $o->{conf} }, roles => 'api' });
    my $post = sub {
        my ($priority, @n) = @_;
        my $r = $front->call('POST', '/api/v1/events', key => $api->{admin},
            headers => [ [ 'Content-Type', 'application/json' ] ],
            body => to_json([ map { +{ action_id => 1, lab_id => 11,
                priority => $priority, payload => { n => $_ } } } @n ]));
        is($r->{status}, 202, "accepted with priority $priority");
    };
    $post->(0, 1 .. $low);
    $post->(2, 1001 .. 1000 + $high);
    $o->d->run;
    ok($o->settle(60), 'all have ended');
    my @n = numbers('/ok/prio');
    is(scalar @n, $low + $high, 'each once');
    cmp_ok($n[0], '>', 1000, 'HIGH goes first');
    my @high = grep { $_ > 1000 } @n;
    my @low = grep { $_ <= 1000 } @n;
    my $disorder = grep { $high[$_] < $high[ $_ - 1 ] } 1 .. $#high;
    cmp_ok($disorder, '<', @high / 10, 'oldest first inside');
    my ($first_low) = grep { $n[$_] <= 1000 } 0 .. $#n;
    cmp_ok($first_low, '<', few($high - 1, @n), 'LOW is not starved by HIGH');
    $o->remove($i->{id});
    $front->stop;
}

# -- another process adds what is due ------------------------------------------

{
    my $i = $o->integration(url => $o->url('/ok/wake'));
    $o->d->stop;

    # nobody looks by himself within the time that the test waits
    my %conf = (%{ $o->{conf} }, dispatch_poll => '1h',
        dispatch_reconcile => '1h');
    my $front = IDash::Sidecar->start(redis => $o->redis_of, beside => $o->d,
        conf => { %conf, roles => 'api' });
    my $back = IDash::Sidecar->start(redis => $o->redis_of, beside => $o->d,
        conf => { %conf, roles => 'dispatch,api' });
    my $post = sub {
        my ($n, %event) = @_;
        my $r = $front->call('POST', '/api/v1/events', key => $api->{admin},
            headers => [ [ 'Content-Type', 'application/json' ] ],
            body => to_json({ action_id => 1, lab_id => 11,
                payload => { n => $n }, %event }));
        is($r->{status}, 202, "event $n is accepted");
    };
    for my $n (1 .. 5) {
        $post->($n);
        ok(wait_for(sub { numbers('/ok/wake') == $n }), "and sent");
        sleep 0.3;                         # the dispatcher rests again
    }
    $post->(6, deliver_at => time + 2);
    ok(wait_for(sub { numbers('/ok/wake') == 6 }), 'and one that waits');
    $_->stop for $front, $back;
    $o->d->run;
    $o->remove($i->{id});
}

# -- a stop gives work back -------------------------------------------------------

{
    my $i = $o->integration(url => $o->url('/slow/stop'), concurrency => 4,
        action_id => 2);
    my @ids = $o->events(12, undef, action_id => 2);
    wait_for(sub { scalar(my @h = $o->hits('/slow/stop')) >= 4 });
    is($o->d->stop, 0, 'stops well');
    if (!$store) {                         # else the attempts tell
        my $leased = $o->d->sql(
            'SELECT count(*) FROM delivery WHERE leased > 0');
        is($leased, 0, 'no lease is left behind');
    }
    $o->d->run;
    ok($o->settle(40), 'started again: all have ended');
    my %got;
    $got{ $_->{id} }++ for $o->hits('/slow/stop');
    is(scalar keys %got, 12, 'all came');
    is(scalar(grep { $_ > 1 } values %got), 0, 'none twice');
    is($o->log_of($_)->{attempts}, 1, 'in one attempt') for @ids[0, 11];
    $o->remove($i->{id});
}

# -- rate, over two instances ------------------------------------------------------

{
    my $two = IDash::Sidecar->start(redis => $o->redis_of, beside => $o->d,
        conf => { %{ $o->{conf} }, roles => 'dispatch,api' });
    my $i = $o->integration(url => $o->url('/ok/rate'), rate_per_s => 10,
        action_id => 3);
    my $n = few(30, 15);
    $o->events($n, undef, action_id => 3);
    ok($o->settle(60), 'rate: all have ended');
    my @ms = map { $_->{ms} } $o->hits('/ok/rate');
    is(scalar @ms, $n, 'each once');
    my $worst = 0;
    for my $at (@ms) {
        my $near = grep { $_ >= $at && $_ < $at + 1000 } @ms;
        $worst = $near if $near > $worst;
    }
    cmp_ok($worst, '<=', 13, 'about ten a second by both together');
    $two->stop;
    $o->remove($i->{id});
}

# -- the breaker ---------------------------------------------------------------------

{
    my $i = $o->integration(url => $o->url('/fail/breaker'), concurrency => 2,
        schedule => '1s', action_id => 4);
    $o->events(few(40, 12), undef, action_id => 4);
    wait_for(sub { $o->d->log_text =~ /$i->{id}: circuit opened/ });
    like($o->d->log_text, qr/$i->{id}: circuit opened/, 'opens');
    my $alerts = to_json($api->get('/system')->{json}{alerts});
    like($alerts, qr/breakers_open/, 'and is an alert');
    my $before = () = $o->hits('/fail/breaker');
    sleep 1;
    my $after = () = $o->hits('/fail/breaker');
    cmp_ok($after - $before, '<=', 4, 'then there are only probes');
    $o->change($i->{id}, url => $o->url('/ok/breaker'));
    ok($o->settle(60), 'closes: all have ended');
    like($o->d->log_text, qr/$i->{id}: circuit closed/, 'closed');
    cmp_ok(scalar(my @h = $o->hits('/ok/breaker')), '>=', few(25, 6),
        'no attempt was used while it was open');
    $o->remove($i->{id});
}

# -- held and resumed, deleted, gone --------------------------------------------------

{
    my $i = $o->integration(url => $o->url('/ok/held'), action_id => 20);
    my @later = $o->events(3, undef, action_id => 20,
        deliver_at => time + 3);
    $o->change($i->{id}, enabled => \0);
    sleep 3;
    is($o->log_of($later[0])->{status}, 'PENDING', 'disabled: it is held');
    is(scalar(my @none = $o->hits('/ok/held')), 0, 'nothing was sent');
    $o->change($i->{id}, enabled => \1);
    $o->until_status($later[2], 'SUCCESS', 45);
    is(scalar(my @all = $o->hits('/ok/held')), 3, 'enabled: it goes on');

    my @far = $o->events(3, undef, action_id => 20,
        deliver_at => time + 3600);
    $o->remove($i->{id});
    is($o->until_status($_, 'CANCELLED')->{status}, 'CANCELLED',
        'deleted: cancelled') for @far;

    $i = $o->integration(url => $o->url('/gone/x'), action_id => 21);
    @far = $o->events(3, undef, action_id => 21, deliver_at => time + 3600);
    my ($one) = $o->event(action_id => 21);
    is($o->until_status($one, 'FAIL')->{error}{code}, 'gone', '410 is final');
    is($o->until_status($_, 'CANCELLED')->{error}{code}, 'gone',
        'and what waits is cancelled by the same') for @far;
    my $now = $api->get("/integrations/$i->{id}")->{json};
    is("$now->{disabled_reason}", 'gone', 'the integration says why');
    $o->remove($i->{id});
}

# -- one attempt, no bodies -------------------------------------------------------------

{
    my $i = $o->integration(url => $o->url('/fail/once'), action_id => 22,
        is_auto_retry => \0, is_logs_disabled => \1);
    my ($id) = $o->event(action_id => 22, payload => { secret => 'S-1' });
    my $log = $o->until_status($id, 'FAIL');
    is($log->{attempts}, 1, 'is_auto_retry off: one attempt');
    is($log->{request}{body}, undef, 'is_logs_disabled: no request body');
    is($log->{response}{body}, undef, 'nor response');
    is($log->{request}{bytes}, 16, 'its length is kept');
    my $attempts = $api->get("/logs/$id/attempts")->{json}{data};
    is(scalar @$attempts, 1, 'the attempt is kept');
    is($attempts->[0]{response}{body}, undef, 'without its body');
    $o->remove($i->{id});
}

# -- only failures for long -------------------------------------------------------------

{
    my $i = $o->integration(url => $o->url('/fail/long'), action_id => 23,
        schedule => join(',', ('1s') x 30), concurrency => 1);
    $o->events(3, undef, action_id => 23);
    ok(wait_for(sub {
        !$api->get("/integrations/$i->{id}")->{json}{enabled};
    }, 60), 'an integration that only fails is disabled');
    my $now = $api->get("/integrations/$i->{id}")->{json};
    is($now->{disabled_reason}, 'failing', 'and says why');
    my $log = $o->d->log_text;
    like($log, qr/$i->{id} has only failed for $_ %/, "notice at $_ %")
        for 50;
    like($log, qr/$i->{id} has only failed for (?:70|90) %/, 'and later');
    ok(wait_for(sub {
        to_json($api->get('/system')->{json}{alerts}) =~ /given_up/;
    }), 'alert');
    $o->remove($i->{id});
}

done_testing();
