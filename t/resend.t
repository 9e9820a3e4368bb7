# A delivery sent again: a new log, the same webhook-id, the original as it was;
# edited it has an id of its own.  Idempotency-Key: one call, one delivery.

use strict;
use warnings;

use POSIX ();
use MIME::Base64 'encode_base64';
use Test::More;

use lib 't/lib';
use ApiTest;
use IDash;
use IDash::Wait;
use Outbound;

our $store;                                # resend_mongo.t sets it
on_store();

sub on_store {
    my $o = Outbound->new(store => $store);
    my $i = $o->integration(url => $o->url('/ok/a'));
    my ($id) = $o->event(payload => { n => 7 });
    my $first = $o->until_status($id, 'SUCCESS');
    my ($hit) = $o->hits('/ok/a');

    # -- as it was ---------------------------------------------------------

    my $r = $o->post("/logs/$id/resend", { reason => 'they lost it' });
    is($r->{status}, 202, 'a success goes again') or diag $r->{body};
    my $new = $r->{json}{_id};
    is(scalar http_header($r, 'Location'), "/api/v1/logs/$new", 'its place');
    my $copy = $o->until_status($new, 'SUCCESS');
    is($copy->{resend_of}, $id, 'it says of which');
    is($copy->{message_id}, $first->{message_id}, 'one message');
    my @hits = $o->hits('/ok/a');
    is(scalar @hits, 2, 'sent once more');
    is($hits[1]{id}, $hit->{id}, 'with the same webhook-id');
    is($hits[1]{body}, $hit->{body}, 'and the same bytes');
    is_deeply($o->log_of($id), $first, 'the original is as it was');

    # -- edited ------------------------------------------------------------

    $r = $o->post("/logs/$id/resend", { body => { n => 8 } });
    is($r->{status}, 422, 'an edit wants a reason');
    is($r->{json}{errors}[0]{pointer}, '#/reason', 'named');
    $r = $o->post("/logs/$id/resend", { reason => 'fix', encoding => 'text',
        body => '{"n":' });
    is($r->{json}{errors}[0]{code}, 'syntax', 'JSON stays JSON');
    $r = $o->post("/logs/$id/resend", { reason => 'fix', encoding => 'rot13',
        body => '{}' });
    is($r->{json}{errors}[0]{pointer}, '#/encoding', 'an unknown encoding');
    $r = $o->post("/logs/$id/resend", { reason => 'fix', bodi => 1 });
    is($r->{json}{errors}[0]{code}, 'unknown', 'an unknown member');
    $r = $o->post("/logs/$id/resend", { reason => 'x' x 501 });
    is($r->{json}{errors}[0]{code}, 'length', 'a reason without end');

    $r = $o->post("/logs/$id/resend", { reason => 'fix', encoding => 'base64',
        body => encode_base64('{"n":8 }', '') });
    is($r->{status}, 202, 'edited') or diag $r->{body};
    my $edited = $o->until_status($r->{json}{_id}, 'SUCCESS');
    @hits = $o->hits('/ok/a');
    is($hits[2]{body}, '{"n":8_}', 'the new bytes, as they came');
    isnt($hits[2]{id}, $hit->{id}, 'under an id of their own');
    is($edited->{resend_of}, $id, 'linked all the same');

    # -- what cannot -------------------------------------------------------

    my $in = $o->api_of->record;
    ok(wait_for(sub { $o->api_of->get("/logs/$in")->{status} == 200 }),
        'an inbound call is stored');
    is($o->post("/logs/$in/resend", {})->{status}, 409, 'which cannot be resent');
    is($o->post('/logs/0197c000-0000-7000-8000-000000000000/resend', {})
        ->{status}, 404, 'what is not there');
    my $far = $o->api_of->key('operator', 4);
    is($o->api_of->call('POST', "/logs/$id/resend", json => {}, key => $far)
        ->{status}, 404, "another tenant's");
    my $viewer = $o->api_of->key('viewer', 3);
    is($o->api_of->call('POST', "/logs/$id/resend", json => {},
        key => $viewer)->{status}, 403, 'a viewer');
    $o->remove($i->{id});

    my $held = $o->integration(url => $o->url('/ok/b'), action_id => 2,
        is_logs_disabled => \1);
    my ($bare) = $o->event(action_id => 2);
    $o->until_status($bare, 'SUCCESS');
    is($o->post("/logs/$bare/resend", {})->{status}, 409, 'no body was kept');
    is($o->post("/logs/$bare/resend", { reason => 'by hand',
        body => { n => 9 } })->{status}, 202, 'but a new one can go');
    ok($o->settle(30), 'all have ended');

    # -- once --------------------------------------------------------------

    my $once = sub {
        my ($key, $path, $json) = @_;
        return $o->api_of->call('POST', $path, json => $json,
            headers => [ [ 'Idempotency-Key', $key ] ]);
    };
    my $before = scalar $o->hits('/ok/a');
    my $a = $once->('k1', "/logs/$edited->{_id}/resend", { reason => 'r' });
    my $b = $once->('k1', "/logs/$edited->{_id}/resend", { reason => 'r' });
    is($a->{status}, 202, 'a call with a key');
    is(scalar http_header($a, 'Idempotency-Replayed'), undef, 'the first');
    is($b->{body}, $a->{body}, 'again: the same answer');
    is(scalar http_header($b, 'Idempotency-Replayed'), 'true', 'and says so');
    is(scalar http_header($b, 'Location'), scalar http_header($a, 'Location'),
        'the same place');
    my $c = $once->('k1', "/logs/$edited->{_id}/resend", { reason => 's' });
    is($c->{status}, 422, 'another body under the key');
    like($c->{json}{type}, qr/#idempotency-mismatch$/, 'is named');
    is($once->('k1', "/logs/$id/resend", { reason => 'r' })->{status}, 422,
        'another log too');
    is($once->('x' x 256, "/logs/$id/resend", {})->{status}, 400,
        'a key without end');

    my $bad = $once->('k2', "/logs/$id/resend", { reason => 'x' x 501 });
    is($bad->{status}, 422, 'what was refused');
    is($once->('k2', "/logs/$id/resend", { reason => 'ok' })->{status}, 202,
        'leaves the key free');

    my $ev = { action_id => 2, lab_id => 11, payload => { n => 1 } };
    $a = $once->('k3', '/events', $ev);
    $b = $once->('k3', '/events', $ev);
    is($a->{status}, 202, 'an event');
    is($b->{json}{event_id}, $a->{json}{event_id}, 'is taken once');

    my $own = $o->api_of->key('operator', 3);
    $c = $o->api_of->call('POST', '/events', json => $ev, key => $own,
        headers => [ [ 'Idempotency-Key', 'k3' ] ]);
    isnt($c->{json}{event_id}, $a->{json}{event_id},
        'another caller has keys of its own');

    my ($audit) = grep { $_->{action} eq 'log.resend' && $_->{reason}
        && $_->{reason} eq 'they lost it' }
        @{ $o->api_of->get('/audit?limit=200')->{json}{data} };
    is($audit->{target}{id}, $id, 'the audit log says who sent what again')
        or diag $o->api_of->get('/audit?limit=5')->{body};

    # two at once: one goes, the other is told to wait or hears the same
    my %seen;
    my @pids = map {
        my $n = $_;
        my $pid = fork // die;
        if (!$pid) {
            my $x = $once->('k4', '/events', $ev);
            append_file($o->{receiver}{out} . '.two',
                "$x->{status} " . ($x->{json}{event_id} // '-') . "\n");
            POSIX::_exit(0);
        }
        $pid;
    } 1 .. 4;
    waitpid $_, 0 for @pids;
    my @two = split /\n/, read_file($o->{receiver}{out} . '.two');
    $seen{$_}++ for grep { /^202/ } @two;
    is(scalar keys %seen, 1, 'four at once make one event');
    is(scalar(grep { !/^(?:202|409) / } @two), 0, 'others are told to wait')
        or diag "@two";
    return;
}

answers_fit_description();
done_testing();
