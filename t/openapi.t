# sidecar/openapi.yaml is sound, and says of every route that it is there.

use strict;
use warnings;

use lib 't/lib';
use IDash::Wait;
use Test::More;

my $root = root_dir();
my $check = "/usr/bin/python3 $root/t/lib/openapi.py $root/sidecar/openapi.yaml";

for my $case ([ 'lint', 'references, schemas, operations' ],
    [ "routes $root/sidecar/api.c", 'the routes' ])
{
    my $out = `$check $case->[0] 2>&1`;
    is($?, 0, $case->[1]) or diag $out;
}

# the check can fail
my $broken = read_file("$root/sidecar/openapi.yaml");
$broken =~ s{^  /heatmap:}{  /heatmaps:}m;
$broken =~ s{schemas/LogPage"}{schemas/LogPages"};
my $file = "$root/build/openapi-broken.yaml";
write_file($file, $broken);
$check =~ s{\Q$root\E/sidecar/openapi.yaml}{$file};
like(`$check lint`, qr/LogPages leads nowhere/, 'a broken reference is found');
like(`$check routes $root/sidecar/api.c`, qr{GET /heatmap is not described},
    'a missing route too');
unlink $file;

done_testing();
