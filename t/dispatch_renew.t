# A receiver that takes longer than a dispatcher's lease, by HL7, by HTTP and for
# a batch: what it gets is sent once, by one dispatcher, which keeps the lease
# while it waits; when that one is killed another takes it over under the same
# id.

use strict;
use warnings;

use Test::More;
use Time::HiRes qw(sleep);

use lib 't/lib';
use IDash;
use IDash::HTTP ();
use IDash::Wait;
use Outbound;

our $store;                                # the Mongo run sets it
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
my $http = IDash::Peer->upstream(sub {
    wait_for(sub { -e "$dir/answer" }, 60);
    return {};
});

my $lease = 2;
my $o = Outbound->new(store => $store, ports => [ $http->port ], conf => {
    dispatch_lease => "${lease}s", dispatch_probe => '500ms' });
my $two = IDash::Sidecar->start(redis => $o->redis_of, beside => $o->d,
    conf => { %{ $o->{conf} }, roles => 'dispatch,api' });
my %http = (action_id => 2, url => $http->url . '/slow', timeout_ms => 30_000);

# what it is, its integration, the events of one send, the ids it had
my @kinds = (
    [ 'HL7', { action_id => 1, transport => 'mllp', url => '',
        host => '127.0.0.1', port => $mllp->port, ack_first_byte_ms => 60_000,
        ack_timeout_ms => 60_000, transform =>
            '{message: "ADT^A04^ADT_A01", segments: [["EVN","A04"]]}' },
        1, sub { $mllp->seen } ],
    [ 'HTTP', { %http }, 1, \&webhook_ids ],
    [ 'batch', { %http, action_id => 3, is_batch => \1, batch_size => 2 }, 2,
        \&webhook_ids ],
);

sub webhook_ids { return map { /^webhook-id: (\S+)/mi } $http->seen }

sub late { return $o->d->counter('dispatch_late')
    + $two->counter('dispatch_late') }

sub events {
    my ($kind) = @_;
    return map { $o->event(action_id => $kind->[1]{action_id}) }
        1 .. $kind->[2];
}

sub ended {
    my (@ids) = @_;
    return join ' ', map { my $log = $o->until_status($_, 'SUCCESS');
        "$log->{status} $log->{attempts}" } @ids;
}

for my $kind (@kinds) {
    my ($name, $fields, $n, $seen) = @$kind;

    unlink "$dir/answer";
    $o->integration(%$fields, nowait => 1);
    sleep 1.2;                             # the other's routes follow
    my $before = () = $seen->();
    my $late = late();

    my @ids = events($kind);
    ok(wait_for(sub { (() = $seen->()) > $before }), "$name: it is there");
    sleep 4 * $lease;
    is(scalar(() = $seen->()), $before + 1, 'four leases later: sent once');
    is($o->log_of($ids[0])->{attempts}, 1, 'it is the first attempt');
    write_file("$dir/answer", '');
    is(ended(@ids), join(' ', ('SUCCESS 1') x $n), 'and its answer counts');
    is(late() - $late, 0, 'nobody was late');
}

# whoever has it is killed: the lease ends, the other one takes it over
for my $kind (@kinds[0, 1]) {
    my ($name, undef, undef, $seen) = @$kind;
    my $before = () = $seen->();

    unlink "$dir/answer";
    my ($id) = events($kind);
    ok(wait_for(sub { (() = $seen->()) == $before + 1 }), "$name: another");
    sleep 2 * $lease;
    $o->d->kill9;                          # accepted here, so sent from here
    ok(wait_for(sub { (() = $seen->()) == $before + 2 }),
        'killed: it is sent again');
    write_file("$dir/answer", '');
    $o->d->run;
    is(ended($id), 'SUCCESS 2', 'and delivered');
    my @ids = $seen->();
    is($ids[-1], $ids[-2], 'under the same id');
}

done_testing();
