# GET /system: every process of integrationd on the store, what each nginx says
# of its captures, and how many integrations there are beyond those it lists.

use strict;
use warnings;

use Test::More;

use lib 't/lib';
use ApiTest;
use IDash;
use IDash::Wait;
use Outbound;

my $redis = redis();
my $nginx = nginx(redis => $redis, location => 'capture on; return 204;',
    server => 'location = /capture_status { capture_status; }');
my $gone = 'http://127.0.0.1:1/capture_status';
my $status = 'http://127.0.0.1:' . $nginx->port . '/capture_status';
my $o = Outbound->new(redis => $redis,
    conf => { roles => 'api', capture_status => "$status, $gone" });
my $api = $o->api_of;

sub system_now { return $api->get('/system')->{json} }
sub codes { return { map { $_->{code} => 1 } @{ $_[0]{alerts} } } }

# -- processes ---------------------------------------------------------------

my $drain = IDash::Sidecar->start(beside => $o->d, redis => $redis,
    conf => { roles => 'drain,api' });
my $dispatch = IDash::Sidecar->start(beside => $o->d, redis => $redis,
    conf => { roles => 'dispatch,api', outbound_allow => '127.0.0.0/8',
        outbound_ports => $o->{receiver}{port} });
my ($s, %by);
wait_for(sub {
    $s = system_now();
    %by = map { $_->{pid} => $_ } @{ $s->{processes} };
    return keys %by == 3 && $by{ $drain->pid }{drain}{redis_up};
});
is(join(' ', sort keys %by), join(' ', sort map { $_->pid } $o->d, $drain,
    $dispatch), 'each of three processes is listed');
is_deeply($by{ $o->d->pid }{roles}, ['api'], 'with its roles');
is_deeply([ @{ $by{ $o->d->pid } }{qw(drain dispatch)} ], [ undef, undef ],
    'what it does not do is null');
ok($by{ $drain->pid }{drain}{redis_up}, 'the drain says how it is');
is($by{ $dispatch->pid }{dispatch}{in_flight}, 0, 'dispatch too');
ok(!$by{$_}{lost}, 'none is lost') for keys %by;
is($s->{drain}, undef, 'as before: this one does not drain');
ok(!codes($s)->{process_lost}, 'no alert');

is($drain->stop, 0, 'one stops');
is(join(' ', sort map { $_->{pid} } @{ system_now()->{processes} }),
    join(' ', sort map { $_->pid } $o->d, $dispatch), 'and is listed no more');

# one that was killed: half a minute later, by its document's time
kill 'KILL', $dispatch->pid;
waitpid $dispatch->pid, 0;
my ($file) = $o->d->store =~ /^sqlite:(.*)/;
system 'sqlite3', $file, '.timeout 5000', 'UPDATE meta SET updated = updated'
    . " - 31000000 WHERE CAST(id AS TEXT) LIKE 'process:%:"
    . $dispatch->pid . "'";
$s = system_now();
my ($lost) = grep { $_->{pid} == $dispatch->pid } @{ $s->{processes} };
ok($lost->{lost}, 'one that was killed is lost');
ok(codes($s)->{process_lost}, 'which is an alert');
system 'sqlite3', $file, '.timeout 5000', 'UPDATE meta SET updated = updated'
    . " - 600000000 WHERE CAST(id AS TEXT) LIKE 'process:%:"
    . $dispatch->pid . "'";
is(scalar @{ system_now()->{processes} }, 1, 'and forgotten in the end');

# -- nginx -------------------------------------------------------------------

$nginx->get('/api/x') for 1 .. 3;
my $n;
wait_for(sub {
    $n = system_now()->{nginx};
    return ($n->[0]{counters}{acked} // 0) == 3;
});
is($n->[0]{url}, $status, 'the first address');
ok($n->[0]{up}, 'answers');
is($n->[0]{counters}{captured}, 3, 'with what was captured');
is(ref $n->[0]{counters}{drops}, 'HASH', 'and drops by reason');
is($n->[1]{url}, $gone, 'the second');
ok(!$n->[1]{up} && !defined $n->[1]{counters}, 'does not');
like($n->[1]{error}, qr/connect/i, 'with the reason');
$s = system_now();
ok(codes($s)->{nginx_unknown}, 'which is an alert');
ok(!codes($s)->{capture_dropped}, 'nothing was lost');

is($api->get('/system', key => $api->key('viewer', 3))->{status}, 403,
    'one org does not see this');

# -- more integrations than are listed -----------------------------------------

my $many = Outbound->new(conf => { dispatch_probe => '60s' });
for my $i (1 .. 205) {
    my $r = $many->api_of->d->call('POST', '/api/v1/integrations',
        key => $many->api_of->{admin}, headers =>
            [ [ 'Content-Type', 'application/json' ] ],
        body => to_json({ name => "m$i", org_id => 3, lab_id => 11,
            action_id => 1, allow_http => \1, is_auto_retry => \0,
            url => $many->url($i == 200 ? '/fail/x' : '/ok/m') }));
    die $r->{body} if $r->{status} != 201;
}
sleep 2;
$many->events(12, sub { return {} });
my $d;
wait_for(sub {
    $d = $many->api_of->get('/system')->{json}{dispatch};
    return $d->{integrations_total} == 205 && $d->{breakers_open} == 1;
});
is(scalar @{ $d->{integrations} }, 200, '200 are listed');
is($d->{integrations_total}, 205, 'of 205');
is($d->{integrations}[0]{circuit}, 'open', 'an open circuit comes first');
is(scalar(grep { $_->{circuit} eq 'open' } @{ $d->{integrations} }), 1,
    'once');
my $open = $d->{integrations}[0];
ok(wait_for(sub {
    my $now = $many->api_of->get('/system')->{json}{dispatch}{integrations}[0];
    my $waits = $many->api_of->get("/logs?integration_id=$open->{id}"
        . '&status=PENDING&status=RETRYING&limit=50')->{json}{data};
    return $now->{held}{relation} eq 'eq' && $now->{held}{value} == 2
        && @$waits == 2;
}), 'with the deliveries that it holds');
is($d->{integrations}[1]{held}, undef, 'a closed one holds none');

is($nginx->stop, 0, 'nginx stops well');
answers_fit_description();
done_testing();
