# GET /logs: filters, pages both ways, one log, bodies, exports, counts.

use strict;
use warnings;

use lib 't/lib';
use ApiTest;
use IDash;
use Test::More;

my $api = api();
my @ids = map {
    $api->record(
        $_ % 5 == 0 ? (status => 503, response_body => "\xff\x00") : (),
        $_ % 7 == 0 ? (uri => '/needle', 'ref.lab_id' => 12) : ())
} 1 .. 25;
my $south = $api->record(key => 'south-key-0123456789', 'ref.lab_id' => 21);
my $nobody = $api->record(key => 'unknown', 'ref.lab_id' => undef);
$api->stored(27);

sub ids {
    my ($query, %opt) = @_;
    my $r = $api->get("/logs?$query", %opt);
    return $r->{json} && $r->{json}{data}
        ? map { $_->{_id} } @{ $r->{json}{data} } : "status $r->{status}";
}

my @all = (reverse(@ids));
my $north = $api->key('operator', 3);

is_deeply([ ids('limit=200', key => $north) ], \@all, 'newest first');
is_deeply([ ids('limit=200&sort=time', key => $north) ], \@ids, 'oldest first');
is_deeply([ ids('org_id=none') ], [ $nobody ], 'an unknown key has no org');
is_deeply([ ids('flag=unknown_key') ], [ $nobody ], 'and is flagged');
is(scalar ids('limit=200'), 27, 'the platform sees all');

# filters
my @fail = grep { /./ } map { $ids[$_ - 1] } 25, 20, 15, 10, 5;
is_deeply([ ids('status=FAIL') ], \@fail, 'status');
is_deeply([ ids('http=5xx') ], \@fail, 'class of status');
is_deeply([ ids('http=503&http=404') ], \@fail, 'or');
is_deeply([ ids('http=5xx&status=SUCCESS') ], [], 'and');
is_deeply([ ids('status=!SUCCESS') ], \@fail, 'not');
is_deeply([ ids('ref[bill_id]=B-3') ], [ $ids[2] ], 'reference');
is_deeply([ ids('q=NEEDLE') ], [ map { $ids[$_ - 1] } 21, 14, 7 ], 'text');
is_deeply([ ids('lab_id=12') ], [ map { $ids[$_ - 1] } 21, 14, 7 ], 'lab');
is_deeply([ ids('id=' . $ids[3]) ], [ $ids[3] ], 'id');
is_deeply([ ids('from=2026-09-21T14:13:24Z&to=2026-09-21T14:13:26.000Z'
    . '&org_id=3') ], [ @ids[4, 3] ], 'half-open range')
    or diag explain [ map { $_->{timing}{started_at} }
        @{ $api->get('/logs?limit=30')->{json}{data} } ];
is_deeply([ ids('duration_ms[gt]=12&duration_ms[lt]=13&limit=1',
    key => $north) ], [ $all[0] ], 'duration');

