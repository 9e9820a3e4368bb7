# Storm 12: a Redis that lies: cut, huge, nested and garbage replies, replies
# that nobody asked for, floods, silence.  Nothing crashes or grows, clients
# notice nothing, and what was not truly acknowledged is sent again.

use strict;
use warnings;

use Digest::SHA qw(sha256_hex);
use IO::Select;
use IO::Socket::UNIX;
use Test::More;
use Time::HiRes qw(sleep);

use lib 't/lib';
use IDash;
use Oracle;

my $info = "# Server\r\nredis_version:7.0.15\r\nrun_id:" . 'a' x 40 . "\r\n";
my $honest = test_dir() . '/honest';
my $id = "\$3\r\n1-1\r\n";

# What is said instead of one reply.
my %lies = (
    cut        => sub { "\$15\r\n1700000" },
    cut_head   => sub { '$' },
    none       => sub { '' },
    huge_bulk  => sub { "\$536870912\r\n" . 'x' x 300_000 },
    huge_size  => sub { "\$99999999999999999999999\r\n" },
    minus      => sub { "\$-7\r\n\r\n" },
    nil        => sub { "\$-1\r\n" },
    no_end     => sub { "\$3\r\n1-1xx" . $id },
    huge_array => sub { "*2147483647\r\n" },
    nested     => sub { "*1\r\n" x 50_000 },
    long_line  => sub { '+' . 'a' x 300_000 . "\r\n" },
    long_error => sub { '-LOADING ' . 'b' x 60_000 . "\r\n" },
    log_lines  => sub { "-LOADING \e[31m\n2026/01/01 [alert] forged\0\r\n" },
    number     => sub { ":9223372036854775808\r\n" },
    digits     => sub { ':' . '1' x 200_000 },
    status     => sub { "+OK\r\n" },
    resp3      => sub { "%1\r\n+a\r\n_\r\n" },
    nul        => sub { "\0" x 5000 },
    http       => sub { "HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n" },
    garbage    => sub { join '', map { chr int rand 256 } 1 .. 2000 },
    unasked    => sub { $id x 5000 },
    flood      => sub { $id x 200_000 },
    busy       => sub { "-BUSY running a script\r\n" },
    moved      => sub { "-READONLY You can't write\r\n" },
);

# ($socket, bytes): a peer that hangs up early is none of our business.
sub say {
    my ($socket, $bytes) = @_;

    my $select = IO::Select->new($socket);
    my $off = 0;
    while ($off < length $bytes) {
        return 0 if !$select->can_write(5);
        my $n = syswrite $socket, $bytes, 65_536, $off;
        return 0 if !defined $n;
        $off += $n;
    }
    return 1;
}

# The next whole command in the buffer, or nothing.
sub command {
    my ($in) = @_;

    $$in =~ /\G\*(\d+)\r\n/gc or return;
    my ($count, $start, @argv) = ($1, $-[0]);

    for (1 .. $count) {
        if ($$in !~ /\G\$(\d+)\r\n/gc || length($$in) < pos($$in) + $1 + 2) {
            pos($$in) = $start;
            return;
        }
        push @argv, substr $$in, pos $$in, $1;
        pos($$in) += $1 + 2;
    }

    return @argv;
}

