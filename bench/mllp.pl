#!/usr/bin/perl
# mllp: HL7 messages a second of the MLLP transport against a bare loop of send
# and ACK, over the same number of connections to the same peer, one message
# outstanding on each; and the same through all of dispatch: built from JSON,
# in order, logged.  Runs are interleaved.
#
#   make bench B=mllp         QUICK=1: every line, with few messages

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../t/lib", $FindBin::Bin;
use Bench;
use IDash;

use ApiTest;

my $N = quick(100_000, 1000);
my $LOGGED = quick(10_000, 200);
my @connections = (1, 32);
my $rounds = quick(3, 1);

my $dir = test_dir('peer');
IDash::Process::spawn('peer', [ bench_tool('mllp'), 'peer' ],
    out => "$dir/out");
wait_for(sub { -s "$dir/out" }) or die "no peer\n";
my ($port) = read_file("$dir/out") =~ /(\d+)/;

sub run {
    my ($which, $n, $connections) = @_;

    my $out = join ' ', map { quotemeta } bench_tool('mllp'), $which, $port,
        $n, $connections;
    my ($rate, $cpu) = split ' ', `$out`;
    die "mllp $which failed\n" if $?;
    return ($rate, $cpu);
}

# Through dispatch, as many destinations as there are connections.
sub dispatched {
    my ($connections) = @_;

    my $redis = redis();
    my $api = api(redis => $redis, conf => {
        roles => 'dispatch,api', outbound_allow => '127.0.0.0/8',
        dispatch_in_flight => 512,
    });
    my @ids;
    for my $i (1 .. $connections) {
        my $r = $api->call('POST', '/integrations', json => {
            name => "line $i", org_id => 3, lab_id => 11, action_id => 1,
            transport => 'mllp', url => '', host => '127.0.0.1',
            port => 0 + $port });
        die "$r->{status} $r->{body}" if $r->{status} != 201;
        push @ids, $r->{json}{id};
    }

    my $d = $api->d;
    $d->stop;
    system(bench_tool('fill'), $d->store, $LOGGED, 0, 'hl7', @ids) == 0
        or die "fill\n";
    $d->run;

    my $rate = delivered($d, $LOGGED);
    $d->stop;
    $redis->stop;
    return $rate;
}

my (%best, %least);
sub note_run {
    my ($name, $rate, $cpu) = @_;

    $best{$name} = $rate if $rate > ($best{$name} // 0);
    $least{$name} = $cpu if defined $cpu && $cpu < ($least{$name} // 9e9);
    return;
}

for my $round (1 .. $rounds) {
    for my $c (@connections) {
        my $n = $c == 1 ? $N / 5 : $N;
        note_run("bare.$c", run('bare', $n, $c));
        note_run("transport.$c", run('ours', $n, $c));
    }
    note_run('logged.32', dispatched(32));
}

for my $c (@connections) {
    figure_line("mllp.bare.$c", $best{"bare.$c"}, '/s');
    figure_line("mllp.transport.$c", $best{"transport.$c"}, '/s', undef,
        $best{"transport.$c"} / $best{"bare.$c"});
    figure_line("mllp.bare_cpu.$c", $least{"bare.$c"}, 'us');
    figure_line("mllp.transport_cpu.$c", $least{"transport.$c"}, 'us', undef,
        $least{"transport.$c"} / ($least{"bare.$c"} || 1));
}
figure_line('mllp.logged.32', $best{'logged.32'}, '/s', undef,
    $best{'logged.32'} / $best{'bare.32'});
