# import and export of the catalogue: round trip, what a fault says, secrets that
# stay, the audit log, the same file twice.

use strict;
use warnings;

use Test::More;

use lib 't/lib';
use IDash;

our $store;                                # catalog_mongo.t sets it

my $redis = redis();
my $d = IDash::Sidecar->prepare(redis => $redis, store => $store);
my $dir = $d->dir;
my $hook = '0197a000-0000-7000-8000-000000000001';
my $mllp = '0197a000-0000-7000-8000-000000000002';
my ($status, $out);

my $pem = "-----BEGIN CERTIFICATE-----\n" . 'A' x 200_000 . "\n";
my %catalog = (
    orgs => [ { id => 3, name => 'North' }, { id => 4, name => 'South' } ],
    labs => [ { id => 11, name => 'One', org_id => 3, time_zone => 'UTC' },
        { id => 21, name => 'Far', org_id => 4 } ],
    action_categories => [ { id => 90, name => 'Own' } ],
    actions => [ { id => 901, name => 'Own event', action_category_id => 90 } ],
    developers => [
        { id => 'north', name => 'N', org_id => 3, lab_ids => [ 11 ],
            key => 'north-key-0123456789',
            replay_credentials => { headers => [ [ 'X-Key', 'replay-secret-1' ] ] } },
    ],
    integrations => [
        { id => $hook, name => 'Orders', org_id => 3, lab_id => 11,
            action_id => 901, developer_id => 'north',
            url => 'https://partner.example/in', auth => 'bearer',
            auth_secret => 'bearer-secret-1', transform => '{a: .payload}',
            ca_cert => $pem, headers => [ [ 'X-Plain', 'x' ] ] },
        { id => $mllp, name => 'Mirth', org_id => 3, lab_id => 11,
            action_id => 901, transport => 'mllp', host => 'mirth.example',
            port => 6661, enabled => JSON::PP::false() },
    ],
);
my $secrets = qr/north-key|replay-secret|bearer-secret|whsec_|idash1:|key_hmac|sealed/;

sub json_file {
    my ($name, $v) = @_;
    write_file("$dir/$name", ref $v ? to_json($v) : $v);
    return "$dir/$name";
}
sub import_file {
    my ($v, @more) = @_;
    ($status, $out) = $d->command('import', @more,
        ref $v ? json_file('file.json', $v) : $v);
    return $out;
}
sub export_all {
    my ($code, $text) = $d->command('export');
    is($code, 0, 'export') or diag $text;
    return $text;
}
# a deep copy, to be made wrong
sub changed {
    my ($edit) = @_;
    my $copy = from_json(to_json(\%catalog));
    $edit->($copy);
    return $copy;
}

# -- the first time, tried before -------------------------------------------

($status, $out) = $d->command('migrate');
is($status, 0, 'migrate') or diag $out;
my $seeded = export_all();

import_file(\%catalog, '--dry-run');
is($status, 0, 'a dry run') or diag $out;
like($out, qr/^would create integration $hook$/m, 'says what it would make');
like($out, qr/^9 items would be written, 0 are as they were$/m, 'and how many');
is(export_all(), $seeded, 'and makes nothing');

import_file(\%catalog);
is($status, 0, 'import') or diag $out;
like($out, qr/^create integration $hook  signing_secret whsec_\S+$/m,
    'a signing secret is made and shown once');
my ($signing) = $out =~ /(whsec_\S+)/;
like($out, qr/^9 items written, 0 are as they were$/m, 'all');

import_file(\%catalog);
is($out, "0 items written, 9 are as they were\n",
    'the same file again changes nothing, secrets included');

# -- out and in -------------------------------------------------------------

my $text = export_all();
unlike($text, $secrets, 'export shows no secret');
my $all = from_json($text);
is_deeply([ sort keys %$all ], [ sort keys %catalog ], 'every part is there');
my ($orders) = grep { $_->{id} eq $hook } @{ $all->{integrations} };
is($orders->{url}, 'https://partner.example/in', 'an integration');
ok($orders->{auth_secret}{set}, 'a secret only says that it is set');

import_file(json_file('all.json', $text));
is($status, 0, 'what was exported goes in') or diag $out;
like($out, qr/^0 items written, \d+ are as they were$/, 'and changes nothing');
is(export_all(), $text, 'not a byte');

($_->{name}, $_->{timeout_ms}) = ('Orders 2', 9000)
    for grep { $_->{id} eq $hook } @{ $all->{integrations} };
$_->{name} = 'N 2' for @{ $all->{developers} };
import_file($all, '--dry-run');
like($out, qr/^would update integration $hook: (name, timeout_ms|timeout_ms, name)$/m,
    'an update says which members');
import_file($all);
like($out, qr/^2 items written/m, 'only what differs is written') or diag $out;
import_file($all);
like($out, qr/^0 items written/, 'once');

# the secrets of before are still the ones that count
$d->run;
my $key = $d->key;
my $got = $d->get("/api/v1/integrations/$hook", key => $key)->{json};
is($got->{name}, 'Orders 2', 'the API has it');
is(scalar @{ $got->{signing_secrets} }, 1, 'its signing secret stayed');
import_file(changed(sub { $_[0]{integrations}[0]{name} = 'Orders 2';
    $_[0]{integrations}[0]{timeout_ms} = 9000;
    $_[0]{developers}[0]{name} = 'N 2' }));
