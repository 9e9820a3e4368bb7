#!/usr/bin/perl
# query: pages of GET /logs and GET /heatmap over a SQLite store of N logs of 30
# days, 1000000 by default; first in the store alone, then over the API.
#
#   make bench B=query           N=5000000: as many as the figures are for
#                                FILE=path: made when missing, and kept
#                                QUICK=1: every line, in seconds

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../t/lib", $FindBin::Bin;
use Bench;
use IDash;
use IDash::HTTP ();

my $logs = $ENV{N} || quick(1_000_000, 2000);
my $file = $ENV{FILE} || test_dir('query') . '/query.db';
my $RUNS = quick(200, 10);
my $SECONDS = 2;                        # of one query, then it is enough
my $ROUNDS = quick(3, 1);               # the least p99 of them counts
my $DAY = 86_400;
my $NIGHT = int(time / $DAY) * $DAY;    # where the 30 days end

# name, parameters; {n} is a number from 1 to n.  Led by an index or not.
my @INDEXED = (
    [ newest => '' ],
    [ status => 'status=FAIL' ],
    [ kind => 'kind=hl7' ],
    [ lab => 'lab_id={100}' ],
    [ action => 'action_id={60}' ],
    [ endpoint => 'endpoint=POST%20/api/v1/endpoint-{60}' ],
    [ developer => 'developer_id=0190aaaa-0000-7000-8000-00000000000{9}' ],
    [ http => 'http=504' ],
    [ http_class => 'http=5xx' ],
    [ bill => 'ref[bill_id]={100000}' ],
    [ patient => 'ref[patient_id]={40000}' ],
    [ trace_unknown => 'trace_id=nowhere{1000}' ],
    [ lab_status => 'lab_id={100}&status=FAIL' ],
    [ lab_action => 'lab_id={100}&action_id={60}' ],
    [ two_labs => 'lab_id={50}&lab_id=77&status=FAIL' ],
    [ many => 'lab_id={100}&action_id={60}&status=FAIL&http=503' ],
);
my @OTHERS = (
    [ q => 'q=order%3D77{1000}' ],
    [ slow => 'duration_ms[gt]=998' ],
);

sub store_alone {
    my %unit = (p50 => 1, p99 => 1, cpu_p99 => 1);

    my @nice = $> == 0 ? qw(nice -n -15) : ();
    open my $fh, '-|', @nice, bench_tool('query'), $logs, $file
        or die "query: $!\n";
    while (<$fh>) {
        my ($name, $value, $unit) = /^query\.(\S+) ([\d.]+) (.+)$/ or next;
        my ($last) = $name =~ /([^.]+)$/;
        figure_line("query.store.$name", $value, $unit)
            if $name !~ /\./ || $last eq 'p99' || $last eq 'cpu_p99';
    }
    close $fh or die "query failed\n";
    return;
}

my ($d, $key, $api);

sub fill_in {
    my ($text) = @_;
    return $text =~ s/\{(\d+)\}/1 + int rand $1/ger;
}

# Milliseconds of one answer, and the answer.
sub ask {
    my ($path) = @_;

    $api ||= IDash::HTTP->new($d->socket);
    my $begun = now();
    $api->send(IDash::HTTP::message('GET', $path,
        headers => [ [ 'Authorization', "Bearer $key" ] ]));
    my $answer = $api->response(method => 'GET');
    my $ms = (now() - $begun) * 1000;

    die "GET $path: $answer->{status} $answer->{body}\n"
        if $answer->{status} != 200;
    return ($ms, $answer->{body});
}

# The newest page, and in turn with it one further down.
sub time_pages {
    my ($limit, $name, $query) = @_;
    my (@p99, $partial, $asked);

    for my $round (1 .. $ROUNDS) {
        my @ms;
        my $end = now() + $SECONDS;
        while (@ms < $RUNS && (@ms < 10 || now() < $end)) {
            my $to = @ms % 2 ? '&to=' . stamp($NIGHT - rand 27 * $DAY) : '';
            my ($ms, $body) = ask('/api/v1/logs?limit=50'
                . ($query ? '&' . fill_in($query) : '') . $to);

            push @ms, $ms;
            $partial += $body =~ /"partial":true,"searched_to":"/;
            $asked++;
        }
        push @p99, quantile(0.99, @ms);
    }

    figure_line("query.logs.$name", least(@p99), 'ms', "<=$limit");
    note("query.logs.$name: $partial of $asked in part, with searched_to")
        if $partial;
    return;
}

sub time_heatmap {
    my ($name, $query) = @_;
    my @p99;

    my ($until, $since) = map { stamp($_) } $NIGHT, $NIGHT - 30 * $DAY;

    for my $round (1 .. $ROUNDS) {
        my @ms;
        my $end = now() + $SECONDS;
        while (@ms < $RUNS && (@ms < 10 || now() < $end)) {
            my ($ms) = ask("/api/v1/heatmap?from=$since&to=$until&"
                . fill_in($query));
            push @ms, $ms;
        }
        push @p99, quantile(0.99, @ms);
    }

    figure_line("query.$name", least(@p99), 'ms', '<=30');
    return;
}

sub stamp {
    my @t = gmtime $_[0];
    return sprintf '%04d-%02d-%02dT%02d:%02d:%02dZ', $t[5] + 1900, $t[4] + 1,
        @t[3, 2, 1, 0];
}

hurry($$);
store_alone();
$d = sidecar(redis => redis(), store => "sqlite:$file",
    conf => { roles => 'api', retention_ok => '3650d',
        retention_fail => '3650d' });
$key = $d->key;
hurry($$, threads($d->pid));

time_pages(10, @$_) for @INDEXED;
time_pages(250, @$_) for @OTHERS;
time_heatmap('heatmap', '');
time_heatmap('heatmap_lab', 'lab_id={100}');
figure_line('query.rss', (memory_kb($d->pid))[1] / 1024, 'MB', '<=64');
