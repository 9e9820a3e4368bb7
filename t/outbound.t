# An event reaches its partners: routed by action and lab, filtered, shaped,
# signed, sent as webhook and as HL7, tried again, settled, seen in the logs.

use strict;
use warnings;

use Digest::SHA qw(hmac_sha256);
use lib 't/lib';
use ApiTest;
use IDash;
use IDash::Wait;
use MIME::Base64;
use Test::More;

# -- the partners ----------------------------------------------------------

sub receiver {
    my ($code) = @_;
    return IDash::Peer->upstream($code);
}

my $good = receiver(sub { return { body => '{"ok":true}' } });

# /twice fails twice a body, then takes it; a file counts over connections
my $count = IDash::Process::dir('counts');
my $twice = receiver(sub {
    my ($req) = @_;
    my $n = append_count("$count/twice");
    return { status => $n <= 2 ? 503 : 200, body => "n$n" };
});
my $gone = receiver(sub { return { status => 410 } });
my $dead = receiver(sub { return { status => 500, body => 'no' } });

sub append_count {
    my ($file) = @_;
    append_file($file, 'x');
    return -s $file;
}

# an HL7 receiver: reads frames, accepts each with its own MSH-10
my $mllp = IDash::Peer->start(sub {
    my ($socket, $peer) = @_;
    my $in = '';

    while (sysread $socket, my $part, 65536) {
        $in .= $part;

        while ($in =~ s/^\x0b(.*?)\x1c\x0d//s) {
            my $message = $1;
            my @msh = split /\|/, (split /\r/, $message)[0];

            $peer->note($message);
            syswrite $socket, "\x0bMSH|^~\\&|HIS|H|IDASH|L|20260101||ACK|1|P|2.5.1\r"
                . "MSA|AA|$msh[9]\r\x1c\x0d";
        }
    }
});

my @ports = map { $_->port } $good, $twice, $gone, $dead;
our $store;                                 # outbound_mongo.t sets it
my $api = api(store => $store, conf => {
    roles => 'drain,dispatch,api', outbound_allow => '127.0.0.0/8',
    outbound_ports => join(',', @ports),
});

sub post { my ($path, $json) = @_; return $api->call('POST', $path, json => $json) }

sub integration {
    my (%f) = @_;

    my $r = post('/integrations', {
        org_id => 3, lab_id => 11, action_id => 1, allow_http => \1,
        schedule => '1s,1s,1s', %f,
    });
    is($r->{status}, 201, "$f{name}: made") or diag $r->{body};
    return $r->{json};
}

sub event {
    my (%f) = @_;

    my $r = post('/events', {
        action_id => 1, lab_id => 11, refs => { bill_id => 'B-77' },
        payload => { total => 10 }, %f,
    });
    is($r->{status}, 202, 'accepted') or diag $r->{body};
    return $r->{json};
}

sub log_of { my ($id) = @_; return $api->get("/logs/$id")->{json} }

sub settled {
    my ($id, $status) = @_;

    my $log;
    wait_for(sub {
        $log = log_of($id);
        return $log->{status} eq $status;
    }) or diag "$id is $log->{status}, not $status";
    return $log;
}

# -- delivered, signed, logged ---------------------------------------------

