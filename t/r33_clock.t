# Storm 33: the wall clock jumps by an hour and by a day, forth and back, below
# nginx and below the sidecar: ids stay unique, nothing is lost, what waits is
# not taken for old.  (Redis and the monotonic clock go on as ever.)  An id
# carries the start of its request: it falls where the clock does, and nowhere
# else.

use strict;
use warnings;

use Test::More;
use Time::HiRes qw(sleep);

use lib 't/lib';
use IDash;
use IDash::Record ();
use Oracle;

my ($library) = glob '/usr/lib/*/faketime/libfaketimeMT.so.1';
plan skip_all => 'libfaketime is not there'
    if !defined $library && !$ENV{CI};
die "libfaketime is not there\n" if !defined $library;

my $clock = write_file(test_dir() . '/clock', "+0\n");
chmod 0644, $clock;
my %env = (LD_PRELOAD => $library, FAKETIME_TIMESTAMP_FILE => $clock,
    FAKETIME_NO_CACHE => 1, FAKETIME_DONT_FAKE_MONOTONIC => 1);
my @jumps = ('+1h', '+0', '-1h', '+0', '+1d', '-1d', '+0');
my %seconds = (h => 3600, d => 86_400);

# nginx passes only what it is told to
my $o = Oracle->scene('r33', sidecar => { env => \%env }, nginx => {
    env => \%env, main => join '', map { "env $_;\n" } sort keys %env });
my ($nginx, $d) = @$o{qw(nginx sidecar)};
my $key = $d->key;

# one connection, so that each request is begun when the last has its answer
my $load = $o->load(rate => 300, seconds => 600, connections => 1);
my $moved = 0;

for my $jump (@jumps) {
    my $stored = $d->counter('drain_stored');
    my $from = time;

    write_file("$clock.new", "$jump\n");
    rename "$clock.new", $clock or die "$clock: $!";
    chmod 0644, $clock;
    sleep 0.3 * Oracle::scale(10);
    ok(wait_for(sub { $d->counter('drain_stored') > $stored }),
        "$jump: records go on to be stored");

    my ($n, $unit) = $jump =~ /^([+-]\d+)([hd]?)$/;
    my $offset = $n * ($unit ? $seconds{$unit} : 1);
    my $r = $d->get('/healthz');
    is($r->{status}, 200, "$jump: the sidecar answers");
    $moved++ if abs(wall($d) - time - $offset) < 60;
}

is($moved, scalar @jumps, 'the sidecar saw every jump');
my $sum = $load->stop;
is($sum->{failed} + $sum->{unfinished}, 0, 'no request failed');
$o->verdict;
wait_for(sub { my $lag = $o->lag; defined $lag && $lag == 0 });
is($o->lag, 0, 'all is acknowledged');
is($o->counters_add_up->{dropped}, 0, 'nothing was dropped');
is($d->dead_letters, 0, 'no dead letters');
is($d->counter('drain_reclaimed'), 0, 'none was taken over as abandoned');

# in the order of the requests
my @ids = map { (split)[1] } split /\n/, read_file($load->{file});
my $falling = grep { $ids[$_] le $ids[$_ - 1] } 1 .. $#ids;
figure('r33.ids', scalar @ids, 'in order of their requests');
figure('r33.falling', $falling, 'ids');
my $back = 3;                           # of the jumps
cmp_ok($falling, '<=', $back, "ids rise, but for $back jumps back");
my %seen;
is(scalar(grep { $seen{$_}++ } @ids), 0, 'and are unique');

my ($first, $last) = (sort @ids)[0, -1];
cmp_ok(seconds_of($last) - seconds_of($first), '>', 80_000,
    'over the day that the clock had jumped');
is($d->stop, 0, 'the sidecar ends well');
done_testing();

# The sidecar's wall clock, from its own answer.
sub wall {
    my ($sidecar) = @_;

    my $r = $sidecar->get('/api/v1/system', key => $key);
    my $now = $r->{json}{as_of};
    require Time::Local;
    my @t = ($now // '') =~ /^(\d+)-(\d+)-(\d+)T(\d+):(\d+):(\d+)/ or return 0;
    return Time::Local::timegm($t[5], $t[4], $t[3], $t[2], $t[1] - 1, $t[0]);
}

# Of an id: 48 bits of milliseconds.
sub seconds_of {
    my ($high, $low) = $_[0] =~ /^(\w{8})-(\w{4})/;

    return (hex($high) * 65_536 + hex $low) / 1000;
}
