# r39: roles x routes x tenants; foreign ids are not there; keys and sessions.

use strict;
use warnings;

use lib 't/lib';
use ApiTest;
use IDash;
use Test::More;

my $api = api();
my $north = $api->record;
my $south = $api->record(key => 'south-key-0123456789', 'ref.lab_id' => 21);
my $lab12 = $api->record('ref.lab_id' => 12);
$api->stored(3);

my %key = map { $_ => $api->key($_, 3) } qw/viewer operator admin auditor/;
my %far = map { $_ => $api->key($_, 4) } qw/viewer operator admin auditor/;
my $some = $api->key('admin', 3, '--labs', '12');

my $none = '0197c000-0000-7000-8000-000000000000';

# what each role is answered: v o a u; platform routes refuse all of them
my @matrix = (
    [ 'GET', '/me', '200 200 200 200' ],
    [ 'GET', '/logs', '200 200 200 200' ],
    [ 'GET', "/logs/$north", '200 200 200 200' ],
    [ 'GET', "/logs/$north/attempts", '200 200 200 200' ],
    [ 'GET', "/logs/$north/body/request", '403 200 200 403' ],
    [ 'GET', "/logs/$north/body/response", '403 200 200 403' ],
    [ 'GET', '/summary', '200 200 200 200' ],
    [ 'GET', '/heatmap', '200 200 200 200' ],
    [ 'GET', '/orgs', '200 200 200 200' ],
    [ 'GET', '/orgs/3', '200 200 200 200' ],
    [ 'GET', '/labs', '200 200 200 200' ],
    [ 'GET', '/labs/11', '200 200 200 200' ],
    [ 'GET', '/developers', '200 200 200 200' ],
    [ 'GET', '/developers/dev-north', '200 200 200 200' ],
    [ 'GET', '/actions', '200 200 200 200' ],
    [ 'GET', '/actions/57', '200 200 200 200' ],
    [ 'GET', '/action-categories', '200 200 200 200' ],
    [ 'GET', '/views', '200 200 200 200' ],
    [ 'GET', '/api-keys', '403 403 200 403' ],
    [ 'GET', '/audit', '403 403 200 200' ],
    [ 'GET', '/dead-letters', '403 403 403 403' ],
    [ 'GET', '/metrics', '403 403 403 403' ],
    [ 'GET', '/system', '403 403 403 403' ],
    [ 'POST', '/orgs', '403 403 403 403', { id => 9, name => 'x' } ],
    [ 'POST', '/actions', '403 403 403 403',
        { id => 900, name => 'x', action_category_id => 1 } ],
    [ 'POST', '/action-categories', '403 403 403 403',
        { id => 90, name => 'x' } ],
    [ 'POST', '/labs', '403 403 422 403',
        { id => 50, name => 'x', org_id => 4 } ],
    [ 'POST', '/developers', '403 403 422 403',
        { name => 'x', org_id => 4 } ],
    [ 'POST', '/api-keys', '403 403 422 403',
        { name => 'x', org_id => 4, role => 'admin' } ],
    [ 'POST', '/api-keys', '403 403 422 403',
        { name => 'x', org_id => 0, role => 'admin' } ],
    [ 'POST', '/dead-letters/x/replay', '403 403 403 403' ],
    [ 'POST', "/logs/$north/resend", '403 409 409 403', {} ],
    [ 'POST', "/logs/$north/resend-plan", '403 200 200 403', {} ],
    [ 'POST', "/logs/$north/replay-plan", '403 409 409 403', {} ],
    [ 'POST', "/logs/$north/replay", '403 409 409 403', { reason => 'x' } ],
    [ 'GET', "/replays/$none", '404 404 404 404' ],
    [ 'POST', '/retry-plans', '403 201 201 403', { filter => 'status=FAIL' } ],
    [ 'GET', "/retry-plans/$none", '404 404 404 404' ],
    [ 'POST', '/retry-jobs', '403 404 404 403',
        { plan => $none, reason => 'x' } ],
    [ 'GET', '/retry-jobs', '200 200 200 200' ],
    [ 'GET', "/retry-jobs/$none", '404 404 404 404' ],
    [ 'GET', "/retry-jobs/$none/items", '404 404 404 404' ],
    [ 'POST', "/retry-jobs/$none/pause", '403 404 404 403', {} ],
    [ 'POST', "/retry-jobs/$none/resume", '403 404 404 403', {} ],
    [ 'POST', "/retry-jobs/$none/cancel", '403 404 404 403', {} ],
    [ 'POST', '/views', '201 201 201 201', { name => 'v', query => 'a=b' } ],
    [ 'POST', '/logout', '204 204 204 204' ],
);

