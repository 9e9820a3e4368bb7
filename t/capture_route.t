#!/usr/bin/perl

# One record a main request, whatever nginx does inside, with the decision and
# the settings of the location where it was taken.

use strict;
use warnings;

use lib 't/lib';
use IDash;
use IDash::Capture;
use Test::More;

my $up = IDash::Capture::api();
my $url = $up->url;

my $pair = IDash::Capture->new(
    http => 'log_subrequest on; map $arg_s $sampled { yes 1; off off; zero 0; }',
    server => <<"EOF_SERVER",
        root {{dir}}/www;
        capture_body_types *;
        location / { capture on; proxy_pass $url; }
        location = /marker { capture on; return 200; }
        location = /accel {
            capture on; capture_action 7;
            proxy_pass $url/raw;
            proxy_set_header X-Raw
                "HTTP/1.1 200 OK\\\\r\\\\nX-Accel-Redirect: /inside/a\\\\r\\\\nContent-Length: 0\\\\r\\\\n\\\\r\\\\n";
        }
        location /inside/ { internal; capture_action 8; capture on; proxy_pass $url/; }
        location = /fallback {
            capture on; capture_route fallback;
            proxy_intercept_errors on;
            error_page 500 502 = \@named;
            proxy_pass $url/status/500;
        }
        location \@named { return 203 "from the named location"; }
        location = /page {
            capture on;
            proxy_intercept_errors on;
            error_page 404 /page.html;
            proxy_pass $url/status/404;
        }
        location = /page.html { ssi on; }
        location /try/ { try_files \$uri \@try; }
        location \@try { capture on; proxy_pass $url; }
        location = /auth { capture on; auth_request /check; proxy_pass $url/echo; }
        location = /check { internal; capture on; proxy_pass_request_body off;
            proxy_set_header Content-Length ""; proxy_pass $url/status/200; }
        location = /denied { capture on; auth_request /no; proxy_pass $url/echo; }
        location = /no { internal; capture on; proxy_pass_request_body off;
            proxy_set_header Content-Length ""; proxy_pass $url/status/403; }
        location = /mirror { capture on; mirror /copy; proxy_pass $url/echo; }
        location = /copy { internal; capture on; proxy_pass $url/status/200; }
        location = /post_action { capture on; post_action /after; proxy_pass $url/echo; }
        location = /after { internal; capture on; proxy_pass $url/status/200; }
        location = /off { proxy_pass $url/echo; }
        location = /sampled { capture \$sampled; proxy_pass $url/echo; }
        location = /if { if (\$arg_i) { capture on; capture_action 9; return 200 if; } return 200 no; }
        location ~ ^/re/\\d+\$ { capture on; return 200 re; }
        location = /hook { capture on; capture_kind webhook; return 200; }
        location = /slow { capture on; capture_if \$fast \$slow; return 200; }
        set \$slow \$arg_slow;
        set \$fast \$arg_fast;
EOF_SERVER
);

write_file($_->dir . '/www/page.html', 'no such thing')
    for $pair->{on}, $pair->{off};

my ($res, $record) = $pair->exchange('accel',
    sub { $_[0]->post('/accel', 'asked') });
is($record->{uri}, '/accel', 'accel: uri as asked');
is($record->{request_body}, 'asked', 'accel: the body read before');
is($record->{response_body}, $res->{body}, 'accel: the body sent');
is($record->{action}, 7, 'accel: the location that decided');
like($record->{upstream_addr}, qr/^(\S+) : \1$/, 'accel: both upstreams');
is($record->{upstream_status}, '200 : 200', 'accel: both states');

($res, $record) = $pair->exchange('fallback',
    sub { $_[0]->post('/fallback', 'asked') });
is($record->{status}, 203, 'named: last status');
is($record->{method}, 'POST', 'named: method as sent');
is($record->{request_body}, 'asked', 'named: body');
is($record->{route}, 'fallback', 'named: route');
is($record->{response_body}, 'from the named location', 'named: response');
is($record->{upstream_status}, 500, 'named: the upstream that failed');

($res, $record) = $pair->exchange('page', sub { $_[0]->post('/page', 'x') });
is($record->{status}, 404, 'error_page: status');
is($record->{method}, 'POST', 'error_page: method as sent, not the GET');
is($record->{response_bytes}, length $res->{body}, 'error_page: one response');

($res, $record) = $pair->exchange('try', sub { $_[0]->get('/try/x') });
is($record->{route}, '@try', 'try_files: route');
is($record->{uri}, '/try/x', 'try_files: uri');

($res, $record) = $pair->exchange('auth', sub { $_[0]->post('/auth', 'x') });
is($record->{uri}, '/auth', 'auth_request: the main request');
is($record->{response_body}, 'x', 'auth_request: its body');
$pair->quiet('auth_request', '/marker');

($res, $record) = $pair->exchange('denied', sub { $_[0]->post('/denied', 'x') });
is($record->{status}, 403, 'auth_request denied: status');
is($record->{request_cut}, 'not_read', 'auth_request denied: body not read');
$pair->quiet('denied', '/marker');

($res, $record) = $pair->exchange('mirror', sub { $_[0]->post('/mirror', 'x') });
is($record->{uri}, '/mirror', 'mirror: the main request');
is($record->{request_body}, 'x', 'mirror: body');
$pair->quiet('mirror', '/marker');

($res, $record) = $pair->exchange('post_action',
    sub { $_[0]->post('/post_action', 'x') });
is($record->{uri}, '/post_action', 'post_action: uri');
is($record->{method}, 'POST', 'post_action: method');
is($record->{protocol}, 'HTTP/1.1', 'post_action: protocol');
is($record->{response_body}, 'x', 'post_action: body');
is($record->{complete}, 1, 'post_action: complete');
$pair->quiet('post_action', '/marker');

# what is not captured

for my $path ('/off', '/sampled', '/sampled?s=off', '/sampled?s=zero',
    '/if', '/slow', '/slow?slow=0', '/slow?fast=off')
{
    is($pair->text($pair->{on}->get($path)),
        $pair->text($pair->{off}->get($path)), "$path: client bytes");
}
$pair->quiet('off, sampled out, filtered', '/marker');

# and what is

($res, $record) = $pair->exchange('sampled', sub { $_[0]->get('/sampled?s=yes') });
is($record->{route}, '/sampled', 'sampled in');
($res, $record) = $pair->exchange('if', sub { $_[0]->get('/if?i=1') });
is($record->{action}, 9, 'if: its settings');
is($record->{route}, '/if', 'if: route of the location');
($res, $record) = $pair->exchange('regex', sub { $_[0]->get('/re/12') });
is($record->{route}, '^/re/\d+$', 'regex: route');
($res, $record) = $pair->exchange('webhook', sub { $_[0]->get('/hook') });
is($record->{kind}, 'webhook', 'kind');
($res, $record) = $pair->exchange('capture_if', sub { $_[0]->get('/slow?slow=1') });
is($record->{route}, '/slow', 'capture_if: one true variable is enough');

done_testing();
