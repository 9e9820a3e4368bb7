# A person at work: signs in, filters, opens a log, tests an integration, meets a
# conflict; on the real stack.

use strict;
use warnings;

use lib 't/lib';
use IDash;
use IDash::Wait;
use IDash::Web;
use Test::More;

IDash::Web::needed();

my $good = IDash::Peer->upstream(sub { return { body => '{"ok":true}' } });
my $bad = IDash::Peer->upstream(sub { return { status => 500, body => 'no' } });
my $web = IDash::Web->start(conf => { outbound_allow => '127.0.0.0/8',
    outbound_ports => join(',', map { $_->port } $good, $bad) });
my $api = $web->api;

# -- what is there to see ------------------------------------------------------

my $now = int(time * 1_000_000);
$api->record(us => $now - $_ * 1_000_000, status => $_ % 10 == 0 ? 503 : 201,
    'ref.bill_id' => "B-$_", duration_us => 1000 + $_ * 100) for 1 .. 120;
$api->stored(120);

sub post { my ($path, $json) = @_; return $api->call('POST', $path, json => $json) }
for my $i ([ 'orders', $good, 1 ], [ 'broken', $bad, 3 ]) {
    my $r = post('/integrations', { name => $i->[0], org_id => 3, lab_id => 11,
        action_id => $i->[2], url => $i->[1]->url . '/hook', allow_http => \1,
        is_auto_retry => \0, filter => '.payload.total > 5',
        transform => '{bill: .refs.bill_id}' });
    is($r->{status}, 201, "integration $i->[0]") or diag $r->{body};
}

# the table of routes follows the configuration
for my $i ([ 1, 3 ], [ 3, 4 ]) {
    for my $n (1 .. $i->[1]) {
        wait_for(sub { @{ post('/events', { action_id => $i->[0], lab_id => 11,
            refs => { bill_id => "E-$n" }, payload => { total => 10 } })
            ->{json}{log_ids} || [] } }) or die "no route\n";
    }
}
post('/events', { action_id => 1, lab_id => 11, refs => { bill_id => 'later' },
    payload => { total => 10 }, deliver_at => time + 7200 });
wait_for(sub {
    my $d = $api->get('/logs?kind=webhook&status=FAIL')->{json}{data};
    return @$d == 4;
}) or diag 'no four failures';

my $viewer = $api->key('viewer', 3);
$web->drive('flows', IDASH_VIEWER => $viewer);

is((grep { /webhook-id/i } $good->seen) + 0, scalar $good->seen,
    'the receiver saw only signed webhooks');
done_testing();
