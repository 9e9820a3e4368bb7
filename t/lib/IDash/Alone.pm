package IDash::Alone;

# A network of one's own: the test runs in network and mount namespaces where
# every address, public or private, is this host, and where names are what the
# test says.  Whatever leaves a process can so be counted, and nothing leaves
# the machine.  "use IDash::Alone;" comes before all else.
#
#     IDash::Alone::names(sub { my ($name, $type, $n) = @_; ... });
#     my $all = IDash::Alone::listen_everywhere(8443, sub { .. });
#     IDash::Alone::count_packets('ip daddr 169.254.0.0/16');

use strict;
use warnings;

use IO::Socket::INET;
use IO::Socket::IP ();

use IDash::Peer ();
use IDash::Process;
use IDash::Wait;

my $env = 'IDASH_ALONE';

sub import {
    if (!$ENV{$env}) {
        local $ENV{$env} = 1;
        exec 'unshare', ($> == 0 ? () : '-r'), '-n', '-m', $^X, $0, @ARGV
            or die "unshare: $!";
    }

    run('ip', 'link', 'set', 'lo', 'up');
    run('ip', 'route', 'add', 'local', '0.0.0.0/0', 'dev', 'lo');
    run('ip', '-6', 'route', 'add', 'local', '::/0', 'dev', 'lo');
    return;
}

sub run {
    my (@argv) = @_;

    local $ENV{PATH} = "$ENV{PATH}:/usr/sbin:/sbin";
    system(@argv) == 0 or die "@argv failed\n";
    return;
}

# Names are answered by CODE: (name, "A" or "AAAA", the how manieth question
# for it) gives addresses, nothing for no such name, undef for silence.
sub names {
    my ($code) = @_;
    my $dir = IDash::Process::dir('names');

    write_file("$dir/resolv.conf",
        "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n");
    write_file("$dir/nsswitch.conf", "hosts: files dns\n");
    run('mount', '--bind', "$dir/resolv.conf", '/etc/resolv.conf');
    run('mount', '--bind', "$dir/nsswitch.conf", '/etc/nsswitch.conf');

    my $socket = IO::Socket::INET->new(Proto => 'udp', LocalPort => 53,
        LocalAddr => '127.0.0.1') or die "port 53: $!";
    my $pid = IDash::Process::spawn('names', undef, code => sub {
        my %asked;
        while (my $from = recv $socket, my $question, 4096, 0) {
            my $answer = answer($question, $code, \%asked);
            send $socket, $answer, 0, $from if defined $answer;
        }
    });
    close $socket;
    return $pid;
}

# One question's answer, in the wire's form (RFC 1035, section 4).
sub answer {
    my ($q, $code, $asked) = @_;

    my ($at, @labels) = (12);
    while ((my $n = ord substr $q, $at, 1) > 0) {
        push @labels, substr $q, $at + 1, $n;
        $at += $n + 1;
    }

    my $name = lc join '.', @labels;
    my $number = unpack 'n', substr $q, $at + 1, 2;
    my $type = { 1 => 'A', 28 => 'AAAA' }->{$number} // $number;
    my @found = $code->($name, $type, ++$asked->{"$name $type"});

    return if @found == 1 && !defined $found[0];

    my $records = join '', map {
        my $bytes = Socket::inet_pton(
            /:/ ? Socket::AF_INET6() : Socket::AF_INET(), $_);
        pack('nnnNn', 0xc00c, $number, 1, 0, length $bytes) . $bytes
    } @found;
    my $exists = @found || $code->($name, 'any', 0);

    return substr($q, 0, 2)
        . pack('nnnnn', $exists ? 0x8180 : 0x8183, 1, scalar @found, 0, 0)
        . substr($q, 12, $at + 5 - 12) . $records;
}

# A peer on this port of every address, IPv4 and IPv6; CODE as for a peer, or
# nothing: connections are noted by the address that was called, then closed.
sub listen_everywhere {
    my ($port, $code) = @_;

    my $listen = IO::Socket::IP->new(LocalHost => '::', LocalPort => $port,
        V6Only => 0, Listen => 1024, ReuseAddr => 1) or die "port $port: $@";
    return IDash::Peer->start(sub {
        my ($socket, $peer) = @_;

        $peer->note($socket->sockhost) if !$code;
        $code->($socket, $peer) if $code;
    }, listen => $listen);
}

# Counts what leaves from now on and fits one of these matches of nft, such as
# "ip daddr 169.254.0.0/16"; packets() tells how many.
sub count_packets {
    my (@matches) = @_;

    run('nft', 'add table inet count');
    run('nft', 'add chain inet count out '
        . '{ type filter hook output priority 0 ; }');
    run('nft', "add rule inet count out $_ counter") for @matches;
    return;
}

sub packets {
    my $out = `PATH="\$PATH:/usr/sbin:/sbin" nft list table inet count`;
    my $n = 0;

    die "nft lists no counters\n" if $out !~ /packets/;
    $n += $1 while $out =~ /packets (\d+)/g;
    return $n;
}

1;
