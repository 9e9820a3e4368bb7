#!/usr/bin/perl
# dispatch: deliveries a second of a backlog, against a bare libcurl-multi loop
# and against BullMQ on the same Redis, to the same endpoints: signed and
# logged, and with is_logs_disabled; HTTP and HTTPS; 1, 100 and 1,000 endpoints;
# and with a tenth of them dead or slow.  Runs are interleaved.
#
#   make bench B=dispatch         QUICK=1: every line, with few deliveries

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../t/lib", $FindBin::Bin;
use Bench;
use IDash;

use ApiTest;

my $N = quick(20_000, 200);
my $BYTES = 1024;
my $CONNECTIONS = 64;
my $rounds = quick(3, 1);

# -- the endpoints: one nginx, http and https ----------------------------------

my $dir = test_dir('endpoint');
system("openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost "
    . "-addext subjectAltName=IP:127.0.0.1,DNS:localhost "
    . "-keyout $dir/key.pem -out $dir/cert.pem 2>/dev/null") == 0
    or die "openssl\n";
system("chmod 0644 $dir/key.pem");

my $tls = free_port();
my $end = nginx(module => 0, connections => 8192,
    http => "access_log off; server { listen 127.0.0.1:$tls ssl; "
        . "ssl_certificate $dir/cert.pem; ssl_certificate_key $dir/key.pem; "
        . "keepalive_requests 10000000; access_log off; "
        . "location / { return 200 '{}'; } }",
    server => 'keepalive_requests 10000000;',
    location => "access_log off; default_type application/json; return 200 '{}';");
my ($plain) = $end->addr =~ /(\d+)$/;
my $receiver_dir = test_dir('slow');
my $slow_pid = IDash::Process::spawn('receiver',
    [ build_dir() . '/tools/receiver' ], out => "$receiver_dir/out");
wait_for(sub { -s "$receiver_dir/out" }) or die "no receiver\n";
my ($slow) = read_file("$receiver_dir/out") =~ /(\d+)/;
my $dead = free_port();

sub urls {
    my ($scheme, $n) = @_;
    my $port = $scheme eq 'https' ? $tls : $plain;
    return map { "$scheme://127.0.0.1:$port/e$_" } 1 .. $n;
}

# -- ours ------------------------------------------------------------------------

my $redis = redis();

sub ours {
    my ($scheme, $n, %f) = @_;

    $redis->call('FLUSHALL');
    my @urls = urls($scheme, $n);
    my $trouble = delete $f{trouble};
    my $api = api(redis => $redis, conf => {
        roles => 'dispatch,api', outbound_allow => '127.0.0.0/8',
        outbound_ports => "$plain,$tls,$slow,$dead",
        dispatch_in_flight => 512,
    });
    my $ca = $scheme eq 'https' ? read_file("$dir/cert.pem") : '';
    my @ids;

    for my $i (0 .. $#urls) {
        my $url = !$trouble || $i % 10 ? $urls[$i]
            : $i % 20 ? "http://127.0.0.1:$dead/" : "http://127.0.0.1:$slow/slow/$i";
        my $r = $api->call('POST', '/integrations', json => {
            name => "b$i", org_id => 3, lab_id => 11, action_id => 1,
            url => $url, allow_http => \1, ca_cert => $ca,
            concurrency => $n == 1 ? $CONNECTIONS : 10,
            $trouble ? (is_auto_retry => \0) : (), %f });
        die "$r->{status} $r->{body}" if $r->{status} != 201;
        push @ids, $r->{json}{id};
    }

    my $d = $api->d;
    $d->stop;
    system(bench_tool('fill'), $d->store, $N, $BYTES, 'webhook', @ids) == 0
        or die "fill\n";
    $d->run;
    return rate($d, $trouble ? $N * 0.9 : $N);
}

sub rate {
    my ($d, $all) = @_;

    my $rate = delivered($d, $all);
    my ($rss) = memory_kb($d->pid);
    my $cpu = IDash::Process::cpu($d->pid) / $all * 1e6;
    $d->stop;
    return ($rate, $rss, $cpu);
}

# -- the others --------------------------------------------------------------------