{
    my $i = integration(name => 'orders', url => $good->url . '/hook',
        transform => '{bill: .refs.bill_id, total: .payload.total}',
        filter => '.payload.total > 5');
    like($i->{signing_secret}, qr/^whsec_/, 'the secret is shown once');
    my $shown = $api->get("/integrations/$i->{id}")->{json};
    ok(!exists $shown->{signing_secret}, 'and never again');
    ok(!exists $shown->{signing_secrets}[0]{sealed}, 'nor sealed');

    my $e = event();
    is(scalar @{ $e->{log_ids} }, 1, 'one delivery');
    my $log = settled($e->{log_ids}[0], 'SUCCESS');
    is($log->{kind}, 'webhook', 'a webhook');
    is($log->{endpoint}, 'orders', 'its endpoint is the integration');
    is($log->{attempts}, 1, 'one attempt');
    is($log->{response}{status}, 200, 'the answer');
    is($log->{refs}{bill_id}, 'B-77', 'the reference');
    is($log->{event_id}, $e->{event_id}, 'the event');

    my ($raw) = $good->seen;
    my ($head, $body) = split /\r\n\r\n/, $raw, 2;
    is($body, '{"bill":"B-77","total":10}', 'the transformed payload');
    my %h = map { lc($_->[0]) => $_->[1] }
        map { [ split /: /, $_, 2 ] } grep { /: / } split /\r\n/, $head;
    is($h{'webhook-id'}, $e->{log_ids}[0], 'webhook-id is the log');
    my $key = decode_base64(substr $i->{signing_secret}, 6);
    is($h{'webhook-signature'}, 'v1,' . encode_base64(hmac_sha256(
        "$h{'webhook-id'}.$h{'webhook-timestamp'}.$body", $key), ''),
        'the signature verifies');

    $e = event(payload => { total => 1 });
    is_deeply($e->{log_ids}, [], 'the filter leaves it out');
    is_deeply(event(action_id => 57)->{log_ids}, [], 'another action: nobody');
    is_deeply(event(lab_id => 12)->{log_ids}, [], 'another lab: nobody');

    # a trial send goes to one of several that want the event
    my ($r, $other) = (undef, integration(name => 'beside', url => $good->url . '/beside'));
    my @before = $good->seen;
    $r = $api->call('POST', "/integrations/$i->{id}/send", json => {
        action_id => 1, lab_id => 11, payload => { total => 9 } });
    is($r->{status}, 202, 'sent to one') or diag $r->{body};
    is(scalar @{ $r->{json}{log_ids} }, 1, 'one delivery of two');
    is(settled($r->{json}{log_ids}[0], 'SUCCESS')->{endpoint}, 'orders',
        'the one that was named');
    my @new = ($good->seen)[ scalar @before .. scalar(@{ [ $good->seen ] }) - 1 ];
    is(scalar(grep { m{^POST /beside} } @new), 0, 'the other got nothing');
    for ([ { payload => { total => 1 } }, 'the filter' ],
        [ { action_id => 57, payload => { total => 9 } }, 'the action' ])
    {
        my ($f, $what) = @$_;
        $r = $api->call('POST', "/integrations/$i->{id}/send",
            json => { action_id => 1, lab_id => 11, %$f });
        is($r->{status}, 422, "$what leaves it out: said");
        is($r->{json}{errors}[0]{code}, 'unwanted', "$what: by its code");
    }
    is($api->call('POST', '/integrations/' . $log->{_id} . '/send', json => {
        action_id => 1, lab_id => 11, payload => {} })->{status}, 404,
        'no such integration');
    is($api->call('DELETE', "/integrations/$other->{id}",
        headers => [ [ 'If-Match', '*' ] ])->{status}, 204, 'deleted');
    Time::HiRes::sleep(1.2);

    my $attempts = $api->get("/logs/$log->{_id}/attempts")->{json}{data};
    is(scalar @$attempts, 1, 'one attempt is kept');
    is($attempts->[0]{outcome}, 'DELIVERED', 'with its outcome');

    # again by hand: same message id, new log
    $r = post("/logs/$log->{_id}/resend", { reason => 'asked for' });
    is($r->{status}, 202, 'resent');
    my $again = settled($r->{json}{_id}, 'SUCCESS');
    is($again->{resend_of}, $log->{_id}, 'says of what');
    my @seen = $good->seen;
    like($seen[-1], qr/webhook-id: $log->{_id}\r/i, 'with the same message id');

    # rotation: both secrets sign
    $r = post("/integrations/$i->{id}/rotate-secret", { overlap_s => 60 });
    is($r->{status}, 200, 'rotated');
    sleep 2;                               # the table of routes follows
    settled(event()->{log_ids}[0], 'SUCCESS');
    @seen = $good->seen;
    my ($signatures) = $seen[-1] =~ /webhook-signature: (.*)\r/i;
    is(scalar(split / /, $signatures), 2, 'two signatures during the overlap');

    is($api->call('DELETE', "/integrations/$i->{id}",
        headers => [ [ 'If-Match', '*' ] ])->{status}, 204, 'deleted');
}

# -- retried, given up, gone -----------------------------------------------

{
    my $i = integration(name => 'twice', url => $twice->url . '/');
    sleep 2;
    my $e = event();
    my $log = settled($e->{log_ids}[0], 'SUCCESS');
    is($log->{attempts}, 3, 'fails twice, then delivered');
    my @outcomes = map { $_->{outcome} }
        @{ $api->get("/logs/$log->{_id}/attempts")->{json}{data} };
    is_deeply([ sort @outcomes ], [ qw(DELIVERED RETRY RETRY) ],
        'each attempt is kept');
    $api->call('DELETE', "/integrations/$i->{id}",
        headers => [ [ 'If-Match', '*' ] ]);

    $i = integration(name => 'dead', url => $dead->url . '/');
    sleep 2;
    $e = event();
    $log = settled($e->{log_ids}[0], 'FAIL');
    is($log->{attempts}, 4, 'the schedule is used up');
    is($log->{error}{code}, 'exhausted', 'and says so');
    $api->call('DELETE', "/integrations/$i->{id}",
        headers => [ [ 'If-Match', '*' ] ]);

    $i = integration(name => 'gone', url => $gone->url . '/');
    sleep 2;
    $e = event();
    $log = settled($e->{log_ids}[0], 'FAIL');
    is($log->{error}{code}, 'gone', '410 is final');
    my $off = $api->get("/integrations/$i->{id}")->{json};
    ok(!$off->{enabled}, 'and disables the integration');
    $api->call('DELETE', "/integrations/$i->{id}",
        headers => [ [ 'If-Match', '*' ] ]);
}

# -- later, cancelled, keyed -----------------------------------------------

