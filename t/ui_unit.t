# The web page's own unit tests (vitest), its types, and how much of it is loaded.

use strict;
use warnings;

use lib 't/lib';
use IDash::Wait;
use IDash::Web;
use Test::More;

IDash::Web::needed();
my $root = root_dir();

my $out = `$root/mk/ui run test -- --reporter=json 2>/dev/null`;
my $report = $out =~ /(\{.*\})/s ? eval { from_json($1) } : undef;
ok($report, 'vitest ran') or diag $out;
for my $file (@{ $report->{testResults} || [] }) {
    for my $t (@{ $file->{assertionResults} }) {
        is($t->{status}, 'passed', $t->{fullName})
            or diag join "\n", @{ $t->{failureMessages} };
    }
}
cmp_ok($report->{numTotalTests} || 0, '>=', 20, 'not a few of them');

# -- budget (guide of the dashboard, section 12) -------------------------------

my $sizes = IDash::Web::sizes();
figure('ui.first_load', sprintf('%.1f', $sizes->{first}), 'kB');
cmp_ok($sizes->{first}, '>', 50, 'the first load is counted');
cmp_ok($sizes->{first}, '<=', 260, 'the first load keeps to 260 kB gzip');
for my $file (sort keys %{ $sizes->{chunks} }) {
    cmp_ok($sizes->{chunks}{$file}, '<=', 200, "$file keeps to 200 kB gzip");
}

my $package = from_json(read_file("$root/sidecar/dashboard/package.json"));
my $direct = map { keys %{ $package->{$_} } } qw(dependencies devDependencies);
cmp_ok($direct, '<=', 25, 'no more than 25 direct dependencies');

# -- nothing that the policy would stop, nothing that writes markup ------------

my $source = `grep -rn "dangerouslySetInnerHTML\\|innerHTML\\|eval(" $root/sidecar/dashboard/src`;
is($source, '', 'no text becomes markup');
unlike(read_file("$root/conf/dashboard.conf"), qr/unsafe-inline|unsafe-eval/,
    'the policy has no hole');
done_testing();