sub bare {
    my ($scheme, $n) = @_;

    my $ca = $scheme eq 'https' ? "$dir/cert.pem" : '-';
    my $out = join ' ', map { quotemeta } bench_tool('post'), $N, $BYTES,
        $CONNECTIONS, $ca, urls($scheme, $n);
    my ($rate, $cpu) = split ' ', `$out`;
    die "post failed\n" if $?;
    return ($rate, $cpu);
}

my $node = build_dir() . '/bench/node';

sub bullmq_ready {
    return 1 if -d "$node/node_modules/bullmq";
    mkdir $node;
    system("cd $node && npm install --no-audit --no-fund --ignore-scripts "
        . "bullmq\@6.7.0 ioredis >/dev/null 2>&1");
    return -d "$node/node_modules/bullmq";
}

sub bullmq {
    my ($scheme, $n) = @_;

    $redis->call('FLUSHALL');
    my $ca = $scheme eq 'https' ? "$dir/cert.pem" : '-';
    my $cmd = join ' ', map { quotemeta } 'node',
        "$FindBin::Bin/bullmq.js", $redis->socket, $N, $BYTES, $CONNECTIONS,
        $ca, urls($scheme, $n);
    my $out = `NODE_PATH=$node/node_modules $cmd`;
    die "bullmq failed\n" if $? || $out !~ /^\d+/;
    return $out + 0;
}

# -- the table -----------------------------------------------------------------------

my %best;
sub best {
    my ($name, $value) = @_;
    $best{$name} = $value if $value > ($best{$name} // 0);
    return;
}

my $bullmq = bullmq_ready();
die "bench: npm cannot install bullmq\n" if !$bullmq && !quick();

my @cases = quick() ? ([ 'http', 1 ], [ 'https', 1 ])
    : ([ 'http', 1 ], [ 'http', 100 ], [ 'http', 1000 ], [ 'https', 1 ],
        [ 'https', 100 ]);
my (@rss, @cpu);
for my $round (1 .. $rounds) {
    for my $case (@cases) {
        my ($scheme, $n) = @$case;
        my $name = "$scheme.$n";

        my ($rate, $cpu) = bare($scheme, $n);
        best("bare.$name", $rate);
        best("bullmq.$name", bullmq($scheme, $n)) if $bullmq && $n < 1000;
        my ($ours, $rss, $own_cpu) = ours($scheme, $n);
        best("logged.$name", $ours);
        push @rss, $rss;
        push @cpu, [ $cpu, $own_cpu ] if $name eq 'http.1';
        ($ours) = ours($scheme, $n, is_logs_disabled => \1);
        best("nologs.$name", $ours);
    }

    next if quick();
    my ($ours) = ours('http', 100, trouble => 1);
    best('trouble.http.100', $ours);
}

for my $name (map { "$_->[0].$_->[1]" } @cases) {
    my $bare = $best{"bare.$name"};
    figure_line("dispatch.bare.$name", $bare, '/s');
    figure_line("dispatch.logged.$name", $best{"logged.$name"}, '/s', '>=0.5x',
        $best{"logged.$name"} / $bare);
    figure_line("dispatch.nologs.$name", $best{"nologs.$name"}, '/s',
        '>=0.7x', $best{"nologs.$name"} / $bare);

    next if !$best{"bullmq.$name"};
    figure_line("dispatch.bullmq.$name", $best{"bullmq.$name"}, '/s');
    figure_line("dispatch.to_bullmq.$name", $best{"logged.$name"}, '/s',
        '>=3x', $best{"logged.$name"} / $best{"bullmq.$name"});
}
figure_line('dispatch.trouble.http.100', $best{'trouble.http.100'}, '/s', undef,
    $best{'trouble.http.100'} / $best{'logged.http.100'})
    if $best{'trouble.http.100'};
if (@cpu) {
    figure_line('dispatch.cpu.bare', least(map { $_->[0] } @cpu), 'us');
    figure_line('dispatch.cpu.logged', least(map { $_->[1] } @cpu), 'us');
}
figure_line('dispatch.rss', (sort { $a <=> $b } @rss)[-1] / 1024, 'MB', '<=64');
