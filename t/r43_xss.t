# Hostile data in every place that the page shows: nothing runs, nothing violates
# the policy, and what is shown is the text.

use strict;
use warnings;

use lib 't/lib';
use IDash;
use IDash::Wait;
use IDash::Web;
use Test::More;

IDash::Web::needed();

my $web = IDash::Web->start;
my $api = $web->api;

# -- 200 payloads: what a parser of markup, URLs, styles or templates might run --

my @core = ('<script>X</script>', '<img src=x onerror=X>', '<svg onload=X>',
    '"><script>X</script>', "'><img src=x onerror=X>", '<iframe srcdoc="<script>X</script>">',
    '<body onload=X>', '<details open ontoggle=X>', '<math><mtext><img src=x onerror=X>',
    'javascript:X', '<a href="javascript:X">x</a>', '</title><script>X</script>',
    '</script><script>X</script>', '<style>@import "javascript:X"</style>',
    '{{constructor.constructor("X")()}}', '${X}', '<input autofocus onfocus=X>',
    '<object data="data:text/html,<script>X</script>">', '<link rel=stylesheet href=//e.x/>',
    '<meta http-equiv=refresh content="0;url=javascript:X">');
my @wrap = (sub { $_[0] }, sub { uc $_[0] =~ s/X/X/r }, sub { "a\x{202e}$_[0]\x{202c}" },
    sub { "\x{200b}$_[0]\x{feff}" }, sub { join '', map { "$_\x01" } $_[0] },
    sub { "<!--$_[0]-->" . $_[0] }, sub { $_[0] =~ s/</\x{ff1c}/gr . $_[0] },
    sub { "x\n$_[0]\ty" }, sub { "]]>$_[0]" }, sub { $_[0] . 'A' x 4000 });
my @payloads;
for my $wrap (@wrap) {
    for my $core (@core) {
        my $n = @payloads;
        push @payloads, $wrap->($core =~ s/X/window.__ran=(window.__ran||0)+1/gr);
    }
}
is(scalar @payloads, 200, '200 payloads');

my $now = int(time * 1_000_000);
my $n = 0;
for my $p (@payloads) {
    my $bytes = $p;
    utf8::encode($bytes);
    my $line = $bytes =~ s/[\r\n\0]/ /gr;
    my $url = $line =~ s/([^A-Za-z0-9<>"'()=:;.\/-])/sprintf '%%%02X', ord $1/ger;
    $api->record(us => $now - ++$n * 10_000, status => $n % 2 ? 500 : 201,
        route => substr($line, 0, 200), uri => '/p?lab=11&x=' . substr($url, 0, 900),
        host => substr($line, 0, 200), method => 'POST',
        'ref.bill_id' => substr($line, 0, 120), 'field.note' => substr($line, 0, 400),
        request_headers => "X-Evil: $line\r\nContent-Type: text/html\r\n",
        response_headers => "Content-Type: image/svg+xml\r\nX-Evil: $line\r\n",
        request_body => $bytes, response_body => "{\"a\":\"$line\"}",
        request_bytes => length $bytes, response_bytes => length $bytes);
}
# and some that are no text, or far too deep
$api->record(us => $now, request_body => join('', map { chr } 0 .. 255),
    response_body => '[' x 20_000, request_bytes => 256, response_bytes => 20_000,
    'ref.bill_id' => 'odd');
wait_for(sub {
    my $r = $api->get('/system')->{json};
    return $r->{store}{logs} + ($r->{store}{dead_letters} || 0) >= 201;
}) or diag 'not all are stored';
my $stored = $api->get('/system')->{json}{store}{logs};
cmp_ok($stored, '>=', 150, 'most of them are logs') or diag "$stored";

for my $p (@payloads[0 .. 9]) {
    $api->call('POST', '/developers', json => { name => substr($p, 0, 100), org_id => 3 });
    $api->call('POST', '/views', json => { name => substr($p, 0, 80), query => '/logs/api' });
    $api->call('POST', '/integrations', json => { name => substr($p, 0, 100), org_id => 3,
        lab_id => 11, action_id => 1, url => 'https://example.org/x' });
}

$web->drive('xss');
done_testing();
