# Storm 21: every answer that an endpoint can give, and every way of giving
# none.  Each has its own integration; one event goes to all of them; state,
# reason and next time of each must be those of the table.

use strict;
use warnings;

use lib 't/lib';
use IDash::Alone;
use IDash;
use IDash::TLS;
use IDash::Wait;
use Outbound;
use Test::More;

use constant HOUR => 3600;
use constant DAY => 86_400;

# next: nothing, the schedule with its jitter, or seconds from .. to
my @schedule = (HOUR, 1.2 * HOUR);

sub http_date {
    my ($s) = @_;

    my @t = gmtime $s;
    return sprintf '%s, %02d %s %d %02d:%02d:%02d GMT',
        (qw(Sun Mon Tue Wed Thu Fri Sat))[$t[6]], $t[3],
        (qw(Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec))[$t[4]],
        $t[5] + 1900, @t[2, 1, 0];
}

sub status { my ($n, @h) = @_; return { status => $n, headers => [ @h ] } }
sub bytes { my ($bytes) = @_; return sub { return $bytes } }
sub hang { sleep 30; return }

# A connection that is reset, not closed.
sub reset_it {
    my ($socket) = @_;

    setsockopt $socket, Socket::SOL_SOCKET(), Socket::SO_LINGER(),
        pack 'II', 1, 0;
    close $socket;
    return;
}

sub drip {
    my ($socket, $bytes) = @_;

    for (1 .. 100) {
        syswrite $socket, $bytes or return;
        Time::HiRes::sleep(0.2);
    }
    return;
}

# name, answer, state, reason, status, next; more of the integration
my @cases;

sub add {
    my ($name, $answer, $state, $code, $http, $next, %more) = @_;

    push @cases, { name => $name, answer => $answer, state => $state,
        code => $code, http => $http, next => $next, slow => delete $more{slow},
        more => \%more };
    return;
}

add("status $_", status($_), 'SUCCESS', undef, $_, undef)
    for 200, 201, 202, 203, 204, 205, 206, 226, 250, 299;
add("status $_", status($_, [ 'Location', 'http://127.0.0.1/' ]), 'RETRYING',
    'redirect', $_, \@schedule)
    for 300, 301, 302, 303, 304, 307, 308, 399;
add("status $_", status($_), 'RETRYING', 'http_4xx', $_, \@schedule)
    for 400, 401, 402, 403, 404, 405, 408, 409, 411, 413, 415, 418, 422, 425,
        451, 499;
add('status 410', status(410), 'FAIL', 'gone', 410, undef);
add("status $_", status($_), 'RETRYING', 'throttled', $_, \@schedule)
    for 429, 502, 503, 504;
add("status $_", status($_), 'RETRYING', 'http_5xx', $_, \@schedule)
    for 500, 501, 505, 507, 508, 511, 520, 599;
add("status $_", status($_), 'RETRYING', 'bad_reply', $_, \@schedule)
    for 600, 700, 999;

# Retry-After only ever delays
add("$_ after 2 h", status($_, [ 'Retry-After', 7200 ]), 'RETRYING',
    $_ == 500 ? 'http_5xx' : 'throttled', $_, [ 7199, 7202 ])
    for 429, 500, 502, 503, 504;
add('503 after 5 s', status(503, [ 'Retry-After', 5 ]), 'RETRYING',
    'throttled', 503, \@schedule);
add('503 after a date', status(503, [ 'Retry-After', http_date(time + 9000) ]),
    'RETRYING', 'throttled', 503, [ 8900, 9001 ]);
add('503 after a year', status(503, [ 'Retry-After', 365 * DAY ]), 'RETRYING',
    'throttled', 503, [ DAY - 2, DAY + 2 ]);
add('404 after 2 h', status(404, [ 'Retry-After', 7200 ]), 'RETRYING',
    'http_4xx', 404, \@schedule);

