# The web page's own unit tests (vitest), its types, and how much of it is loaded.

use strict;
use warnings;

use Compress::Zlib;
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

my $built = "$root/build/dashboard";
my $manifest = from_json(read_file("$built/manifest.json"));

sub gzip_kb {
    my ($file) = @_;
    return length(Compress::Zlib::memGzip(read_file("$built/$file"))) / 1000;
}

my (%first, @todo);
@todo = grep { $manifest->{$_}{isEntry} } keys %$manifest;
while (my $name = shift @todo) {
    my $m = $manifest->{$name};
    next if $first{$name}++;
    push @todo, @{ $m->{imports} || [] };
}
my ($sum, %seen) = (0);
for my $m (map { $manifest->{$_} } keys %first) {
    $sum += gzip_kb($_) for grep { !$seen{$_}++ } $m->{file}, @{ $m->{css} || [] };
}
figure('ui.first_load', sprintf('%.1f', $sum), 'kB');
cmp_ok($sum, '>', 50, 'the first load is counted');
cmp_ok($sum, '<=', 260, 'the first load keeps to 260 kB gzip');

for my $m (sort { $a->{file} cmp $b->{file} } grep { $_->{isDynamicEntry} }
    values %$manifest)
{
    my $kb = gzip_kb($m->{file});
    cmp_ok($kb, '<=', 200, "$m->{file} keeps to 200 kB gzip");
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
