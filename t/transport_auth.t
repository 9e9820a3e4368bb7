# Who we are to an endpoint, and who it is to us: basic, bearer, OAuth2 client
# credentials with a token that is kept, renewed and waited for, certificates
# of ours and of theirs; methods, and HTTP/2 of a real server.

use strict;
use warnings;

use MIME::Base64;
use Test::More;
use Time::HiRes qw(sleep);

use lib 't/lib';
use IDash;
use IDash::TLS;
use IDash::Wait;
use Outbound;

my $dir = IDash::Process::dir('auth');

# How often CODE's event NAME was; over processes.
sub times_of { return -s "$dir/$_[0]" || 0 }
sub once_more { append_file("$dir/$_[0]", 'x'); return times_of($_[0]) }
sub say_to { my ($name, $text) = @_; write_file("$dir/$name.new", $text);
    rename "$dir/$name.new", "$dir/$name"; return }
sub told { my $file = "$dir/$_[0]"; return -e $file ? read_file($file) : '' }

# -- the peers ---------------------------------------------------------------

# Gives tokens T1, T2, ..; "mode" tells how.
my $tokens = IDash::Peer->upstream(sub {
    my ($req, $socket) = @_;
    my ($name) = $req->{uri} =~ m{^/(\w+)};
    my $mode = told("$name.mode");

    return { status => 503, keep => 0 } if $mode eq 'down';
    return undef if $mode eq 'cut';
    sleep 2 if $mode eq 'slow';
    my $n = once_more("$name.tokens");
    return { body => to_json({ access_token => "$name-$n",
        token_type => 'Bearer', expires_in => $name eq 'short' ? 2 : 3600 }) };
});

# /old/..: each call with the first token is refused, one after the other.
my $hook = IDash::Peer->upstream(sub {
    my ($req, $socket) = @_;

    if ($req->{uri} =~ m{^/old} && $req->{raw} =~ /Bearer old-1\r/
        && told('old.refuses'))
    {
        my $n = once_more('old.calls');
        wait_for(sub { times_of('old.calls') >= 4 });
        sleep 0.4 * $n;
        return { status => 401 };
    }
    sleep 2 if $req->{uri} =~ m{^/slow};
    return { body => '{}' };
}, backlog => 256);

my $answers = sub {
    my ($socket, $peer) = @_;
    my $in = IDash::Peer::Reader->new($socket);
    my $req = $in->request or return;
    $peer->note($req->{raw});
    print $socket "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
        . "Connection: close\r\n\r\n";
};
my %tls = (
    good => IDash::TLS::peer('good', $answers),
    mutual => IDash::TLS::peer('good', $answers, client => 1,
        version => 'TLSv1_2'),
);

# HTTP/2 as nginx speaks it; what it was asked in goes to the receiver
my $h2 = nginx(module => 0, listen => 'ssl http2', server => join("\n",
    'ssl_certificate ' . IDash::TLS::path('good.pem') . ';',
    'ssl_certificate_key ' . IDash::TLS::path('good.key') . ';'),
    location => 'proxy_pass ' . $hook->url . ';'
        . ' proxy_set_header X-Protocol $server_protocol;'
        . ' proxy_set_header X-Connection $connection;');

my $o = Outbound->new(ports => [ $h2->{port}, map { $_->port } $tokens, $hook,
    values %tls ]);
my $action = 0;

# An integration of an action of its own, and what an event of it comes to.
my @actions = (1 .. 4, 20 .. 24, 40 .. 43, 57 .. 59);
sub make {
    my (%f) = @_;
    return $o->integration(action_id => $actions[$action++], %f);
}

sub send_to {
    my ($i, %f) = @_;
    return $o->event(action_id => $i->{action_id}, %f);
}

sub at_hook { my ($path) = @_; return grep { m{^\w+ $path[ ?]} } $hook->seen }

# -- basic, bearer -------------------------------------------------------------

