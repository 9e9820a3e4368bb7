#!/usr/bin/perl
# demo.pl: traffic of all six action categories through `make run`, in both
# directions: calls of partners to the sample API, and events that go out to the
# demo receiver as webhooks and HL7.  Failures included.
# N= calls (300), RATE= a second (20), PORT= (8088), RUN= its directory (run).

use strict;
use warnings;
use utf8;

use IO::Socket::INET;
use JSON::PP;
use POSIX 'strftime';
use Time::HiRes qw(sleep time);

my $port = $ENV{PORT} || 8088;
my $n = $ENV{N} || 300;
my $rate = $ENV{RATE} || 20;
my $run = $ENV{RUN} || 'run';
my $json = JSON::PP->new->utf8->canonical;
my %count;

my $key = do {
    open my $file, '<', "$run/admin.key" or die "demo: no $run/admin.key; start"
        . " `make run` in another terminal first\n";
    <$file>;
};
chomp $key;

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

integrations();

for my $i (1 .. $n) {
    event($i) if $i % 2;
    my $call = $calls[ ($i - 1) % @calls ]->();
    my ($status) = send_call(@$call);

    $count{ substr($status, 0, 1) . 'xx' }++;
    sleep(1 / $rate) if $rate > 0;
}

print "demo: $n calls: ",
    join(', ', map { "$count{$_} $_" } grep { /xx/ } sort keys %count),
    "; $count{events} events with $count{deliveries} deliveries\n";

# -- inbound -------------------------------------------------------------------

# (status, body) of one call of a partner
sub send_call {
    my ($method, $path, $body, $type) = @_;
    # two partners, and now and then a key that nobody knows
    my $caller = $path =~ /home|appoint/ ? 'demo-logistics-key'
        : rand() < 0.03 ? 'who-is-this-then' : 'demo-partner-key';

    $path .= ($path =~ /\?/ ? '&' : '?') . 'lab=' . pick(@labs)
        if $path !~ /lab=/;
    return http($method, $path, $body, 'Host: lims.example.org',
        'User-Agent: demo-partner/1.0', "X-Api-Key: $caller",
        'Content-Type: ' . ($type || 'application/json'),
        'X-Patient-Id: P-' . id());
}

# -- outbound ------------------------------------------------------------------

# The partners' endpoints, made once.  The signing secret is shown once, too: the
# receiver finds it in a file.
sub integrations {
    my $receiver = $port + 1;
    my %there = map { $_->{name} => 1 }
        @{ api('GET', '/integrations?limit=200')->{data} };

    for my $i (
        [ 'CarePoint orders',    1, 'orders', schedule => '5s,20s,60s',
            transform => '{bill: .refs.bill_id, total: .payload.total,'
                . ' items: [.payload.items[] | .test]}' ],
        [ 'Ledger settlement',   3, 'ledger', schedule => '2s,5s,15s' ],
        [ 'Courier pick-up',    24, 'courier' ],
        [ 'CarePoint results',  40, 'results', schedule => '5s,30s' ],
        [ 'Patient registry',   57, 'registry', schedule => '2s,4s' ],
        [ 'Home visits',        73, 'visits', schedule => '3s,6s' ],
        [ 'Patient portal',     43, 'portal', schedule => '2s,5s,5m' ],
        [ 'Fax gateway',        42, 'fax', enabled => JSON::PP::false ],
        [ 'Mirth interface',    90, undef, transport => 'mllp',
            host => '127.0.0.1', port => $receiver, schedule => '3s,10s',
            sending_facility => 'LAB12', receiving_application => 'MIRTH',
            transform => '{message: "ADT^A04^ADT_A01", segments: [["EVN","A04"],'
                . '["PID",1,null,.refs.patient_id,null,[[.payload.family,'
                . '.payload.given]]],["PV1",1,"O"]]}' ],
    ) {
        my ($name, $action, $path, %more) = @$i;
        next if $there{$name};

        my $made = api('POST', '/integrations', { name => $name, org_id => 3,
            lab_id => 12, action_id => $action, developer_id => 'carepoint',
            $path ? (url => "http://127.0.0.1:$receiver/hooks/$path",
                allow_http => JSON::PP::true) : (), %more });
        next if !$path || !$made->{signing_secret};

        open my $file, '>', "$run/demo/$path" or die "demo: $run/demo: $!\n";
        print $file "$made->{signing_secret}\n";
    }
    sleep 2;                               # the table of routes follows
    return;
}

# One event of an action that somebody wants.
sub event {
    my ($i) = @_;

    my $action = (1, 3, 24, 40, 57, 73, 43, 90, 1, 40, 24, 42)[ $i / 2 % 12 ];
    my $e = api('POST', '/events', {
        action_id => $action, lab_id => 12,
        refs => { patient_id => 'P-' . id(),
            $action < 20 ? (bill_id => 'B-' . id()) : (),
            $action >= 40 && $action < 50 ? (report_id => 'R-' . id()) : () },
        payload => $action < 20 ? $json->decode(bill())
            : { family => pick(@last), given => pick(@first), at => strftime(
                '%Y-%m-%dT%H:%M:%SZ', gmtime) },
        rand() < 0.04 ? (deliver_at => int(time + 3600 + rand 7200)) : (),
    });
    $count{events}++;
    $count{deliveries} += @{ $e->{log_ids} || [] };
    return;
}

# -- HTTP ----------------------------------------------------------------------

sub api {
    my ($method, $path, $body) = @_;

    my ($status, $text) = http($method, "/api/v1$path",
        $body ? $json->encode($body) : '', 'Host: localhost',
        "Authorization: Bearer $key", 'Content-Type: application/json');
    die "demo: $method $path: $status $text\n" if $status !~ /^2/;
    return $json->decode($text);
}

sub http {
    my ($method, $path, $body, @headers) = @_;

    my $socket = IO::Socket::INET->new(PeerAddr => "127.0.0.1:$port")
        or die "demo: nothing listens on 127.0.0.1:$port; start `make run`"
        . " in another terminal first\n";

    utf8::encode($body) if utf8::is_utf8($body);
    print $socket join "\r\n", "$method $path HTTP/1.1", @headers,
        'Content-Length: ' . length $body, 'Connection: close', '', $body;

    my $answer = do { local $/; <$socket> } // '';
    my ($head, $text) = split /\r\n\r\n/, $answer, 2;
    return ($answer =~ m{^HTTP/1\.1 (\d{3})} ? $1 : '000',
        ($head // '') =~ /^transfer-encoding: *chunked/mi ? dechunk($text) : $text);
}

sub dechunk {
    my ($in) = @_;

    my $out = '';
    while ($in =~ /\G([0-9a-f]+)[^\r]*\r\n/gci) {
        my $n = hex $1 or last;
        $out .= substr $in, pos $in, $n;
        pos($in) += $n + 2;
    }
    return $out;
}

# -- made-up data --------------------------------------------------------------

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