{
    my $i = integration(name => 'later', url => $good->url . '/later');
    sleep 2;
    my $before = () = $good->seen;
    my $e = event(deliver_at => time + 3600);
    my $id = $e->{log_ids}[0];
    is(log_of($id)->{status}, 'PENDING', 'waits');
    is(post("/logs/$id/cancel", { reason => 'no' })->{status}, 200, 'cancelled');
    is(log_of($id)->{status}, 'CANCELLED', 'is');
    is(post("/logs/$id/cancel", {})->{status}, 409, 'once');

    $e = event(deliver_at => time + 3600);
    is(post("/logs/$e->{log_ids}[0]/reschedule",
        { deliver_at => '2020-01-01T00:00:00Z' })->{status}, 200, 'moved');
    settled($e->{log_ids}[0], 'SUCCESS');
    is((() = $good->seen) - $before, 1, 'the cancelled one was not sent');

    my $one = event(idempotency_key => 'k-1');
    my $two = event(idempotency_key => 'k-1');
    is($two->{event_id}, $one->{event_id}, 'the same key: the same answer');
    ok($two->{repeated}, 'and says so');
    is(post('/events', { action_id => 1, lab_id => 11, payload => 2,
        idempotency_key => 'k-1' })->{status}, 422, 'another body: refused');
    $api->call('DELETE', "/integrations/$i->{id}",
        headers => [ [ 'If-Match', '*' ] ]);
}

# -- HL7 ---------------------------------------------------------------------

{
    my $i = integration(name => 'mirth', transport => 'mllp', action_id => 57,
        host => '127.0.0.1', port => $mllp->port, sending_facility => 'LAB11',
        receiving_application => 'MIRTH', transform => '{message: '
            . '"ADT^A04^ADT_A01", segments: [["EVN","A04"],["PID",1,null,'
            . '.refs.patient_id,null,[[.payload.family,.payload.given]]],'
            . '["PV1",1,"O"]]}');
    sleep 2;
    my @ids;

    for my $n (1 .. 5) {
        push @ids, @{ event(action_id => 57, refs => { patient_id => "P-$n" },
            payload => { family => "N\x{fa}\x{f1}ez", given => 'Ana|x' }
            )->{log_ids} };
    }

    settled($_, 'SUCCESS') for @ids;
    my @seen = $mllp->seen;
    is(scalar @seen, 5, 'each message once');
    is_deeply([ map { /PID\|1\|\|(P-\d)/ } @seen ],
        [ map { "P-$_" } 1 .. 5 ], 'in order');
    like($seen[0], qr/^MSH\|\^~\\&\|IDASH\|LAB11\|MIRTH\|/, 'the header');
    like($seen[0], qr/Ana\\F\\x/, 'escaped');
    my $log = log_of($ids[0]);
    is($log->{kind}, 'hl7', 'kind hl7');
    like($log->{response}{body}, qr/MSA\|AA\|/, 'the acknowledgement is kept');
}

# -- refused at the door -----------------------------------------------------

for my $case (
    [ {}, '#/action_id' ], [ { action_id => 1 }, '#/lab_id' ],
    [ { action_id => 999, lab_id => 11, payload => 1 }, '#/action_id' ],
    [ { action_id => 1, lab_id => 999, payload => 1 }, '#/lab_id' ],
    [ { action_id => 1, lab_id => 11 }, '#/payload' ],
    [ { action_id => 1, lab_id => 11, payload => 1, priority => 3 },
        '#/priority' ],
    [ { action_id => 1, lab_id => 11, payload => 1, deliver_at => 'soon' },
        '#/deliver_at' ],
    [ { action_id => 1, lab_id => 11, payload => 1, foo => 1 }, '#/foo' ])
{
    my $r = post('/events', $case->[0]);
    is($r->{status}, 422, "refused: $case->[1]");
    like($r->{body}, qr/\Q$case->[1]\E/, 'names the field');
}

for my $case (
    [ { url => 'http://10.0.0.1/', allow_http => \0 }, '#/url' ],
    [ { url => 'https://u:p@example.org/' }, '#/url' ],
    [ { url => 'https://example.org:22/' }, '#/url' ],
    [ { url => '' }, '#/url' ],
    [ { filter => '.a |' }, '#/filter' ],
    [ { schedule => '5' }, '#/schedule' ],
    [ { headers => [ [ 'Host', 'x' ] ] }, '#/headers/0' ],
    [ { headers => [ [ 'X-A', "a\r\nB: c" ] ] }, '#/headers/0' ],
    [ { headers => [ [ 'webhook-id', 'x' ] ] }, '#/headers/0' ],
    [ { auth => 'basic' }, '#/auth_user' ],
    [ { request_type => 'BREW' }, '#/request_type' ],
    [ { transport => 'mllp' }, '#/host' ],
    [ { lab_id => 21 }, '#/lab_id' ],
    [ { nonsense => 1 }, '#/nonsense' ])
{
    my $r = post('/integrations', { name => 'x', org_id => 3, lab_id => 11,
        action_id => 1, url => 'https://example.org/', %{ $case->[0] } });
    is($r->{status}, 422, "refused: $case->[1]") or diag $r->{body};
    like($r->{body}, qr/\Q$case->[1]\E/, 'names the field');
}

done_testing();
