# Storm 37: each byte of a spool's segment flipped, each length cut: the unit
# program does it; here are its figures.

use strict;
use warnings;

use Test::More;

use lib 't/lib';
use IDash;

my $program = build_dir() . '/unit/capture_spool';
my $text = `$program 2>&1`;

is($?, 0, 'the unit program is content') or diag $text;
my @figures = $text =~ /(r37\.[^\n]*)/g;
ok(scalar @figures, 'it printed figures') or diag $text;
print "# $_\n" for @figures;

done_testing();
