# is_batch: events of one integration go together as one JSON array, closed by
# size, window or bytes; a batch is fixed once it was closed, through retries
# and kills, has one outcome and one webhook-id, and each event its own log.

use strict;
use warnings;

use Test::More;
use Time::HiRes qw(sleep);

use lib 't/lib';
use IDash;
use IDash::Wait;
use Outbound;

# dispatch_batch_mongo.t sets it.  FerretDB's updates are atomic for one client
# at a time: there the one that is killed is the only one that dispatches.
our $store;
my $o = Outbound->new(store => $store,
    conf => { dispatch_lease => '3s', dispatch_probe => '1s',
        $store ? (roles => 'drain,api') : () });
my $two = $store ? second() : undef;

sub second {
    return IDash::Sidecar->start(redis => $o->redis_of, beside => $o->d,
        conf => { %{ $o->{conf} }, roles => 'dispatch,api' });
}

sub batch { return (is_batch => \1, batch_window_ms => 1000, batch_size => 5) }

# the numbers in a body [{"n":1},{"n":2}]
sub numbers { my ($hit) = @_; return [ $hit->{body} =~ /"n":(\d+)/g ] }

# -- by size, by window, in order ---------------------------------------------

{
    my $i = $o->integration(url => $o->url('/ok/size'), batch(),
        batch_window_ms => 60_000, concurrency => 1);
    my @ids = $o->events(12);
    $o->until_status($ids[9], 'SUCCESS');
    sleep 1;
    my @hits = $o->hits('/ok/size');
    is(scalar @hits, 2, 'two full batches');
    is_deeply([ sort { $a->[0] <=> $b->[0] } map { numbers($_) } @hits ],
        [ [ 1 .. 5 ], [ 6 .. 10 ] ], 'of five, in order of acceptance');
    like($hits[0]{body}, qr/^\[\{.*\}\]$/, 'one JSON array');
    is($o->log_of($ids[10])->{status}, 'PENDING', 'the rest waits');

    my $log = $o->log_of($ids[0]);
    is($log->{batch_id}, $hits[0]{id}, 'webhook-id is the batch');
    is($log->{attempts}, 1, 'one attempt');
    is($log->{request}{body}{n}, 1, 'each log has its own body');
    isnt($o->log_of($ids[5])->{batch_id}, $log->{batch_id}, 'two batches');
    my $r = $o->api_of->get("/logs?batch_id=$log->{batch_id}");
    is(scalar @{ $r->{json}{data} }, 5, 'found by batch');

    push @ids, $o->events(3, sub { { payload => { n => $_[0] + 12 } } });
    $o->until_status($ids[14], 'SUCCESS');
    @hits = $o->hits('/ok/size');
    is_deeply(numbers($hits[2]), [ 11 .. 15 ], 'full: the third');

    my ($one) = $o->event(payload => { n => 16 });
    is($o->post("/logs/$one/cancel", {})->{status}, 200,
        'one that waits can be cancelled');
    $o->remove($i->{id});

    $i = $o->integration(url => $o->url('/ok/window'), batch(),
        action_id => 2);
    @ids = $o->events(3, undef, action_id => 2);
    $o->until_status($ids[2], 'SUCCESS');
    @hits = $o->hits('/ok/window');
    is(scalar @hits, 1, 'the window closes one');
    is_deeply(numbers($hits[0]), [ 1, 2, 3 ], 'with what there is');
    $o->remove($i->{id});
}

# -- by bytes: t/unit/store_outbound.c does it on both stores -------------------

if (!$store) {
    my $i = $o->integration(url => $o->url('/ok/bytes'), batch(),
        action_id => 3);
    $o->event(action_id => 3, payload => { pad => 'x' x 400_000 }) for 1 .. 3;
    ok($o->settle(30), '400 KB each: all have ended');
    my @hits = $o->hits('/ok/bytes');
    is(scalar @hits, 2, 'in two batches');
    is(scalar(grep { $_->{bytes} > 1_048_576 } @hits), 0, 'of 1 MB at most');
    $o->remove($i->{id});
}

# -- one outcome, fixed members --------------------------------------------------

