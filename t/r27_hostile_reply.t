# Storm 27: answers without end, by drops, swollen or odd.  Each attempt ends
# by its deadline, memory stays flat, and the well-behaved have theirs.

use strict;
use warnings;

use lib 't/lib';
use Compress::Zlib ();
use IDash;
use IDash::Wait;
use Outbound;
use Test::More;

my $total_ms = $ENV{SCALE} && $ENV{SCALE} >= 1 ? 15_000 : 6000;
# of each at once: ten failures would open a circuit
my $times = $ENV{SCALE} && $ENV{SCALE} >= 1 ? 8 : 3;

# A gigabyte of zeros, packed into one megabyte.
my $bomb = do {
    my $z = Compress::Zlib::deflateInit(-WindowBits => 31);
    my $member = join '', map { ($z->deflate("\0" x (1 << 20)))[0] } 1 .. 16;
    ($member . ($z->flush)[0]) x 64;
};

my $ok = "HTTP/1.1 200 OK\r\n";

# Writes PIECE until the other end has enough, a pause between each.
sub forever {
    my ($socket, $head, $piece, $pause) = @_;

    $pause ||= 0.01;

    syswrite $socket, $head or return;
    for (1 .. 100_000) {
        my $bytes = ref $piece ? $piece->($_) : $piece;
        syswrite $socket, $bytes or return;
        Time::HiRes::sleep($pause);
    }
    return;
}

my $much = 'x' x 65_536;

# what it does, what a delivery comes to
my %kinds = (
    endless => [ sub { forever($_[0], "$ok\r\n", $much) }, 'SUCCESS' ],
    'endless-chunks' => [ sub { forever($_[0],
        "${ok}Transfer-Encoding: chunked\r\n\r\n",
        sprintf("%x\r\n%s\r\n", length $much, $much)) }, 'SUCCESS' ],
    'endless-failure' => [ sub { forever($_[0],
        "HTTP/1.1 500 No\r\n\r\n", $much) }, 'RETRYING' ],
    'endless-head' => [ sub { forever($_[0], $ok,
        sub { "X-$_[0]: " . 'y' x 4000 . "\r\n" }) }, 'RETRYING' ],
    'endless-line' => [ sub { forever($_[0], "${ok}X: ", $much) },
        'RETRYING' ],
    'endless-status' => [ sub { forever($_[0], 'HTTP/1.1 200 ', $much) },
        'RETRYING' ],
    'endless-interim' => [ sub { forever($_[0], '',
        "HTTP/1.1 100 Continue\r\n\r\n", 0.01) }, 'RETRYING' ],
    'endless-extension' => [ sub { forever($_[0],
        "${ok}Transfer-Encoding: chunked\r\n\r\n1;", $much) }, 'SUCCESS' ],
    'endless-size' => [ sub { forever($_[0],
        "${ok}Transfer-Encoding: chunked\r\n\r\n", '0' x 1000) }, 'RETRYING' ],
    'endless-trailer' => [ sub { forever($_[0],
        "${ok}Transfer-Encoding: chunked\r\n\r\n0\r\n", "X: $much\r\n") },
        'RETRYING|SUCCESS' ],
    'drops-of-body' => [ sub { forever($_[0],
        "${ok}Content-Length: 100000\r\n\r\n", 'x', 1) }, 'SUCCESS' ],
    'drops-of-head' => [ sub { forever($_[0], "${ok}X: ", 'x', 1) },
        'RETRYING' ],
    'head-of-300-KB' => [ sub { forever($_[0], $ok . join('', map {
        "X-$_: " . 'y' x 3000 . "\r\n" } 1 .. 105) . "\r\n", 'x', 1) },
        'RETRYING' ],
    bomb => [ sub { my ($socket) = @_;
        IDash::Peer::send_all($socket, $ok . "Content-Encoding: gzip\r\n"
            . 'Content-Length: ' . length($bomb) . "\r\n\r\n$bomb") },
        'SUCCESS' ],
    'bomb-in-transfer' => [ sub { my ($socket) = @_;
        IDash::Peer::send_all($socket, $ok
            . "Transfer-Encoding: gzip\r\n\r\n$bomb") }, 'SUCCESS|RETRYING' ],
    'huge-length' => [ sub { forever($_[0],
        "${ok}Content-Length: 9223372036854775807\r\n\r\n", $much) },
        'SUCCESS' ],
    'bad-length' => [ sub { forever($_[0],
        "${ok}Content-Length: 99999999999999999999\r\n\r\n", $much) },
        'RETRYING|SUCCESS' ],
    'two-lengths' => [ sub { forever($_[0],
        "${ok}Content-Length: 1\r\nContent-Length: 2\r\n\r\n", 'x', 1) },
        'RETRYING|SUCCESS' ],
    silence => [ sub { sleep 40 }, 'RETRYING' ],
);

