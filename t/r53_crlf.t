# Storm 53: CR, LF and NUL in whatever ends up in a header of a webhook or in
# the head of an HL7 message.  It is refused, or harmless: no line arrives at
# a receiver that we did not mean.

use strict;
use warnings;

use lib 't/lib';
use IDash;
use IDash::Wait;
use MIME::Base64;
use Outbound;
use Test::More;

# what a foreign line looks like at the receiver
my $mark = 'X-Foreign';
my @ends = ("\r\n", "\n", "\r", "\0", "\r\n\r\n", "\n ", "\x{0b}", "\x{0c}",
    "\x{85}", "\x{2028}", "\x{10d}\x{10a}");

my $token = '';
my $peer = IDash::Peer->start(sub {
    my ($socket, $self) = @_;

    my $in = IDash::Peer::Reader->new($socket);
    while (my $req = $in->request) {
        $self->note($req->{raw});
        my $body = $req->{uri} =~ m{^/token/(\d+)}
            ? to_json({ access_token => "t$ends[$1]$mark: 1",
                expires_in => 60, token_type => "Bearer$ends[$1]$mark: 1" })
            : '{}';
        my $more = $req->{uri} =~ m{^/echo/(\d+)}
            ? "X-Answer: a\r$mark: 1\n$mark: 2\r\n" : '';
        print $socket "HTTP/1.1 200 OK\r\n${more}Content-Length: "
            . length($body) . "\r\n\r\n$body";
    }
});

# a receiver that keeps all and answers nothing but AA
my $mllp = IDash::Peer->start(sub {
    my ($socket, $self) = @_;
    my $in = '';

    while (sysread $socket, my $part, 65_536) {
        $in .= $part;
        while ($in =~ s/^\x0b(.*?)\x1c\x0d//s) {
            my @msh = split /\|/, (split /\r/, $1)[0];
            $self->note($1);
            syswrite $socket, "\x0bMSH|^~\\&|A|B|C|D|2026||ACK|1|P|2.5.1\r"
                . "MSA|AA|$msh[9]\r\x1c\x0d";
        }
    }
});

our $store;                                # the Mongo run sets it
my $o = Outbound->new(store => $store, conf => { outbound_ports => $peer->port });
my ($cases, $refused, @made) = (0, 0);
my $url = $peer->url . '/hook';

# 201, 422, or 400 for a NUL in JSON; what is made gets an event later
sub try_make {
    my ($name, %f) = @_;

    my $r = $o->post('/integrations', { org_id => 3, lab_id => 11,
        action_id => 1, allow_http => \1, schedule => '1s', url => $url,
        name => $name, %f });
    $cases++;
    if ($r->{status} == 422 || $r->{status} == 400) {
        $refused++;
        return;
    }
    is($r->{status}, 201, "$name: made or refused") or diag $r->{body};
    push @made, $name;
    return $r->{json};
}

my @must;
for my $i (0 .. $#ends) {
    my $evil = "a$ends[$i]$mark: 1";
    my $control = $ends[$i] =~ /[\x00-\x1f]/;
    my $is_made = sub {
        my ($what, %f) = @_;
        my $made = try_make("$what $i", %f);
        push @must, "$what $i" if $control && $made;
        return $made;
    };

    $is_made->('value', headers => [ [ 'X-A', $evil ] ]);
    $is_made->('name', headers => [ [ $evil, 'b' ] ]);
    $is_made->('name and value', headers => [ [ "X-A: b$ends[$i]$mark", '1' ] ]);
    $is_made->('type', content_type => $evil);
    $is_made->('bearer', auth => 'bearer', auth_secret => $evil);
    $is_made->('method', request_type => "GET$ends[$i]");
    $is_made->('url', url => "$url?$evil");
    $is_made->('host', url => "http://127.0.0.1$ends[$i]$mark:1/");
    $is_made->('proxy', proxy => "http://127.0.0.1$ends[$i]$mark:1/");
    $is_made->('proxy user', proxy => "http://a$ends[$i]:b\@127.0.0.1:1/");

    # encoded, or only compared: these may be made
    try_make("basic $i", auth => 'basic', auth_user => $evil,
        auth_secret => $evil);
    try_make("oauth $i", auth => 'oauth2', auth_user => $evil,
        auth_secret => $evil, scope => $evil,
        token_url => $peer->url . '/token');
    try_make("token $i", auth => 'oauth2', auth_user => 'u',
        auth_secret => 's', token_url => $peer->url . "/token/$i");
    try_make("answer $i", url => $peer->url . "/echo/$i");
    try_make("query $i", request_type => 'GET', transform => '.payload');
    try_make("hl7 $i", transport => 'mllp', host => '127.0.0.1',
        port => $mllp->port, sending_application => $evil,
        sending_facility => $evil, receiving_application => $evil,
        receiving_facility => $evil, url => '',
        transform => '{message: "ADT^A04^ADT_A01", segments: [["EVN",'
            . '.payload.evil],["PID",1,null,.payload.evil]]}');
}
is_deeply(\@must, [], 'what would end a line is refused when written');

