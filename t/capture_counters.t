#!/usr/bin/perl

# capture_status: what every request became, at every moment, over reloads.

use strict;
use warnings;

use lib 't/lib';
use IDash;
use IDash::Capture;
use Test::More;

my $up = IDash::Capture::api();
my $redis = redis();
my $nginx = nginx(redis => $redis, workers => 2,
    server => <<"EOF_SERVER",
        location / { capture on; capture_response_body 10;
            proxy_pass @{[ $up->url ]}; }
        location = /sampled { capture \$arg_c; return 200; }
        location = /filtered { capture on; capture_if \$arg_c; return 200; }
        location = /none { return 200; }
        location = /capture_status { capture_status; }
EOF_SERVER
);

my @reasons = qw(ring memory spool_full encode poison exit);

sub settled {
    my ($n) = @_;

    my $status;
    wait_for(sub {
        $status = $nginx->status;
        $status->{captured} >= $n && !$status->{queued};
    });
    return $status;
}

sub holds {
    my ($status, $name) = @_;

    is($status->{captured}, $status->{acked} + $status->{queued}
        + $status->{spooled} + $status->{dropped}, "$name: the sum holds");

    my $dropped = 0;
    $dropped += $status->{drops}{$_} for @reasons;
    is($status->{dropped}, $dropped, "$name: dropped is split by reason");
    return;
}

my $zero = $nginx->status;
is($zero->{captured}, 0, 'nothing yet');
is_deeply([ sort keys %{ $zero->{drops} } ], [ sort @reasons ], 'reasons');

$nginx->get('/size/8') for 1 .. 3;
$nginx->get('/size/30') for 1 .. 4;
$nginx->get('/sampled') for 1 .. 2;
$nginx->get('/filtered') for 1 .. 5;
$nginx->post('/filtered?c=1', 'unread');
$nginx->get('/none');

my $status = settled(8);
holds($status, 'requests');
is($status->{captured}, 8, 'captured');
is($status->{acked}, 8, 'acked');
is($status->{seen}, 15, 'seen');
is($status->{sampled_out}, 2, 'sampled out');
is($status->{filtered}, 5, 'filtered');
is($status->{response_cut}, 4, 'response cut');
is($status->{request_cut}, 1, 'request cut');
is($redis->call('XLEN', 'idash:capture'), 8, 'records in Redis');

# Prometheus says the same

my $text = $nginx->get('/capture_status?format=prometheus');
like(scalar IDash::HTTP::header($text, 'Content-Type'), qr{^text/plain},
    'prometheus: type');
like($text->{body}, qr/^nginx_capture_captured_total 8$/m, 'prometheus: number');
like($text->{body}, qr/^nginx_capture_dropped_total\{reason="ring"\} 0$/m,
    'prometheus: reasons');
is(scalar(grep { !/^(#|nginx_capture_\w+(\{reason="\w+"\})? [\d.]+$)/ }
    split /\n/, $text->{body}), 0, 'prometheus: each line has the form');

is($nginx->get('/capture_status?format=xml')->{status}, 400, 'unknown format');
is($nginx->post('/capture_status', '')->{status}, 405, 'not a GET');
is(IDash::HTTP::request($nginx->addr, 'HEAD', '/capture_status')->{status},
    200, 'HEAD');

# a reload keeps what was counted

$nginx->reload;
$nginx->get('/size/8') for 1 .. 2;
$status = settled(10);
holds($status, 'reload');
is($status->{captured}, 10, 'reload: goes on counting');
is($status->{seen}, 17, 'reload: so does seen');

# at every moment, Redis stopped and back

$redis->freeze;
for my $n (1 .. 40) {
    $nginx->get('/size/8');
    holds($nginx->status, "frozen $n") if $n % 8 == 0;
}
# the last answer may be here before its request has ended there
wait_for(sub { ($status = $nginx->status)->{captured} >= 50 });
is($status->{captured}, 50, 'frozen: captured');
cmp_ok($status->{queued}, '>', 0, 'frozen: queued');

$redis->thaw;
$status = settled(50);
holds($status, 'thawed');
is($status->{acked}, 50, 'thawed: all arrived');

my %ids = map { $_->[1]{id} => 1 } $redis->entries('idash:capture');
is(scalar keys %ids, 50, 'thawed: each record is there');

# a ring that is full drops, and says so once a second

$nginx->stop;
my $small = nginx(redis => $redis, http => 'capture_buffer 64k path={{ring}};',
    server => "location / { capture on; proxy_pass @{[ $up->url ]}; }
        location = /capture_status { capture_status; }");
$nginx = $small;
$redis->freeze;
is($small->get('/size/8000')->{status}, 200, 'full: traffic goes on') for 1 .. 20;
$status = $small->status;
holds($status, 'full');
cmp_ok($status->{drops}{ring}, '>', 0, 'full: reason');
ok(wait_for(sub { $small->log_text =~ /\d+ records dropped: ring/ }),
    'full: a line in the log');
$redis->thaw;

done_testing();
