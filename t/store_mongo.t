# The suites of t/unit/store*.c for both stores against a server of the Mongo
# protocol.

use strict;
use warnings;

use Test::More;

use lib 't/lib';
use IDash;
use IDash::Mongo;

my $missing = IDash::Mongo::missing();
plan skip_all => $missing if defined $missing;

my $mongo = IDash::Mongo->start;
my $run = IDash::Mongo::is_foreign() ? "idash_$$" . '_{n}' : 'suite_{n}';

$ENV{STORE_URI} = $mongo->uri($run);
# FerretDB scans its table for each query
$ENV{STORE_ROUNDS} //= 6;
$ENV{STORE_RACERS} //= IDash::Mongo::is_foreign() ? 4 : 1;

suite($_) for qw(store store_find store_count store_outbound);

$mongo->stop if !IDash::Mongo::is_foreign();
done_testing();

sub suite {
    my ($name) = @_;

    my $program = build_dir() . "/unit/$name";
    open my $tap, '-|', "$program 2>&1" or die "$program: $!";
    while (my $line = <$tap>) {
        chomp $line;
        if ($line =~ /^(not )?ok \d+ - (.*)/) {
            ok(!$1, $2);

        } else {
            diag($line) if $line !~ /^\d+\.\.\d+$|^# ok/;
        }
    }
    close $tap;
    is($?, 0, "$name: exit status");
    return;
}