my $peer = IDash::Peer->start(sub {
    my ($socket, $self) = @_;
    my $in = IDash::Peer::Reader->new($socket);
    my $req = $in->request or return;

    $self->note("$1 $req->{uri}")
        if $req->{raw} =~ /^webhook-id: (\S+)/mi;
    my ($kind) = $req->{uri} =~ m{^/(\S+)};
    return $kinds{$kind}[0]->($socket) if $kinds{$kind};
    print $socket "${ok}Content-Length: 0\r\nConnection: close\r\n\r\n";
}, backlog => 1024);

my $o = Outbound->new(conf => { outbound_ports => $peer->port,
    dispatch_in_flight => 1000 });
$o->integration(nowait => 1, name => $_, schedule => '1h', concurrency => 100,
    url => $peer->url . "/$_", timeout_ms => $total_ms,
    connect_timeout_ms => 20_000) for sort keys %kinds;
$o->integration(name => 'well', url => $peer->url . '/well', action_id => 57,
    timeout_ms => $total_ms);

# one round so that all that is made once has been made
my $d = $o->d;
my @warm = $o->event;
$o->tried(60, @warm);
my $before = IDash::Process::rss($d->pid);
my $fds = IDash::Process::fds($d->pid);

my @ids = $o->events($times);
my @well = $o->events($times, undef, action_id => 57);
my $peak = $before;
my %log;
wait_for(sub {
    my $rss = IDash::Process::rss($d->pid);
    $peak = $rss if $rss > $peak;
    for my $id (grep { !$log{$_} } @ids) {
        my $log = $o->log_of($id);
        $log{$id} = $log if $log->{status} ne 'PENDING';
    }
    return keys %log == @ids;
}, 60);

is(scalar keys %log, scalar @ids, 'every attempt has ended');
for my $id (grep { !$log{$_} } @ids) {
    my $log = $o->log_of($id);
    diag "$log->{endpoint}: $log->{status}, " . to_json($log->{error});
}
is($o->until_status($_, 'SUCCESS')->{status}, 'SUCCESS', 'well: delivered')
    for @well;
ok($d->get('/healthz')->{status} == 200, 'the dispatcher is well');

my ($wrong, $longest, $kept) = (0, 0, 0);
for my $log (values %log) {
    my ($try) = $o->attempts_of($log->{_id});
    my $s = $try->{timing}{duration_ms} / 1000;
    my $body = $o->log_of($log->{_id})->{response}{body} // '';
    my $want = $kinds{ $log->{endpoint} }[1];

    $longest = $s if $s > $longest;
    $kept = length $body if length $body > $kept;
    next if $log->{status} =~ /^(?:$want)$/;

    $wrong++;
    diag "$log->{endpoint}: $log->{status}, "
        . ($log->{error}{code} // '') . ', ' . ($log->{error}{message} // '');
}

is($wrong, 0, 'each came to what it should');
cmp_ok($longest, '<=', 30, 'the longest ended in 30 s');
cmp_ok($kept, '<=', 24 * 1024, 'no more than 16 KB of an answer are kept');
my $each = ($peak - $before) / @ids;
cmp_ok($each, '<=', 1024 * 1024, 'no more than 1 MB each in memory');

wait_for(sub { IDash::Process::fds($d->pid) <= $fds + 20 }, 30);
cmp_ok(IDash::Process::fds($d->pid), '<=', $fds + 20, 'connections are closed');

my %hit;
$hit{ (split)[0] }++ for $peer->seen;
figure('r27.kinds', scalar keys %kinds);
figure('r27.end_s', sprintf('%.1f', $longest), 's');
figure('r27.rss', sprintf('%.0f', $each / 1024), 'KB each');
figure('r27.wrong', $wrong);
figure('r27.lost', @ids - keys %log);
figure('r27.dup', scalar grep { $_ > 1 } values %hit);

done_testing();