# interim answers, bodies that do not end well
add('100, then 200', bytes("HTTP/1.1 100 Continue\r\n\r\n"
    . "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), 'SUCCESS', undef, 200);
add('103, then 404', bytes("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    . "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"), 'RETRYING', 'http_4xx',
    404, \@schedule);
add('an upgrade', bytes("HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n"), 'RETRYING',
    'bad_reply', 101, \@schedule);
add("$_ with a short body", bytes("HTTP/1.1 $_ X\r\nContent-Length: 99\r\n"
    . "Retry-After: 7200\r\n\r\nshort"), $_ == 410 ? 'FAIL' : $_ == 200
    ? 'SUCCESS' : 'RETRYING', { 200 => undef, 410 => 'gone', 503 =>
    'throttled' }->{$_}, $_, $_ == 503 ? [ 7199, 7202 ] : undef)
    for 200, 410, 503;
for my $n (200, 500) {
    add("$n with a slow body", sub {
        my ($req, $socket) = @_;
        syswrite $socket, "HTTP/1.1 $n X\r\nContent-Length: 99\r\n\r\n";
        return drip($socket, 'x');
    }, $n == 200 ? 'SUCCESS' : 'RETRYING', $n == 200 ? undef : 'http_5xx', $n,
        $n == 200 ? undef : \@schedule, slow => 1);
}
add("$_ with a long body", { status => $_, body => 'x' x 100_000 },
    $_ == 200 ? 'SUCCESS' : 'RETRYING', $_ == 200 ? undef : 'http_5xx', $_,
    $_ == 200 ? undef : \@schedule) for 200, 500;
add('200 in bad chunks', bytes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked"
    . "\r\n\r\nzz\r\nx\r\n"), 'RETRYING', 'broken', 200, \@schedule);

# no answer
add('silence', sub { return hang() }, 'RETRYING', 'timeout', undef,
    \@schedule, slow => 1);
add('head by drops', sub {
    my ($req, $socket) = @_;
    syswrite $socket, "HTTP/1.1 200 OK\r\nX: ";
    return drip($socket, 'x');
}, 'RETRYING', 'timeout', undef, \@schedule, slow => 1);
add('closed', sub { return }, 'RETRYING', 'broken', undef, \@schedule);
add('reset', sub { return reset_it($_[1]) }, 'RETRYING', 'broken', undef,
    \@schedule);
add('half a head', bytes("HTTP/1.1 200 OK\r\nX-Half: "), 'RETRYING', 'broken',
    undef, \@schedule);
add('garbage', bytes("\x00\x01\x02hello, no HTTP at all\r\n"), 'RETRYING',
    'bad_reply', undef, \@schedule);
add('HTTP/0.9', bytes('<html>old</html>'), 'RETRYING', 'bad_reply', undef,
    \@schedule);
add('head of 400 KB', sub {
    my ($req, $socket) = @_;
    IDash::Peer::send_all($socket, "HTTP/1.1 200 OK\r\n"
        . join '', map { "X-$_: " . 'x' x 4000 . "\r\n" } 1 .. 100);
    return;
}, 'RETRYING', 'broken', undef, \@schedule);
add('one attempt only', status(500), 'FAIL', 'exhausted', 500, undef,
    is_auto_retry => \0);

# tokens
my $oauth = IDash::Peer->upstream(sub {
    my ($req) = @_;
    return { status => 500 } if $req->{uri} =~ /fail/;
    return { body => '{"token":"of another kind"}' } if $req->{uri} =~ /odd/;
    return { body => '{"access_token":"T0K","expires_in":60}' };
});
my @oauth = (auth => 'oauth2', auth_user => 'u', auth_secret => 's');
add('a token that is refused', status(401), 'RETRYING', 'auth', 401,
    \@schedule, @oauth, token_url => $oauth->url . '/token');
add('no token', status(200), 'RETRYING', 'auth', undef, \@schedule, @oauth,
    token_url => $oauth->url . '/fail');
add('a token that is none', status(200), 'RETRYING', 'auth', undef,
    \@schedule, @oauth, token_url => $oauth->url . '/odd');

my $peer = IDash::Peer->upstream(sub {
    my ($req, $socket, $n) = @_;
    my ($at) = $req->{uri} =~ m{^/c/(\d+)} or return { status => 404 };
    my $answer = $cases[$at]{answer};

    return ref $answer eq 'CODE' ? $answer->($req, $socket, $n)
        : { keep => 0, %$answer };
});

# no connection, no name, no TLS that holds, a proxy that refuses
sub at_url {
    my ($name, $url, @rest) = @_;

    my ($state, $code, $http, $next, %more) = @rest;
    add($name, undef, $state, $code, $http, $next, url => $url, %more);
    return;
}

my $closed = free_port();
my $deaf = IDash::Peer->black_hole;
my @fill = map { connect_to($deaf->port) } 1 .. 3;
at_url('refused', "http://127.0.0.1:$closed/", 'RETRYING', 'connect', undef,
    \@schedule);
at_url('no connection', $deaf->url . '/', 'RETRYING', 'timeout', undef,
    \@schedule);
at_url('no such name', "http://none.example:$closed/", 'RETRYING', 'dns',
    undef, \@schedule);
at_url('a private address', "http://10.0.0.1:$closed/", 'FAIL',
    'address_refused', undef, undef);
at_url('a name of one', "http://private.example:$closed/", 'RETRYING',
    'address_refused', undef, \@schedule);

my $answers = sub {
    my ($socket) = @_;
    my $in = IDash::Peer::Reader->new($socket);
    $in->request or return;
    print $socket "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
        . "Connection: close\r\n\r\n";
};
my %tls = map { $_ => IDash::TLS::peer($_, $answers) }
    qw(good expired other self);
$tls{old} = IDash::TLS::peer('good', $answers, version => 'TLSv1');
$tls{mutual} = IDash::TLS::peer('good', $answers, client => 1,
    version => 'TLSv1_2');
my @ca = (ca_cert => IDash::TLS::pem('ca.pem'));
my $https = sub { return 'https://127.0.0.1:' . $tls{ $_[0] }->port . '/' };

at_url('TLS', $https->('good'), 'SUCCESS', undef, 200, undef, @ca);
at_url('an unknown CA', $https->('good'), 'RETRYING', 'tls_verify', undef,
    \@schedule);
at_url("$_ certificate", $https->($_), 'RETRYING', 'tls_verify', undef,
    \@schedule, @ca) for qw(expired other self);
at_url('TLS 1.0', $https->('old'), 'RETRYING', 'tls', undef, \@schedule, @ca);
my $plain = IDash::Peer->start(sub { print { $_[0] } "HTTP/1.1 400 Bad\r\n\r\n" });
at_url('TLS to plain HTTP', 'https://127.0.0.1:' . $plain->port . '/',
    'RETRYING', 'tls', undef, \@schedule, @ca);
at_url('plain HTTP to TLS', 'http://127.0.0.1:' . $tls{good}->port . '/',
    'RETRYING', 'broken', undef, \@schedule);
at_url('mutual TLS without ours', $https->('mutual'), 'RETRYING', 'tls',
    undef, \@schedule, @ca);
at_url('mutual TLS', $https->('mutual'), 'SUCCESS', undef, 200, undef, @ca,
    client_cert => IDash::TLS::pem('client.pem'),
    client_key => IDash::TLS::pem('client.key'));
at_url('a certificate of ours that is none', $https->('mutual'), 'RETRYING',
    'own_cert', undef, \@schedule, @ca,
    client_cert => "-----BEGIN CERTIFICATE-----\nxx\n-----END CERTIFICATE-----",
    client_key => IDash::TLS::pem('client.key'));
at_url('a CA of ours that is none', $https->('good'), 'RETRYING', 'own_cert',
    undef, \@schedule, ca_cert => "-----BEGIN CERTIFICATE-----\nxx\n"
    . '-----END CERTIFICATE-----');

my $refuses = IDash::Peer->upstream(sub { return { status => 407 } });
at_url('a proxy that is away', $https->('good'), 'RETRYING', 'proxy', undef,
    \@schedule, @ca, proxy => "http://127.0.0.1:$closed");
at_url('a proxy without a name', $https->('good'), 'RETRYING', 'proxy', undef,
    \@schedule, @ca, proxy => 'http://none.example:3128');
at_url('a proxy that refuses', $https->('good'), 'RETRYING', 'proxy', undef,
    \@schedule, @ca, proxy => $refuses->url);

# -- the run ---------------------------------------------------------------

IDash::Alone::names(sub {
    my ($name, $type) = @_;
    return $name eq 'private.example'
        ? $type eq 'any' ? 1 : $type eq 'A' ? '10.0.0.1' : () : ();
});

my $o = Outbound->new(conf => { outbound_ports => join ',', $closed,
    map { $_->port } $peer, $plain, $deaf, $refuses, $oauth, values %tls });

for my $i (0 .. $#cases) {
    my $c = $cases[$i];

    $o->integration(nowait => 1, name => $c->{name}, schedule => '1h',
        url => $peer->url . "/c/$i", timeout_ms => $c->{slow} ? 6000 : 30_000,
        connect_timeout_ms => $c->{name} eq 'no connection' ? 700 : 20_000, %{ $c->{more} });
}

Time::HiRes::sleep(1.5);
my @ids = $o->event;
is(scalar @ids, scalar @cases, 'the event goes to every one');

my %log = $o->tried(60, @ids);
is(scalar keys %log, scalar @ids, 'every one has come to something');

my %by_name = map { $_->{endpoint} => $_ } values %log;
my $wrong = 0;

for my $c (@cases) {
    my $log = $by_name{ $c->{name} };
    my ($try) = $log ? $o->attempts_of($log->{_id}) : ();
    my @faults = $try ? judge($c, $log, $try) : 'no attempt';

    ok(!@faults, $c->{name}) or diag "$c->{name}: @faults";
    $wrong++ if @faults;
}

sub judge {
    my ($c, $log, $try) = @_;
    my @faults;

    my $same = sub {
        my ($what, $got, $want) = @_;
        push @faults, "$what is " . ($got // 'none') . ', not '
            . ($want // 'none') if ($got // '') ne ($want // '');
    };

    $same->('state', $log->{status}, $c->{state});
    $same->('reason', $log->{error}{code}, $c->{code});
    $same->('status', $log->{response}{status}, $c->{http});
    $same->('attempts', $log->{attempts}, 1);

    if (!$c->{next}) {
        $same->('next', $log->{next_attempt_at}, undef);
        return @faults;
    }
    return (@faults, 'no next time') if !defined $log->{next_attempt_at};

    my $in = Outbound::wait_after($try);
    push @faults, sprintf 'next in %.1f s, not %d to %d', $in, @{ $c->{next} }
        if $in < $c->{next}[0] - 0.1 || $in > $c->{next}[1] + 2;
    return @faults;
}

figure('r21.cases', scalar @cases);
figure('r21.wrong', $wrong);
figure('r21.lost', scalar(@ids) - keys %log);
my %hits;
$hits{$_}++ for map { /webhook-id: (\S+)/i ? $1 : () } $peer->seen;
figure('r21.dup', scalar grep { $_ > 1 } values %hits);
cmp_ok(scalar @cases, '>=', 40, 'enough cases');

done_testing();
