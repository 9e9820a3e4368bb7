# Programs that loop, eat memory or recurse are ended at their limit; events of
# others go out meanwhile, each once.

use strict;
use warnings;

use Time::HiRes ();
use lib 't/lib';
use ApiTest;
use IDash;
use IDash::Wait;
use POSIX ();
use Test::More;

my %runaway = (
    loop => 'def f: f; f',
    bomb => 'reduce range(60) as $i ("0123456789abcdef"; . + .) | length',
    recursion => 'def f: [f]; f',
    range => '[range(1e9)] | length',
    regex => '"' . 'a' x 60 . '!" | test("^(a+)+$")',
);
my $rounds = ($ENV{SCALE} // 0) == 1 ? 200 : 4;
my $peer = IDash::Peer->upstream(sub { return { body => '{}' } });
my $api = api(conf => {
    roles => 'drain,dispatch,api', outbound_allow => '127.0.0.0/8',
    outbound_ports => $peer->port,
});

sub post {
    my ($path, $json) = @_;
    return $api->call('POST', $path, json => $json);
}

my %action;
my $n = 0;

for my $name ('well', sort keys %runaway) {
    $action{$name} = (1, 2, 3, 4, 20, 21)[$n++];
    my $r = post('/integrations', { name => $name, org_id => 3, lab_id => 11,
        action_id => $action{$name}, url => $peer->url . '/', allow_http => \1,
        transform => $runaway{$name} // '{n: .payload.n}' });
    is($r->{status}, 201, "$name is made") or diag $r->{body};
}
sleep 2;                                   # the table of routes follows

sub event {
    my ($name, $i) = @_;
    return post('/events', { action_id => $action{$name}, lab_id => 11,
        payload => { n => $i } });
}

my $count = $rounds * 25;
my $well = fork // die "fork: $!";

if ($well == 0) {
    my $bad = grep { event('well', $_)->{status} != 202 } 1 .. $count;
    POSIX::_exit($bad > 0);
}

my ($longest, @logs) = (0);

for my $round (1 .. $rounds) {
    for my $name (sort keys %runaway) {
        my $from = Time::HiRes::time();
        my $r = event($name, $round);
        my $ms = (Time::HiRes::time() - $from) * 1000;

        $longest = $ms if $ms > $longest;
        push @logs, [ $name, @{ $r->{json}{log_ids} || [ '' ] } ];
    }
}

waitpid $well, 0;
is($?, 0, 'events of others are accepted meanwhile');

my %got;
ok(wait_for(sub {
    %got = ();
    $got{$_}++ for map { /\r\n\r\n\{"n":(\d+)\}$/ ? $1 : () } $peer->seen;
    return keys %got == $count;
}), 'and arrive');
my $dup = grep { $_ > 1 } values %got;
is($dup, 0, 'once each');
is(scalar(grep { !defined $got{$_} } 1 .. $count), 0, 'all of them');

my $wrong = grep {
    my $log = $api->get("/logs/$_->[1]")->{json};
    $log->{status} ne 'FAIL' || $log->{error}{code} ne 'transform'
        || $log->{attempts} != 0;
} @logs;
is($wrong, 0, 'each runaway FAILs by its transform, without an attempt');
is((() = $peer->seen), $count, 'and nothing of it was sent');

printf "# r54.end_ms %.0f ms\n", $longest;
printf "# r54.lost %d events\n", $count - keys %got;
printf "# r54.dup %d events\n", $dup;
done_testing();
