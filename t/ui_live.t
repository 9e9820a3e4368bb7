# The live list and the tail while their stream is cut at a proxy, and while
# integrationd is killed in the middle of what it stores: each log is shown
# once, none is missed.

use strict;
use warnings;

use lib 't/lib';
use IDash;
use IDash::Wait;
use IDash::Web;
use Test::More;
use Time::HiRes qw(time);

IDash::Web::needed();

my $web = IDash::Web->start(proxy => 1);
my $api = $web->api;

sub feed {
    my ($n) = @_;
    my $now = int(time * 1_000_000);
    $api->record(us => $now + $_, status => $_ % 5 ? 201 : 503) for 1 .. $n;
    return;
}

feed(5);
$api->stored(5);
$web->drive('live', on => {
    feed => sub { feed(20) },
    cut => sub { $web->fault->set(refuse => 1) },
    mend => sub { $web->fault->set(refuse => 0) },
    kill => sub { feed(120); $api->d->kill9; feed(20) },
    start => sub { $api->d->run },
});
$api->stored(5 + 20 * 4 + 140);
done_testing();
