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

my $web = IDash::Web->start;
my $api = $web->api;
my $now = int(time * 1_000_000);
$api->record(us => $now - $_ * 1_000_000, status => $_ % 7 == 0 ? 503 : 201)
    for 1 .. 70;
$api->stored(70);
$api->call('POST', '/integrations', json => { name => 'orders', org_id => 3,
    lab_id => 11, action_id => 1, url => 'https://example.org/hook' });

my $empty = $api->key('admin', 4);
$web->drive('states', IDASH_EMPTY => $empty);
done_testing();
