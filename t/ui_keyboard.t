# Nothing but the keyboard, on the real stack: a success sent again, failed
# deliveries retried as a batch, a failed call of a partner edited and replayed.

use strict;
use warnings;

use lib 't/lib';
use IDash;
use IDash::Wait;
use IDash::Web;
use Test::More;

IDash::Web::needed();

# -- a receiver that is broken until it is told to be well ---------------------

my $well = IDash::Process::dir('switch') . '/well';
my $partner = upstream(sub {
    return { status => -e $well ? 200 : 503, body => '{"seen":true}' };
});
my $good = upstream(sub { return { body => '{"ok":true}' } });

# -- and nginx with the module before an API that wants "ok" -------------------

my $redis = redis();
my $lims = upstream(sub {
    my ($req) = @_;
    my $ok = $req->{body} =~ /"ok"/;
    return { status => $ok ? 201 : 422, body => $ok ? '{"id":7}' : '{"error":"name"}',
        headers => [ [ 'Content-Type', 'application/json' ] ] };
});
my $front = nginx(redis => $redis, location => 'capture on; capture_action 57;'
    . ' capture_key $http_x_api_key; capture_ref lab_id $arg_lab;'
    . ' capture_route /patients; proxy_pass ' . $lims->url . ';');

my $web = IDash::Web->start(redis => $redis, conf => {
    replay_base_url => 'http://127.0.0.1:' . $front->port,
    outbound_allow => '127.0.0.0/8',
    outbound_ports => join(',', map { $_->port } $good, $partner) });
my $api = $web->api;

for my $i ([ 'orders', $good, 1 ], [ 'partner', $partner, 3 ]) {
    my $r = $api->call('POST', '/integrations', json => { name => $i->[0],
        org_id => 3, lab_id => 11, action_id => $i->[2],
        url => $i->[1]->url . '/hook', allow_http => \1, is_auto_retry => \0 });
    is($r->{status}, 201, "integration $i->[0]") or diag $r->{body};
}

# the table of routes follows the configuration
wait_for(sub {
    my $r = $api->call('POST', '/events', json => { action_id => 1, lab_id => 11,
        refs => { bill_id => 'E-1' }, payload => { total => 10 } });
    return @{ $r->{json}{log_ids} || [] };
}) or die "no route\n";
$api->call('POST', '/events', json => { action_id => 3, lab_id => 11,
    refs => { bill_id => "P-$_" }, payload => { total => $_ } }) for 1 .. 6;

is($front->post('/api/patients?lab=11&x=%41&token=hidden', '{"name":"bad","n":1.0,"id":9007199254740993}',
    headers => [ [ 'Content-Type', 'application/json' ],
        [ 'X-Api-Key', 'north-key-0123456789' ] ])->{status}, 422,
    'a call of a partner fails');
for my $what ([ 'kind=webhook&status=FAIL', 6 ], [ 'kind=webhook&status=SUCCESS', 1 ],
    [ 'kind=api&http=422', 1 ])
{
    wait_for(sub { @{ $api->get("/logs?$what->[0]")->{json}{data} } >= $what->[1] })
        or die "no logs of $what->[0]\n";
}

$web->drive('keyboard', IDASH_WELL => $well);

my @seen = $partner->seen;
is(scalar @seen, 12, 'the six failed deliveries were sent once more each');
my $last = ($lims->seen)[-1];
like($last, qr/"ok"/, 'the API got the body as it was edited');
like($last, qr/"n": ?1\.0,\s*"id": ?9007199254740993/, 'with the numbers as they were');
unlike($last, qr/\*\*\*|hidden/, 'no mask and no secret of the first call');
done_testing();
