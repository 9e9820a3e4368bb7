# Storm 31: HL7 receivers of which two in five messages meet a fault, eight
# kinds of it at 5 % each.  None counts as delivered without its own MSA-2,
# each destination has its messages in order, and every one ends.

use strict;
use warnings;

use lib 't/lib';
use IDash;
use IDash::Wait;
use Oracle;
use Outbound;
use Test::More;

my $lines = 40;                         # destinations
my $each = Oracle::scale(10_000 / $lines);

# In each twenty messages eight faults, at other places for each destination.
my @faults = qw(silence late other half close garbage unknown error);
sub fault_of {
    my ($line, $n) = @_;
    return $faults[($n * 7 + $line * 3) % 20] // '';
}

sub reply {
    my ($code, $id) = @_;
    return "\x0bMSH|^~\\&|HIS|H|IDASH|L|20260101||ACK|1|P|2.5.1\r"
        . "MSA|$code|$id\r\x1c\x0d";
}

# What a receiver does with a message: true while it keeps the connection.
my %act = (
    ''      => sub { syswrite $_[0], reply('AA', $_[1]) },
    silence => sub { sleep 60; 0 },
    late    => sub { Time::HiRes::sleep(3); syswrite $_[0],
        reply('AA', $_[1]) },
    other   => sub { syswrite $_[0], reply('AA', "$_[1]X") },
    half    => sub { syswrite $_[0], substr reply('AA', $_[1]), 0, 40; 0 },
    close   => sub { 0 },
    garbage => sub { syswrite $_[0], 'no frame ' x 20; 1 },
    unknown => sub { syswrite $_[0], reply('ZZ', $_[1]) },
    error   => sub { syswrite $_[0], reply('AE', $_[1]) },
);

# One listener on all of 127/8: the address called is the destination.
my $seen = IDash::Process::dir('first');
my $listen = IO::Socket::INET->new(LocalAddr => '0.0.0.0', Listen => 1024,
    ReuseAddr => 1) or die "listen: $!";
my $port = $listen->sockport;
my $peer = IDash::Peer->start(sub {
    my ($socket, $self) = @_;
    my ($line) = $socket->sockhost =~ /\.(\d+)$/;
    my $in = '';

    while (sysread $socket, my $part, 65_536) {
        $in .= $part;

        while ($in =~ s/^\x0b(.*?)\x1c\x0d//s) {
            my $message = $1;
            my ($id) = $message =~ /^(?:[^|]*\|){9}([^|]*)/;
            my ($n) = $message =~ /\rPID\|1\|\|(\d+)/ or die $message;
            my $file = "$seen/$line.$n";
            my $fault = -e $file ? '' : fault_of($line, $n);

            # noted before it is said: what counts is what may have arrived
            write_file($file, '');
            $self->note("$line $n $id $fault");
            $act{$fault}->($socket, $id) or return;
        }
    }
}, listen => $listen);

my $o = Outbound->new(conf => { dispatch_in_flight => 1000 });
$o->integration(nowait => 1, name => "line $_", transport => 'mllp', url => '',
    host => "127.0.1.$_", port => $port, schedule => join(',', ('1s') x 20),
    ack_first_byte_ms => 2000, ack_timeout_ms => 2000,
    connect_timeout_ms => 20_000, transform => '{message: "ADT^A04^ADT_A01",'
        . ' segments: [["EVN","A04"],["PID",1,null,.payload.n]]}')
    for 1 .. $lines;
Time::HiRes::sleep(1.5);

my @ids = $o->events($each);
is(scalar @ids, $each * $lines, 'every message goes to every destination');
ok($o->settle($ENV{SCALE} ? 900 : 120), 'every one ends');

# what the receivers know
my (%got, %order);
for my $note ($peer->seen) {
    my ($line, $n, $id, $fault) = split / /, $note, -1;
    my $g = $got{"line $line"}{$n} ||= { ids => {} };

    push @{ $order{$line} }, $n if !%{ $g->{ids} };
    $g->{ids}{$id}++;
    $g->{times}++;
    $g->{said}++ if $fault eq '' || $fault eq 'late';
    $g->{ok}++ if $fault eq '';
    $g->{error}++ if $fault eq 'error';
}

# what we say
my ($wrong, $lost, $dup, %status) = (0, 0, 0);
for my $log ($o->d->logs($o->api_of->{admin}, 'kind=hl7')) {
    my $text = $o->log_of($log->{_id});
    my ($n) = to_json($text->{request}{body}) =~ /"PID",1,null,"?(\d+)/;
    my $g = $got{ $log->{endpoint} }{ $n // '' };

    $status{ $log->{status} }++;
    if (!$g) {
        $lost++;
        next;
    }

    my $right = $log->{status} eq 'SUCCESS' ? $g->{said} && !$g->{error}
        && ($text->{response}{body} // '') =~ /MSA\|AA\|(\w+)/
        && $g->{ids}{$1}
        : $log->{status} eq 'FAIL' && $g->{error}
            && $log->{error}{code} eq 'NACK_ERROR';
    $wrong++ if !$right || keys %{ $g->{ids} } != 1;
    $dup += $g->{ok} - 1 if ($g->{ok} // 0) > 1;
    diag "$log->{endpoint} $n: $log->{status} " . to_json($log->{error})
        if !$right;
}

my $errors = grep { fault_of(@$_) eq 'error' }
    map { my $line = $_; map { [ $line, $_ ] } 1 .. $each } 1 .. $lines;
is($wrong, 0, 'each is what its receiver said');
is($lost, 0, 'each was received');
is($status{FAIL} // 0, $errors, 'an error is final');
is($status{SUCCESS} // 0, @ids - $errors, 'all others are delivered');

my @mixed = grep {
    my @n = @{ $order{$_} || [] };
    "@n" ne join ' ', 1 .. $each;
} 1 .. $lines;
is_deeply(\@mixed, [], 'each destination has them in order');

figure('r31.messages', scalar @ids);
figure('r31.wrong', $wrong);
figure('r31.lost', $lost);
figure('r31.dup', $dup);

done_testing();
