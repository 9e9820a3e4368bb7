#!/usr/bin/perl
# dashboard: the page in Chromium over a SQLite store of N logs of 30 days,
# 1000000 by default, all 30 days in view: first paint, rows, heatmap, a change
# of filter, scrolling, the longest task of start and of scrolling in CPU time;
# and what the built page weighs.  "slow" is a CPU of a
# quarter and a line of 10 Mbit/s and 40 ms.
#
#   make bench B=dashboard       N=100000: so many logs
#                                FILE=path: made when missing, and kept
#                                QUICK=1: every line, in seconds

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/../t/lib", $FindBin::Bin;
use Bench;
use IDash;
use IDash::Web;
use List::Util 'max';

if (my $why = IDash::Web::missing()) {
    note("dashboard: $why");
    exit 0;
}

my $logs = $ENV{N} || quick(1_000_000, 2000);
my $file = $ENV{FILE} || test_dir('dashboard') . '/dashboard.db';
my $DAY = 86_400;
my $night = int(time / $DAY) * $DAY;    # where the 30 days end

# limits of the guide; none where it names none
my %limit = ('paint.plain' => '<=1000', 'paint.slow' => '<=2000',
    first_task => '<=50', scroll_task => '<=50',
    dom_rows => '<=60');

my $sizes = IDash::Web::sizes();
figure_line('dashboard.first_load', $sizes->{first}, 'kB', '<=260');
figure_line('dashboard.chunk', max(values %{ $sizes->{chunks} }), 'kB', '<=200');

open my $fill, '-|', bench_tool('query'), $logs, $file, 'fill' or die "query: $!\n";
my @filled = <$fill>;
close $fill or die "query: @filled\n";
my $web = IDash::Web->start(store => "sqlite:$file",
    conf => { roles => 'api' });
my %about = $web->about;
local @ENV{ keys %about } = values %about;
local $ENV{IDASH_RUNS} = quick(5, 1);
local $ENV{IDASH_FRAMES} = quick(400, 30);
local $ENV{IDASH_RANGE} = 'from=' . stamp($night - 30 * $DAY) . '&to=' . stamp($night);

my $root = root_dir();
open my $fh, '-|', "$root/mk/ui", 'node', "$root/bench/dashboard.mjs"
    or die "mk/ui: $!\n";
while (<$fh>) {
    my ($name, $value, $unit) = /^# (\S+) ([\d.]+) (\S+)$/
        or print("# $_"), next;
    figure_line("dashboard.$name", $value, $unit, $limit{$name});
}
close $fh or die "dashboard.mjs failed\n";

sub stamp {
    my @t = gmtime $_[0];
    return sprintf '%04d-%02d-%02dT%02d:%02d:%02d.000Z', $t[5] + 1900,
        $t[4] + 1, @t[3, 2, 1, 0];
}
