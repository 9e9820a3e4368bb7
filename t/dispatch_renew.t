# An HL7 receiver that takes longer than a dispatcher's lease: its message is
# sent once, by one dispatcher, which keeps the lease while it waits; when that
# one is killed another takes it over under the same MSH-10.

use strict;
use warnings;

use Test::More;
use Time::HiRes qw(sleep);

use lib 't/lib';
use IDash;
use IDash::Wait;
use Outbound;

my $dir = IDash::Process::dir('slow');
my $mllp = IDash::Peer->start(sub {
    my ($socket, $peer) = @_;
    my $in = '';

    while (sysread $socket, my $part, 65_536) {
        $in .= $part;
        while ($in =~ s/^\x0b(.*?)\x1c\x0d//s) {
            my @msh = split /\|/, (split /\r/, $1)[0];

            $peer->note($msh[9]);
            wait_for(sub { -e "$dir/answer" }, 60);
            syswrite $socket, "\x0bMSH|^~\\&|H|H|I|L|20260101||ACK|1|P|2.5.1\r"
                . "MSA|AA|$msh[9]\r\x1c\x0d";
        }
    }
});

my $lease = 2;
my $o = Outbound->new(conf => { dispatch_lease => "${lease}s",
    dispatch_probe => '500ms' });
my $two = IDash::Sidecar->start(redis => $o->redis_of, beside => $o->d,
    conf => { %{ $o->{conf} }, roles => 'dispatch,api' });
$o->integration(transport => 'mllp', url => '', host => '127.0.0.1',
    port => $mllp->port, ack_first_byte_ms => 60_000, ack_timeout_ms => 60_000,
    transform => '{message: "ADT^A04^ADT_A01", segments: [["EVN","A04"]]}');
sleep 1.2;                                 # the other's routes follow

sub late { return $_[0]->counter('dispatch_late') }

my ($id) = $o->event;
ok(wait_for(sub { scalar(() = $mllp->seen) }), 'the message is there');
sleep 4 * $lease;
is(scalar(() = $mllp->seen), 1, 'four leases later it was sent once');
is($o->log_of($id)->{attempts}, 1, 'it is the first attempt');
write_file("$dir/answer", '');
my $log = $o->until_status($id, 'SUCCESS');
is("$log->{status} $log->{attempts}", 'SUCCESS 1', 'and its answer counts');
is(late($o->d) + late($two), 0, 'nobody was late');

# whoever has it is killed: the lease ends, the other one takes it over
unlink "$dir/answer";
($id) = $o->event;
ok(wait_for(sub { (() = $mllp->seen) == 2 }), 'another message');
sleep 2 * $lease;
$o->d->kill9;                              # accepted here, so sent from here
ok(wait_for(sub { (() = $mllp->seen) == 3 }), 'killed: it is sent again');
write_file("$dir/answer", '');
$o->d->run;
is($o->until_status($id, 'SUCCESS')->{attempts}, 2, 'and delivered');
my @ids = $mllp->seen;
is($ids[2], $ids[1], 'under the same MSH-10');

done_testing();