{
    my $secret = "p:w\x{fc} \"x";
    my $i = make(url => $hook->url . '/basic', auth => 'basic',
        auth_user => 'partner', auth_secret => $secret);
    is($o->until_status(send_to($i), 'SUCCESS')->{status}, 'SUCCESS', 'basic');
    my ($raw) = at_hook('/basic');
    my ($got) = $raw =~ /^Authorization: Basic (\S+)\r/m;
    utf8::encode(my $want = "partner:$secret");
    is(decode_base64($got // ''), $want, 'user and password as they are');

    $i = make(url => $hook->url . '/bearer', auth => 'bearer',
        auth_secret => 'static-token');
    $o->until_status(send_to($i), 'SUCCESS');
    ($raw) = at_hook('/bearer');
    like($raw, qr/^Authorization: Bearer static-token\r/m, 'bearer');

    $i = make(url => $hook->url . '/header', auth => 'header',
        auth_user => 'X-Partner-Key', auth_secret => 'static-value');
    $o->until_status(send_to($i), 'SUCCESS');
    ($raw) = at_hook('/header');
    like($raw, qr/^X-Partner-Key: static-value\r/m, 'a header of their own');
    unlike(to_json($o->api_of->get("/integrations/$i->{id}")->{json}),
        qr/static-value/, 'whose value is not shown');

    my $log = to_json($o->api_of->get('/logs?limit=50')->{json});
    unlike($log, qr/static-token|static-value/, 'and no log shows a secret');

    for (undef, 'Host', "X:\r\nY", 'webhook-id') {
        my $r = $o->post('/integrations', { name => 'odd', org_id => 3,
            lab_id => 11, action_id => 1, url => $hook->url . '/',
            allow_http => \1, auth => 'header', auth_secret => 's',
            defined ? (auth_user => $_) : () });
        is($r->{status}, 422, 'no header to sign in by: ' . to_json([ $_ ]));
        is($r->{json}{errors}[0]{pointer}, '#/auth_user', 'says which field');
    }
}

# -- OAuth2 ------------------------------------------------------------------

sub oauth2 {
    my ($name, %f) = @_;
    return (url => $hook->url . "/$name", auth => 'oauth2',
        auth_user => 'cl&ient', auth_secret => 's=1', scope => 'a b',
        token_url => $tokens->url . "/$name", %f);
}

{
    my $i = make(oauth2('kept'));
    my @ids = map { send_to($i) } 1 .. 6;
    $o->until_status($_, 'SUCCESS') for @ids;
    is(times_of('kept.tokens'), 1, 'one token for six deliveries');
    is(scalar(grep { /^Authorization: Bearer kept-1\r/m } at_hook('/kept')), 6,
        'which all of them carry');
    my ($ask) = grep { m{^POST /kept } } $tokens->seen;
    like($ask, qr/\r\n\r\ngrant_type=client_credentials&client_id=cl%26ient
        &client_secret=s%3D1&scope=a%20b$/x, 'asked for as RFC 6749 says');

    $i = make(oauth2('short'));
    $o->until_status(send_to($i), 'SUCCESS');
    sleep 2.1;
    $o->until_status(send_to($i), 'SUCCESS');
    is_deeply([ map { /Bearer (short-\d)\r/ } at_hook('/short') ],
        [ 'short-1', 'short-2' ], 'a token that is over is renewed');
}

{
    my $i = make(oauth2('old'), concurrency => 10);
    $o->until_status(send_to($i), 'SUCCESS');
    say_to('old.refuses', 1);
    my @ids = map { send_to($i) } 1 .. 4;
    my @logs = map { $o->until_status($_, 'SUCCESS') } @ids;
    is(scalar(grep { $_->{status} eq 'SUCCESS' && $_->{attempts} == 1 } @logs),
        4, 'refused with 401: sent with a new token in the same attempt');
    is(times_of('old.tokens'), 2, 'one new token for all that were refused');
    my %ids;
    $ids{$_}++ for map { /^webhook-id: (\S+)/m } at_hook('/old');
    is_deeply([ sort values %ids ], [ 1, 2, 2, 2, 2 ],
        'by the same webhook-id');
}

for my $mode ('down', 'cut') {
    say_to("$mode.mode", $mode);
    my $i = make(oauth2($mode), schedule => '1s,1s,1s,1s,1s,1s,1s,1s');
    my ($id) = send_to($i);
    my $log = $o->until_status($id, 'RETRYING');
    is($log->{error}{code}, 'auth', "token endpoint is $mode: tried again");
    like($log->{error}{message}, qr/no token/, 'and says why');
    is(scalar(() = at_hook("/$mode")), 0, 'nothing was sent without one');
    say_to("$mode.mode", 'up');
    is($o->until_status($id, 'SUCCESS')->{status}, 'SUCCESS', 'not lost');
    is(scalar(() = at_hook("/$mode")), 1, 'and sent once');
}

# the deadline is that of the attempt, not of each of its requests
{
    say_to('slow.mode', 'slow');
    my $i = make(oauth2('slow', timeout_ms => 3000, schedule => '1h'));
    my ($id) = send_to($i);
    $o->until_status($id, 'RETRYING');
    my ($try) = $o->attempts_of($id);
    is($try->{error}{code}, 'timeout', 'token and call share the total time')
        or diag to_json($try);
    is(scalar(() = at_hook('/slow')), 1, 'though the call was begun');
}

# -- TLS ---------------------------------------------------------------------

{
    my %pem = map { $_ => IDash::TLS::pem($_) } qw(ca.pem self.pem self.key
        client.pem client.key);
    my @ca = (ca_cert => $pem{'ca.pem'});
    my $to = sub { return (url => 'https://127.0.0.1:' . $tls{$_[0]}->port
        . "/$_[1]", schedule => '1h', name => $_[1]) };
    my $one = $actions[$action++];
    $o->integration(nowait => 1, action_id => $one, @$_) for
        [ $to->('good', 'our-CA'), @ca ],
        [ $to->('good', 'another-CA'), ca_cert => $pem{'self.pem'} ],
        [ $to->('good', 'no-CA') ],
        [ $to->('mutual', 'our-certificate'), @ca,
            client_cert => $pem{'client.pem'},
            client_key => $pem{'client.key'} ],
        [ $to->('mutual', 'no-certificate'), @ca ],
        [ $to->('mutual', 'a-strange-certificate'), @ca,
            client_cert => $pem{'self.pem'}, client_key => $pem{'self.key'} ];
    sleep 1.3;
    my %log = map { $_->{endpoint} => $_ } values %{ { $o->tried(60,
        $o->event(action_id => $one)) } };
    is_deeply({ map { $_ => "$log{$_}{status} "
            . ($log{$_}{error}{code} // '') } keys %log },
        { 'our-CA' => 'SUCCESS ', 'another-CA' => 'RETRYING tls_verify',
          'no-CA' => 'RETRYING tls_verify', 'our-certificate' => 'SUCCESS ',
          'no-certificate' => 'RETRYING tls',
          'a-strange-certificate' => 'RETRYING tls' },
        'only a CA and a certificate that hold');
    is(join(',', map { m{ /(\S+)} } map { grep { !/^refused/ } $_->seen }
        @tls{qw(good mutual)}), 'our-CA,our-certificate',
        'no other was spoken to');
}

# -- methods -----------------------------------------------------------------

{
    my $one = $actions[$action++];
    my $payload = { n => 7, s => "a b&\x{e9}", f => 1.5, t => \1, no => undef,
        deep => { x => 1 }, list => [ 1 ] };
    $o->integration(nowait => 1, action_id => $one, request_type => $_,
        url => $hook->url . "/method$_?k=1#never-sent", name => $_)
        for qw(GET POST PUT PATCH DELETE);
    sleep 1.3;
    my @ids = $o->event(action_id => $one, payload => $payload);
    is($o->until_status($_, 'SUCCESS')->{status}, 'SUCCESS', 'a method')
        for @ids;

    my ($body) = (at_hook('/methodPOST'))[0] =~ /\r\n\r\n(.*)/s;
    is_deeply(from_json($body), from_json(to_json($payload)),
        'POST: the payload');
    for my $method (qw(PUT PATCH DELETE)) {
        my ($raw) = at_hook("/method$method");
        like($raw, qr{^$method /method$method\?k=1 HTTP/1.1\r\n}, "a $method");
        like($raw, qr/^Content-Type: application\/json\r$/m, 'with a type');
        is((split /\r\n\r\n/, $raw, 2)[1], $body, 'and the same bytes');
    }

    my ($raw) = at_hook('/methodGET');
    my ($query, $rest)
        = $raw =~ m{^GET /methodGET\?k=1&(\S*) HTTP/1.1\r\n(.*)}s;
    is_deeply([ sort split /&/, $query // '' ],
        [ 'f=1.5', 'n=7', 's=a%20b%26%C3%A9', 't=true' ],
        'GET: top-level scalars are the query');
    like($rest // '', qr/\r\n\r\n$/, 'without a body');
    unlike($rest // '', qr/^Content-(?:Type|Length):/mi, 'nor its headers');
    like($rest // '', qr/^webhook-signature: v1,/m, 'but signed');
}

# -- HTTP/2 ------------------------------------------------------------------

{
    my $i = make(url => "https://127.0.0.1:$h2->{port}/h2", concurrency => 20,
        ca_cert => IDash::TLS::pem('ca.pem'));
    $o->until_status(send_to($i), 'SUCCESS');
    my @ids = $o->events(40, undef, action_id => $i->{action_id});
    is(scalar(grep { $o->until_status($_, 'SUCCESS')->{attempts} != 1 } @ids),
        0, 'HTTP/2: each at the first attempt');
    my @seen = at_hook('/h2');
    is(scalar @seen, 41, 'all arrive');
    is(scalar(grep { !/^X-Protocol: HTTP\/2\.0\r/m } @seen), 0, 'by HTTP/2');
    my %connections = map { $_ => 1 } map { /^X-Connection: (\d+)/m } @seen;
    is(scalar keys %connections, 1, 'on one connection');
    is(scalar(grep { !/^webhook-id: \S+\r/m || !/^webhook-signature: v1,/m }
        @seen), 0, 'signed');
}

done_testing();
