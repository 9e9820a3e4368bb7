# resend, replay and cancel of one log: at the terminal and by REST, a plan says
# first what would go to whom, and only what was meant is done and audited.

use strict;
use warnings;

use POSIX ();
use Test::More;

use lib 't/lib';
use ApiTest;
use IDash;
use IDash::Wait;
use Outbound;

my $redis = redis();
my $up = upstream(sub { return { status => 201, body => '{}' } });
my $nginx = nginx(redis => $redis, location => 'capture on;'
    . ' capture_action 57; capture_key $http_x_api_key;'
    . ' capture_ref lab_id $arg_lab; capture_route /patients;'
    . ' proxy_pass ' . $up->url . ';');
my $base = 'http://127.0.0.1:' . $nginx->port;
my $o = Outbound->new(redis => $redis,
    conf => { replay_base_url => $base });
my ($status, $out);

sub command { ($status, $out) = $o->d->command(@_); return $out }
sub logs { return scalar @{ $o->api_of->get('/logs?limit=200')->{json}{data} } }
sub audited {
    my ($action) = @_;
    return grep { $_->{action} eq $action }
        @{ $o->api_of->get('/audit?limit=200')->{json}{data} };
}

# -- resend ------------------------------------------------------------------

{
    my $url = $o->url('/ok/a');
    my $i = $o->integration(url => $url);
    my ($id) = $o->event(payload => { n => 7 });
    $o->until_status($id, 'SUCCESS');
    my $message = $o->log_of($id)->{message_id} // $id;

    my $r = $o->post("/logs/$id/resend-plan", {});
    is($r->{status}, 200, 'REST tells what would go') or diag $r->{body};
    ok($r->{json}{eligible}, 'it can');
    is($r->{json}{to}{target}, 'POST ' . $o->url('/ok/a'), 'to whom');
    is($r->{json}{to}{integration_id}, $i->{id}, 'by which integration');
    is($r->{json}{bytes}, length '{"n":7}', 'how much');
    is($r->{json}{message_id}, $message, 'under which id');
    is($o->post("/logs/$id/resend-plan", { body => { n => 10 } })->{json}{bytes},
        8, 'or an edited body');

    command('resend', $id, '--dry-run');
    is($status, 0, 'a dry run') or diag $out;
    like($out, qr{^  to +POST \Q$url\E, "$i->{name}"$}m,
        'to whom');
    like($out, qr/^  body +7 bytes, webhook-id $message$/m, 'what');
    command('resend', $id);
    is($status, 2, 'without --yes and a terminal');
    like($out, qr/nothing was done; give --yes/, 'nothing happens');
    is(scalar $o->hits('/ok/a'), 1, 'none of it sent anything');
    is(scalar audited('log.resend'), 0, 'nor was it an act');

    command('resend', $id, '--yes', '--reason', 'they lost it');
    is($status, 0, 'resend') or diag $out;
    my ($new) = $out =~ /^log (\S+)$/m;
    like($out, qr/^SUCCESS after 1 attempts$/m, 'followed to its end');
    is($o->log_of($new)->{resend_of}, $id, 'a new log');
    my @hits = $o->hits('/ok/a');
    is(scalar @hits, 2, 'sent once more');
    is($hits[1]{id}, $hits[0]{id}, 'with the same webhook-id');
    my ($e) = audited('log.resend');
    is("$e->{target}{id} $e->{actor}{key_id} $e->{reason}",
        "$id cli they lost it", 'audited');

    write_file($o->d->dir . '/body', '{"n":8}');
    command('resend', $id, '--yes', '--body', $o->d->dir . '/body');
    like($out, qr/say why with --reason/, 'an edit wants a reason');
    command('resend', $id, '--yes', '--body', $o->d->dir . '/body', '--reason',
        'fixed');
    is($status, 0, 'edited') or diag $out;
    @hits = $o->hits('/ok/a');
    is($hits[2]{body}, '{"n":8}', 'as it was edited');
    isnt($hits[2]{id}, $hits[0]{id}, 'under an id of its own');

    $o->change($i->{id}, enabled => \0);
    like(command('resend', $id, '--dry-run'), qr/disabled: it would wait/,
        'a disabled one');
    ok($o->post("/logs/$id/resend-plan", {})->{json}{to}{held}, 'REST too');
    $o->remove($i->{id});
    wait_for(sub { command('resend', $id, '--dry-run') =~ /was deleted/ });
    like($out, qr/an integration that was deleted/, 'a deleted one');
    ok(wait_for(sub {
        !$o->post("/logs/$id/resend-plan", {})->{json}{to};
    }), 'REST too');
}

# one that fails says so by its exit status
{
    $o->integration(url => $o->url('/fail/b'), is_auto_retry => \0,
        action_id => 2);
    my ($id) = $o->event(action_id => 2);
    $o->until_status($id, 'FAIL');
    command('resend', $id, '--yes', '--reason', 'again');
    is($status, 1, 'a failure');
    like($out, qr/^FAIL after 1 attempts: exhausted$/m, 'with its reason');
}

