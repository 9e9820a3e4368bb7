# An inbound call made again, edited, through nginx: captured like any call,
# marked by a signed header; host and path fixed, masks never sent, credentials
# from a sealed setting; a forged or used header marks nothing.

use strict;
use warnings;

use Digest::SHA 'hmac_sha256_hex';
use Test::More;

use lib 't/lib';
use ApiTest;
use IDash;
use IDash::Mongo;
use IDash::Wait;

subtest sqlite => sub { on_store(undef) };
subtest mongo => sub {
    my $why = IDash::Mongo::missing();
    plan skip_all => $why if defined $why;
    my $server = IDash::Mongo->start;
    on_store($server->uri("replay_$$"));
    done_testing();
};
answers_fit_description();
done_testing();

sub on_store {
    my ($store) = @_;

    my $redis = redis();
    my $up = upstream(sub {
        my ($req) = @_;
        return { status => $req->{body} =~ /"ok"/ ? 201 : 422, body => '{}' };
    });
    my $nginx = nginx(redis => $redis, location => 'capture on;'
        . ' capture_action 57; capture_key $http_x_api_key;'
        . ' capture_ref lab_id $arg_lab; capture_route /patients;'
        . ' proxy_pass ' . $up->url . ';');
    my $api = api(redis => $redis, $store ? (store => $store) : (),
        conf => { roles => 'drain,dispatch,api',
            replay_base_url => 'http://127.0.0.1:' . $nginx->port });

    # the call that failed
    is($nginx->post('/api/patients?lab=11&x=%41&token=hidden-1', '{"bad":1}',
        headers => [ [ 'Content-Type', 'application/json' ],
            [ 'X-Api-Key', 'north-key-0123456789' ],
            [ 'Authorization', 'Bearer hidden-2' ], [ 'X-Trace', 'seen' ],
        ])->{status}, 422, 'a call fails');
    my ($log, $etag);
    wait_for(sub {
        ($log) = @{ $api->get('/logs?http=422')->{json}{data} };
    });
    my $id = $log->{_id};
    my $get = $api->get("/logs/$id");
    $etag = http_header($get, 'ETag');
    $log = $get->{json};
    is($log->{developer_id}, 'dev-north', 'of a known partner');

    my $replay = sub {
        my (%f) = @_;
        my %opt = %{ delete $f{opt} || {} };
        return $api->call('POST', "/logs/$id/replay", json => {
            reason => 'fixed', base_etag => $etag,
            body => { ok => 'ok' }, %f,
        }, %opt);
    };
    my $until = sub {
        my ($r, $limit) = @_;
        my $state;
        wait_for(sub {
            $state = $api->d->get("/api/v1/replays/$r->{json}{id}",
                key => $api->{admin})->{json};
            return $state->{state} eq 'failed'
                || ($state->{state} eq 'sent' && $state->{log_id});
        }, $limit);
        return $state;
    };

    # -- without credentials -----------------------------------------------

    my $r = $replay->();
    is($r->{status}, 202, 'a replay') or diag $r->{body};
    is(scalar http_header($r, 'Location'), "/api/v1/replays/$r->{json}{id}",
        'its place');
    is_deeply([ sort @{ $r->{json}{left_out} } ],
        [ 'header:Authorization', 'header:X-Api-Key', 'query:token' ],
        'what was masked is left out, and named');
    my $state = $until->($r);
    is("$state->{state} $state->{http_status}", 'sent 201', 'was made');
    my $new = $api->get("/logs/$state->{log_id}")->{json};
    is($new->{replay_of}, $id, 'the new log says of which');
    is($new->{status}, 'SUCCESS', 'it went well now');
    is($new->{request}{body}{ok}, 'ok', 'with the new body');
    is($new->{developer_id}, 'dev-north', 'it is the same partner');
    is($new->{lab_id}, 11, 'and lab');
    is_deeply($new->{flags} || [], [], 'nothing is odd');
    is_deeply($api->get("/logs/$id")->{json}, $log, 'the original stays');
    is($api->get("/logs?replay_of=$id")->{json}{data}[0]{_id}, $new->{_id},
        'found by it');

    my @seen = $up->seen;
    unlike($seen[-1], qr/\*\*\*/, 'no mask was sent');
    like($seen[-1], qr/^X-Trace: seen/mi, 'other headers were');
    like($seen[-1], qr{^POST /api/patients\?lab=11&x=A HTTP}m, 'and arguments');
    my ($token) = $seen[-1] =~ /^Idash-Replay: (\S+)/mi;
    ok($token, 'it carried the signed header');

    # -- with them ---------------------------------------------------------

    my $dev = $api->get('/developers/dev-north')->{json};
    my %change = (name => 'N', org_id => 3, replay_credentials => {
        headers => [ [ 'X-Api-Key', 'north-key-0123456789' ] ],
        query => [ [ 'token', 'from-setting' ] ] });
    $r = $api->call('PUT', '/developers/dev-north', json => \%change,
        headers => [ [ 'If-Match', '*' ] ]);
    is($r->{status}, 200, 'credentials are set') or diag $r->{body};
    unlike($r->{body}, qr/from-setting|north-key|sealed/, 'and never shown');
    ok($r->{json}{replay_credentials_set}, 'but that they are');

    $r = $replay->(method => 'PUT', query => [ [ 'lab', '11' ], [ 'n', 'a b' ],
        [ 'token', '***' ] ], headers => [ [ 'X-Api-Key', '***' ],
        [ 'Host', 'evil' ], [ 'X-Forwarded-For', '10.0.0.1' ],
        [ 'Content-Type', 'application/json' ], [ 'X-New', 'yes' ] ]);
    is_deeply($r->{json}{left_out}, [], 'nothing is left out now')
        or diag $r->{body};
    is_deeply([ sort @{ $r->{json}{filled} } ],
        [ 'header:X-Api-Key', 'query:token' ], 'what was filled in');
    $state = $until->($r);
    is($state->{http_status}, 201, 'made');
    @seen = $up->seen;
    like($seen[-1], qr{^PUT /api/patients\?lab=11&n=a%20b&token=from-setting }m,
        'method and arguments edited, the credential in its place');
    like($seen[-1], qr/^X-Api-Key: north-key-0123456789/mi, 'and this one');
    like($seen[-1], qr/^X-New: yes/mi, 'a new header');
    unlike($seen[-1], qr/evil|10\.0\.0\.1/, 'the host is not the caller\'s');
    is($api->get("/logs/$state->{log_id}")->{json}{url} =~ /from-setting/, '',
        'the credential is masked in the log again');

    # -- refused -----------------------------------------------------------

    my $count = () = $up->seen;
    for my $case (
        [ 'a stale ETag', 412, undef, base_etag => '"0000000000000000"' ],
        [ 'no ETag', 422, '#/base_etag', base_etag => undef ],
        [ 'no reason', 422, '#/reason', reason => '' ],
        [ 'an unknown method', 422, '#/method', method => 'BREW' ],
        [ 'a split header', 422, '#/headers/0',
            headers => [ [ 'X-A', "1\r\nX-B: 2" ] ] ],
        [ 'no header name', 422, '#/headers/0', headers => [ [ 'a b', '1' ] ] ],
        [ 'no pairs', 422, '#/query', query => { a => 1 } ],
        [ 'broken JSON', 422, '#/body', encoding => 'text', body => '{' ],
        [ 'an address', 422, '#/url', url => 'http://evil/' ],
    ) {
        my ($name, $status, $pointer, %f) = @$case;
        $r = $replay->(%f);
        is($r->{status}, $status, $name) or diag $r->{body};
        is($r->{json}{errors}[0]{pointer}, $pointer, "$name is named")
            if $pointer;
    }
    is($replay->(opt => { key => $api->key('viewer', 3) })->{status}, 403,
        'a viewer');
    is($replay->(opt => { key => $api->key('operator', 4) })->{status}, 404,
        'another tenant');
    my $rid = $state->{id};
    is($api->get("/replays/$rid", key => $api->key('operator', 4))->{status},
        404, 'who does not see it either');
    is($api->get("/replays/$rid", key => $api->key('viewer', 3))->{status},
        200, 'a viewer of the org does');
    is(scalar(() = $up->seen), $count, 'nothing of that was sent');

    # once, under a key
    my @once = map { $replay->(opt => {
        headers => [ [ 'Idempotency-Key', 'r1' ] ] }) } 1 .. 2;
    is($once[0]{json}{id}, $once[1]{json}{id}, 'one key, one replay');
    $until->($once[0]);

    # -- headers that lie --------------------------------------------------

    my $bad = sub {
        my ($name, $value) = @_;
        my $mark = "m$$" . int rand 1e9;
        $nginx->post("/api/patients?lab=11&mark=$mark", '{"ok":"ok"}',
            headers => [ [ 'X-Api-Key', 'north-key-0123456789' ],
                [ 'Idash-Replay', $value ] ]);
        my $got;
        wait_for(sub {
            ($got) = @{ $api->get("/logs?q=$mark")->{json}{data} };
        });
        is($got->{replay_of}, undef, "$name: no replay");
        is_deeply($got->{flags}, ['bad_replay'], "$name: flagged");
        return;
    };
    $bad->('a used header', $token);
    (my $forged = $token) =~ s/(.)$/$1 eq '0' ? '1' : '0'/e;
    $bad->('a forged one', $forged);
    my ($head) = $token =~ /^(.*)\.[0-9a-f]{64}$/;
    $bad->('one of another secret', "$head." . hmac_sha256_hex($head, 'x' x 32));
    $bad->('rubbish', 'x' x 300);

    my ($audit) = grep { $_->{action} eq 'log.replay' }
        @{ $api->get('/audit?limit=200')->{json}{data} };
    is("$audit->{target}{id} $audit->{reason}", "$id fixed", 'audited');

    # -- nginx away --------------------------------------------------------

    $nginx->stop;
    $r = $replay->();
    is($r->{status}, 202, 'nginx is away');
    $state = $until->($r);
    is("$state->{state} $state->{error}{code}", 'failed connect', 'it says so');
    return;
}
