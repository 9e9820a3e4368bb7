# Storm 13: 1, 2, 4, 8 sidecars share one stream and one store.

use strict;
use warnings;

use Test::More;

use lib 't/lib';
use IDash;
use Oracle;

# peers take nothing over from one that is only slow
my %patient = (drain_min_idle => '60s', drain_reclaim => '15s');
my $o = Oracle->scene('r13', sidecar => { conf => \%patient }, nginx => {
    http => 'capture_buffer 16m path={{ring}};'
        . ' capture_spool {{spool}} max=256m;',
});
my $d = $o->{sidecar};
my @peers = ($d);

for my $want (1, 2, 4, 8) {
    push @peers, Oracle->sidecar($o->{redis}, beside => $d, conf => \%patient)
        while @peers < $want;

    my $load = $o->load(rate => 4000, count => Oracle::scale(200_000) / 2);
    my $sum = $load->finish;
    is($sum->{failed} + $sum->{unfinished}, 0, "$want: no request failed");
    $o->settle(sub { $o->count_rows($d->store) });
}

$o->verdict;

my ($read, $stored) = (0, 0);
for my $peer (@peers) {
    my $text = $peer->get("/api/v1/metrics", key => $peer->key)->{body};
    $read += $1 if $text =~ /^integrationd_drain_read_total(?:\{.*\})? (\d+)/m;
    $stored += $1
        if $text =~ /^integrationd_drain_stored_total(?:\{.*\})? (\d+)/m;
}

ok($read > 0, 'the peers tell what they read');
my $share = $read > 0 ? ($read - $stored) / $read : 1;
figure('r13.dup_work', sprintf('%.4f', $share), 'of what was read');
cmp_ok($share, '<=', 0.001, 'duplicate work <= 0.1 %');

done_testing();
