#!/usr/bin/perl
# demo-receiver.pl PORT DIR: the partners' side of `make run`, on 127.0.0.1.
# One port takes webhooks and HL7 (a frame begins with VT).  Signatures of
# webhooks are verified with the secret that DIR/<last word of the path> holds;
# some endpoints fail, as partners do.  One process a connection.

use strict;
use warnings;

use Digest::SHA qw(hmac_sha256);
use IO::Socket::INET;
use MIME::Base64;
use POSIX ':sys_wait_h';
use Time::HiRes 'sleep';

my ($port, $dir) = @ARGV;
die "usage: demo-receiver.pl PORT DIR\n" if !defined $dir;

my $max = 2 * 1024 * 1024;
my $parent = $$;
my $listen = IO::Socket::INET->new(LocalAddr => "127.0.0.1:$port",
    Listen => 64, ReuseAddr => 1) or die "127.0.0.1:$port: $!\n";

$SIG{CHLD} = sub { 1 while waitpid(-1, WNOHANG) > 0 };
$SIG{PIPE} = 'IGNORE';
$SIG{TERM} = $SIG{INT} = sub { exit 0 };

sub serve {
    my ($socket) = @_;

    my $in = '';
    while (1) {
        alarm 60;
        exit 0 if getppid() != $parent;
        sysread $socket, $in, 65536, length $in or return;
        return if length $in > $max;
        1 while $in =~ /^\x0b/ ? hl7($socket, \$in) : http($socket, \$in);
    }
}

# -- webhooks ----------------------------------------------------------------

# What each endpoint answers: status, then a chance for others.
my %endpoint = (
    orders   => sub { luck(0.04) ? [ 503, 'maintenance' ] : luck(0.03)
        ? [ 429, 'slow down', 'Retry-After: 3' ] : [ 200, 'accepted' ] },
    ledger   => sub { luck(0.45) ? [ 502, 'ledger did not answer' ]
        : [ 200, 'posted' ] },
    courier  => sub { [ 202, 'queued' ] },
    results  => sub { sleep 0.4 + rand; luck(0.05) ? [ 504, 'timeout' ]
        : [ 200, 'filed' ] },
    registry => sub { [ 500, 'duplicate key value violates unique constraint'
        . ' "patient_mrn_key"' ] },
    visits   => sub { luck(0.2) ? [ 422, 'window 07:00-09:00 is full' ]
        : [ 200, 'booked' ] },
    portal   => sub { luck(0.3) ? undef : [ 204, '' ] },
);

sub luck { return rand() < $_[0] }

sub http {
    my ($socket, $in) = @_;

    $$in =~ /\r\n\r\n/ or return 0;
    my ($head, $rest) = (substr($$in, 0, $-[0]), $+[0]);
    my ($length) = $head =~ /^content-length:\s*(\d+)/mi;
    $length ||= 0;
    return 0 if length($$in) - $rest < $length;

    my $body = substr $$in, $rest, $length;
    $$in = substr $$in, $rest + $length;
    my ($path) = $head =~ m{^\w+ (\S+)};
    my ($name) = ($path // '') =~ m{([a-z]+)(?:\?|$)};
    my $answer = !$name || !$endpoint{$name} ? [ 404, 'no such endpoint' ]
        : !signed($name, $head, $body) ? [ 401, 'the signature is wrong' ]
        : $endpoint{$name}->();

    exit 0 if !$answer;                    # hangs up in the middle
    reply($socket, @$answer);
    return 1;
}

sub reply {
    my ($socket, $status, $text, @headers) = @_;

    my $json = $status == 204 ? '' : sprintf '{"%s":"%s","receiver":"demo"}',
        $status < 400 ? 'status' : 'error', $text =~ s/"/\\"/gr;
    syswrite $socket, join "\r\n", "HTTP/1.1 $status Demo",
        'Content-Type: application/json', @headers,
        $status == 204 ? () : 'Content-Length: ' . length $json, '', $json;
    return;
}

# Standard Webhooks: any of the signatures may be the right one.
sub signed {
    my ($name, $head, $body) = @_;

    open my $file, '<', "$dir/$name" or return 1;   # not known: not checked
    my $secret = <$file> // '';
    chomp $secret;
    my %h = map { lc($_->[0]) => $_->[1] }
        map { [ split /:\s*/, $_, 2 ] } grep { /:/ } split /\r\n/, $head;
    my $want = encode_base64(hmac_sha256(join('.', $h{'webhook-id'} // '',
        $h{'webhook-timestamp'} // '', $body),
        decode_base64($secret =~ s/^whsec_//r)), '');

    return grep { $_ eq "v1,$want" } split / /, $h{'webhook-signature'} // '';
}

# -- HL7 ---------------------------------------------------------------------

sub hl7 {
    my ($socket, $in) = @_;

    $$in =~ s/^\x0b(.*?)\x1c\x0d//s or return 0;
    my @segments = split /\r/, $1;
    my @msh = split /\|/, $segments[0] // '';
    my $id = $msh[9] // '';
    my $code = luck(0.06) ? 'AE' : luck(0.03) ? 'AR' : 'AA';
    my $text = $code eq 'AE' ? '|PID-3: unknown patient'
        : $code eq 'AR' ? '|Message type is not supported' : '';

    sleep 0.05 + rand 0.2;
    syswrite $socket, "\x0bMSH|^~\\&|MIRTH|HUB|IDASH|LAB12|20261124101500||ACK"
        . "|A$id|P|2.5.1\rMSA|$code|$id$text\r\x1c\x0d";
    return 1;
}

# -- connections, once all of the above is known ---------------------------------

while (1) {
    my $socket = $listen->accept or next;
    my $pid = fork;
    next if !defined $pid || $pid > 0;

    close $listen;
    srand;
    $SIG{ALRM} = sub { exit 0 };
    eval { serve($socket) };
    exit 0;
}
