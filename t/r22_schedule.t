# Storm 22: thousands due at set times and thousands of retries: none goes out
# early, and the jitter of the retries is spread evenly.

use strict;
use warnings;

use lib 't/lib';
use IDash;
use IDash::Wait;
use Oracle;
use Outbound;
use POSIX ();
use Test::More;

my $n = Oracle::scale(10_000);
my $spread_s = $n >= 5000 ? 30 : 5;

my $o = Outbound->new(conf => { dispatch_in_flight => 1000 });

# -- at their time ----------------------------------------------------------

sub stamp {
    my ($ms) = @_;

    return POSIX::strftime('%Y-%m-%dT%H:%M:%S', gmtime int $ms / 1000)
        . sprintf '.%03dZ', $ms % 1000;
}

$o->integration(name => 'due', url => $o->url('/ok/due'), concurrency => 256,
    action_id => 1);

my $start = int(Time::HiRes::time() * 1000) + 3000 + $n;
my @due = map { $start + int rand $spread_s * 1000 } 1 .. $n;
my @ids = $o->events($n, sub {
    my ($at) = @_;
    return { deliver_at => stamp($due[$at - 1]) };
});
is(scalar @ids, $n, 'all are accepted');
my %due_of;
@due_of{@ids} = @due;

ok(wait_for(sub { $o->hits('/ok/due') >= $n }, 60 + 4 * $spread_s),
    'all arrive');
ok($o->settle(60), 'and are settled');

my (%came, @late, $early);
for my $hit ($o->hits('/ok/due')) {
    my $late = $hit->{ms} - $due_of{ $hit->{id} };

    $early++ if $late < 0;
    push @late, $late if !$came{ $hit->{id} }++;
}
@late = sort { $a <=> $b } @late;
is($early // 0, 0, 'none is early');
is(scalar keys %came, $n, 'none is missing');

# -- after a failure --------------------------------------------------------

$o->integration(name => 'again', url => $o->url('/twice/again'),
    action_id => 57, schedule => '1s,1s', concurrency => 5);
# few: ten failures in a row would open the circuit
my @again = $o->events(4, undef, action_id => 57);
ok($o->settle(60), 'retries are settled');

my (%hits, $hasty);
push @{ $hits{ $_->{id} } }, $_->{ms} for $o->hits('/twice/again');
for my $id (@again) {
    my @ms = @{ $hits{$id} || [] };
    is(scalar @ms, 3, 'two failures, then a delivery') or diag $id;
    $hasty += grep { $ms[$_] - $ms[$_ - 1] < 1000 } 1 .. $#ms;
}
is($hasty // 0, 0, 'no retry before its second has passed');

# -- evenly -------------------------------------------------------------------

# The probability that an even spread strays so far (Kolmogorov, Smirnov).
sub ks_p {
    my (@x) = sort { $a <=> $b } @_;
    my ($d, $size) = (0, scalar @x);

    for my $i (0 .. $#x) {
        for my $off ($x[$i] - $i / $size, ($i + 1) / $size - $x[$i]) {
            $d = $off if $off > $d;
        }
    }

    my $l = (sqrt($size) + 0.12 + 0.11 / sqrt $size) * $d;
    my $p = 0;
    $p += 2 * (-1) ** ($_ - 1) * exp(-2 * $_ ** 2 * $l ** 2) for 1 .. 100;
    return $l < 0.2 ? 1 : $p;
}

# Every second one fails and waits for ten minutes and up to two more.
my ($rounds, $p, @share) = (0, 0);
while ($p <= 0.01 && $rounds++ < 2) {
    my $name = "even$rounds";
    my $i = $o->integration(name => $name, url => $o->url("/n500/$name"),
        action_id => 2, schedule => '10m', concurrency => 10);
    my @all = $o->events($n < 2000 ? $n : 2000, undef, action_id => 2);
    my $key = $o->api_of->{admin};

    ok(wait_for(sub { !$o->d->logs($key, 'status=PENDING&action_id=2') }, 120),
        'each has been tried');
    @share = map { (Outbound::wait_after($_) - 600) / 120 }
        $o->d->logs($key, "status=RETRYING&integration_id=$i->{id}");
    cmp_ok(scalar @share, '>=', @all / 3, 'enough wait for another attempt');
    is(scalar(grep { $_ < -0.0001 || $_ > 1.02 } @share), 0,
        'each for ten to twelve minutes');
    $p = ks_p(@share);
    $o->remove($i->{id});
}
# by chance one even sample in a hundred looks uneven: two in a row do not
cmp_ok($p, '>', 0.01, 'the jitter is even');

figure('r22.due', $n);
figure('r22.early', ($early // 0) + ($hasty // 0));
figure('r22.p99_s', sprintf('%.3f', $late[int 0.99 * $#late] / 1000), 's');
figure('r22.ks_p', sprintf('%.3f', $p));
figure('r22.lost', $n - keys %came);
figure('r22.dup', scalar grep { $_ > 1 } values %came);

done_testing();
