# Every unit program of t/unit as a subtest; a source without its program fails.

use strict;
use warnings;

use Test::More;

use lib 't/lib';
use IDash;

my @sources = glob root_dir() . '/t/unit/*.c';
plan skip_all => 'no unit tests' if !@sources;

for my $source (@sources) {
    my ($name) = $source =~ m{([^/]+)\.c$};
    my $program = build_dir() . "/unit/$name";

    subtest $name => sub {
        if (!ok(-x $program, "$program is built")) {
            done_testing();
            return;
        }

        run_program($program);
        done_testing();
    };
}

done_testing();

# The program's own TAP lines become the subtest's.
sub run_program {
    my ($program) = @_;

    my $tap = `$program 2>&1`;
    my $status = $?;
    my $tests = 0;

    for my $line (split /\n/, $tap) {
        if ($line =~ /^(not )?ok \d+ ?-? ?(.*)/) {
            my ($failed, $name) = ($1, $2);

            $tests++;
            $name =~ s/#.*(SKIP|TODO)/$1/;
            ok(!$failed, $name);
        }
    }

    is($status, 0, 'exit status') or diag $tap;
    ok($tests > 0, 'it ran tests') or diag $tap;
    return;
}
