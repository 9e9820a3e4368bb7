package Outbound;

# What the tests of dispatch share: a receiver that keeps what it got, a
# sidecar that sends to it, integrations and events by REST.
#
#     my $o = Outbound->new;                       # conf => {..}, store => ..
#     my $i = $o->integration(url => $o->url('/ok/a'), ordered => \1);
#     my @ids = $o->events(10, sub { { n => $_[0] } });
#     $o->settle(@ids);                            # all have ended
#     my @hits = $o->hits;                         # { path, id, body, status }

use strict;
use warnings;

use ApiTest;
use IDash;
use IDash::Wait;
use Test::More;
use Time::Local 'timegm';

sub new {
    my ($class, %opt) = @_;

    my $self = bless {}, $class;
    $self->{receiver} = $opt{receiver} || $class->receiver;
    my %conf = (
        roles => 'drain,dispatch,api', outbound_allow => '127.0.0.0/8',
        outbound_ports => join(',', $self->{receiver}{port},
            @{ $opt{ports} || [] }),
        dispatch_reconcile => '1s', %{ $opt{conf} || {} },
    );
    $self->{api} = api(
        conf => \%conf,
        $opt{redis} ? (redis => $opt{redis}) : (),
        $opt{store} ? (store => $opt{store}) : (),
    );
    $self->{conf} = \%conf;
    return $self;
}

sub api_of { return $_[0]{api} }
sub d { return $_[0]{api}->d }
sub redis_of { return $_[0]{api}->redis_of }

# -- the receiver ----------------------------------------------------------

my $receivers = 0;

sub receiver {
    my ($class) = @_;

    my $dir = IDash::Process::dir('receiver' . ++$receivers);
    my $self = { log => "$dir/hits", out => "$dir/out" };
    write_file($self->{log}, '');
    $self->{pid} = IDash::Process::spawn('receiver',
        [ build_dir() . '/tools/receiver', '-o', $self->{log} ],
        out => $self->{out});
    wait_for(sub { -s $self->{out} }) or die "no receiver\n";
    ($self->{port}) = read_file($self->{out}) =~ /(\d+)/;
    return $self;
}

sub url {
    my ($self, $path) = @_;
    return "http://127.0.0.1:$self->{receiver}{port}$path";
}

# What came, oldest first; of one path, or all.
sub hits {
    my ($self, $path) = @_;

    my @hits;
    open my $fh, '<', $self->{receiver}{log} or die "hits: $!";
    while (my $line = <$fh>) {
        my ($ms, $p, $id, $bytes, $status, $body) = split / /, $line, 6;
        next if !defined $body || (defined $path && $p ne $path);
        chomp $body;
        push @hits, { ms => $ms, path => $p, id => $id, bytes => $bytes,
            status => $status, body => $body };
    }
    return @hits;
}

# -- REST ------------------------------------------------------------------

sub post {
    my ($self, $path, $json) = @_;
    return $self->{api}->call('POST', $path, json => $json);
}

my $names = 0;

# Makes one and waits until the routes know it.
sub integration {
    my ($self, %f) = @_;

    my $nowait = delete $f{nowait};
    my $r = $self->post('/integrations', {
        name => 'i' . ++$names, org_id => 3, lab_id => 11, action_id => 1,
        allow_http => \1, schedule => '1s,1s,1s', %f,
    });
    is($r->{status}, 201, "integration $r->{json}{name}") or diag $r->{body};
    Time::HiRes::sleep(1.2) if !$nowait;
    return $r->{json};
}

# A change of some members.
sub change {
    my ($self, $id, %f) = @_;

    my $now = $self->{api}->get("/integrations/$id")->{json};
    delete @$now{qw(id version created_at updated_at disabled_reason
        signing_secrets _id)};
    my $r = $self->{api}->call('PUT', "/integrations/$id",
        json => { %$now, %f }, headers => [ [ 'If-Match', '*' ] ]);
    is($r->{status}, 200, 'changed: ' . join ',', sort keys %f)
        or diag $r->{body};
    Time::HiRes::sleep(1.2);
    return $r->{json};
}

