# From the capture stream into the store: order, tenants, restarts, trimming.

use strict;
use warnings;

use Test::More;

use Digest::SHA 'sha256_hex';
use IO::Handle;

use lib 't/lib';
use IDash;
use IDash::Record;

my $redis = redis(aof => 1);
my $d = sidecar(redis => $redis);
my $key = $d->key;

# catalogue: two orgs, a partner of each, one bound to a single lab
write_file($d->dir . '/catalog.json', <<'JSON');
{ "orgs": [ { "id": 3, "name": "north" }, { "id": 4, "name": "south" } ],
  "labs": [ { "id": 12, "name": "a", "org_id": 3, "retention_ok_days": 1 },
            { "id": 13, "name": "b", "org_id": 3 },
            { "id": 20, "name": "c", "org_id": 4 } ],
  "developers": [
    { "id": "dev-all", "name": "all", "org_id": 3, "lab_ids": null,
      "key": "key-of-all-labs-1", "enabled": true },
    { "id": "dev-one", "name": "one", "org_id": 3, "lab_ids": [12],
      "key": "key-of-one-lab-01", "enabled": true } ] }
JSON

my ($status, $out) = $d->command('import', $d->dir . '/catalog.json');
is($status, 0, 'import') or diag $out;
like($out, qr/^7 items written/m, 'counts its items');

($status, $out) = $d->command('export');
unlike($out, qr/key-of/, 'export shows no key');
like($out, qr/"key_hint": "ab-01"|"key_hint": "b-01"/, 'but its end');

my %all = (key_sha256 => sha256_hex('key-of-all-labs-1'));
my %one = (key_sha256 => sha256_hex('key-of-one-lab-01'));

# the running process hears of the new catalogue within a second
my $id;
wait_for(sub {
    $id = add_record($redis, %one);
    my $r = log_of($id);
    return $r->{developer_id};
}) or diag $d->tail;

my @cases = (
    [ 'lab of the org', { %all, 'ref.lab_id' => 13 },
        { org_id => 3, lab_id => 13, flags => [], developer_id => 'dev-all' } ],
    [ 'lab of another org', { %all, 'ref.lab_id' => 20 },
        { org_id => 3, lab_id => undef, flags => ['lab_mismatch'] } ],
    [ 'lab that there is not', { %all, 'ref.lab_id' => 99 },
        { org_id => 3, lab_id => undef, flags => ['lab_mismatch'] } ],
    [ 'lab that is no number', { %all, 'ref.lab_id' => 'x' },
        { org_id => 3, lab_id => undef, flags => ['lab_mismatch'] } ],
    [ 'lab not in the list', { %one, 'ref.lab_id' => 13 },
        { org_id => 3, lab_id => undef, flags => ['lab_mismatch'] } ],
    [ 'no claim, one lab', { %one },
        { org_id => 3, lab_id => 12, flags => [] } ],
    [ 'no claim, all labs', { %all },
        { org_id => 3, lab_id => undef, flags => [] } ],
    [ 'unknown key', { key_sha256 => sha256_hex('?'), 'ref.lab_id' => 12 },
        { org_id => undef, lab_id => undef, flags => ['unknown_key'] } ],
    [ 'no key', {},
        { org_id => undef, lab_id => undef, developer_id => undef } ],
    [ 'action', { action => 57 },
        { action_id => 57, action_category_id => 4 } ],
    [ 'unknown action', { action => 5700 },
        { action_id => 5700, action_category_id => undef } ],
    [ 'failed', { status => 404 }, { status => 'FAIL' } ],
    [ 'cut', { status => 200, complete => 0 }, { status => 'FAIL' } ],
    [ 'label', { method => 'POST', route => '/api' },
        { status => 'SUCCESS', endpoint => 'POST /api' } ],
);

$_->[3] = add_record($redis, %{ $_->[1] }) for @cases;

for my $case (@cases) {
    my ($name, undef, $want, $cid) = @$case;
    my $log = log_of($cid);

    my %got = map { $_ => $log->{$_} } keys %$want;
    is_deeply(\%got, $want, $name);
}

my $kept = log_of($cases[5][3]);
my $default = log_of($cases[6][3]);
is(substr($kept->{expires_at}, 11), substr($kept->{timing}{started_at}, 11),
    'retention is whole days');
cmp_ok($kept->{expires_at}, 'lt', $default->{expires_at},
    'the lab\'s own retention');

# bytes come back as they were
my $body = join '', map { chr } 0 .. 255;
$id = add_record($redis, response_body => $body,
    request_headers => "X-A: \xe9\r\nX-A: 2\r\n", request_body => '{"a":1}');
