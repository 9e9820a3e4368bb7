#!/usr/bin/perl
# latency: from the call that posts an event to its hit at the endpoint, at a
# fixed rate.  The payload carries the time before the call, so that accepting
# it is part of the figure.
#
#   make bench B=latency         QUICK=1: every line, in seconds

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../t/lib", $FindBin::Bin;
use Bench;
use IDash;
use IDash::HTTP ();
use Outbound;
use POSIX ();
use Time::HiRes ();

my $RATE = 1000;
my $POSTERS = 8;
my $seconds = quick(10, 1);

# figures only: what Test::More would print about integrations is no line
open my $null, '>', '/dev/null' or die "/dev/null: $!\n";
Test::More->builder->output($null);

# a thread for each poster: it waits for its event to be on disk
my $o = Outbound->new(conf => { dispatch_in_flight => 512,
    api_threads => $POSTERS });
$o->integration(url => $o->url('/ok/latency'), concurrency => 64);

# One of the posters: its share of the rate, open loop.
sub poster {
    my ($number) = @_;

    my $pid = fork();
    die "fork: $!" if !defined $pid;
    return $pid if $pid;

    my $c = IDash::HTTP->new($o->d->socket);
    my $step = $POSTERS / $RATE;
    my $next = Time::HiRes::time() + $number * $step / $POSTERS;
    my $end = $next + $seconds;

    while ($next < $end) {
        my $wait = $next - Time::HiRes::time();
        Time::HiRes::sleep($wait) if $wait > 0;
        my $ms = sprintf '%.3f', $next * 1000;
        $c->send(IDash::HTTP::message('POST', '/api/v1/events', headers => [
            [ 'Authorization', "Bearer $o->{api}{admin}" ],
            [ 'Content-Type', 'application/json' ] ],
            body => qq({"action_id":1,"lab_id":11,"payload":{"ms":$ms}})));
        my $r = $c->response(method => 'POST');
        POSIX::_exit(1) if $r->{status} != 202;
        $next += $step;
    }
    POSIX::_exit(0);
}

my @pids = map { poster($_) } 0 .. $POSTERS - 1;
for my $pid (@pids) {
    waitpid $pid, 0;
    die "an event was refused\n" if $?;
}
$o->settle(60);

my @ms = map { $_->{ms} - ($_->{body} =~ /"ms":([\d.]+)/)[0] } $o->hits;
my $late = int($RATE * $seconds) - @ms;
figure_line('latency.p50', quantile(0.5, @ms), 'ms');
figure_line('latency.p99', quantile(0.99, @ms), 'ms', '<=10');
figure_line('latency.late', $late < 0 ? 0 : $late, 'events', '<=0', 0);
POSIX::_exit(0) if !Test::More->builder->is_passing;
Test::More->builder->reset;
