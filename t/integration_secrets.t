# Secrets that stand in headers, URLs and the proxy of an integration: sent as
# they are, shown as *** by everything else, kept sealed, and kept when *** comes
# back.

use strict;
use warnings;

use JSON::PP qw(encode_json);
use MIME::Base64 qw(encode_base64);
use Test::More;

use lib 't/lib';
use IDash;
use IDash::Wait;
use Outbound;

our $store;                                # the Mongo run sets it
my $peer = IDash::Peer->upstream;          # the endpoint, and a proxy to it
my $o = Outbound->new(store => $store, ports => [ $peer->port ],
    conf => { redact_headers => 'X-Partner-Token, X-Other',
        redact_args => 'sig', fusion_developer => 'dev-north',
        fusion_allow_http => 'yes' });
my $api = $o->api_of;
my $secrets = qr/hush\d/;
my $id;

# -- what goes out ------------------------------------------------------------

sub sent {
    my ($log) = $o->event;
    is($o->until_status($log, 'SUCCESS')->{status}, 'SUCCESS', 'delivered');
    return ($peer->seen)[-1];
}

sub has {
    my ($raw, $name) = @_;
    return [ map { s/\r//r } $raw =~ /^\Q$name\E: (.*)$/gm ];
}

sub show { return $api->get("/integrations/$id")->{json} }

# A write of what is shown, with some of it changed.
sub write_back {
    my (%f) = @_;
    my $now = show();
    delete @$now{qw(id version created_at updated_at disabled_reason
        signing_secrets)};
    my $r = $api->call('PUT', "/integrations/$id", json => { %$now, %f },
        headers => [ [ 'If-Match', '*' ] ]);
    Time::HiRes::sleep(1.2) if $r->{status} == 200;
    return $r;
}

sub is_written {
    my ($what, %f) = @_;
    my $r = write_back(%f);
    is($r->{status}, 200, $what) or diag $r->{body};
    unlike($r->{body}, $secrets, 'and its answer shows none');
    return;
}

my @headers = ([ 'X-Api-Key', 'hush1' ], [ 'X-Plain', 'seen' ],
    [ 'authorization', 'Key hush2' ], [ 'X-Partner-Token', 'hush3' ],
    [ 'X-Other', 'hush4' ], [ 'X-Other', 'hush5' ]);
my $made = $o->integration(headers => \@headers,
    url => $peer->url . '/hook?token=hush6&lang=de&sig=hush7',
    proxy => 'http://us:hush8@127.0.0.1:' . $peer->port);
$id = $made->{id};

my $raw = sent();
is_deeply(has($raw, 'X-Api-Key'), ['hush1'], 'a header');
is_deeply(has($raw, 'authorization'), ['Key hush2'], 'Authorization');
is_deeply(has($raw, 'X-Partner-Token'), ['hush3'], 'one of the configuration');
is_deeply(has($raw, 'X-Other'), [ 'hush4', 'hush5' ], 'twice the same');
is_deeply(has($raw, 'Proxy-Authorization'),
    [ 'Basic ' . encode_base64('us:hush8', '') ], 'the proxy\'s');
like($raw, qr{^POST http://\S+/hook\?token=hush6&lang=de&sig=hush7 }, 'the URL');

# -- what is shown -------------------------------------------------------------

my $now = show();
is_deeply([ map { "$_->[0]=$_->[1]" } @{ $now->{headers} } ],
    [ 'X-Api-Key=***', 'X-Plain=seen', 'authorization=***',
      'X-Partner-Token=***', 'X-Other=***', 'X-Other=***' ], 'headers');
is($now->{url}, $peer->url . '/hook?token=***&lang=de&sig=***', 'URL');
is($now->{proxy}, 'http://***@127.0.0.1:' . $peer->port, 'proxy');
ok(!exists $now->{sealed}, 'nothing sealed');

sub is_hidden {
    my ($when) = @_;

    my ($code, $export) = $o->d->command('export');
    is($code, 0, "export $when");
    my %shown = (
        list => $api->get('/integrations')->{body},
        one => $api->get("/integrations/$id")->{body},
        audit => $api->get('/audit?limit=500')->{body},
        export => $export,
        logs => $api->get('/logs?limit=100')->{body},
        'one log' => $api->get('/logs/' . $api->get('/logs?limit=1')->{json}
            {data}[0]{_id})->{body},
        'the log file' => $o->d->log_text,
    );
    for my $what (sort keys %shown) {
        like($shown{$what}, qr/\S/, "$what $when is there");
        unlike($shown{$what}, $secrets, 'and shows none');
    }
    return $export;
}

my $export = is_hidden('after a delivery');

SKIP: {
    skip 'not in files of ours', 1 if $store;
    my ($path) = $o->d->store =~ /^sqlite:(.*)/;
    unlike(join('', map { -e ? read_file($_) : '' } $path, "$path-wal"),
        $secrets, 'the store keeps none in plain');
}

# -- what is written back ------------------------------------------------------

is_written('what was shown');
is_deeply([ map { s/^webhook-\S+: .*?\r\n//gmr } sent() ],
    [ $raw =~ s/^webhook-\S+: .*?\r\n//gmr ], 'sends the same');

{
    my $file = IDash::Process::dir('import') . '/all.json';
    write_file($file, $export);
    my ($code, $out) = $o->d->command('import', $file);
    is($code, 0, 'import of the export') or diag $out;
    ($code, my $again) = $o->d->command('export');
    is($again, $export, 'not a byte');
}

is_written('another order, path and value',
    headers => [ [ 'X-OTHER', '***' ], [ 'X-Other', 'hush9' ],
        [ 'X-Api-Key', '***' ], [ 'X-Plain', '***' ] ],
    url => $peer->url . '/other?sig=***&x=1&api_key=hush0&token=***');
$raw = sent();
is_deeply([ map { @{ has($raw, $_) } } 'X-OTHER', 'X-Other' ],
    [ 'hush4', 'hush9' ], 'the first is kept, the second new');
is_deeply(has($raw, 'X-Api-Key'), ['hush1'], 'another place');
is_deeply(has($raw, 'authorization'), [], 'left out is gone');
is_deeply(has($raw, 'X-Plain'), ['***'], 'no secret: three stars');
like($raw, qr{/other\?sig=hush7&x=1&api_key=hush0&token=hush6 }, 'found by name');
is_hidden('after changes');

my @refused = (
    [ 'a header', 'headers/0', headers => [ [ 'Cookie', '***' ] ] ],
    [ 'one more of it', 'headers/3', headers => [ [ 'X-Other', '***' ],
        [ 'X-Other', '***' ], [ 'X-Api-Key', '***' ], [ 'X-Other', '***' ] ] ],
    [ 'an argument', 'url', url => $peer->url . '/o?password=***' ],
    [ 'a user', 'token_url', token_url =>
        'https://h.example/t?access_token=***' ],
);
for my $case (@refused) {
    my ($what, $field, @f) = @$case;
    my $r = write_back(@f);
    is($r->{status}, 422, "$what that is not stored");
    is($r->{json}{errors}[0]{pointer}, "#/$field", 'by name');
    like($r->{json}{errors}[0]{detail}, qr/write the secret itself/, 'advice');
}

my $r = write_back(sealed => { url => 'idash1:x' });
is($r->{status}, 422, 'nobody writes what is sealed');

is_written('no secret any more', headers => [], proxy => '',
    url => $peer->url . '/plain');
like(sent(), qr{^POST /plain }, 'and is sent so');

# -- an address of its own ----------------------------------------------------

$r = $o->d->call('POST', '/queue/', body => encode_json([ { task => 4,
    task_type => 1, data => { url => $peer->url . '/own?token=hush6',
    payload => { a => 1 } } } ]),
    headers => [ [ 'Content-Type', 'application/json' ] ]);
my $job = $r->{json}{job_ids}[0];
is($o->until_status($job, 'SUCCESS')->{status}, 'SUCCESS', 'a job of Fusion');
like(($peer->seen)[-1], qr{^POST /own\?token=hush6 }, 'with its argument');
is($o->log_of($job)->{url}, $peer->url . '/own?token=***', 'which is hidden');
is_hidden('at last');

done_testing();