log_of($id);
my $r = $d->get("/api/v1/logs/$id/body/response", key => $key);
is($r->{body}, $body, 'a binary body byte for byte')
    or diag "$r->{status} " . length $r->{body};

# a record twice is one log
my @record = record(id => record_id());
$redis->call('XADD', 'idash:capture', '*', @record) for 1 .. 3;
log_of({ @record }->{id});
my @same = grep { $_->{_id} eq { @record }->{id} } $d->logs($key);
is(scalar @same, 1, 'sent three times, stored once');

# nor is one that an older version stored, with half a SHA-256 for a digest
my $half = substr sha256_hex(join '', map { pack('Q<', length) . $_ } @record),
    0, 32;
my $uid = { @record }->{id} =~ tr/-//dr;
my ($file) = $d->store =~ /^sqlite:(.*)/;
my ($met, $dead) = map { $d->counter($_) } qw(drain_same drain_dead);
my $set = `sqlite3 -cmd '.timeout 5000' '$file' "UPDATE detail SET data=
    CAST(x'$half'||substr(data,17) AS BLOB) WHERE id=(SELECT id FROM
    integration_directory WHERE uid=x'$uid'); SELECT changes()"`;
is($set, "1\n", 'the digest is an old one');
$redis->call('XADD', 'idash:capture', '*', @record);
wait_for(sub { $d->counter('drain_same') > $met
    || $d->counter('drain_dead') > $dead });
is($d->counter('drain_same'), $met + 1, 'which is the same log');
is($d->counter('drain_dead'), $dead, 'and no dead letter');

# what is acknowledged goes; what another group needs stays
wait_for(sub { $redis->call('XLEN', 'idash:capture') == 0 });
is($redis->call('XLEN', 'idash:capture'), 0, 'the stream is trimmed');

$redis->call('XGROUP', 'CREATE', 'idash:capture', 'other', '$');
my @ids = map { add_record($redis) } 1 .. 5;
log_of($ids[-1]);
select undef, undef, undef, 0.6;
is($redis->call('XLEN', 'idash:capture'), 5, 'another group holds entries');
my $read = $redis->call('XREADGROUP', 'GROUP', 'other', 'c', 'COUNT', 3,
    'STREAMS', 'idash:capture', '>');
my @entry = map { $_->[0] } @{ $read->[0][1] };
$redis->call('XACK', 'idash:capture', 'other', @entry[1, 2]);
add_record($redis);
select undef, undef, undef, 1.5;
is($redis->call('XLEN', 'idash:capture'), 6,
    'its lowest pending entry holds them');
$redis->call('XACK', 'idash:capture', 'other', $entry[0]);
wait_for(sub { $redis->call('XLEN', 'idash:capture') == 3 });
is($redis->call('XLEN', 'idash:capture'), 3, 'until it is acknowledged');
$redis->call('XGROUP', 'DESTROY', 'idash:capture', 'other');

# killed with entries pending: the same name takes them up at once
my $before = count_logs();
$d->freeze;
@ids = map { add_record($redis) } 1 .. 300;
$d->thaw;
select undef, undef, undef, 0.02;
$d->kill9;
my @more = map { add_record($redis) } 1 .. 100;
$d->run;
wait_for(sub { count_logs() == $before + 400 });
is(count_logs(), $before + 400, 'kill -9: nothing lost, nothing twice');
is($redis->call('XPENDING', 'idash:capture', 'integrationd')->[0], 0,
    'nothing pending');

# a clean stop leaves nothing behind, and a second sidecar is another consumer
my $peer = sidecar(redis => $redis, beside => $d,
    conf => { secret_file => $d->dir . '/dash.db.secret' });
@ids = map { add_record($redis) } 1 .. 200;
wait_for(sub { count_logs() == $before + 600 });
is(count_logs(), $before + 600, 'two share the stream');
is($peer->stop, 0, 'one stops well');
is($d->stop, 0, 'the other too');
my $groups = $redis->call('XINFO', 'CONSUMERS', 'idash:capture',
    'integrationd');
is(scalar @$groups, 2 * 3, 'two processes of three threads, names kept');
unlike($d->log_text . $peer->log_text, qr/ALERT|\[error\]/, 'no errors');

done_testing();

sub log_of {
    my ($cid) = @_;
    my $res;

    wait_for(sub {
        $res = $d->get("/api/v1/logs/$cid", key => $key);
        return $res->{status} == 200;
    }) or diag "no log $cid: $res->{status} $res->{body}";
    return $res->{json}{data} || $res->{json};
}

sub count_logs { return scalar $d->logs($key) }
