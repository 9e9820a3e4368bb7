# The message of each action, as an mllp integration without a transform makes
# it: received by hl7apy (PyPI), which knows HL7 2.5.1 and nothing of ours, and
# judged there by structure, cardinality and data types.

use strict;
use warnings;

use Test::More;

use lib 't/lib';
use IDash;
use IDash::Wait;
use Outbound;

my $python = python_with('hl7_map', 'hl7apy==1.3.5');
my $port = free_port();
my $out = test_dir('hl7apy') . '/out';
IDash::Process::spawn('hl7apy',
    [ $python, root_dir() . '/t/hl7_peers/judge.py', $port ], out => $out);
wait_for(sub { -s $out && read_file($out) =~ /^"up"/ }, 60)
    or die "hl7apy does not listen:\n" . slurp_tail($out, 9);

my %patient = (id => 'P-1', authority => 'LAB', family => "N\x{fa}\x{f1}ez",
    given => 'Ana', birth_date => '1990-04-12', sex => 'F', city => 'Pune',
    phone => '+91 1');
my %visit = (class => 'O', location => 'OPD',
    doctor => { id => 'D7', family => 'Rao', given => 'Asha' });
my %order = (id => 'B-9', report_id => 'R-5', code => 'CBC',
    text => 'Blood count', collected_at => '2026-03-15T09:30:00+05:30',
    specimen => { id => 'S-1', type => { code => 'BLD', text => 'Blood' } });
my %reject = (%order, specimen => { %{ $order{specimen} },
    reject => { code => 'RC', text => 'Clotted' } });
my %report = (code => 'CBC', text => 'Blood count',
    at => '2026-03-15T10:30:00.123Z', results => [
        { code => '718-7', text => 'Hb', system => 'LN', value => 13.2,
            unit => 'g/dL', range => '12-16', flag => 'N' },
        { code => 'WBC', value => '<5' },
        { code => 'NOTE', value => 'a|b^c' } ],
    pdf => 'JVBERi0=');
my %visit_at = (id => 'A-1', start => '2026-03-20T08:00:00Z', minutes => 30,
    service => { code => 'HC', text => 'Home collection' });
my @charges = ({ code => 'CBC', text => 'Blood count', quantity => 1,
    amount => 450, date => '2026-03-15' }, { code => 'LFT', amount => 900 });

my @pv1 = (patient => \%patient, visit => \%visit);

# action, what it is, members of the payload, MSH-9, fields that must stand there
my @cases = (
    [ 57, 'registration', { @pv1 }, 'ADT^A04^ADT_A01', {
        'EVN-1' => 'A04', 'PID-3' => 'P-1^^^LAB^MR',
        'PID-5' => "N\x{fa}\x{f1}ez^Ana", 'PID-7' => '19900412',
        'PID-8' => 'F', 'PID-11' => '^^Pune', 'PV1-2' => 'O',
        'PV1-7' => 'D7^Rao^Asha' } ],
    [ 58, 'profile', { patient => { family => 'Rao' } }, 'ADT^A04^ADT_A01',
        { 'PID-3' => 'REF-1^^^^MR', 'PID-5' => 'Rao' } ],
    [ 58, 'nested name', { patient => { name => { family => 'Rao',
        given => 'Asha' } } }, 'ADT^A04^ADT_A01', { 'PID-5' => 'Rao^Asha' } ],
    [ 58, 'one name', { patient => { name => 'Rao' } }, 'ADT^A04^ADT_A01',
        { 'PID-5' => 'Rao' } ],
    [ 59, 'demographic update', { @pv1 }, 'ADT^A08^ADT_A01', {} ],
    [ 1, 'bill', { @pv1, orders => [ \%order, { code => 'LFT' } ] },
        'ORM^O01^ORM_O01', { 'ORC-1' => 'NW', 'ORC-2' => 'B-9',
            'ORC-3' => 'R-5', 'OBR-4' => 'CBC^Blood count^L',
            'OBR-7' => '20260315093000+0530', 'ORC#2-2' => 'BILL-1',
            'OBR#2-1' => 2, 'OBR#2-4' => 'LFT^^L' } ],
    [ 2, 'cancelled bill', { @pv1, orders => \%order }, 'ORM^O01^ORM_O01',
        { 'ORC-1' => 'CA' } ],
    [ 3, 'settlement', { @pv1, charges => \@charges }, 'DFT^P03^DFT_P03',
        { 'FT1-4' => '20260315', 'FT1-6' => 'CG', 'FT1-11' => '450',
            'FT1-7' => 'CBC^Blood count^L', 'FT1#2-1' => 2 } ],
    [ 4, 'outsourced', { @pv1, orders => \%order }, 'ORM^O01^ORM_O01',
        { 'ORC-1' => 'NW' } ],
    [ 20, 'received', { @pv1, orders => \%order }, 'OML^O21^OML_O21',
        { 'ORC-1' => 'SC', 'ORC-5' => 'IP', 'SPM-4' => 'BLD^Blood^L',
            'SPM-17' => '20260315093000+0530' } ],
    [ 21, 'redraw', { @pv1, orders => \%order }, 'OML^O21^OML_O21',
        { 'ORC-5' => 'CA' } ],
    [ 22, 'dismissed', { @pv1, orders => \%reject }, 'OML^O21^OML_O21',
        { 'ORC-5' => 'CA', 'SPM-21' => 'RC^Clotted^L' } ],
    [ 23, 'uncollected', { @pv1, orders => \%order }, 'OML^O21^OML_O21',
        { 'ORC-5' => 'CA' } ],
    [ 24, 'collected', { @pv1, orders => \%order }, 'OML^O21^OML_O21',
        { 'ORC-5' => 'IP' } ],
    [ 40, 'report', { @pv1, report => \%report }, 'ORU^R01^ORU_R01',
        { 'OBR-25' => 'F', 'OBX-2' => 'NM', 'OBX-3' => '718-7^Hb^LN',
            'OBX-5' => '13.2', 'OBX-6' => 'g/dL', 'OBX-11' => 'F',
            'OBX-14' => '20260315103000+0000', 'OBX#2-2' => 'ST',
            'OBX#3-5' => 'a\\F\\b\\S\\c', 'OBX#4-2' => 'ED',
            'OBX#4-5' => '^application^pdf^Base64^JVBERi0=' } ],
    [ 41, 'preliminary', { @pv1, report => \%report }, 'ORU^R01^ORU_R01',
        { 'OBR-25' => 'P', 'OBX-11' => 'P' } ],
    [ 42, 'amended', { @pv1, report => { %report, status => 'amended' } },
        'ORU^R01^ORU_R01', { 'OBR-25' => 'C' } ],
    [ 43, 'portal', { @pv1, report => { pdf => 'JVBERi0=', code => 'X' } },
        'ORU^R01^ORU_R01', { 'OBX-2' => 'ED' } ],
    [ 70, 'booking', { @pv1, appointment => \%visit_at }, 'SIU^S12^SIU_S12',
        { 'SCH-2' => 'A-1', 'SCH-9' => '30', 'SCH-25' => 'Booked',
            'AIS-3' => 'HC^Home collection^L',
            'AIS-4' => '20260320080000+0000' } ],
    [ 71, 'confirmation', { @pv1, appointment => \%visit_at },
        'SIU^S14^SIU_S12', {} ],
    [ 72, 'dismissal', { @pv1, appointment => \%visit_at },
        'SIU^S15^SIU_S12', { 'SCH-25' => 'Cancelled' } ],
    [ 73, 'home collection', { @pv1, appointment => \%visit_at },
        'SIU^S12^SIU_S12', {} ],
    [ 90, 'named by the payload', { @pv1, message_type => 'ADT^A28^ADT_A05' },
        'ADT^A28^ADT_A05', { 'EVN-1' => 'A28' } ],
);