# pages
{
    my (@forward, @back, $cursor, $prev);
    do {
        my $r = $api->get('/logs?limit=4&org_id=3'
            . ($cursor ? "&cursor=$cursor" : ''));
        push @forward, map { $_->{_id} } @{ $r->{json}{data} };
        $cursor = $r->{json}{page}{next};
        $prev = $r->{json}{page}{prev};
        like(http_header($r, 'Link') // '', qr/rel="/, 'Link') if $cursor;
    } while ($cursor && @forward < 100);
    is_deeply(\@forward, \@all, 'pages forward lose nothing');

    while ($prev && @back < 100) {
        my $r = $api->get("/logs?limit=4&org_id=3&cursor=$prev");
        unshift @back, map { $_->{_id} } @{ $r->{json}{data} };
        $prev = $r->{json}{page}{prev};
    }
    is_deeply(\@back, [ @all[0 .. 23] ], 'pages back give what lay before');

    my $first = $api->get('/logs?limit=2&org_id=3')->{json};
    $api->record(us => 1_790_000_900_000_000);
    $api->stored(28);
    is_deeply([ ids("limit=2&org_id=3&cursor=$first->{page}{next}") ],
        [ @all[2, 3] ], 'a new row shifts no page');
    push @ids, 'new';

    my $r = $api->get("/logs?limit=2&org_id=4&cursor=$first->{page}{next}");
    is($r->{status}, 400, 'a cursor of another filter');
    is($r->{json}{errors}[0]{code}, 'cursor-filter-mismatch', 'says so');
    my $forged = $first->{page}{next};
    substr($forged, 20, 1) = substr($forged, 20, 1) eq 'A' ? 'B' : 'A';
    is($api->get("/logs?limit=2&org_id=3&cursor=$forged")->{status}, 400,
        'a forged cursor');
    is($api->get("/logs?limit=2&org_id=3&cursor=$first->{page}{next}",
        key => $north)->{status}, 400, 'a cursor of another tenant');
}

# bad parameters name themselves
for my $case ([ 'foo=1', 'foo' ], [ 'status=x', 'status' ],
    [ 'limit=0', 'limit' ], [ 'limit=201', 'limit' ], [ 'limit=1&limit=2',
    'limit' ], [ 'from=now', 'from' ], [ 'q=%zz', 'q' ], [ 'http=99x', 'http' ],
    [ 'sort=name', 'sort' ], [ 'ref[]=1', 'ref[]' ], [ 'q=%00', 'q' ],
    [ 'cursor=%ff', 'cursor' ], [ 'count=all', 'count' ],
    [ 'from=2026-02-30T00:00:00Z', 'from' ])
{
    my $r = $api->get("/logs?$case->[0]");
    is($r->{status}, 400, "$case->[0] is refused");
    is($r->{json}{errors}[0]{parameter}, $case->[1], '  by name');
}

# counts and conditional requests
is_deeply($api->get('/logs?count=capped&status=FAIL')->{json}{count},
    { value => 5, relation => 'eq' }, 'count');
{
    my $r = $api->get('/logs?status=FAIL');
    my $again = $api->get('/logs?status=FAIL',
        headers => [ [ 'If-None-Match', http_header($r, 'ETag') ] ]);
    is($again->{status}, 304, 'an unchanged list is 304');
    is(http_header($r, 'Cache-Control'), 'no-store', 'never kept by caches');
}

# one log
{
    my $log = $api->get("/logs/$ids[0]")->{json};
    is_deeply($log->{request}{headers},
        [ [ 'Host', 'lims' ], [ 'Accept', '*/*' ], [ 'Accept', 'a/b' ] ],
        'headers are pairs, repeated ones too');
    is_deeply($log->{request}{query}, [ [ 'lab', '11' ], [ 'x', 'A' ] ],
        'so is the query, decoded');
    is($log->{request}{encoding}, 'json', 'JSON is shown as JSON');
    like($api->get("/logs/$ids[0]")->{body}, qr/"body":\{"a":1\.0\}/,
        'digit for digit');
    is($log->{response}{body}, 'ok', 'text as text');
    is($log->{timing}{duration_ms}, 12.4, 'duration');
    is($log->{endpoint}, 'POST /patients', 'endpoint');
    is($log->{developer_id}, 'dev-north', 'developer');
    is($log->{action_category_id}, 4, 'category');
    is($log->{refs}{bill_id}, 'B-1', 'reference');

    my $odd = $api->get("/logs/$ids[4]")->{json};
    is($odd->{response}{encoding}, 'base64', 'bytes as base64');
    is($odd->{response}{body}, '/wA=', 'all of them');
    is($api->get("/logs/$ids[4]/body/response")->{body}, "\xff\x00", 'raw');
    my $raw = $api->get("/logs/$ids[0]/body/request");
    like(http_header($raw, 'Content-Disposition'), qr/^attachment/, 'attached');
    is(http_header($raw, 'Content-Security-Policy'), 'sandbox', 'sandboxed');

    is_deeply($api->get("/logs/$ids[0]/attempts")->{json}, { data => [] },
        'inbound calls have no attempts');
    is($api->get("/logs/$_")->{status}, 404, "no log $_")
        for 'x', '01990000-0000-7000-8000-000000000000', '%00', '..';
}

# masked
{
    my $viewer = $api->key('viewer', 3);
    my $log = $api->get("/logs/$ids[0]", key => $viewer)->{json};
    is($log->{request}{body}, undef, 'a viewer sees no body');
    ok($log->{request}{masked}, 'and sees that it is masked');
    is($api->get("/logs/$ids[0]/body/request", key => $viewer)->{status}, 403,
        'nor downloads it');
    my $may = $api->key('viewer', 3, '--unmask');
    is_deeply($api->get("/logs/$ids[0]", key => $may)->{json}{request}{body},
        { a => 1 }, 'with the right he does');
    my ($entry) = grep { ref $_->{target} && $_->{target}{id} eq $ids[0]
        && $_->{actor}{role} eq 'viewer' }
        @{ $api->get('/audit')->{json}{data} };
    is($entry->{action}, 'log.view', 'which is audited');
}

# exports
{
    my $csv = $api->get('/logs?format=csv&org_id=3&sort=time');
    my @lines = split /\r\n/, $csv->{body};
    is(scalar @lines, 27, 'CSV has a head and every row');
    like($lines[1], qr/^$ids[0],/, 'in order');
    ok($csv->{complete}, 'complete');
    my $nd = $api->get('/logs?format=ndjson&status=FAIL');
    is(scalar(split /\n/, $nd->{body}), 5, 'NDJSON has the filter');
    my ($entry) = grep { $_->{action} eq 'logs.export' }
        @{ $api->get('/audit')->{json}{data} };
    ok($entry, 'exports are audited');

    $api->record(us => 1_790_000_950_000_000, 'ref.bill_id' => '=1+1');
    $api->stored(29);
    like($api->get('/logs?format=csv&ref[bill_id]=%3D1%2B1')->{body},
        qr/"'=1\+1"/, 'a formula is defused');
}

# sums
{
    my $range = 'from=2026-09-21T14:00:00Z&to=2026-09-21T15:00:00Z&org_id=3';
    my $s = $api->get("/summary?$range")->{json};
    is_deeply([ @{ $s->{total} }{qw/ok fail/} ], [ 22, 5 ], 'summary')
        or diag explain $s;
    ok($s->{total}{latency_ms}{p50} > 10 && $s->{total}{latency_ms}{p50} < 15,
        'p50 is near');
    my $f = $api->get("/summary?$range&http=5xx")->{json};
    is_deeply([ @{ $f->{total} }{qw/ok fail/} ], [ 0, 5 ],
        'documents are counted where buckets cannot');
    my $g = $api->get("/summary?$range&group_by=error")->{json}{data};
    is(scalar @$g, 1, 'errors are grouped');
    is($g->[0]{count}, 5, 'and counted');
    is(scalar ids("error=$g->[0]{fingerprint}"), 5, 'a group leads to its logs');

    my $h = $api->get('/heatmap?from=2026-09-21T14:00:00Z'
        . '&to=2026-09-21T15:00:00Z&by=lab')->{json};
    is($h->{bucket_s}, 300, 'an hour in slots of 5 minutes');
    my %by = map { $_->{key} // 'none' => $_ } @{ $h->{rows} };
    is($by{12}{ok} + $by{12}{fail}, 3, 'lab 12');
    is($by{21}{ok}, 1, 'lab 21');
    my $sum = 0;
    $sum += $_->[0] + $_->[1] for @{ $by{12}{cells} };
    is($sum, 3, 'cells add up to the row');
    $h = $api->get('/heatmap?from=2026-09-21T14:00:00Z'
        . '&to=2026-09-21T15:00:00Z&by=lab&limit=1&status=FAIL&q=x')->{json};
    is(scalar @{ $h->{rows} }, 2, 'one row and the others');
    ok($h->{rows}[1]{other}, 'which say so');
    is_deeply($h->{ignored_filters}, [ 'status', 'q' ], 'ignored are named');
}

answers_fit_description();
done_testing();
