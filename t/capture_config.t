#!/usr/bin/perl

# Wrong directives fail "nginx -t" with a line that says what to write; Redis
# being away does not.

use strict;
use warnings;

use lib 't/lib';
use IDash;
use IDash::Capture;
use Test::More;

my $dead = '127.0.0.1:' . free_port();
my $secret = write_file(test_dir() . '/empty', "\n");

sub bad {
    my ($text, $want, $place) = @_;

    my ($ok, $out) = IDash::Nginx->check(redis => $dead,
        ($place || 'server') => $text);

    ok(!$ok, "refused: $text");
    like($out, $want, "message: $text");
    like($out, qr{/conf:\d+}, "place: $text") if $out !~ /no "capture_redis"/;
    return;
}

bad('capture yes;', qr/must be "on", "off" or hold a \$variable/);
bad('capture on; capture on;', qr/is duplicate/);
bad('capture_if on;', qr/never changes, write a \$variable/);
bad('capture_kind egress;', qr/must be "api" or "webhook"/);
bad("capture_action $_;", qr/must be a number from 1 to/)
    for 0, -1, 'bill', '57x', 4294967296;
bad('capture_ref "a b" x;', qr/1 to 64 letters/);
bad('capture_ref ' . 'n' x 65 . ' x;', qr/1 to 64 letters/);
bad('capture_ref a x; capture_ref a y;', qr/duplicate name "a"/);
bad((join ' ', map { "capture_field f$_ x;" } 0 .. 32), qr/more than 32/);
bad('capture_request_body 2m;', qr/from 1 to 1048576 bytes/);
bad('capture_response_body on;', qr/write "capture_response_body 64k"/);
bad('capture_body_types json;', qr{write "application/json"});
bad('capture_body_types te*t/x;', qr{write "application/json"});
bad('capture_redact_args $arg;', qr/without \$variables/);
bad('capture_redis 127.0.0.1;', qr/not allowed here/);

bad("capture_redis $_;", qr/$dead|invalid|password|address|capture_redis/, 'http')
    for 'host:99999', '127.0.0.1/0', 'user=x', '127.0.0.1 db=x',
        '127.0.0.1 timeout=1ms', '127.0.0.1 retry=1', '127.0.0.1 user=me',
        '127.0.0.1 password_file=/nonexistent',
        "127.0.0.1 password_file=$secret";
bad("capture_buffer $_;", qr/capture_buffer|invalid size/, 'http')
    for '1k', '1m inprogress=x', '1m path=/nonexistent', '1m limit=2';
bad("capture_spool $_;", qr/capture_spool|invalid size|must not be over/, 'http')
    for 'x max=1k', 'x max=1m segment=2m', 'x full=both', 'off max=1g';
bad("capture_spool $_;", qr/must name a directory/, 'http') for '""', '/';
bad('capture_drain soon;', qr/such as "3s"/, 'http');

my ($ok, $out) = IDash::Nginx->check(server => 'capture on;',
    http => 'capture_buffer 1m;');
ok(!$ok, 'capture without capture_redis is refused');
like($out, qr/write "capture_redis 127\.0\.0\.1:6379;"/, 'and told what to write');

# what is right, with Redis away

($ok, $out) = IDash::Nginx->check(redis => "$dead localhost [::1]:6380 "
        . 'unix:/nowhere db=3 stream=other timeout=2s',
    http => 'capture_spool {{spool}} max=64m segment=1m full=drop_old;
        capture_drain 500ms;',
    server => 'capture $arg_c; capture_if $status $request_time;
        capture_action $arg_a; capture_key $http_x; capture_route "$uri";
        capture_body_types text/* *+json *; capture_redact_headers off;
        capture_redact_args off; location = /s { capture_status; }');
ok($ok, 'all directives') or diag $out;

# loaded, but with nothing to do

($ok, $out) = IDash::Nginx->check(server => 'return 200;');
ok($ok, 'loaded without a directive') or diag $out;

my $conf = test_dir() . '/none.conf';
write_file($conf, 'load_module ' . IDash::Nginx::module_path()
    . ";\npid " . test_dir() . "/pid;\nevents {}\n");
($ok, $out) = IDash::Nginx::test_conf("-e stderr -c $conf");
ok($ok, 'no http{}') or diag $out;

# one process (nginx itself cannot reload one)

my $redis = redis();
my $up = IDash::Capture::api();
my $one = nginx(redis => $redis, main => 'master_process off;',
    location => "capture on; proxy_pass @{[ $up->url ]};");
is($one->get('/status/200')->{status}, 200, 'one process: serves');
is(scalar $redis->wait_entries(1), 1, 'one process: records');
$one->stop;

# variables, in the access log too

my $vars = nginx(redis => $redis, http => 'log_format v "$uri $capture_state $capture_id";',
    server => "access_log {{dir}}/tmp/access v;
        set \$early \$capture_id;
        location / { capture on; proxy_set_header X-Id \$capture_id;
            proxy_set_header X-Early \$early;
            proxy_pass @{[ $up->url ]}; }
        location = /off { return 200 \$capture_state:\$capture_id; }
        location = /never { capture on; capture_if \$arg_x; return 200 \$capture_state; }
        location = /sampled { capture \$arg_x; return 200 \$capture_state; }
        location = /large { capture on; return 200 \$capture_state; }");
my $n = $redis->call('XLEN', 'idash:capture');
$vars->get('/x');
my $record = ($redis->wait_entries($n + 1))[-1][1];
my ($seen) = grep { /X-Id/ } $up->seen;
like($seen, qr/^X-Id: $record->{id}\r$/m, '$capture_id goes upstream');
like($seen, qr/^X-Early: $record->{id}\r$/m, 'and is the same before a location');
is($vars->get('/off')->{body}, 'off:', 'off: no id');
is($vars->get('/never')->{body}, 'pending', 'pending until the log phase');
$vars->get('/sampled');
$vars->stop;

my $log = read_file($vars->dir . '/tmp/access');
like($log, qr{^/x captured $record->{id}$}m, 'log: captured');
like($log, qr{^/off off -$}m, 'log: off');
like($log, qr{^/never filtered }m, 'log: filtered');
like($log, qr{^/sampled sampled_out -$}m, 'log: sampled out');

done_testing();
