# r40: refused keys tell nothing.  Unknown, wrong, revoked, expired, malformed:
# one answer, byte for byte, by key and by session; what each costs is counted in
# t/unit/auth.c.  Too many failures hold their address alone.

use strict;
use warnings;

use lib 't/lib';
use ApiTest;
use IDash;
use Test::More;

my $api = api();

# A call from an address; its status, headers and body without what differs from
# one call to the next.
sub answer {
    my ($ip, @headers) = @_;

    my $r = $api->d->get('/api/v1/logs?limit=1', headers =>
        [ [ 'X-Real-IP', $ip ], @headers ]);
    my ($id) = http_header($r, 'X-Request-Id');
    my $text = join "\n", $r->{status},
        map { "$_->[0]: $_->[1]" } grep { $_->[0] !~ /^Date$/i } @{ $r->{headers} };
    $text .= "\n\n$r->{body}";
    $text =~ s/\Q$id\E/ID/g;
    return wantarray ? ($text, $r) : $text;
}

sub bearer { return [ 'Authorization', "Bearer $_[0]" ] }

my $good = $api->key('viewer', 3);
my ($revoked, $expired) = map { $api->key('viewer', 3) } 1, 2;
my %id = map { $_ => /^idash_(\w{8})_/ } $revoked, $expired;
my $session = login($good);
my $old = login($revoked);
my ($status, $out) = $api->d->command('key', 'revoke', $id{$revoked});
is($status, 0, 'one is revoked') or diag $out;

# a key cannot be made in the past: its document is changed
my ($file) = $api->d->store =~ /^sqlite:(.*)/;
system 'sqlite3', $file, '.timeout 5000', 'UPDATE api_key SET body = CAST('
    . "json_set(CAST(body AS TEXT), '\$.expires_at', '2026-01-01T00:00:00.000Z')"
    . " AS BLOB) WHERE id = CAST('$id{$expired}' AS BLOB)";

my $wrong = $good;
$wrong =~ s/(.)$/$1 eq 'a' ? 'b' : 'a'/e;
my $near = $good;
$near =~ s/^(idash_\w{8}_)(.)/$1 . ($2 eq 'a' ? 'b' : 'a')/e;

my @refused = (
    [ 'an unknown id', bearer('idash_aaaaaaaa_' . 'a' x 43) ],
    [ 'another unknown id', bearer('idash_zzzzzzzz_' . 'Z' x 43) ],
    [ 'a wrong secret', bearer($wrong) ],
    [ 'one wrong in its first character', bearer($near) ],
    [ 'a revoked key', bearer($revoked) ],
    [ 'an expired key', bearer($expired) ],
    [ 'one that is too short', bearer(substr $good, 0, -1) ],
    [ 'one that is too long', bearer($good . 'a') ],
    [ 'one of other characters', bearer('idash_aaaaaaaa_' . '-' x 43) ],
    [ 'no key of ours', bearer('x') ],
    [ 'another scheme', [ 'Authorization', 'Basic eDp5' ] ],
    [ 'a scheme alone', [ 'Authorization', 'Bearer' ] ],
    [ 'an empty header', [ 'Authorization', '' ] ],
    [ 'a wrong session', [ 'Cookie', 'idash=' . broken($session) ] ],
    [ 'a session of a revoked key', [ 'Cookie', "idash=$old" ] ],
    [ 'a session that is none', [ 'Cookie', 'idash=v1.x' ] ],
    [ 'no key at all' ],
);

my $n = 0;
my ($want, $r) = answer('198.51.100.1', bearer('idash_nobody'));
is($r->{status}, 401, 'a refusal');
like(http_header($r, 'WWW-Authenticate'), qr/^Bearer/, 'says what is wanted');
unlike($want, qr/revoked|expired|unknown|disabled/i, 'and not why');

for my $case (@refused) {
    my ($name, @headers) = @$case;

    # each from an address of its own
    is(scalar answer('203.0.113.' . ++$n, @headers), $want, $name);
}
is((answer('203.0.113.200', bearer($good)))[1]{status}, 200, 'a right one');
is((answer('203.0.113.200', [ 'Cookie', "idash=$session" ]))[1]{status}, 200,
    'and its session');

# -- too many ----------------------------------------------------------------

for my $how ([ 'keys', sub { bearer('idash_aaaaaaaa_' . 'a' x 43) } ],
    [ 'sessions', sub { [ 'Cookie', 'idash=' . broken($session) ] } ])
{
    my ($name, $header) = @$how;
    my $bad = '198.51.100.' . ($name eq 'keys' ? 7 : 8);
    my ($tries, $last) = (0);

    # a minute may end meanwhile: then it takes as many again
    do {
        $last = (answer($bad, $header->()))[1];
    } while (++$tries <= 20 && $last->{status} == 401);

    is($last->{status}, 429, "$name: too many from one address");
    ok($tries > 10, "after $tries tries");
    like(http_header($last, 'Retry-After'), qr/^[1-9]\d*$/, 'with a time');
    is((answer($bad, bearer($good)))[1]{status}, 200,
        'a right key from there still works: nobody locks out his neighbours');
    is((answer('198.51.100.99', bearer($good)))[1]{status}, 200,
        'as one from elsewhere');
    is((answer('198.51.100.99', bearer('idash_x')))[1]{status}, 401,
        'where failures are not yet too many');
}

# no guess: neither counts
is((answer('198.51.100.30'))[1]{status}, 401, 'no key') for 1 .. 25;
is((answer('198.51.100.31', [ 'Cookie', "idash=$old" ]))[1]{status}, 401,
    'an old session') for 1 .. 25;

# -- nothing of a key in log or store ----------------------------------------

my $log = $api->d->log_text;
for my $key ($good, $revoked, $expired, $wrong) {
    my $secret = substr $key, 15;
    is(index($log, $secret), -1, 'a key is not in the log');
}
unlike(read_file($file), qr/\Q@{[ substr $good, 15 ]}\E/, 'nor in the store');

done_testing();

sub login {
    my ($key) = @_;

    my $r = $api->d->call('POST', '/api/v1/login', key => $key);
    return (http_header($r, 'Set-Cookie') =~ /^idash=([^;]+)/)[0];
}

sub broken {
    my ($text) = @_;

    $text =~ s/(.)$/$1 eq '0' ? '1' : '0'/e;
    return $text;
}