# -- cancel --------------------------------------------------------------------

{
    $o->integration(url => $o->url('/ok/c'), action_id => 3);
    my ($id) = $o->event(action_id => 3, deliver_at => later(86_400));

    my $r = $o->post("/logs/$id/resend-plan", {});
    is("$r->{json}{eligible} $r->{json}{why}", '0 in_flight',
        'what waits is not sent again');
    command('resend', $id, '--dry-run');
    is($status, 1, 'nor here');
    like($out, qr/still under way/, 'with the reason');

    command('cancel', $id, '--dry-run');
    like($out, qr/^  cancel +$id of \S+: PENDING, /m, 'the plan of a cancel');
    like($out, qr/^  due +\S+Z$/m, 'when it was due');
    is($o->log_of($id)->{status}, 'PENDING', 'cancels nothing');
    command('cancel', $id, '--yes', '--reason', 'not wanted');
    is($status, 0, 'cancel') or diag $out;
    is($o->log_of($id)->{status}, 'CANCELLED', 'it is');
    my ($e) = audited('log.cancel');
    is("$e->{reason} $e->{outcome}", 'not wanted allowed', 'audited');

    command('cancel', $id, '--yes');
    is($status, 1, 'twice');
    like($out, qr/$id is CANCELLED$/, 'says what it is');
    ($e) = audited('log.cancel');
    is($e->{outcome}, 'failed', 'that it failed is audited as well');
}

# -- replay --------------------------------------------------------------------

{
    is($nginx->post('/api/patients?lab=11&x=%41', '{"a":1}', headers => [
        [ 'Content-Type', 'application/json' ],
        [ 'X-Api-Key', 'north-key-0123456789' ],
        [ 'Authorization', 'Bearer hidden' ] ])->{status}, 201, 'a call');
    my $log;
    wait_for(sub {
        ($log) = @{ $o->api_of->get('/logs?kind=api')->{json}{data} };
    });
    my $id = $log->{_id};
    my $etag = http_header($o->api_of->get("/logs/$id"), 'ETag');

    my $r = $o->post("/logs/$id/replay-plan", { base_etag => $etag });
    is($r->{status}, 200, 'REST tells what would go') or diag $r->{body};
    is($r->{json}{to}, $base, 'where to');
    is($r->{json}{request}{path}, '/api/patients', 'which path');
    is($r->{json}{request}{bytes}, 7, 'how much');
    is_deeply([ grep { /authorization/i } @{ $r->{json}{left_out} } ],
        [ 'header:Authorization' ], 'and what is left out');
    unlike($r->{body}, qr/"body"/, 'but no body');
    is($o->post("/logs/$id/replay-plan", { base_etag => '"x"' })->{status},
        412, 'of a log that has changed');

    my $before = logs();
    command('replay', $id, '--dry-run');
    is($status, 0, 'a dry run') or diag $out;
    like($out, qr{^  to +POST \Q$base\E/api/patients\?lab=11&x=%41$}m,
        'where to');
    like($out, qr/^  left out +header:Authorization$/m, 'what is left out');
    command('replay', $id, '--yes');
    like($out, qr/say why with --reason/, 'a reason is needed');
    is(logs(), $before, 'nothing was sent');

    write_file($o->d->dir . '/body', '{"a":2}');
    command('replay', $id, '--yes', '--reason', 'fixed', '--method', 'PUT',
        '--body', $o->d->dir . '/body');
    is($status, 0, 'replay') or diag $out;
    my ($new) = $out =~ /^answered 201, log (\S+)$/m;
    ok($new, 'answered, and captured again') or diag $out;
    my $got = $o->log_of($new);
    is("$got->{replay_of} $got->{method}", "$id PUT", 'as an edited replay');
    is(to_json($got->{request}{body}), '{"a":2}', 'with the edited body');
    is(scalar audited('log.replay'), 1, 'audited once');

    command('replay', $id, '--dry-run', '--method', 'BREW');
    is($status, 2, 'a method that is none');
    like($out, qr/replay: method: must be GET/, 'is named');
    command('resend', $id, '--dry-run');
    like($out, qr/inbound call: it is replayed, not resent/, 'each its way');
}

# -- usage -----------------------------------------------------------------------

for my $verb (qw(resend replay cancel)) {
    is((command($verb), $status)[1], 2, "$verb of nothing");
    like(command($verb, 'x'), qr/$verb: name one log by its id/, 'of no id');
    command($verb, '0197a000-0000-7000-8000-000000000009', '--yes');
    is($status, 1, 'of a log that there is not');
    like($out, qr/there is no such log/, 'says so');
}

answers_fit_description();
done_testing();

sub later {
    my ($s) = @_;
    return POSIX::strftime('%Y-%m-%dT%H:%M:%S.000Z', gmtime(time + $s));
}
