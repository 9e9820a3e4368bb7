# HL7 messages of ours, read and acknowledged by receivers that others wrote:
# Debian's python3-hl7, npm's node-hl7-server and @medplum/hl7, the last also
# with its commit acknowledgement before the other.  Text, separators in it,
# names beyond ASCII and big messages arrive as they were meant.

use strict;
use warnings;

use Fcntl ':flock';
use Test::More;

use lib 't/lib';
use IDash;
use IDash::Wait;
use Outbound;

my $root = root_dir();
my $modules = "$root/build/hl7_peers";

# The npm packages of the lock file; what is there costs no network.
sub install {
    my $lock_file = read_file("$root/t/hl7_peers/package-lock.json");
    my $stamp = "$modules/installed";

    system('mkdir', '-p', $modules);
    open my $lock, '>', "$modules.lock" or die "$modules.lock: $!";
    flock $lock, LOCK_EX;
    return if -e $stamp && read_file($stamp) eq $lock_file;

    my $log = test_dir() . '/npm.log';
    system("cp '$root'/t/hl7_peers/package*.json '$modules/' && npm ci"
        . " --prefix '$modules' --ignore-scripts --no-audit --no-fund"
        . " >'$log' 2>&1") == 0
        or BAIL_OUT("npm packages cannot be installed:\n"
            . slurp_tail($log, 9));
    write_file($stamp, $lock_file);
    return;
}

# The run under sanitizers brings no Node.
my $npm = !$ENV{IDASH_SANITIZE};
install() if $npm;

my %peers;
sub peer_of {
    my ($name, @argv) = @_;

    my $out = test_dir($name) . '/out';
    my $port = free_port();
    my $pid = IDash::Process::spawn($name, [ @argv, $port ], out => $out);
    wait_for(sub { -s $out }, 60)
        or die "$name does not listen:\n" . slurp_tail($out, 9);
    $peers{$name} = { port => $port, out => $out };
    return;
}

peer_of('python', '/usr/bin/python3', "$root/t/hl7_peers/python.py");
for my $kind ($npm ? qw(node medplum twophase) : ()) {
    require Cwd;
    peer_of($kind, "$root/mk/ui", 'node',
        Cwd::abs_path("$root/t/hl7_peers/peers.cjs"),
        Cwd::abs_path($modules), $kind);
}

# What the peer has read: [control id, family, text of the last segment].
sub read_by {
    my ($name) = @_;

    return map { from_json($_) } grep { /^\[/ } split /\n/,
        read_file($peers{$name}{out});
}

my $o = Outbound->new;
for my $name (sort keys %peers) {
    $o->integration(nowait => 1, name => $name, transport => 'mllp', url => '',
        host => '127.0.0.1', port => $peers{$name}{port},
        ack => $name eq 'twophase' ? 'both' : 'app', schedule => '1s',
        ack_first_byte_ms => 30_000, transform => '{message:'
            . ' "ORU^R01^ORU_R01", segments: [["PID","1",null,"P-1",null,'
            . '[[.payload.family,"Ana"]]],["OBR","1","B9","R5","A^B"],'
            . '["OBX","1","ST","NOTE",null,.payload.text,null,null,null,null,'
            . 'null,"F"]]}');
}
Time::HiRes::sleep(1.5);

my @cases = (
    [ 'plain', 'Nunez', 'all well', 'all well' ],
    [ 'beyond ASCII', "N\x{fa}\x{f1}ez", "gr\x{fc}\x{df}e \x{1f600}",
        "gr\x{fc}\x{df}e \x{1f600}" ],
    [ 'separators', 'Nunez', 'a|b^c&d~e\\f', 'a\\F\\b\\S\\c\\T\\d\\R\\e\\E\\f' ],
    [ 'big', 'Nunez', 'x' x 300_000, 'x' x 300_000 ],
    [ 'plain again', 'Nunez', 'still there', 'still there' ],
);

for my $case (@cases) {
    my ($what, $family, $text, $wire) = @$case;
    my @ids = $o->event(payload => { family => $family, text => $text });
    my %log = map { $_->{endpoint} => $_ }
        map { $o->until_status($_, 'SUCCESS|FAIL|COMMITTED', 60) } @ids;

    for my $name (sort keys %peers) {
        my $log = $log{$name};
        my ($id, $got_family, $got) = @{ (read_by($name))[-1] || [] };

        is($log->{status}, 'SUCCESS', "$name, $what: acknowledged")
            or diag to_json($log->{error});
        is($log->{attempts}, 1, "$name, $what: at once");
        is($got_family, $family, "$name, $what: the name");
        ok(($got // '') eq $text || ($got // '') eq $wire,
            "$name, $what: the text") or diag substr $got // 'none', 0, 80;
        like($log->{response}{body} // '', qr/MSA\|AA\|\Q$id\E\b/,
            "$name, $what: by its own id");
    }
}

# node-hl7-server hands a connection's earlier messages out again and again
for my $name (sort keys %peers) {
    my @ids = map { $_->[0] } read_by($name);
    my %once = map { $_ => 1 } @ids;

    is(scalar keys %once, scalar @cases, "$name: each message");
    is(scalar @ids, scalar @cases, "$name: once") if $name ne 'node';
}

done_testing();
