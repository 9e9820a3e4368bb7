# Deliveries that keep an order: one after the other in order of acceptance,
# by key, over retries, failures (skip or hold), several dispatchers and kills.

use strict;
use warnings;

use Test::More;
use Time::HiRes qw(sleep);

use lib 't/lib';
use IDash;
use IDash::Wait;
use Outbound;

our $store;                                # the Mongo run sets it
my $o = Outbound->new(store => $store, conf => { dispatch_lease => '3s', dispatch_probe => '1s' });

# numbers of the bodies {"n":..} in the order in which they came, first hits
sub numbers {
    my ($path) = @_;
    my %seen;
    return map { $_->{body} =~ /"n":(\d+)/ ? $1 : '?' }
        grep { !$seen{ $_->{id} }++ } $o->hits($path);
}

sub sorted { my @n = @_; return join(',', @n) eq join(',', sort { $a <=> $b } @n) }

# -- in order, though each fails twice --------------------------------------

{
    my $i = $o->integration(url => $o->url('/twice/order'), ordered => \1);
    my @ids = $o->events(8);
    ok($o->settle(60), 'all have ended');
    my @n = map { $_->{body} =~ /"n":(\d+)/ } $o->hits('/twice/order');
    is(scalar @n, 24, 'each was sent three times');
    is_deeply(\@n, [ map { ($_) x 3 } 1 .. 8 ],
        'the next only after the one before was delivered');
    is($o->log_of($_)->{status}, 'SUCCESS', 'delivered') for @ids[0, 7];
    $o->remove($i->{id});
}

# -- skip and hold ----------------------------------------------------------

{
    my $i = $o->integration(url => $o->url('/fail/skip'), ordered => \1,
        on_fail => 'skip', schedule => '1s', action_id => 2);
    $o->events(3, undef, action_id => 2);
    ok($o->settle(60), 'skip: all have ended');
    is_deeply([ numbers('/fail/skip') ], [ 1, 2, 3 ], 'the next goes');
    is_deeply($o->statuses->{FAIL}, 3, 'and each failed');
    $o->remove($i->{id});

    $i = $o->integration(url => $o->url('/fail/hold'), ordered => \1,
        is_auto_retry => \0, action_id => 3);
    my @ids = $o->events(3, undef, action_id => 3);
    $o->until_status($ids[0], 'FAIL');
    sleep 2;
    is_deeply([ numbers('/fail/hold') ], [ 1 ], 'hold: nothing passes it');
    is($o->log_of($ids[1])->{status}, 'PENDING', 'the next waits');

    # what is sent again takes its place; then the next goes
    $o->change($i->{id}, url => $o->url('/ok/hold'));
    is($o->post("/logs/$ids[0]/resend", {})->{status}, 202, 'sent again');
    ok($o->settle(30), 'then all go');
    is_deeply([ numbers('/ok/hold') ], [ 1, 2, 3 ], 'in their order');

    # or it is cancelled: it stays FAIL and lets the others go
    $o->change($i->{id}, url => $o->url('/fail/hold2'));
    @ids = $o->events(2, undef, action_id => 3);
    $o->until_status($ids[0], 'FAIL');
    $o->change($i->{id}, url => $o->url('/ok/hold2'));
    my $r = $o->post("/logs/$ids[0]/cancel", { reason => 'never mind' });
    is($r->{status}, 200, 'let go');
    is($r->{json}{status}, 'FAIL', 'it stays what it is');
    $o->until_status($ids[1], 'SUCCESS');
    is_deeply([ numbers('/ok/hold2') ], [ 2 ], 'and the next was sent');
    is($o->post("/logs/$ids[0]/cancel", {})->{status}, 409, 'once');
    like($o->d->log_text, qr/failed and holds/, 'the log says what holds');
    $o->remove($i->{id});
}

# -- by key -----------------------------------------------------------------

{
    my $i = $o->integration(url => $o->url('/ok/key'), ordered => \1,
        order_key => 'patient_id', action_id => 4);
    my @ids = $o->events(30, sub { { refs => { patient_id => 'P' . $_[0] % 3 } } },
        action_id => 4);
    ok($o->settle(60), 'by reference: all have ended');
    my @n = numbers('/ok/key');
    is(scalar @n, 30, 'all came');
    for my $key (0 .. 2) {
        ok(sorted(grep { $_ % 3 == $key } @n), "key $key is in order");
    }
    is_deeply($o->log_of($ids[0])->{fields}, { order_key => 'P1' },
        'the log tells its key');
    $o->remove($i->{id});

    # a failing key does not stop another
    $i = $o->integration(url => $o->url('/fail/path'), ordered => \1,
        order_key => '.payload.who', is_auto_retry => \0, action_id => 20);
    @ids = $o->events(4, sub { { payload => { n => $_[0], who => $_[0] % 2 } } },
        action_id => 20);
    $o->until_status($_, 'FAIL') for @ids[0, 1];
    is_deeply([ sort { $a <=> $b } numbers('/fail/path') ], [ 1, 2 ],
        'by path: both first ones were tried');
    is($o->log_of($_)->{status}, 'PENDING', 'each holds its own key')
        for @ids[2, 3];
    $o->remove($i->{id});
    $o->until_status($_, 'CANCELLED') for @ids[2, 3];
}

# -- two dispatchers, one killed again and again ------------------------------

{
    my $i = $o->integration(url => $o->url('/ok/many'), ordered => \1,
        order_key => 'bill_id', action_id => 21);
    my $two = IDash::Sidecar->start(redis => $o->redis_of, beside => $o->d,
        conf => { %{ $o->{conf} }, roles => 'dispatch,api' });
    my $n = $store ? 60 : 120;             # FerretDB scans for each of them
    my @ids = $o->events($n, sub { { refs => { bill_id => $_[0] % 4 } } },
        action_id => 21);

    for (1 .. 4) {
        sleep 0.15;
        $two->kill9;
        $two->run;
    }

    ok($o->settle(240), 'two dispatchers: all have ended');
    my @n = numbers('/ok/many');
    is(scalar @n, $n, 'all came');
    for my $key (0 .. 3) {
        ok(sorted(grep { $_ % 4 == $key } @n), "key $key is in order");
    }
    is(scalar(grep { $o->log_of($_)->{status} ne 'SUCCESS' } @ids), 0,
        'all delivered');
}

# -- refused ------------------------------------------------------------------

for my $case ([ { order_key => '.a..b' }, 'order_key' ],
    [ { order_key => 'a b' }, 'order_key' ],
    [ { order_key => '.payload.' }, 'order_key' ],
    [ { on_fail => 'never' }, 'on_fail' ])
{
    my $r = $o->post('/integrations', { name => 'x', org_id => 3, lab_id => 11,
        action_id => 1, url => 'https://example.org/', ordered => \1,
        %{ $case->[0] } });
    is($r->{status}, 422, "refused: $case->[1]");
    like($r->{body}, qr/#\/$case->[1]/, 'names the field');
}

done_testing();
