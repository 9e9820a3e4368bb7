# The tree itself: layers, format, documentation.

use strict;
use warnings;

use Test::More tests => 3;

use lib 't/lib';
use IDash;

for my $check (qw(check-layers check-format check-docs)) {
    my $out = `@{[ root_dir() ]}/.ci/$check 2>&1`;

    is($?, 0, $check) or diag $out;
}
