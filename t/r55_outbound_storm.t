# Storm 55: events to 200 endpoints of which a fifth fail, are slow or dead,
# while dispatchers and Redis are killed every few seconds: whatever was
# accepted is settled, nothing is lost and no outcome changes afterwards.

use strict;
use warnings;

use Test::More;
use Time::HiRes qw(sleep);

use lib 't/lib';
use IDash;
use IDash::Wait;
use Oracle;
use Outbound;

my $scale = $ENV{SCALE} || 0.006;
my $events = int(100_000 * $scale);
my $every = $ENV{SCALE} ? 3 : 1.5;             # seconds between kills
my @actions = (1 .. 4, 20 .. 24, 40 .. 43, 57 .. 59, 70 .. 73);
my @labs = (11, 12);

# 40 actions and labs, five endpoints each: of the five one has trouble
my @troubles = ('/fail', '/slow', '/twice', '/n500', 'dead');
my $redis = redis(aof => 1);
my $dead = free_port();
my $o = Outbound->new(redis => $redis, ports => [ $dead ],
    conf => { roles => 'drain,api' });
my %conf = (%{ $o->{conf} }, roles => 'dispatch,api', dispatch_lease => '3s',
    dispatch_probe => '100ms');
my @dispatchers = map { IDash::Sidecar->start(redis => $redis,
    beside => $o->d, conf => \%conf) } 1 .. 2;

my (%trouble, $made);
for my $at (0 .. 39) {
    my $action = $actions[ $at % 20 ];
    my $lab = $labs[ $at / 20 ];

    for my $n (0 .. 4) {
        my $kind = $n == 0 ? $troubles[ $at % 5 ] : '/ok';
        my $url = $kind eq 'dead' ? "http://127.0.0.1:$dead/dead/$at"
            : $o->url("$kind/$at-$n");
        my $r = $o->post('/integrations', { name => "e$at-$n", org_id => 3,
            lab_id => $lab, action_id => $action, url => $url,
            allow_http => \1, concurrency => 20,
            # an attempt that a kill cut off is used up all the same
            schedule => $kind =~ /fail|dead/ ? '1s' : join(',', ('1s') x 8),
            connect_timeout_ms => 1000, timeout_ms => 5000 });
        die $r->{body} if $r->{status} != 201;
        $trouble{ $r->{json}{id} } = $kind;
        $made++;
    }
}
is($made, 200, '200 endpoints, a fifth in trouble');
sleep 1.2;

# -- the storm ----------------------------------------------------------------

my (@ids, %seen_terminal);
my ($kills, $redis_kills, $next, $posted) = (0, 0, now() + $every, 0);

sub disturb {
    return if now() < $next;

    if ($kills % 3 == 2) {
        $redis->kill9;
        sleep 0.3;
        $redis->restart;
        $redis_kills++;
    } else {
        my $d = $dispatchers[ $kills % 2 ];
        $d->kill9;
        $d->run;
    }
    $kills++;
    $next = now() + $every;
    return;
}

while ($posted < $events) {
    my $n = $events - $posted < 50 ? $events - $posted : 50;
    my @batch = map { +{ action_id => $actions[ $_ % 20 ],
        lab_id => $labs[ $_ / 20 % 2 ], payload => { n => $_ } } }
        $posted .. $posted + $n - 1;
    my $r = $o->post('/events', \@batch);
    die "events: $r->{status} $r->{body}" if $r->{status} != 202;
    push @ids, map { @{ $_->{log_ids} } } @{ $r->{json}{data} };
    $posted += $n;
    disturb();
}

# what has ended half way must not change until the end
my %early = %{ terminal() };
my $end = now() + 60 + 3000 * $scale;
while (now() < $end && $o->open_logs) {
    disturb() if $kills < 6 || $ENV{SCALE};
    sleep 0.3;
}

sub terminal {
    my %t;
    for (split /\n/, $o->d->sql('SELECT lower(hex(uid)), status, attempts FROM '
        . 'integration_directory WHERE status NOT IN (0,2)'))
    {
        my ($id, @rest) = split /\|/;
        $id =~ s/^(.{8})(.{4})(.{4})(.{4})/$1-$2-$3-$4-/;
        $t{$id} = "@rest";
    }
    return \%t;
}

# -- the judge ------------------------------------------------------------------

my %late = %{ terminal() };
my (%got, %good);
for my $hit ($o->hits) {
    $got{ $hit->{id} }++;
    $good{ $hit->{id} }++ if $hit->{status} == 200;
}

my $accepted = @ids;
my $settled = grep { $late{$_} } @ids;
my %kind;
for (split /\n/, $o->d->sql('SELECT lower(hex(d.uid)), x.text, d.status FROM '
    . 'integration_directory d JOIN dict x ON x.id=d.integration'))
{
    my ($id, $integration, $status) = split /\|/;
    $id =~ s/^(.{8})(.{4})(.{4})(.{4})/$1-$2-$3-$4-/;
    $kind{$id} = [ $trouble{$integration}, $status ];
}
my $lost = grep { my $k = $kind{$_}; $k && $k->[1] == 1 && !$good{$_} } @ids;
my $well_lost = grep { $kind{$_}[0] eq '/ok' && !$good{$_} } @ids;
my $well_failed = grep { $kind{$_}[0] =~ m{^/(ok|slow|twice)}
    && $kind{$_}[1] != 1 } @ids;
my $overwritten = grep { $early{$_} ne ($late{$_} // '') } keys %early;
my $dup = 0;
$dup += $_ - 1 for values %good;

is($settled, $accepted, 'all that was accepted is settled');
is($lost, 0, 'what says SUCCESS arrived');
is($well_lost, 0, 'nothing for a well endpoint was lost');
is($well_failed, 0, 'a slow one and one that fails twice got everything');
is($overwritten, 0, 'no outcome was overwritten');
is(scalar(grep { !$kind{$_} } keys %got), 0, 'no foreign webhook-id');
cmp_ok($dup, '<=', ($kills + 2) * 512, 'copies only of what was in flight');
cmp_ok($redis_kills, '>', 0, 'Redis was killed');
figure('r55.events', $events, 'events');
figure('r55.accepted', $accepted, 'deliveries');
figure('r55.settled', $settled, 'deliveries');
figure('r55.kills', $kills, 'kills');
figure('r55.lost', $lost + $well_lost, 'deliveries');
figure('r55.overwritten', $overwritten, 'deliveries');
figure('r55.dup', $dup, 'deliveries');

done_testing();