sub remove {
    my ($self, $id) = @_;

    my $r = $self->{api}->call('DELETE', "/integrations/$id",
        headers => [ [ 'If-Match', '*' ] ]);
    is($r->{status}, 204, 'deleted');
    return;
}

# One event; its log ids.
sub event {
    my ($self, %f) = @_;

    my $r = $self->post('/events', {
        action_id => 1, lab_id => 11, payload => { n => 1 }, %f,
    });
    die "event: $r->{status} $r->{body}" if $r->{status} != 202;
    return @{ $r->{json}{log_ids} };
}

# N events in calls of 100; CODE gives each one's payload or members.
sub events {
    my ($self, $n, $code, %f) = @_;

    my @ids;
    for (my $at = 1; $at <= $n; $at += 100) {
        my $last = $at + 99 < $n ? $at + 99 : $n;
        my $r = $self->post('/events', [ map { +{
            action_id => 1, lab_id => 11, payload => { n => $_ }, %f,
            $code ? %{ $code->($_) } : (),
        } } $at .. $last ]);
        die "events: $r->{status} $r->{body}" if $r->{status} != 202;
        push @ids, map { @{ $_->{log_ids} } }
            @{ $r->{json}{data} };
    }
    return @ids;
}

sub log_of { my ($self, $id) = @_; return $self->{api}->get("/logs/$id")->{json} }

# Waits until the log has the status; gives it.
sub until_status {
    my ($self, $id, $status, $limit) = @_;

    my $log;
    wait_for(sub {
        $log = $self->log_of($id);
        return ($log->{status} // '') =~ /^(?:$status)$/;
    }, $limit) or diag "$id is $log->{status}, not $status";
    return $log;
}

# Waits until each has been tried: { id => log }, as far as it came.
sub tried {
    my ($self, $limit, @ids) = @_;

    my %log;
    wait_for(sub {
        for my $id (grep { !$log{$_} } @ids) {
            my $log = $self->log_of($id);
            $log{$id} = $log if $log->{status} ne 'PENDING';
        }
        return keys %log == @ids;
    }, $limit);
    return %log;
}

sub attempts_of {
    my ($self, $id) = @_;
    return @{ $self->{api}->get("/logs/$id/attempts")->{json}{data} };
}

# Seconds of "2026-01-02T03:04:05.678Z".
sub seconds {
    my ($t) = @_;

    my ($y, $mo, $d, $h, $mi, $s, $ms) =
        $t =~ /^(\d+)-(\d+)-(\d+)T(\d+):(\d+):(\d+)\.(\d+)Z$/ or die $t;
    return timegm($s, $mi, $h, $d, $mo - 1, $y) + "0.$ms";
}

# Seconds from the end of an attempt to the next.
sub wait_after {
    my ($try) = @_;

    return seconds($try->{next_attempt_at})
        - seconds($try->{timing}{started_at})
        - $try->{timing}{duration_ms} / 1000;
}

# Waits until nothing is PENDING or RETRYING; true when so.
sub settle {
    my ($self, $limit) = @_;

    return wait_for(sub { $self->open_logs == 0 }, $limit);
}

sub open_logs {
    my ($self) = @_;

    my $path = '/logs?status=PENDING&status=RETRYING&limit=1';
    my $r = $self->{api}->get($path);

    # a slow store answers what it looked through so far
    while ($r->{status} == 200 && $r->{json}{partial}
        && !@{ $r->{json}{data} })
    {
        $r = $self->{api}->get("$path&cursor=$r->{json}{page}{next}");
    }

    return $r->{status} == 200 ? scalar @{ $r->{json}{data} } : 1;
}

# { status => how many } of all outbound logs.
sub statuses {
    my ($self) = @_;

    my %n;
    my $path = '/logs?kind=webhook&kind=hl7&limit=200';
    while ($path) {
        my $r = $self->{api}->get($path);
        $n{ $_->{status} }++ for @{ $r->{json}{data} };
        my $next = $r->{json}{page}{has_more} && $r->{json}{page}{next};
        $path = $next ? "/logs?kind=webhook&kind=hl7&limit=200&cursor=$next"
                      : undef;
    }
    return \%n;
}

1;
