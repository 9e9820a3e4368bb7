# Storm 23: what an endpoint may say in Retry-After.  Waiting is only ever
# added, by a day at most, and nothing overflows.

use strict;
use warnings;

use lib 't/lib';
use IDash;
use IDash::Wait;
use Outbound;
use Test::More;

use constant DAY => 86_400;

my @days = qw(Sunday Monday Tuesday Wednesday Thursday Friday Saturday);
my @months = qw(Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec);

# A time in the three forms of RFC 9110, 5.6.7.
sub http_date {
    my ($form, $s) = @_;

    my ($sec, $min, $hour, $day, $month, $year, $wday) = gmtime $s;
    my $time = sprintf '%02d:%02d:%02d', $hour, $min, $sec;
    my $short = substr $days[$wday], 0, 3;

    return sprintf '%s, %02d %s %d %s GMT', $short, $day, $months[$month],
        $year + 1900, $time if $form eq 'fixed';
    return sprintf '%s, %02d-%s-%02d %s GMT', $days[$wday], $day,
        $months[$month], $year % 100, $time if $form eq 'rfc850';
    return sprintf '%s %s %2d %s %d', $short, $months[$month], $day, $time,
        $year + 1900;
}

my $now = time;
my @schedule = (60, 72);
my @two_hours = (7199, 7202);
my @day = (DAY - 2, DAY + 2);

# value, what the next attempt waits
my @values = (
    [ '7200', @two_hours ], [ ' 7200 ', @two_hours ], [ '61', 61, 72 ],
    [ '59', @schedule ], [ '5', @schedule ], [ '1', @schedule ],
    [ '0', @schedule ], [ '-1', @schedule ], [ '-7200', @schedule ],
    [ '', @schedule ], [ 'junk', @schedule ], [ '10 s', @schedule ],
    [ '5.5', @schedule ], [ '1e18', @schedule ], [ '0x7200', @schedule ],
    [ '1' . '0' x 18, @day ], [ '9223372036854775807', @day ],
    [ '9223372036854775808', @schedule ], [ '9' x 20, @schedule ],
    [ '9' x 4000, @schedule ], [ '-9223372036854775808', @schedule ],
    [ '86400', @day ], [ '86401', @day ], [ '864000', @day ],
    [ '2147483648', @day ], [ '4294967296', @day ],
    (map { [ http_date($_, $now + 9000), 8900, 9001 ] }
        qw(fixed rfc850 asctime)),
    [ http_date('fixed', $now - 9000), @schedule ],
    [ 'Tue, 01 Jan 2019 00:00:00 GMT', @schedule ],
    [ 'Thu, 01 Jan 1970 00:00:00 GMT', @schedule ],
    [ 'Thu, 01 Jan 2065 00:00:00 GMT', @day ],
    [ 'Fri, 31 Dec 9999 23:59:59 GMT', @day ],
    [ 'Tue, 99 Foo 2026 99:99:99 GMT', @schedule ],
    [ "\x{ff}\x{fe}", @schedule ],
);
my @cases = map { my $status = $_; map { [ $status, @$_ ] } @values } 429, 503;

my $peer = IDash::Peer->upstream(sub {
    my ($req) = @_;

    return { status => 200, keep => 0 } if $req->{uri} !~ m{^/(\d+)$};
    my ($status, $value) = @{ $cases[$1] };
    return { status => $status, keep => 0,
        headers => [ [ 'Retry-After', $value ] ] };
});
my $o = Outbound->new(conf => { outbound_ports => $peer->port });

$o->integration(nowait => 1, name => "c$_", schedule => '1m',
    timeout_ms => 30_000, url => $peer->url . "/$_") for 0 .. $#cases;
$o->integration(name => 'well', url => $peer->url . '/well');

my @ids = $o->event;
my %log = $o->tried(60, @ids);
is(scalar keys %log, @cases + 1, 'every one has come to something');

my $wrong = 0;
for my $log (values %log) {
    my ($at) = $log->{endpoint} =~ /^c(\d+)/ or next;
    my ($status, $value, $from, $to) = @{ $cases[$at] };
    my ($try) = $o->attempts_of($log->{_id});
    my $in = defined $try->{next_attempt_at} ? Outbound::wait_after($try) : -1;

    $value = substr $value, 0, 40;
    my $right = $log->{status} eq 'RETRYING'
        && $log->{response}{status} == $status
        && $in >= $from - 0.1 && $in <= $to + 2;
    ok($right, "$status after \"$value\"")
        or diag sprintf '%s, next in %.1f s, not %d to %d', $log->{status},
            $in, $from, $to;
    $wrong++ if !$right;
}

# others to an endpoint that is throttled wait as long; nobody else does
my $before = () = $peer->seen;
my @more = $o->event;
my ($well) = grep { $o->log_of($_)->{endpoint} eq 'well' } @more;
is($o->until_status($well, 'SUCCESS')->{status}, 'SUCCESS',
    'the neighbour has its next one');
Time::HiRes::sleep(1);

my (%hit, $early);
for my $raw ($peer->seen) {
    my ($at, $id) = $raw =~ m{^POST /(\S+).*^webhook-id: (\S+)}ms or next;
    $hit{$id}++;
    next if $at eq 'well' || !grep { $_ eq $id } @more;
    $early++ if $cases[$at][2] > 100;
}
is($early // 0, 0, 'no throttled endpoint was called again');

figure('r23.cases', scalar @cases);
figure('r23.wrong', $wrong);
figure('r23.lost', @ids - keys %log);
figure('r23.dup', scalar grep { $_ > 1 } values %hit);

done_testing();
