package Oracle;

# The judge of the storm tests.  A load generator keeps (id, sha256) of every
# finished request; the judge compares them with what the stream or the store
# holds: 0 lost, 0 twice, equal payloads.  Each storm prints its figures.
#
#     my $o = Oracle->new(name => 'r02', nginx => $nginx);
#     my $load = $o->load(rate => 2000, seconds => 10);
#     .. faults ..
#     my $sum = $load->finish;
#     $o->judge_store($sidecar, unfinished => $sum->{unfinished});

use strict;
use warnings;

use Exporter 'import';
use Test::More;

use IDash ();
use IDash::StoreClient ();
use IDash::Wait;

our @EXPORT_OK = qw(scale);

my $files = 0;

# A tenth of the size by default; SCALE=1 is the whole.
sub scale {
    my ($n) = @_;

    my $scaled = $n * ($ENV{SCALE} || 0.1);
    return $scaled < 1 ? 1 : int($scaled + 0.5);
}

sub new {
    my ($class, %opt) = @_;

    die "Oracle: name and nginx are needed\n" if !$opt{name} || !$opt{nginx};
    return bless { loads => [], %opt }, $class;
}

# nginx for a storm: "/" captured in front of an upstream that answers 1 KB of
# JSON to whatever comes, and the counters.  The upstream is an nginx of its
# own, so that reloads and kills of ours are no faults of it.
sub nginx {
    my ($class, %opt) = @_;

    my $body = '{"ok":true,"pad":"' . 'x' x 1000 . '"}';
    my $upstream = IDash::Nginx->start(module => 0, connections => 4096,
        server => 'keepalive_requests 1000000;',
        location => "default_type application/json; return 200 '$body';");

    my $http = 'upstream storm { server ' . $upstream->addr
        . "; keepalive 64; }\n" . (delete $opt{http} || '');
    $http .= "capture_buffer 32m path={{ring}}; capture_spool {{spool}};\n"
        if $http !~ /capture_buffer/;
    my $server = "location = /capture_status { capture_status; }\n"
        . (delete $opt{server} || '');
    my $location = <<'EOF_CONF';
            capture            on;
            add_header         X-Capture-Id $capture_id always;
            proxy_http_version 1.1;
            proxy_set_header   Connection "";
            proxy_pass         http://storm;
EOF_CONF

    my $self = IDash::Nginx->start(http => $http, location => $location,
        server => $server, connections => 4096, log => 'notice', %opt);
    $self->{upstream} = $upstream;
    return $self;
}

# The usual scene: Redis with AOF, a sidecar that reclaims soon, nginx.  Parts
# take their own options; sidecar => 0: none.  IDASH_STREAM=1 leaves it out and
# judges the stream: the module alone.
sub scene {
    my ($class, $name, %opt) = @_;

    my $redis = IDash::Redis->start(aof => 1, %{ $opt{redis} || {} });
    my $wanted = ref $opt{sidecar} || !exists $opt{sidecar};
    my $sidecar = $wanted && !$ENV{IDASH_STREAM}
        ? $class->sidecar($redis, %{ $opt{sidecar} || {} }) : undef;
    my $nginx = $class->nginx(redis => $redis, %{ $opt{nginx} || {} });

    return $class->new(name => $name, redis => $redis, nginx => $nginx,
        sidecar => $sidecar);
}

# The same on a server of the Mongo protocol.  It scans for each query, so the
# records are kept small; one writer, for FerretDB 1 loses $inc of two.
sub mongo_scene {
    my ($class, $name, $uri, %opt) = @_;

    return $class->scene($name, sidecar => { store => $uri,
        conf => { drain_threads => 1 } }, nginx => {
        http => "capture_response_body off;\n" }, %opt);
}

# A sidecar with lease and back-off shortened, as the storms want them.
sub sidecar {
    my ($class, $redis, %opt) = @_;

    my $conf = delete $opt{conf} || {};
    return IDash::Sidecar->start(redis => $redis, conf => {
        drain_min_idle => '2s', drain_reclaim => '500ms', %$conf,
    }, %opt);
}

