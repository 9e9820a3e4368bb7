# CRUD of configuration: validation by field, versions, references, audit.

use strict;
use warnings;

use Digest::SHA 'sha256_hex';
use lib 't/lib';
use ApiTest;
use IDash;
use JSON::PP ();
use Test::More;

my $api = api();
my @any = (headers => [ [ 'If-Match', '*' ] ]);

sub post { my ($path, $json, %opt) = @_; return $api->call('POST', $path, json => $json, %opt) }
sub put {
    my ($path, $json, $tag) = @_;
    return $api->call('PUT', $path, json => $json,
        headers => [ defined $tag ? [ 'If-Match', $tag ] : () ]);
}
sub pointers { return join ' ', sort map { $_->{pointer} } @{ $_[0]{json}{errors} } }

# made, read, replaced, deleted
{
    my $r = post('/labs', { id => 40, name => 'New', org_id => 3 });
    is($r->{status}, 201, 'made');
    is(http_header($r, 'Location'), '/api/v1/labs/40', 'and where');
    is(http_header($r, 'ETag'), '"1"', 'version 1');
    is(post('/labs', { id => 40, name => 'New', org_id => 3 })->{status}, 409,
        'an id is taken once');

    is(put('/labs/40', { name => 'A', org_id => 3 })->{status}, 428,
        'a change names what was read');
    $r = put('/labs/40', { name => 'A', org_id => 3,
        time_zone => 'Asia/Kolkata' }, '"1"');
    is($r->{status}, 200, 'changed');
    is(http_header($r, 'ETag'), '"2"', 'version 2');
    is(put('/labs/40', { name => 'B', org_id => 3 }, '"1"')->{status}, 412,
        'a stale version');
    is(put('/labs/40', { name => 'B', org_id => 3 }, 'W/"2"')->{status}, 412,
        'a weak one');
    is($api->get('/labs/40')->{json}{name}, 'A', 'changed nothing');
    is($api->call('DELETE', '/labs/40')->{status}, 428, 'delete the same');
    is($api->call('DELETE', '/labs/40', @any)->{status}, 204, 'deleted');
    is($api->get('/labs/40')->{status}, 404, 'gone');

    my @entries = grep { ref $_->{target} && $_->{target}{id} eq '40' }
        @{ $api->get('/audit')->{json}{data} };
    is_deeply([ map { $_->{action} } @entries ],
        [ 'lab.delete', 'lab.update', 'lab.create' ], 'each write is audited');
    is($entries[1]{detail}{before}{name}, 'New', 'with what was');
    is($entries[1]{detail}{after}{name}, 'A', 'and what came');
}

# every fault by its field
{
    my $r = post('/labs', { id => 0, name => '', org_id => 'x', foo => 1,
        time_zone => 'Mars; rm', retention_ok_days => 0 });
    is($r->{status}, 422, 'faults');
    is(pointers($r), '#/foo #/id #/name #/org_id #/retention_ok_days '
        . '#/time_zone', 'each by name');
    is(pointers(post('/labs', {})), '#/id #/name #/org_id', 'what is missing');
    is(pointers(post('/labs', { id => 41, name => 'x', org_id => 99 })),
        '#/org_id', 'an unknown org');
    is(pointers(post('/actions', { id => 901, name => 'x',
        action_category_id => 77 })), '#/action_category_id',
        'an unknown category');
    is(pointers(post('/developers', { name => 'x', org_id => 3,
        lab_ids => [ 21 ] })), '#/lab_ids', "another org's lab");
    is(pointers(post('/developers', { name => "a\x{1b}b", org_id => 3,
        lab_ids => [ 'x' ], flags => { a => [] }, enabled => 1 })),
        '#/enabled #/flags #/lab_ids #/name', 'types');
    is(pointers(post('/api-keys', { name => 'x', org_id => 3, role => 'root',
        expires_at => 'soon' })), '#/expires_at #/role', 'roles and times');

    for my $case ([ '{"name":"x","name":"y"}', 400 ], [ '[]', 400 ],
        [ '{', 400 ], [ '', 400 ], [ '[' x 100 . ']' x 100, 400 ],
        [ "{\"name\":\"\xff\"}", 400 ], [ '{"a":1e999}', 400 ])
    {
        my $body = $case->[0];
        is($api->call('POST', '/labs', body => $body, headers =>
            [ [ 'Content-Type', 'application/json' ] ])->{status}, $case->[1],
            'body ' . substr($body =~ s/[^ -~]/?/gr, 0, 30));
    }
    is($api->call('POST', '/labs', body => '{}', headers =>
        [ [ 'Content-Type', 'text/plain' ] ])->{status}, 415, 'another type');
}

# what is used stays
is($api->call('DELETE', '/orgs/3', @any)->{status}, 409, 'an org with labs');
is($api->call('DELETE', '/action-categories/1', @any)->{status}, 409,
    'a category with actions');

