# Every seed of every fuzz target, replayed; a target needs seeds.

use strict;
use warnings;

use Test::More;

use lib 't/lib';
use IDash;

my $dir = root_dir() . '/t/fuzz';
my @targets = grep { $_ ne 'replay' } map { m{([^/]+)\.c$} } glob "$dir/*.c";
plan skip_all => 'no fuzz targets' if !@targets;

for my $target (@targets) {
    my $program = build_dir() . "/replay/$target";
    my @seeds = sort glob "$dir/seeds/$target/*";

    ok(scalar @seeds, "$target has seeds") or next;
    ok(-x $program, "$target is built") or next;

    my $out = '';
    my $status = 0;
    while (my @some = splice @seeds, 0, 200) {
        open my $fh, '-|', "$program @{[ map { quotemeta } @some ]} 2>&1";
        local $/;
        $out .= <$fh> // '';
        close $fh;
        $status ||= $?;
    }
    is($status, 0, "$target replays them") or diag $out;
}

done_testing();