# Records in the stream that the group has not acknowledged yet.
sub lag {
    my ($self, $stream) = @_;

    my $groups = eval {
        $self->{redis}->call('XINFO', 'GROUPS', $stream || 'idash:capture');
    } or return;
    return if !@$groups;

    my %g = @{ $groups->[0] };
    return ($g{lag} // 0) + $g{pending};
}

# Starts the load; see t/lib/load.c.  finish() waits for its end.
sub load {
    my ($self, %opt) = @_;

    my $n = $files++;
    my $file = IDash::Process::dir() . "/load$n";
    my @argv = (build_dir() . '/tools/load', '-a',
        $opt{addr} || $self->{nginx}->addr, '-o', "$file.ids",
        '-c', $opt{connections} || 32, '-s', $opt{seed} || $n + 1);

    push @argv, '-r', $opt{rate} if $opt{rate};
    push @argv, '-n', $opt{count} if $opt{count};
    push @argv, '-t', $opt{seconds} if $opt{seconds};
    push @argv, '-b', $opt{body} if $opt{body};
    push @argv, '-p', $opt{path} if $opt{path};
    push @argv, '-k' if $opt{no_keep};

    my $load = bless {
        file => "$file.ids", out => "$file.out",
        pid => IDash::Process::spawn('load', \@argv, out => "$file.out"),
    }, 'Oracle::Load';

    push @{ $self->{loads} }, $load;
    return $load;
}

# All that the loads were promised: id => sha256; and what has no answer.
sub promised {
    my ($self) = @_;
    my (%sha, $unfinished, $nameless);

    $unfinished = $nameless = 0;
    for my $load (@{ $self->{loads} }) {
        open my $fh, '<', $load->{file} or die "$load->{file}: $!";
        while (my $line = <$fh>) {
            my (undef, $id, $sha, $status) = split ' ', $line;

            if ($status == 0) {
                $unfinished++;

            } elsif ($id eq '-') {
                $nameless++;

            } else {
                $sha{$id} = $sha;
            }
        }

        $unfinished += $load->{summary}{retried} if $load->{summary};
    }

    return (\%sha, $unfinished, $nameless);
}

# Rows of the store: [id, sha, bytes, cut, http, status]; with a step the sha
# of every so many-th only, '-' for the others.
sub store_rows {
    my ($class, $store, $step) = @_;

    open my $fh, '-|', build_dir() . '/tools/rows', patient($store), $step || 1
        or die "rows: $!";
    my @rows = map { [ split ] } <$fh>;
    close $fh or die "rows of $store failed\n";
    return @rows;
}

# Rows of a Redis stream, in the same shape.
sub stream_rows {
    my ($class, $redis, $stream) = @_;

    require Digest::SHA;
    my @rows;
    my $from = '-';

    while (1) {
        my @some = $redis->entries($stream || 'idash:capture',
            from => $from, count => 1000);

        for my $entry (@some) {
            my $f = $entry->[1];
            push @rows, [ $f->{id},
                Digest::SHA::sha256_hex($f->{request_body} // ''),
                $f->{request_bytes} // -1, $f->{request_cut} // '-',
                $f->{status}, '-' ];
        }

        last if @some < 1000;
        $from = "($some[-1][0]";
    }

    return @rows;
}

# Waits until the store holds all that was promised, or nothing comes any more.
# Records of requests that got no answer count in COUNT, and are no promise: with
# such, ROWS is asked whether the promised ones are there.
sub settle {
    my ($self, $count, $rows, %opt) = @_;

    my ($sha, $unfinished) = $self->promised;
    my $want = keys %$sha;
    my ($last, $since) = (-1, now());
    my $quiet = $opt{quiet} || 20;

    while (1) {
        my $have = $count->();
        return $have if $have >= $want
            && (!$unfinished || !$rows || has_all($sha, $rows->()));
        ($last, $since) = ($have, now()) if $have != $last;
        return $have if now() - $since > $quiet;
        Time::HiRes::sleep(0.1);
    }
}

sub has_all {
    my ($sha, @rows) = @_;

    my %have = map { $_->[0] => 1 } @rows;
    return !grep { !$have{$_} } keys %$sha;
}

# The verdict: lost, twice, payloads.  %allow: extra => rows that no promise
# covers (unfinished requests, other traffic), lost => so many at most.
sub judge {
    my ($self, $rows, %allow) = @_;

    my $name = $self->{name};
    my ($sha, $unfinished, $nameless) = $self->promised;
    my (%seen, $twice, $bad, $extra);

    $twice = $bad = $extra = 0;
    for my $row (@$rows) {
        my ($id, $have, undef, $cut) = @$row;

        if ($seen{$id}++) {
            $twice++;

        } elsif (!exists $sha->{$id}) {
            $extra++;

        } elsif ($have ne $sha->{$id} && $have ne '-' && $cut eq '-') {
            $bad++;
        }
    }

    my $lost = grep { !$seen{$_} } keys %$sha;
    my $may_lose = $allow{lost} || 0;
    my $may_add = $unfinished + ($allow{extra} || 0);

    my $captured = eval { $self->{nginx}->status->{captured} };
    figure("$name.captured", $captured, 'records') if defined $captured;
    figure("$name.stored", scalar keys %seen, 'records');
    figure("$name.finished", scalar keys %$sha, 'requests');
    figure("$name.unfinished", $unfinished, 'requests');
    figure("$name.lost", $lost, 'records');
    figure("$name.dup", $twice, 'records');
    figure("$name.bad_sha", $bad, 'records');

    ok(scalar keys %$sha > 0, 'requests were made');
    is($nameless, 0, 'each answer named its record');
    cmp_ok($lost, '<=', $may_lose, "lost <= $may_lose");
    cmp_ok($twice, '<=', $allow{twice} || 0, 'none twice');
    is($bad, 0, 'payloads are equal');
    cmp_ok($extra, '<=', $may_add, "no more than $may_add that none asked for");

    return { lost => $lost, twice => $twice, bad => $bad, extra => $extra };
}

# The verdict on the scene: its store, or the stream when it has no sidecar.
sub verdict {
    my ($self, %allow) = @_;

    return $self->{sidecar} ? $self->judge_store($self->{sidecar}, %allow)
                            : $self->judge_stream($self->{redis}, %allow);
}

# The verdict on a sidecar's store, once it has settled.
sub judge_store {
    my ($self, $sidecar, %allow) = @_;

    my $store = $sidecar->store;
    my $local = $store =~ /^sqlite/;
    my $step = $local ? 1 : 1 + int(keys(%{ ($self->promised)[0] }) / 20);
    my $rows = sub { $self->store_rows($store, $step) };

    $self->settle($local ? sub { $self->count_rows($store) }
        : sub { $self->arrived }, $rows, %allow);
    return $self->judge([ $rows->() ], %allow);
}

# The verdict on the stream itself, where no sidecar runs.
sub judge_stream {
    my ($self, $redis, %allow) = @_;

    # what was sent again after an unknown outcome is one in the store only
    $allow{twice} //= 1e9;
    $self->settle(sub { $redis->call('XLEN', 'idash:capture') },
        sub { $self->stream_rows($redis) }, %allow);
    return $self->judge([ $self->stream_rows($redis) ], %allow);
}

# The judge waits longer than the sidecar that is under test.
sub patient {
    my ($store) = @_;

    return $store =~ s/^(mongodb[^?]*)\?.*/$1/r;
}

# How many of the promised are neither in nginx nor in Redis any more: cheaper
# than to ask a server that reads all it has to count it.
sub arrived {
    my ($self) = @_;

    my ($sha) = $self->promised;
    my $status = eval { $self->{nginx}->status } or return -1;
    my $lag = $self->lag;

    return keys(%$sha) - ($lag // 1) - $status->{queued} - $status->{spooled};
}

# The heatmap's buckets equal the documents, cell by cell, within a minute.
sub judge_buckets {
    my ($self, $sidecar) = @_;

    my $client = IDash::StoreClient->start(patient($sidecar->store));
    my ($from, $said) = (now(), '');
    my $labels = $sidecar->store =~ /^sqlite/ ? 6 : 2;      # of endpoints
    die 'store_client: ' . $client->error if !$client->is_open;

    wait_for(sub { ($said = $client->ask("agree $labels")) =~ /^ok \d+ 0$/ }, 60);
    figure("$self->{name}.buckets_s", sprintf('%.1f', now() - $from), 's');
    like($said, qr/^ok [1-9]\d* 0$/, 'buckets equal the documents');
    return;
}

sub count_rows {
    my ($self, $store) = @_;

    if ($store =~ /^sqlite:(.*)/) {
        my $n = `sqlite3 -readonly -cmd '.timeout 5000' '$1' 'select count(*) from integration_directory' 2>/dev/null`;
        return $n =~ /^(\d+)/ ? $1 : 0;
    }

    return scalar $self->store_rows($store);
}

# The counters add up: A1.
sub counters_add_up {
    my ($self, $status) = @_;

    $status ||= $self->{nginx}->status;
    is($status->{captured}, $status->{acked} + $status->{queued}
        + $status->{spooled} + $status->{dropped},
        'captured == acked + queued + spooled + dropped')
        or diag to_json($status);
    return $status;
}

package Oracle::Load;

use IDash;

# Requests answered so far.
sub done {
    my ($self) = @_;

    return 0 if !-e $self->{file};
    open my $fh, '<', $self->{file} or return 0;
    my $n = 0;
    $n++ while defined(my $line = <$fh>);
    return $n;
}

sub running { return IDash::Process::alive($_[0]{pid}) }

# Ends by itself, or is told to; the summary of load.c.
sub finish {
    my ($self, %opt) = @_;

    my $limit = $opt{limit} || 300 * ($ENV{SCALE} ? 1 + 9 * $ENV{SCALE} : 1);

    kill 'TERM', $self->{pid} if $opt{now};
    wait_for(sub { !$self->running }, $limit)
        or die "the load does not end\n";

    my $text = read_file($self->{out});
    $self->{summary} = eval { from_json($text) }
        or die "load said: $text\n";
    return $self->{summary};
}

sub stop { return $_[0]->finish(now => 1) }

1;