like($out, qr/^0 items written/, 'the secrets of the first file are in place');

# -- faults: file, item, field ---------------------------------------------

for my $case (
    [ 'a name is missing', sub { delete $_[0]{labs}[1]{name} },
        '/labs/1/name: must be given' ],
    [ 'an unknown member', sub { $_[0]{orgs}[0]{colour} = 1 },
        '/orgs/0/colour: there is no such member' ],
    [ 'an id twice', sub { $_[0]{orgs}[1]{id} = 3 },
        '/orgs/1/id: stands there twice' ],
    [ 'no id', sub { delete $_[0]{actions}[0]{id} },
        '/actions/0/id: must be a whole number' ],
    [ 'an id that is no UUID', sub { $_[0]{integrations}[0]{id} = 'x' },
        '/integrations/0/id: must be a UUID' ],
    [ 'an item that is none', sub { $_[0]{labs}[1] = 'x' },
        '/labs/1: must be an object' ],
    [ 'a reference', sub { $_[0]{actions}[0]{action_category_id} = 77 },
        '/actions/0/action_category_id: there is no action_category 77' ],
    [ "another org's lab", sub { $_[0]{developers}[0]{lab_ids} = [ 21 ] },
        "/developers/0/lab_ids: lab 21 is another org's" ],
    [ 'a url', sub { $_[0]{integrations}[0]{url} = 'http://x.example/' },
        '/integrations/0/url: ' ],
    [ 'a program', sub { $_[0]{integrations}[0]{transform} = '{' },
        '/integrations/0/transform: ' ],
    [ 'a developer that there is not',
        sub { $_[0]{integrations}[1]{developer_id} = 'nobody' },
        '/integrations/1/developer_id: there is no developer nobody' ],
    [ 'a key that is taken',
        sub { push @{ $_[0]{developers} }, { id => 'two', name => '2',
            org_id => 3, key => 'north-key-0123456789' } },
        "/developers/1/key: is another developer's key" ],
    [ 'a key that is short', sub { $_[0]{developers}[0]{key} = 'short' },
        '/developers/0/auth_key: must be 16 to 512 bytes' ],
    [ 'a secret that no store has', sub {
        $_[0]{integrations}[0]{id} =~ s/1$/9/;
        $_[0]{integrations}[0]{auth_secret} = { set => JSON::PP::true() } },
        '/integrations/0/auth_secret: is required when auth is bearer' ])
{
    my ($name, $edit, $want) = @$case;
    my $file = changed($edit);
    $file->{orgs}[2] = { id => 5, name => 'must not appear' };
    import_file($file);
    is($status, 2, $name);
    like($out, qr/^integrationd: import: \Q$dir\E\/file\.json: \Q$want\E/m,
        'file, item, field') or diag $out;
    like($out, qr/nothing was written$/, 'and nothing was written');
}
unlike(export_all(), qr/must not appear/, 'indeed');

import_file(json_file('bad.json', '{ "orgs": [ }'));
like($out, qr/bad\.json: line 1, column \d+: /, 'JSON that is none');
import_file({ widgets => [] });
like($out, qr/file\.json: \/widgets: must be an array called orgs/,
    'an unknown part');

# -- audit ------------------------------------------------------------------

my @entries = map { @{ $_->{json}{data} } }
    $d->get('/api/v1/audit?limit=200', key => $key);
my %count;
$count{"$_->{action} $_->{target}{id}"}++ for @entries;
is($count{"integration.create $hook"}, 1, 'a create is audited once');
is($count{"integration.update $hook"}, 1, 'an update too');
is($count{'developer.update north'}, 1, 'and of a developer');
is(scalar(grep { $_->{action} =~ /^(org|lab|action|action_category|developer|integration)\./ }
    @entries), 11, 'what changed nothing has no entry');
my ($update) = grep { $_->{action} eq 'integration.update' } @entries;
is($update->{actor}{key_id}, 'cli', 'who');
is($update->{ip}, 'local', 'whence');
is($update->{outcome}, 'allowed', 'how it ended');
is($update->{detail}{before}{name}, 'Orders', 'what was');
is($update->{detail}{after}{name}, 'Orders 2', 'what came');
is($update->{detail}{after}{ca_cert}{bytes}, length $pem,
    'a long text stands as its length');
unlike(to_json(\@entries), qr/$secrets|AAAAAAAA/, 'no secret stands in it');
is($d->stop, 0, 'stops');

# a 410's reason stays while it is off
if (!$store) {
    my ($file) = $d->store =~ /^sqlite:(.*)/;
    system 'sqlite3', $file, "UPDATE lab_integration SET body = CAST("
        . "json_set(CAST(body AS TEXT), '\$.enabled', json('false'),"
        . " '\$.disabled_reason', 'gone') AS BLOB) WHERE id = CAST('$hook' AS BLOB)";
    my $gone = export_all();
    like($gone, qr/"disabled_reason": "gone"/, 'one that a 410 disabled');
    import_file(json_file('gone.json', $gone));
    like($out, qr/^0 items written/, 'keeps its reason') or diag $out;
}

done_testing();