# One connection of a shipper: an honest batch, so that it does not back off
# for long, then a lie.
sub serve {
    my ($socket, $self, $number) = @_;
    my ($in, $batches) = ('', 0);
    my $select = IO::Select->new($socket);

    srand $number;
    my @names = sort keys %lies;

    while (sysread $socket, $in, 262_144, length $in) {
        my (@seen, $out);
        pos($in) = 0;

        while (my ($name, undef, undef, @field) = command(\$in)) {
            if ($name eq 'INFO') {
                $out .= '$' . length($info) . "\r\n$info\r\n";
                next;
            }

            if ($name ne 'XADD') {
                $out .= "+PONG\r\n";
                next;
            }

            my %f = @field;
            push @seen, "$f{id}:" . sha256_hex($f{request_body} // '');
            $out .= $id;
        }

        $in = substr $in, pos($in) // 0;

        if (@seen && $batches && !-e $honest) {
            my $name = $names[int rand @names];

            my $true = int rand @seen;

            # what nobody asked for may not stand for what was not read yet
            if ($name =~ /^(?:unasked|flood)$/) {
                $true = @seen;
                $name = 'cut' if length $in || $select->can_read(0.05);
            }

            splice @seen, $true;
            $self->note("lie $name");
            $self->note("ack @seen") if @seen;
            say($socket, $id x $true . $lies{$name}->());

            # it hangs up, or waits for its time-out
            $select->can_read(2);
            return;
        }

        # the batch is over when the shipper waits
        $batches++ if @seen && $in eq '' && !$select->can_read(0);
        $self->note("ack @seen") if @seen;
        return if defined $out && !say($socket, $out);
    }
}

sub spoken { return scalar grep { /^lie/ } $_[0]->seen }

subtest module => sub {
    my $liar = peer(\&serve, unix => 1);
    my $nginx = Oracle->nginx(workers => 16, listen => 'reuseport',
        http => 'capture_redis ' . $liar->addr . ' timeout=200ms;'
            . ' capture_buffer 4m path={{ring}};', redis => $liar->addr);
    $nginx->allow(qr/LOADING .*forged/);
    my $o = Oracle->new(name => 'r12', nginx => $nginx);

    my @workers;
    wait_for(sub { @workers = $nginx->workers; @workers == 16 });
    my %rss = map { $_ => IDash::Process::rss($_) } @workers;
    my $want = Oracle::scale(10_000);
    my $load = $o->load(rate => 1200, seconds => 900,
        connections => 128);

    my $done = wait_for(sub { spoken($liar) >= $want }, 900);
    my $grown = 0;
    for my $pid (@workers) {
        my $more = IDash::Process::rss($pid) - $rss{$pid};
        $grown = $more if $more > $grown;
    }

    write_file($honest, '');
    my $sum = $load->stop;
    ok($done, "$want lies were told") or diag spoken($liar);
    is($sum->{failed} + $sum->{unfinished}, 0, 'no request failed');

    wait_for(sub { !$nginx->status->{queued} }, 60);
    my $status = $o->counters_add_up;
    is($status->{queued}, 0, 'all records have an outcome');
    is("@{[ $nginx->workers ]}", "@workers", 'no worker crashed');

    my %kinds = map { $_ => 1 } grep { /^lie/ } $liar->seen;
    is(scalar keys %kinds, scalar keys %lies, 'each kind of lie was told');
    unlike($nginx->log_text, qr/^2026\/01\/01 \[alert\] forged/m,
        'no line of the log is the liar\'s');

    figure('r12.lies', spoken($liar), 'lies');
    my $crashed = () = $nginx->log_text =~ /exited on signal/g;
    figure('r12.crashes', $crashed, 'workers');
    figure('r12.rss', sprintf('%.1f', $grown / 1e6), 'MB more');

    # a batch of 1 MB, its copy, the ring of 4 MB and a reply of 64 KB
    cmp_ok($grown, '<', 24 << 20, 'memory is bounded');

    my @rows = map { [ /^([^:]+):(.*)/, 1, '-' ] }
        map { split ' ', substr $_, 4 } grep { /^ack/ } $liar->seen;
    my $verdict = $o->judge(\@rows, twice => 1e9, lost => $status->{dropped});
    is($verdict->{lost}, $status->{dropped}, 'what is lost is counted');
    is($nginx->stop, 0, 'nginx ends well');
};

subtest sidecar => sub {
    unlink $honest;
    my $redis = redis();
    my $liar = peer(sub {
        my ($socket, $self, $number) = @_;

        srand $number;
        my @names = sort keys %lies;
        my ($in, $n) = ('', 0);

        while (sysread $socket, $in, 65_536, length $in) {
            if (-e $honest) {
                pump($socket, $redis->socket, $in);
                return;
            }

            pos($in) = 0;
            while (my ($name) = command(\$in)) {
                next if $name eq 'PING' && say($socket, "+PONG\r\n");
                my $lie = $names[int rand @names];
                $self->note("lie $lie");
                return if !say($socket, $lies{$lie}->());
                IO::Select->new($socket)->can_read(1);
                return;
            }
            $in = substr $in, pos($in) // 0;
        }
    }, unix => 1);

    my $d = sidecar(redis => substr($liar->addr, 5),
        conf => { redis_timeout => '2s' });
    my $rss = IDash::Process::rss($d->pid);
    my $want = Oracle::scale(200);
    ok(wait_for(sub { spoken($liar) >= $want }, 300), "$want lies were told")
        or diag spoken($liar);
    my $grown = IDash::Process::rss($d->pid) - $rss;

    ok(IDash::Process::alive($d->pid), 'it lives');
    is($d->get('/healthz')->{status}, 200, 'and answers');
    figure('r12.sidecar_rss', sprintf('%.1f', $grown / 1e6), 'MB more');
    cmp_ok($grown, '<', 64 << 20, 'memory is bounded');

    write_file($honest, '');
    require IDash::Record;
    IDash::Record::add_record($redis);
    my $key = $d->key;
    ok(wait_for(sub { $d->logs($key) }, 60), 'then it drains as ever');
    is($d->stop, 0, 'and ends well');
};

done_testing();

# The rest of a connection goes to the true Redis.
sub pump {
    my ($client, $path, $first) = @_;

    my $server = IO::Socket::UNIX->new(Peer => $path) or return;
    syswrite $server, $first;
    my %to = ($client => $server, $server => $client);
    my $select = IO::Select->new($client, $server);

    while (my @ready = $select->can_read) {
        for my $from (@ready) {
            my $n = sysread $from, my $bytes, 65_536;
            return if !$n || !say($to{$from}, $bytes);
        }
    }
}
