# The benchmarks' smoke mode: each runs to its end and prints every line that a
# person compares, in its form.  No figure is judged here.

use strict;
use warnings;

use Test::More;

use lib 't/lib';
use IDash;
use IDash::Mongo;
use IDash::Web;

my @modes = qw(up refused hole oom);
my @sizes = qw(0k 1k 16k 64k);
my @at_load = qw(p50 p99 p99_added p999);

# what each has to say, name for name
my %names = (
    capture => [
        (map { my $m = $_; map { my $s = $_;
            map { "$_.$m.$s" } qw(loop cost ship) } @sizes } @modes),
        qw(unloaded off_beside ship_bare ship_ratio rate),
        (map { my $m = $_; map { "$_.$m" } @at_load } @modes),
        qw(lua to_lua throughput memory.worker memory.integrationd memory.sse
            memory.left),
        (have_command('valgrind')
            ? map { "instructions.$_" } qw(loop off_beside ship) : ()),
    ],
    drain => [
        map { my $s = $_; ("$s.bulk", $s, "$s.cpu", "$s.rss_idle",
            "$s.rss_load") } 'sqlite',
        defined IDash::Mongo::missing() ? () : 'mongo',
    ],
    dispatch => [
        (map { my $c = $_; map { "$_.$c" } qw(bare logged nologs) }
            qw(http.1 https.1)),
        qw(cpu.bare cpu.logged rss),
    ],
    mllp => [
        (map { my $n = $_; map { "$_.$n" } qw(bare transport bare_cpu
            transport_cpu) } 1, 32),
        'logged.32',
    ],
    latency => [ qw(p50 p99 late) ],
    visible => [ qw(p50 p99 unseen rss) ],
    query => [
        (map { "logs.$_" } qw(newest status kind lab action endpoint developer
            http http_class bill patient trace_unknown lab_status lab_action
            two_labs many q slow)),
        qw(heatmap heatmap_lab rss),
    ],
    dashboard => [ IDash::Web::missing() ? () : (qw(first_load chunk),
        (map { ("paint.$_", "rows.$_", "heatmap.$_") } qw(plain slow)),
        qw(first_task filter scroll scroll_task dom_rows)) ],
);
push @{ $names{drain} }, qw(mongo.insert mongo.insert_cpu)
    if grep { $_ eq 'mongo' } @{ $names{drain} };

my $number = qr/-?[\d.]+/;
my $limit = qr/(?:-|[<>]=[\d.]+x?)/;
my $verdict = qr/(?:-|ok|MISSED)/;

my $root = root_dir();
my %there = map { (m{/(\w+)\.pl$})[0] => 1 } glob "$root/bench/*.pl";
is_deeply([ sort keys %there ], [ sort keys %names ],
    'each benchmark is tried here');

$ENV{QUICK} = 1;
$ENV{IDASH_BUILD} = build_dir();

for my $bench (sort keys %names) {
    my $out = `timeout 300 $^X '$root/bench/$bench.pl' 2>&1`;

    is($?, 0, "$bench: ends well") or diag $out;

    my @lines = grep { !/^#/ } split /\n/, $out;
    my @odd = grep { !/^[\w.]+ $number \S+ $limit (?:-|$number) $verdict$/ }
        @lines;
    is("@odd", '', "$bench: name value unit limit ratio verdict");

    my %seen;
    $seen{$_}++ for map { /^(\S+)/ } @lines;
    my @missing = grep { !$seen{"$bench.$_"} } @{ $names{$bench} };
    my @twice = grep { $seen{$_} > 1 } keys %seen;
    is("@missing", '', "$bench: every figure is there");
    is("@twice", '', "$bench: each once");
}

done_testing();
