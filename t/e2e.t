# From end to end: a call through nginx becomes a log that REST and the CLI
# show: bodies and timings right, secrets masked.  On both stores.

use strict;
use warnings;

use Test::More;

use lib 't/lib';
use IDash;
use IDash::Mongo;

subtest sqlite => sub { one_call(undef) };

subtest mongo => sub {
    my $why = IDash::Mongo::missing();
    plan skip_all => $why if defined $why;

    my $server = IDash::Mongo->start;
    one_call($server->uri("e2e_$$"));
    done_testing();
};

done_testing();

sub one_call {
    my ($store) = @_;

    my $redis = redis(aof => 1);
    my $up = upstream(sub {
        my ($req) = @_;

        select undef, undef, undef, 0.05;
        return { status => 201, headers => [ [ 'Set-Cookie', 'sid=hidden-2' ] ],
            body => '{"patient_id":"P-1","echo":' . $req->{body} . '}' };
    });
    my $d = sidecar(redis => $redis, store => $store);
    my $key = $d->key;
    my $nginx = nginx(redis => $redis, http => '        client_body_timeout 5;',
        location => 'capture on; capture_action 57; capture_key $http_x_api_key;'
        . ' capture_ref patient_id $arg_patient; capture_route /patients;'
        . ' proxy_pass ' . $up->url . ';');

    my $body = '{"name":"Asha Rao","tests":["CBC","HbA1c"]}';
    my $res = $nginx->post('/api/v1/patients?patient=P-1&token=hidden-1', $body,
        headers => [ [ 'Content-Type', 'application/json' ],
            [ 'Authorization', 'Bearer hidden-3' ],
            [ 'X-Api-Key', 'hidden-4' ], [ 'X-Trace', 'seen' ] ]);
    is($res->{status}, 201, 'the call itself');

    wait_for(sub { $d->logs($key) });
    my @logs = $d->logs($key);
    is(scalar @logs, 1, 'one log');

    my $full = $d->get("/api/v1/logs/$logs[0]{_id}", key => $key);
    is($full->{status}, 200, 'the log by its id');
    check_log($full->{json}, $body, $res);

    for my $secret (map { "hidden-$_" } 1 .. 4) {
        unlike($full->{body}, qr/$secret/, "$secret is not in the log");
    }

    my ($status, $out) = $d->command('logs');
    is($status, 0, 'integrationd logs') or diag $out;
    like($out, qr/patients/, 'shows the call');
    unlike($out, qr/hidden-/, 'and no secret');

    is($d->get('/api/v1/logs')->{status}, 401, 'no key, no logs');
    is($nginx->stop, 0, 'nginx ends well');
    is($d->stop, 0, 'integrationd ends well');
    return;
}

sub check_log {
    my ($log, $body, $res) = @_;

    is($log->{kind}, 'api', 'kind');
    is($log->{status}, 'SUCCESS', 'status');
    is($log->{action_id}, 57, 'action');
    is($log->{action_category_id}, 4, 'its category, by the catalogue');
    is($log->{refs}{patient_id}, 'P-1', 'reference');
    is($log->{endpoint}, 'POST /patients', 'endpoint');
    is($log->{method}, 'POST', 'method');
    is($log->{request}{bytes}, length $body, 'length of the request body');
    is(text($log->{request}), to_json(from_json($body)), 'request body');
    is($log->{response}{status}, 201, 'HTTP status');
    is($log->{response}{bytes}, length $res->{body}, 'length of the answer');
    is(text($log->{response}), to_json(from_json($res->{body})), 'answer');

    my %sent = map { lc $_->[0] => $_->[1] } @{ $log->{request}{headers} };
    is($sent{'x-trace'}, 'seen', 'a header as it was sent');
    ok(exists $sent{authorization}, 'a masked header keeps its name');

    my $ms = $log->{timing}{duration_ms};
    cmp_ok($ms, '>=', 50, 'duration: not less than the upstream took');
    cmp_ok($ms, '<', 30_000, 'and not absurd');
    cmp_ok($log->{timing}{first_byte_ms}, '<=', $ms, 'first byte before last');
    like($log->{timing}{started_at}, qr/^20\d\d-\d\d-\d\dT[\d:]{8}\.\d{3}Z$/,
        'start');
    return;
}

# A body in one form, whether it came as JSON or as text.
sub text {
    my ($part) = @_;

    return ref $part->{body} ? to_json($part->{body})
        : to_json(from_json($part->{body} // 'null'));
}