my $o = Outbound->new(conf => { outbound_ports => $port });
my %integration;
for my $action (map { $_->[0] } @cases) {
    $integration{$action} ||= $o->integration(nowait => 1, transport => 'mllp',
        url => '', host => '127.0.0.1', port => $port, action_id => $action,
        sending_facility => 'LAB11', receiving_application => 'HIS',
        schedule => '1s');
}
Time::HiRes::sleep(1.5);

sub judged { return map { from_json($_) } grep { /^\[/ } split /\n/, read_file($out) }

my %refs = (patient_id => 'REF-1', bill_id => 'BILL-1');
for my $case (@cases) {
    my ($action, $what, $payload, $type, $fields) = @$case;
    my ($id) = $o->event(action_id => $action, payload => $payload,
        refs => \%refs);
    my $log = $o->until_status($id, 'SUCCESS|FAIL', 30);
    my ($got, $error, $seen) = @{ (judged())[-1] || [] };

    is($log->{status}, 'SUCCESS', "$action $what: acknowledged")
        or diag to_json($log->{error});
    is($got, $type, "$action $what: $type");
    is($error, undef, "$action $what: as 2.5.1 has it");
    is($seen->{$_}, $fields->{$_}, "$action $what: $_") for sort keys %$fields;
}

# what can be no message says why, and is not sent
my $before = judged();
for my $case (
    [ 90, { @pv1 }, qr/payload\.message_type/ ],
    [ 57, { patient => { id => 'P' } }, qr/payload\.patient/ ],
    [ 90, { message_type => 'MFN^M02' }, qr/none of ADT/ ],
    [ 1, { @pv1 }, qr/payload\.orders/ ],
    [ 3, { @pv1 }, qr/payload\.charges/ ],
    [ 40, { report => {} }, qr/payload\.report/ ])
{
    my ($action, $payload, $why) = @$case;
    my ($id) = $o->event(action_id => $action, payload => $payload);
    my $log = $o->until_status($id, 'SUCCESS|FAIL');

    is($log->{status}, 'FAIL', "$action: no message");
    like($log->{error}{message}, $why, "$action: $why");
    is($log->{attempts}, 0, "$action: no attempt");
}
is(scalar judged(), $before, 'none of these was sent');

# a message given needs no mapping, and the test shows what would be sent
my ($id) = $o->event(action_id => 57, payload => {
    message => 'ADT^A08^ADT_A01', segments => [ [ 'EVN', 'A08', '20260101' ],
        [ 'PID', '1', undef, 'GIVEN', undef, 'X' ], [ 'PV1', '1', 'O' ] ] });
is($o->until_status($id, 'SUCCESS|FAIL')->{status}, 'SUCCESS', 'given');
is((judged())[-1][2]{'PID-3'}, 'GIVEN', 'given: sent as it is');

my $r = $o->post("/integrations/$integration{57}{id}/test",
    { event => { action_id => 57, payload => { @pv1 } } });
is($r->{json}{transform}{result}{message}, 'ADT^A04^ADT_A01',
    'test shows the message');

done_testing();
