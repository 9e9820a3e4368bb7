#!/usr/bin/perl
# visible: from the end of a request to the first GET /logs that shows it, at a
# fixed rate.  A reader asks for the newest page again and again; the id of a
# log carries the request's start, the row its duration.
#
#   make bench B=visible         QUICK=1: every line, in seconds

use strict;
use warnings;
no warnings "portable";           # numbers of 48 bits

use FindBin;
use lib "$FindBin::Bin/../t/lib", $FindBin::Bin;
use Bench;
use IDash;
use IDash::HTTP ();
use Time::HiRes ();

my $RATE = 1000;
my $PAUSE = 0.005;                      # between two pages
my $PAGE = 100;
my $seconds = quick(10, 0.5);

my $redis = redis();
my $up = nginx(module => 0, location =>
    'default_type application/json; return 200 "{}";');
my $nginx = nginx(redis => $redis, server => <<"CONF");
    location / {
        capture on;
        capture_action 57;
        proxy_pass @{[ 'http://' . $up->addr ]};
    }
CONF
my $d = sidecar(redis => $redis);
my $key = $d->key;
hurry($$, threads($d->pid), threads($redis->pid), worker($nginx), worker($up));

sub producer {
    my $pid = open my $fh, '-|';
    die "fork: $!" if !defined $pid;
    return ($pid, $fh) if $pid;

    exec build_dir() . '/tools/load', '-a', $nginx->addr, '-p', '/api',
        '-b', 1024, '-r', $RATE, '-t', $seconds, '-c', 32;
    die "load: $!\n";
}

# Microseconds since 1970, as they stand in a UUIDv7 of the module.
sub id_us {
    my ($id) = @_;

    my $hex = $id =~ tr/-//dr;
    return hex(substr $hex, 0, 12) * 1000 + (hex(substr $hex, 12, 4) & 0xfff);
}

# Milliseconds from each end to now, of the rows that were not seen before.  A
# page of new rows only has more behind it.
sub look {
    my ($c, $seen) = @_;
    my (@late, $old);

    for (my $cursor = ''; !$old && defined $cursor; ) {
        my $path = "/api/v1/logs?limit=$PAGE$cursor";
        $c->send(IDash::HTTP::message('GET', $path,
            headers => [ [ 'Authorization', "Bearer $key" ] ]));
        my $answer = $c->response(method => 'GET');
        my $now = Time::HiRes::time() * 1e6;
        die "GET $path: $answer->{status}\n" if $answer->{status} != 200;

        while ($answer->{body}
            =~ /"_id":"([0-9a-f-]{36})".*?"duration_ms":([\d.]+)/sg)
        {
            my ($id, $ms) = ($1, $2);
            $old = 1 if $seen->{$id};
            push @late, ($now - id_us($id)) / 1e3 - $ms if !$seen->{$id}++;
        }

        ($cursor) = $answer->{body} =~ /"page":\{"next":"([^"]+)"/;
        $cursor = "&cursor=$cursor" if defined $cursor;
    }

    return @late;
}

# One run: lateness of every row.
sub run {
    my $c = IDash::HTTP->new($d->socket);
    my (%seen, @late);

    look($c, \%seen);
    my ($pid, $fh) = producer();
    my $end = now() + $seconds + quick(2, 1);

    my $last = now();
    while (now() < $end || now() - $last < 1) {
        my @new = look($c, \%seen);
        push @late, @new;
        $last = now() if @new;
        Time::HiRes::sleep($PAUSE);
    }

    local $/;
    my $sum = from_json(<$fh>);
    close $fh;
    return ($sum->{finished} - @late, @late);
}

my (@p50, @p99, $unseen);
for my $round (1 .. quick(3, 1)) {
    my ($missed, @late) = run();

    push @p50, quantile(0.5, @late);
    push @p99, quantile(0.99, @late);
    $unseen += $missed;
}

figure_line('visible.p50', least(@p50), 'ms');
figure_line('visible.p99', least(@p99), 'ms', '<=150');
figure_line('visible.unseen', $unseen, 'rows', '<=0', 0);
figure_line('visible.rss', (memory_kb($d->pid))[1] / 1024, 'MB', '<=64');