{
    my $i = $o->integration(url => $o->url('/twice/fixed'), batch(),
        action_id => 4);
    my @ids = $o->events(3, undef, action_id => 4);
    $o->until_status($ids[0], 'RETRYING');
    my @later = $o->events(2, undef, action_id => 4);
    is($o->post("/logs/$ids[1]/cancel", {})->{status}, 409,
        'a member of a closed batch stays in it');
    ok($o->settle(60), 'all have ended');

    my %by_id;
    push @{ $by_id{ $_->{id} } }, $_->{body} for $o->hits('/twice/fixed');
    is(scalar keys %by_id, 2, 'two batches');
    for my $bodies (values %by_id) {
        is(scalar @$bodies, 3, 'sent three times');
        is(scalar(keys %{ { map { $_ => 1 } @$bodies } }), 1,
            'with the same bytes');
    }

    for my $id (@ids) {
        my $log = $o->log_of($id);
        is("$log->{status} $log->{attempts}", 'SUCCESS 3', 'one outcome');
        is(scalar @{ $o->api_of->get("/logs/$id/attempts")->{json}{data} }, 3,
            'with its own attempts');
    }
    $o->remove($i->{id});

    $i = $o->integration(url => $o->url('/fail/all'), batch(),
        is_auto_retry => \0, action_id => 20);
    @ids = $o->events(3, undef, action_id => 20);
    $o->until_status($ids[2], 'FAIL');
    is(scalar(grep { $o->log_of($_)->{status} eq 'FAIL' } @ids), 3,
        'a failure is that of all');
    $o->change($i->{id}, url => $o->url('/ok/alone'), batch_window_ms => 0);
    is($o->post("/logs/$ids[0]/resend", {})->{status}, 202, 'one is sent again');
    ok($o->settle(30), 'and has ended');
    my ($hit) = $o->hits('/ok/alone');
    is_deeply(numbers($hit), [ 1 ], 'alone');
    isnt($hit->{id}, $o->log_of($ids[0])->{batch_id}, 'in a batch of its own');
    $o->remove($i->{id});
}

# -- one batch after the other ----------------------------------------------------

{
    my $i = $o->integration(url => $o->url('/twice/line'), batch(),
        ordered => \1, batch_size => 2, action_id => 21);
    $o->events(6, undef, action_id => 21);
    ok($o->settle(60), 'ordered batches: all have ended');
    is_deeply([ map { numbers($_) } $o->hits('/twice/line') ],
        [ ([ 1, 2 ]) x 3, ([ 3, 4 ]) x 3, ([ 5, 6 ]) x 3 ],
        'one after the other');
    $o->remove($i->{id});
}

# -- killed at any step -----------------------------------------------------------

{
    my $i = $o->integration(url => $o->url('/ok/kill'), batch(),
        batch_window_ms => 200, action_id => 22);
    my $rounds = $store ? 3 : 8;
    my @ids;

    $two ||= second();

    for my $n (1 .. $rounds) {
        push @ids, $o->events(9, sub { { payload => { n => $n * 100 + $_[0] } } },
            action_id => 22);
        sleep 0.02 * $n;
        $two->kill9;
        $two->run;
    }

    ok($o->settle(90), 'killed: all have ended');
    my (%bodies, %members);
    for my $hit ($o->hits('/ok/kill')) {
        $bodies{ $hit->{id} }{ $hit->{body} }++;
        $members{$_}{ $hit->{id} }++ for @{ numbers($hit) };
    }
    is(scalar keys %members, 9 * $rounds, 'every event came');
    is(scalar(grep { keys %$_ > 1 } values %members), 0,
        'each in one batch only');
    is(scalar(grep { keys %$_ > 1 } values %bodies), 0,
        'a batch is always the same');
    is(scalar(grep { $o->log_of($_)->{status} ne 'SUCCESS' } @ids), 0,
        'all delivered');
}

for my $case ([ { transport => 'mllp', host => 'h', port => 1 }, 'is_batch' ],
    [ { request_type => 'GET' }, 'is_batch' ],
    [ { order_key => 'bill_id' }, 'order_key' ],
    [ { batch_size => 0 }, 'batch_size' ],
    [ { batch_window_ms => -1 }, 'batch_window_ms' ])
{
    my $r = $o->post('/integrations', { name => 'x', org_id => 3, lab_id => 11,
        action_id => 1, url => 'https://example.org/', is_batch => \1,
        %{ $case->[0] } });
    is($r->{status}, 422, "refused: $case->[1]");
    like($r->{body}, qr/#\/$case->[1]/, 'names the field');
}

done_testing();
