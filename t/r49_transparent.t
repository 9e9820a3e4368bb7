# Storm 49: bodies in pieces of random sizes, both ways, through every way that
# nginx has to buffer them: with capture and without, clients and upstreams see
# the same bytes, and the record holds them.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use Test::More;
use Time::HiRes qw(sleep);

use lib 't/lib';
use IDash;
use IDash::Capture;
use Oracle;

# Bytes of the seed, of every value there is.
sub bytes {
    my ($n) = @_;
    return pack 'C*', map { int rand 256 } 1 .. $n;
}

# Sizes that straddle the borders of buffers and caps.
sub size {
    my @near = (0, 1, 2, 1007, 1023, 1024, 4095, 4096, 8192, 16_384, 65_536);
    return int rand 300 if rand() < 0.4;
    my $n = $near[int rand @near] + int(rand 5) - 2;
    return $n < 0 ? 0 : $n;
}

sub pieces {
    my ($text, $most) = @_;
    my @all;

    while (length $text) {
        push @all, substr $text, 0, 1 + int rand $most, '';
    }
    return @all;
}

# The answer that a seed stands for: chunked, of a length, or until the close;
# and its body.
sub answer {
    my ($seed) = @_;

    srand $seed;
    my $body = bytes(size());
    my $way = int rand 3;
    my $head = "HTTP/1.1 200 OK\r\nX-Seed: $seed\r\nContent-Type: "
        . (rand() < 0.8 ? 'text/plain' : 'application/octet-stream') . "\r\n";

    if ($way == 0) {
        return ("${head}Content-Length: " . length($body) . "\r\n\r\n$body",
            $body);

    } elsif ($way == 1) {
        return ("${head}Connection: close\r\n\r\n$body", $body);
    }

    return ("${head}Transfer-Encoding: chunked\r\n\r\n"
        . join('', map { sprintf("%x\r\n", length) . "$_\r\n" }
            pieces($body, 1 + int rand 5000)) . "0\r\n\r\n", $body);
}

my $up = upstream(sub {
    my ($req, $socket) = @_;
    my ($seed) = $req->{uri} =~ /n=(\d+)/;
    my ($answer) = answer($seed);

    $socket->setsockopt(6, 1, 1);
    for my $piece (pieces($answer, rand() < 0.5 ? 20_000 : 900)) {
        IDash::Peer::send_all($socket, $piece);
        sleep 0.001 if rand() < 0.1;
    }
    return;
});

my $url = $up->url;
my @ways = qw(plain unbuffered stream tiny gzip file);
my $pair = IDash::Capture->new(
    http => 'proxy_http_version 1.1; gzip_types *; gzip_min_length 1;'
        . ' client_max_body_size 4m;',
    server => "capture on; capture_body_types *; capture_request_body 1m;
        capture_response_body 1m;
        location /plain { proxy_pass $url; }
        location /unbuffered { proxy_request_buffering off; proxy_pass $url; }
        location /stream { proxy_buffering off; proxy_pass $url; }
        location /tiny { proxy_buffer_size 1k; proxy_buffers 2 1k;
            proxy_busy_buffers_size 1k; proxy_temp_file_write_size 1k;
            client_body_buffer_size 512; proxy_pass $url; }
        location /gzip { gzip on; proxy_pass $url; }
        location /file { client_body_in_file_only clean; proxy_pass $url; }",
);

# One call as its seed wants it; what the client got.
sub call {
    my ($nginx, $seed, $path, $body) = @_;

    srand $seed + 1e6;
    my $message = IDash::HTTP::message('POST', $path, close => 1,
        rand() < 0.5 ? (body => $body)
            : (chunked => [ pieces($body, 1 + int rand 3000) ]),
        headers => [ [ 'Accept-Encoding', 'gzip' ],
            map { [ "X-$_", 'v' x int rand 200 ] } 1 .. int rand 8 ]);

    my $c = IDash::HTTP->new($nginx->addr);
    $c->{socket}->setsockopt(6, 1, 1);
    for my $piece (pieces($message, rand() < 0.5 ? 20_000 : 700)) {
        $c->send($piece);
        sleep 0.001 if rand() < 0.1;
    }

    my $r = $c->response;
    return ($pair->text($r), $r->{body}, $r->{complete});
}

my $calls = Oracle::scale(1000);
my ($differ, $bytes, %body, %want) = (0, 0);

for my $seed (1 .. $calls) {
    srand $seed + 2e6;
    my $body = bytes(size());
    my $path = "/$ways[$seed % @ways]?n=$seed";
    my ($on, $got, $complete) = call($pair->{on}, $seed, $path, $body);
    my ($off, undef, $plain) = call($pair->{off}, $seed, $path, $body);

    $bytes += length($body) + length $got;
    $body{$seed} = $body;

    if ($on ne $off || $complete != $plain) {
        $differ++;
        diag "$path: clients differ: " . length($on) . ' and ' . length $off;
    }
}

my %saw;
for my $raw ($up->seen) {
    my ($seed) = $raw =~ /\A\w+ \S*n=(\d+) /;
    $raw =~ s/^Host: .*?\r$/Host: -\r/m;

    # chunked or not: whether all had come when nginx began to send
    $raw =~ s/^(?:Transfer-Encoding|Content-Length): .*?\r\n//mg
        if $raw =~ m{\A\w+ /unbuffered};
    push @{ $saw{$seed} }, sha256_hex($raw);
}

for my $seed (1 .. $calls) {
    my @saw = @{ $saw{$seed} || [] };
    next if @saw == 2 && $saw[0] eq $saw[1];
    $differ++;
    diag "n=$seed: upstreams differ: @saw";
}

my (%seen, $bad);
wait_for(sub { $pair->redis->call('XLEN', 'idash:capture') >= $calls });
for my $entry ($pair->redis->entries) {
    my $f = $entry->[1];
    my ($seed) = $f->{uri} =~ /n=(\d+)/;
    my (undef, $answer) = answer($seed);

    $seen{$seed}++;
    next if ($f->{request_body} // '') eq $body{$seed}
        && (($f->{response_cut} // '') eq 'file'
            || ($f->{response_body} // '') eq $answer)
        && $f->{complete} && $f->{response_bytes} == length $answer;
    $bad++;
    diag "$f->{uri}: the record differs";
}

my $lost = grep { !$seen{$_} } 1 .. $calls;
my $dup = grep { $_ > 1 } values %seen;

figure('r49.exchanges', $calls, 'exchanges');
figure('r49.bytes', $bytes, 'bytes of bodies');
figure('r49.differ', $differ, 'exchanges');
figure('r49.lost', $lost, 'records');
figure('r49.dup', $dup, 'records');

is($differ, 0, 'every byte is equal');
is($lost, 0, 'none lost');
is($dup, 0, 'none twice');
is($bad // 0, 0, 'the records hold the same bytes');

done_testing();
