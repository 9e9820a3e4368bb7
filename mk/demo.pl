#!/usr/bin/perl
# demo.pl: calls of all six action categories through the nginx of `make run`,
# failures included.  N= calls (300), RATE= a second (20), PORT= (8088).

use strict;
use warnings;
use utf8;

use IO::Socket::INET;
use Time::HiRes qw(sleep time);

my $port = $ENV{PORT} || 8088;
my $n = $ENV{N} || 300;
my $rate = $ENV{RATE} || 20;
my %count;

my @first = qw(Asha Rahul Meera Jonas Fatima Lin Anaïs Sanjay);
my @last = qw(Rao Mehta Iyer Weber Khan Chen Dubois Kapoor);
my @labs = (12, 12, 12, 7, 31);

# [method, path, body]: what the partners of a laboratory send
my @calls = (
    sub { [ 'POST', '/lims/v1/patients', patient() ] },
    sub { [ 'PATCH', '/lims/v1/patients/P-' . id(), patient() ] },
    sub { [ 'POST', '/lims/v1/bills', bill() ] },
    sub { [ 'POST', '/lims/v1/bills/B-' . id() . '/settle', bill() ] },
    sub { [ 'POST', '/lims/v1/bills/B-' . id() . '/cancel',
        '{"reason":"ordered twice"}' ] },
    sub { [ 'POST', '/lims/v1/outsource-bills', bill() ] },
    (map { my $do = $_; sub { [ 'POST', '/lims/v1/samples/S-' . id() . "/$do",
        sprintf('{"barcode":"%09d","tube":"EDTA","test":"CBC"}', id()) ] } }
        qw(receive redraw dismiss uncollect collect)),
    (map { my $do = $_; sub { [ 'POST', '/lims/v1/reports/R-' . id() . "/$do",
        '{"signed_by":"Dr. Nair","pages":3}' ] } } qw(sign submit fax)),
    sub { [ 'GET', '/lims/v1/portal/reports?lab=12&token=demo-secret', '' ] },
    sub { [ 'POST', '/lims/v1/appointments',
        '{"slot":"2026-12-01T09:30:00+05:30","tests":["CBC","LIPID"]}' ] },
    (map { my $do = $_; sub { [ 'POST',
        '/lims/v1/appointments/A-' . id() . "/$do", '{}' ] } }
        qw(confirm dismiss)),
    sub { [ 'POST', '/lims/v1/home-collections',
        '{"address":"14 Lake View Road","window":"07:00-09:00"}' ] },
    sub { [ 'POST', '/lims/v1/hl7', hl7(), 'application/hl7-v2' ] },
    sub { [ 'POST', '/lims/v1/analyzer/results', '{"analyzer":"XN-1000"}' ] },
    sub { [ 'GET', '/lims/v1/nowhere', '' ] },
);

for my $i (1 .. $n) {
    my $call = $calls[ ($i - 1) % @calls ]->();
    my $status = send_call(@$call);

    $count{ substr($status, 0, 1) . 'xx' }++;
    sleep(1 / $rate) if $rate > 0;
}

print "demo: $n calls: ", join(', ', map { "$count{$_} $_" } sort keys %count),
    "\n";

sub send_call {
    my ($method, $path, $body, $type) = @_;

    my $socket = IO::Socket::INET->new(PeerAddr => "127.0.0.1:$port")
        or die "demo: nothing listens on 127.0.0.1:$port; start `make run`"
        . " in another terminal first\n";

    # two partners, and now and then a key that nobody knows
    my $key = $path =~ /home|appoint/ ? 'demo-logistics-key'
        : rand() < 0.03 ? 'who-is-this-then' : 'demo-partner-key';

    utf8::encode($body) if utf8::is_utf8($body);
    $path .= ($path =~ /\?/ ? '&' : '?') . 'lab=' . pick(@labs)
        if $path !~ /lab=/;
    print $socket "$method $path HTTP/1.1\r\nHost: lims.example.org\r\n"
        . "User-Agent: demo-partner/1.0\r\nX-Api-Key: $key\r\n"
        . 'Content-Type: ' . ($type || 'application/json') . "\r\n"
        . 'X-Patient-Id: P-' . id() . "\r\n"
        . 'Content-Length: ' . length($body) . "\r\n"
        . "Connection: close\r\n\r\n$body";

    my $answer = do { local $/; <$socket> };
    return defined $answer && $answer =~ m{^HTTP/1\.1 (\d{3})} ? $1 : '000';
}

sub pick { return $_[ int rand @_ ] }
sub id { return 10_000 + int rand 90_000 }

sub patient {
    return sprintf '{"name":"%s %s","date_of_birth":"19%02d-0%d-1%d",'
        . '"phone":"+91 98%08d","password":"not-for-logs"}', pick(@first),
        pick(@last), 40 + int rand 59, 1 + int rand 9, int rand 9,
        int rand 100_000_000;
}

sub bill {
    return sprintf '{"bill_id":"B-%d","items":[{"test":"CBC","price":"450.00"},'
        . '{"test":"LIPID","price":"1000.00"}],"total":"1450.00"}', id();
}

sub hl7 {
    return join "\r", 'MSH|^~\\&|LIMS|LAB12|MIRTH|HUB|20261124101500||ORU^R01|'
        . id() . '|P|2.5.1', 'PID|1||P-' . id() . '||Rao^Asha||19900412|F',
        'OBR|1|||CBC^Complete blood count',
        'OBX|1|NM|HGB^Haemoglobin||13.4|g/dL|12-16|N|||F', '';
}