# a secret that no header shows today, in a header tomorrow
for my $i (grep { $ends[$_] =~ /[\x00-\x1f]/ } 0 .. $#ends) {
    my $made = try_make("later $i", auth => 'basic', auth_user => 'u',
        auth_secret => "a$ends[$i]$mark: 1") or next;
    my $r = $o->api_of->call('PUT', "/integrations/$made->{id}",
        json => { org_id => 3, lab_id => 11, action_id => 1, url => $url,
            allow_http => \1, name => "later $i", auth => 'bearer' },
        headers => [ [ 'If-Match', '*' ] ]);
    is($r->{status}, 422, "later $i: refused when it would be a header");
}

Time::HiRes::sleep(1.5);
my $evil = join '', map { "a$_$mark: 1|b" } grep { $_ ne "\0" } @ends;
my @ids = $o->event(payload => { evil => $evil, "k\r\n$mark: 1" => $evil },
    refs => { bill_id => "B\r\n$mark: 1" }, idempotency_key => "k\r\n$mark: 1");
is(scalar @ids, scalar @made, 'the others have the event');
ok($o->settle(60), 'all have ended');

my %status;
$status{ $o->log_of($_)->{status} }++ for @ids;
note join ' ', map { "$_ $status{$_}" } sort keys %status;
cmp_ok($status{SUCCESS} // 0, '>=', @ends * 3, 'most are delivered');

# the heads, as they came
my ($lines, %hit) = (0);
for my $raw ($peer->seen) {
    my ($head) = split /\r\n\r\n/, $raw, 2;
    my @foreign = grep { /^\s*\Q$mark\E/i } split /[\r\n\0]/, $head;
    my @odd = $head =~ /(?<!\r)\n|\r(?!\n)|\0/g;

    $lines += @foreign + @odd;
    diag $head if @foreign || @odd;
    $hit{$1}++ if $head =~ /^webhook-id: (\S+)/mi;
}
for my $message ($mllp->seen) {
    my @segments = split /\r/, $message;
    my @foreign = grep { !/^(?:MSH|EVN|PID)\|/ } @segments;
    my @odd = $message =~ /[\x00-\x0c\x0e-\x1f]/g;

    is(scalar @segments, 3, 'an HL7 message of three segments');
    $lines += @foreign + @odd;
    diag $message if @foreign || @odd;
}
is($lines, 0, 'no foreign line arrives');
cmp_ok(scalar(() = $mllp->seen), '>', 0, 'HL7 messages arrive');

# nor is one put into our own answers
for my $id (@ids[0 .. 3]) {
    my $r = $o->api_of->get("/logs/$id");
    unlike($r->{head} // '', qr/\Q$mark\E/, 'nor into an answer of the API');
}

figure('r53.cases', $cases);
figure('r53.refused', $refused);
figure('r53.lines', $lines);
figure('r53.lost', @ids - ($status{SUCCESS} // 0) - ($status{FAIL} // 0));
figure('r53.dup', scalar grep { $_ > 1 } values %hit);

done_testing();
