# Signatures of webhooks, verified by the reference library of Standard
# Webhooks, which knows nothing of ours.  It is installed once under build/.

use strict;
use warnings;

use IPC::Open2;
use MIME::Base64;
use Test::More;

use lib 't/lib';
use IDash;
use IDash::Wait;
use Outbound;

my $judge = open2(my $out, my $in,
    python_with('sign_peers', 'standardwebhooks==1.0.0'),
    root_dir() . '/t/sign_peers.py');
$in->autoflush(1);

sub ask {
    my (%ask) = @_;

    print $in to_json({ %ask, body => encode_base64($ask{body}, '') }), "\n";
    my $line = <$out>;
    chomp $line;
    return $line;
}

# -- the published vectors, so that the judge is one ------------------------

my $s1 = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';
my $s2 = 'whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=';
for my $v (
    [ 'V1', $s1, '{"test": 2432232314}',
        'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=' ],
    [ 'V3', $s2, '{"test": 2432232314}',
        'v1,O4Gjv1HqPqsMrjmczoggs/sWA8gZD0VyHG+fLh4+ktI=' ],
    [ 'V5', $s2, "{\"n\":\"N\xc3\xba\xc3\xb1ez\"}",
        'v1,ascp0Us9Rq06QIq00L7N40s4UH5s8k9tSHCzarV/Z4c=' ])
{
    is(ask(secret => $v->[1], id => 'msg_p5jXN8AQM9LWM0D4loKWxJek',
        time => 1_614_265_330, body => $v->[2]), $v->[3], "$v->[0]: as published");
}

# -- what we send -----------------------------------------------------------

my $peer = IDash::Peer->upstream;
my $o = Outbound->new(conf => { outbound_ports => $peer->port });
my $i = $o->integration(url => $peer->url . '/hook');
my $first = $i->{signing_secret};

# The body and the headers of what came last.
sub last_one {
    my ($head, $body) = split /\r\n\r\n/, ($peer->seen)[-1], 2;
    my %headers = map { lc($_->[0]) => $_->[1] }
        map { [ split /: /, $_, 2 ] } grep { /: / } split /\r\n/, $head;
    return (body => $body, headers => \%headers);
}

sub deliver {
    my (%f) = @_;

    my ($id) = $o->event(%f);
    is($o->until_status($id, 'SUCCESS')->{status}, 'SUCCESS', 'delivered');
    return last_one();
}

for my $payload ({ n => 1 }, [ 1, 2 ], 'text', 1.5, undef, {},
    { name => "N\x{fa}\x{f1}ez \x{1f600}", deep => { a => [ 1 .. 50 ] } },
    { long => 'x' x 100_000 })
{
    my %sent = deliver(payload => $payload);
    my $what = substr to_json($payload), 0, 20;

    is(ask(secret => $first, %sent), 'ok', "$what: verifies");
    like(ask(secret => $s1, %sent), qr/VerificationError/,
        "$what: not with another secret");
}

my %sent = deliver();
for my $change ([ 'a byte more', body => "$sent{body} " ],
    [ 'another id', headers => { %{ $sent{headers} }, 'webhook-id' => 'x' } ],
    [ 'another time', headers => { %{ $sent{headers} },
        'webhook-timestamp' => time - 60 } ],
    [ 'no signature', headers => { %{ $sent{headers} },
        'webhook-signature' => 'v1,' } ])
{
    my ($what, %changed) = @$change;
    like(ask(secret => $first, %sent, %changed), qr/VerificationError/,
        "$what: refused");
}

# during a rotation both verify, after it the new one only
my $r = $o->post("/integrations/$i->{id}/rotate-secret", { overlap_s => 3600 });
my $second = $r->{json}{signing_secret};
isnt($second, $first, 'a new secret');
Time::HiRes::sleep(1.5);
%sent = deliver();
is(ask(secret => $_, %sent), 'ok', 'verifies with either')
    for $first, $second;

$r = $o->post("/integrations/$i->{id}/rotate-secret", { overlap_s => 0 });
Time::HiRes::sleep(1.5);
%sent = deliver();
is(ask(secret => $r->{json}{signing_secret}, %sent), 'ok', 'the newest verifies');
like(ask(secret => $_, %sent), qr/VerificationError/, 'a former one does not')
    for $second;

# not by closing $in: the peer, forked later, holds it open too
kill 'TERM', $judge;
waitpid $judge, 0;
done_testing();
