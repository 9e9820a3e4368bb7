package IDash::TLS;

# Certificates made for one test, and servers that show them.  A CA, and by it
# a good certificate of 127.0.0.1 and localhost, an expired one, one of another
# host, a client's; beside it one that signed itself.

use strict;
use warnings;

use IDash::Peer ();
use IDash::Process;
use IDash::Wait;
use IO::Socket::SSL ();

my $dir;

# What each certificate is: subject's alternative names, options of openssl.
my %kinds = (
    good    => { san => 'IP:127.0.0.1,DNS:localhost', days => 2 },
    expired => { san => 'IP:127.0.0.1,DNS:localhost', days => -1 },
    other   => { san => 'DNS:other.example', days => 2 },
    client  => { san => 'DNS:client.example', days => 2, usage => 'client' },
);

sub openssl {
    my (@argv) = @_;

    my $pid = open my $fh, '-|';
    die "fork: $!" if !defined $pid;
    if ($pid == 0) {
        open STDERR, '>&', \*STDOUT;
        exec 'openssl', @argv or POSIX::_exit(127);
    }
    my $out = join '', <$fh>;
    close $fh or die "openssl @argv: $out";
    return $out;
}

sub make_key {
    my ($name) = @_;

    openssl('ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out',
        "$dir/$name.key");
    return;
}

sub make_all {
    return if defined $dir;

    $dir = IDash::Process::dir('tls');

    for my $name (qw(ca self)) {
        make_key($name);
        openssl('req', '-x509', '-new', '-key', "$dir/$name.key", '-days', 2,
            '-subj', "/CN=$name", '-out', "$dir/$name.pem", '-addext',
            'subjectAltName=IP:127.0.0.1,DNS:localhost');
    }

    for my $name (sort keys %kinds) {
        my $k = $kinds{$name};

        make_key($name);
        openssl('req', '-new', '-key', "$dir/$name.key", '-subj', "/CN=$name",
            '-out', "$dir/$name.csr");
        write_file("$dir/$name.ext", "subjectAltName=$k->{san}\n"
            . 'extendedKeyUsage=' . ($k->{usage} || 'server') . "Auth\n");
        openssl('x509', '-req', '-in', "$dir/$name.csr", '-CA', "$dir/ca.pem",
            '-CAkey', "$dir/ca.key", '-CAcreateserial', '-days', $k->{days},
            '-extfile', "$dir/$name.ext", '-out', "$dir/$name.pem");
    }

    return;
}

# The PEM of a certificate or key: pem('ca.pem'), pem('client.key').
sub pem { make_all(); return read_file("$dir/$_[0]") }
sub path { make_all(); return "$dir/$_[0]" }

# A peer behind TLS: peer('good', sub { my ($socket, $peer) = @_; .. },
# version => 'TLSv1', client => 1).  client: who calls must show a
# certificate of our CA.  Handshakes that fail are noted as "refused: why".
sub peer {
    my ($kind, $code, %opt) = @_;

    make_all();
    return IDash::Peer->start(sub {
        my ($socket, $peer) = @_;

        if (!accept_tls($socket, $kind, %opt)) {
            $peer->note("refused: $IO::Socket::SSL::SSL_ERROR");
            return;
        }
        $code->($socket, $peer);
    });
}

sub accept_tls {
    my ($socket, $kind, %opt) = @_;

    return IO::Socket::SSL->start_SSL($socket,
        SSL_server => 1,
        SSL_cert_file => "$dir/$kind.pem",
        SSL_key_file => "$dir/$kind.key",
        $opt{version} ? (SSL_version => $opt{version},
            SSL_cipher_list => 'ALL:@SECLEVEL=0') : (),
        $opt{client} ? (SSL_ca_file => "$dir/ca.pem",
            SSL_verify_mode => IO::Socket::SSL::SSL_VERIFY_PEER()
                | IO::Socket::SSL::SSL_VERIFY_FAIL_IF_NO_PEER_CERT()) : (),
    );
}

# Does this server take a client that only speaks VERSION?  So that a test
# knows that its bad server would have been spoken to.
sub takes {
    my ($port, $version) = @_;

    my $socket = IO::Socket::SSL->new(PeerAddr => "127.0.0.1:$port",
        SSL_version => $version, SSL_cipher_list => 'ALL:@SECLEVEL=0',
        SSL_verify_mode => IO::Socket::SSL::SSL_VERIFY_NONE(), Timeout => 10);
    return $socket ? $socket->get_sslversion : undef;
}

1;