# developers and their keys
{
    my $r = post('/developers', { name => 'Partner', org_id => 3 });
    is($r->{status}, 201, 'a developer');
    my $key = $r->{json}{auth_key};
    ok($key, 'gets a key, shown once');
    my $got = $api->get("/developers/$r->{json}{id}");
    unlike($got->{body}, qr/auth_key|key_hmac/, 'and never again');
    is($got->{json}{key_hint}, substr($key, -4), 'but for its end');
    unlike(join('', map { to_json($_) } @{ $api->get('/audit')
        ->{json}{data} }), qr/\Q$key\E|key_hmac/, 'not in the audit log');

    is(pointers(post('/developers', { name => 'B', org_id => 4,
        auth_key => $key })), '#/auth_key', 'a key belongs to one');

    # the drain knows it within a second; a log of it proves that
    my $id;
    IDash::Wait::wait_for(sub {
        $id = $api->record(key => $key);
        $api->stored($api->{n});
        return ($api->get("/logs/$id")->{json}{developer_id} // '')
            eq $r->{json}{id};
    });
    is($api->get("/logs/$id")->{json}{org_id}, 3, 'calls with it are theirs');

    my $tag = http_header($got, 'ETag');
    my $changed = $api->call('PUT', "/developers/$r->{json}{id}", json =>
        { name => 'Partner', org_id => 3, enabled => JSON::PP::false() },
        headers => [ [ 'If-Match', $tag ] ]);
    is($changed->{json}{key_hint}, substr($key, -4), 'an update keeps the key');
}

# API keys
{
    my $r = post('/api-keys', { name => 'bot', org_id => 3, role => 'viewer',
        lab_ids => [ 11 ] });
    is($r->{status}, 201, 'a key');
    my $me = $api->get('/me', key => $r->{json}{key})->{json};
    is_deeply($me->{lab_ids}, [ 11 ], 'works at once');
    unlike($api->get('/api-keys')->{body}, qr/"hmac"|"key"/, 'never shown');
    is($api->call('PUT', "/api-keys/$r->{json}{id}", @any, json => {
        name => 'bot', org_id => 3, role => 'viewer', lab_ids => [ 12 ] })
        ->{status}, 200, 'changed');
    is_deeply($api->get('/me', key => $r->{json}{key})->{json}{lab_ids},
        [ 12 ], 'counts at once, the key stays');
    is($api->call('PUT', "/api-keys/$r->{json}{id}", @any, json => {
        name => 'bot', org_id => 4, role => 'viewer' })->{status}, 422,
        'its org is fixed');
}

# views: own and shared
{
    my $a = $api->key('viewer', 3);
    my $b = $api->key('viewer', 3);
    my $own = post('/views', { name => 'mine', query => 'status=FAIL' },
        key => $a)->{json}{id};
    my $shared = post('/views', { name => 'ours', query => '',
        shared => JSON::PP::true() }, key => $a)->{json}{id};
    is_deeply([ map { $_->{id} } @{ $api->get('/views', key => $b)
        ->{json}{data} } ], [ $shared ], 'others see what is shared');
    is($api->get("/views/$own", key => $b)->{status}, 404, 'and no more');
    is($api->call('DELETE', "/views/$shared", key => $b, @any)->{status}, 403,
        'and change nothing');
    is($api->call('DELETE', "/views/$shared", key => $a, @any)->{status}, 204,
        'the owner does');
}

# lists in pages
{
    my (@ids, $cursor);
    do {
        my $r = $api->get('/actions?limit=7' . ($cursor ? "&cursor=$cursor"
            : ''))->{json};
        push @ids, map { $_->{id} } @{ $r->{data} };
        $cursor = $r->{page}{next};
    } while ($cursor && @ids < 200);
    my %once = map { $_ => 1 } @ids;
    is(scalar @ids, scalar keys %once, 'each action once');
    ok(scalar @ids > 20 && $once{57}, 'all of them');
}

# dead letters
{
    $api->redis_of->call('XADD', 'idash:capture', '*', 'v', '99', 'x', 'y');
    my $dead;
    IDash::Wait::wait_for(sub {
        ($dead) = @{ $api->get('/dead-letters')->{json}{data} };
        return $dead;
    });
    ok($dead->{reason}, 'what cannot be stored is kept with its reason');
    my $before = $api->redis_of->call('XINFO', 'STREAM', 'idash:capture');
    is($api->call('POST', "/dead-letters/$dead->{id}/replay")->{status}, 202,
        'and goes back');
    is($api->call('POST', "/dead-letters/$dead->{id}/replay")->{status}, 404,
        'once');
    my $again;
    IDash::Wait::wait_for(sub {
        ($again) = @{ $api->get('/dead-letters')->{json}{data} };
        return $again;
    });
    isnt($again->{entry}, $dead->{entry}, 'it came again as a new entry');
    is($again->{bytes}, $dead->{bytes}, 'of the same bytes');
}

# not these
is($api->call('PATCH', '/labs/11')->{status}, 405, 'no PATCH');
is($api->get('/nope')->{status}, 404, 'no such path');
like($api->get('/metrics')->{body}, qr/^integrationd_store_up 1$/m, 'metrics');
is($api->get('/system')->{json}{store}{kind}, 'sqlite', 'system');

answers_fit_description();
done_testing();
