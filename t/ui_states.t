# Every screen in both themes: axe finds nothing, the policy is not violated; empty,
# loading and error states say what happened; a live stream that is cut, floods
# or jumps neither loses nor freezes the page.

use strict;
use warnings;

use lib 't/lib';
use IDash;
use IDash::Wait;
use IDash::Web;
use Test::More;

IDash::Web::needed();

my $good = upstream(sub { return { body => '{"ok":true}' } });
my $bad = upstream(sub { return { status => 500, body => '{"error":"no"}',
    headers => [ [ 'Content-Type', 'application/json' ] ] } });
my $web = IDash::Web->start(conf => { outbound_allow => '127.0.0.0/8',
    outbound_ports => join(',', map { $_->port } $good, $bad) });
my $api = $web->api;
my $now = int(time * 1_000_000);
$api->record(us => $now - $_ * 1_000_000, status => $_ % 7 == 0 ? 503 : 201)
    for 1 .. 70;
$api->stored(70);
for my $i ([ 'orders', $good, 1 ], [ 'broken', $bad, 3 ]) {
    my $r = $api->call('POST', '/integrations', json => { name => $i->[0],
        org_id => 3, lab_id => 11, action_id => $i->[2],
        url => $i->[1]->url . '/hook', allow_http => \1, is_auto_retry => \0 });
    is($r->{status}, 201, "integration $i->[0]") or diag $r->{body};
}

# the table of routes follows the configuration
my $event = sub {
    my ($action, %more) = @_;
    return $api->call('POST', '/events', json => { action_id => $action,
        lab_id => 11, payload => { total => 10 }, %more })->{json}{log_ids} || [];
};
wait_for(sub { @{ $event->(3) } }) or die "no route\n";
wait_for(sub { @{ $event->(1, deliver_at => time + 7200) } }) or die "no route\n";
wait_for(sub { @{ $api->get('/logs?kind=webhook&status=FAIL')->{json}{data} } })
    or die "nothing failed\n";

my $empty = $api->key('admin', 4);
$web->drive('states', IDASH_EMPTY => $empty);
$web->drive('away');
done_testing();