my ($wrong, $checked) = (0, 0);
my @roles = qw/viewer operator admin auditor/;
for my $row (@matrix) {
    my ($method, $path, $want, $json) = @$row;
    my @want = split / /, $want;

    for my $i (0 .. $#roles) {
        my $r = $api->call($method, $path, key => $key{ $roles[$i] },
            $json ? (json => $json) : ());
        $checked++;
        next if $r->{status} == $want[$i];
        $wrong++;
        diag "$roles[$i] $method $path: $r->{status}, not $want[$i]";
    }
}
is($wrong, 0, "$checked answers are what the role may have");

# nobody without a key
for my $row (@matrix) {
    my ($method, $path) = @$row;
    my $r = $api->call($method, $path, key => undef);
    $wrong++ if $r->{status} != 401;
}
is($wrong, 0, 'without a key everything is 401');
is($api->get($_, key => undef)->{status}, 200, "$_ needs none")
    for '/healthz', '/readyz';

# the other tenant
my $leaks = 0;
for my $role (@roles) {
    for my $path ("/logs/$north", "/logs/$north/attempts", '/orgs/3',
        '/labs/11', '/developers/dev-north')
    {
        my $r = $api->get($path, key => $far{$role});
        $leaks++ if $r->{status} != 404;
    }
    for my $body ('request', 'response') {
        my $r = $api->get("/logs/$north/body/$body", key => $far{$role});
        $leaks++ if $r->{status} != 404 && $r->{status} != 403;
    }
    for my $act (qw(resend replay resend-plan replay-plan)) {
        my $r = $api->call('POST', "/logs/$north/$act", key => $far{$role},
            json => { reason => 'x' });
        $leaks++ if $r->{status} != 404 && $r->{status} != 403;
    }
    my $r = $api->get('/logs', key => $far{$role});
    $leaks++ if join(' ', map { $_->{_id} } @{ $r->{json}{data} }) ne $south;
    for my $list ('/orgs', '/labs', '/developers') {
        $leaks += grep { ($_->{org_id} // $_->{id}) != 4 }
            @{ $api->get($list, key => $far{$role})->{json}{data} };
    }
    $leaks += @{ $api->get('/logs?org_id=3', key => $far{$role})
        ->{json}{data} };
    $leaks += @{ $api->get("/logs?id=$north", key => $far{$role})
        ->{json}{data} };
}
for my $n (1 .. 250) {
    my $id = ApiTest::uuid(1_790_000_000_000_000 + $n, $n);
    $leaks++ if $api->d->get("/api/v1/logs/$id", key => $far{admin})->{status}
        != 404;
}
is($leaks, 0, 'the other tenant sees nothing');
for my $path ('/labs/11', '/developers/dev-north') {
    is($api->call('DELETE', $path, key => $far{admin},
        headers => [ [ 'If-Match', '*' ] ])->{status}, 404, "nor deletes $path");
}

# some labs only
is_deeply([ map { $_->{_id} } @{ $api->get('/logs', key => $some)
    ->{json}{data} } ], [ $lab12 ], 'a key for a lab sees that lab');
is($api->get("/logs/$north", key => $some)->{status}, 404, 'by id too');
is_deeply([ map { $_->{id} } @{ $api->get('/labs', key => $some)
    ->{json}{data} } ], [ 12 ], 'and that lab alone');
is($api->call('POST', '/api-keys', key => $some, json => { name => 'x',
    org_id => 3, role => 'admin' })->{status}, 422, 'makes no wider key');
is($api->call('POST', '/api-keys', key => $some, json => { name => 'x',
    org_id => 3, role => 'admin', lab_ids => [ 11 ] })->{status}, 422,
    'nor one for another lab');

# wrong keys look alike
{
    my $good = $key{viewer};
    my ($id) = $good =~ /^idash_(.{8})/;
    my @bad = ('x', 'idash_', "idash_${id}_" . 'A' x 43,
        'idash_zzzzzzzz_' . 'A' x 43, substr($good, 0, -1), "$good ", '');
    my %bodies;
    for my $n (0 .. $#bad) {
        my $r = $api->get('/me', key => $bad[$n],
            headers => [ [ 'X-Real-IP', "198.51.100.$n" ] ]);
        # trailing space is cut from a header's value
        next if $bad[$n] =~ / $/;
        is($r->{status}, 401, "key $n is refused");
        delete @{ $r->{json} }{qw/request_id/};
        $bodies{ to_json($r->{json}) }++;
    }
    is(scalar keys %bodies, 1, 'all refusals are the same');
}

# too many of them
{
    my @ip = (headers => [ [ 'X-Real-IP', '203.0.113.7' ] ]);
    my @status = map { $api->get('/me', key => "bad$_",
        headers => [ [ 'X-Real-IP', '203.0.113.7' ] ])->{status} } 1 .. 25;
    # the minute may turn in between, which gives ten more
    ok((grep { $_ == 429 } @status) >= 5, 'then 429');
    is($api->get('/me', @ip, key => $key{viewer})->{status}, 200,
        'a right key still passes');
}

# sessions
{
    my $r = $api->call('POST', '/login', key => $key{viewer});
    my ($cookie) = http_header($r, 'Set-Cookie') =~ /^(idash=[^;]+); /;
    like(http_header($r, 'Set-Cookie'), qr/HttpOnly; SameSite=Strict/,
        'a cookie that scripts cannot read');
    my @c = ([ 'Cookie', "a=b; $cookie" ]);
    is($api->get('/me', key => undef, headers => [ @c ])->{json}{session}, 1,
        'stands for the key');
    my @view = (key => undef, json => { name => 'v', query => '' });
    is($api->call('POST', '/views', @view, headers => [ @c ])->{status}, 403,
        'a write without an origin');
    is($api->call('POST', '/views', @view, headers => [ @c,
        [ 'Sec-Fetch-Site', 'cross-site' ] ])->{status}, 403, 'of another site');
    is($api->call('POST', '/views', @view, headers => [ @c,
        [ 'Origin', 'http://evil' ] ])->{status}, 403, 'of another origin');
    is($api->call('POST', '/views', @view, headers => [ @c,
        [ 'Origin', 'http://localhost' ] ])->{status}, 201, 'of this origin');
    is($api->call('POST', '/views', @view, headers => [ @c,
        [ 'Sec-Fetch-Site', 'same-origin' ] ])->{status}, 201, 'of this site');
    my $forged = $cookie;
    $forged =~ s/(.)$/$1 eq 'a' ? 'b' : 'a'/e;
    is($api->get('/me', key => undef, headers => [ [ 'Cookie', $forged ] ])
        ->{status}, 401, 'a forged cookie');
    my $tls = $api->call('POST', '/login', key => $key{viewer},
        headers => [ [ 'X-Forwarded-Proto', 'https' ] ]);
    like(http_header($tls, 'Set-Cookie'), qr/^__Host-idash=.*; Secure$/,
        'under TLS bound to the host');
    is($api->get('/me', key => undef, headers => [ @c,
        [ 'X-Forwarded-Proto', 'https' ] ])->{status}, 401,
        'where the plain one does not count');

    # revoked: key and session end at once
    my ($id) = $key{viewer} =~ /^idash_(.{8})/;
    is($api->call('DELETE', "/api-keys/$id", headers => [ [ 'If-Match', '*' ] ])
        ->{status}, 204, 'revoke');
    is($api->get('/me', key => $key{viewer})->{status}, 401, 'the key ended');
    is($api->get('/me', key => undef, headers => [ @c ])->{status}, 401,
        'so did its session');
    is($api->call('POST', '/api-keys', json => { name => 'old', org_id => 3,
        role => 'viewer', expires_at => '2020-01-01T00:00:00Z' })->{status},
        422, 'a key cannot be born expired');
}

IDash::Wait::figure('r39.leaks', $leaks, 'answers');
answers_fit_description();
done_testing();
