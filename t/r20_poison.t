# Storm 20: ten records at which the drain dies, wherever it meets them: a
# library that is loaded before libcrypto kills the process in the middle of
# decoding them.  Each is a dead letter after five deliveries at most; all else
# is stored, and the log says so.

use strict;
use warnings;

use Test::More;

use lib 't/lib';
use IDash;
use IDash::Record;
use Oracle;

my $n = Oracle::scale(10_000);
my $poisonous = 10;
my $limit = 5;                          # drain_max_deliveries

my $library = preload(<<'EOF_C');
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

int EVP_EncryptUpdate(void *ctx, unsigned char *out, int *outn,
    const unsigned char *p, int n);

/* The drain makes a digest of each record; its host is among the first. */
int
EVP_EncryptUpdate(void *ctx, unsigned char *out, int *outn,
    const unsigned char *p, int n)
{
    int (*next)(void *, unsigned char *, int *, const unsigned char *, int);

    if (memmem(p, (size_t) n, "poison.test", 11) != NULL) {
        kill(getpid(), SIGKILL);
    }

    *(void **) &next = dlsym(RTLD_NEXT, "EVP_EncryptUpdate");
    return next(ctx, out, outn, p, n);
}
EOF_C

my $redis = redis(aof => 1);
my $d = Oracle->sidecar($redis);
my $took = drained(map { [ record() ] } 1 .. $n);

$d->stop;
$d->{opt}{env} = { LD_PRELOAD => $library };
$d->{opt}{no_wait} = 1;
$d->run;

my (@good, @bad, $restarts);
my @records = map {
    my $poison = $_ % ($n / $poisonous) == 7;
    my %record = record($poison ? (host => 'poison.test') : ());
    push @{ $poison ? \@bad : \@good }, $record{id};
    [ %record ];
} 1 .. $n;

is(scalar @bad, $poisonous, "$poisonous crashers in $n");
$restarts = 0;
my $poisoned = drained(@records);
figure('r20.restarts', $restarts);
cmp_ok($restarts, '>=', $poisonous, 'each killed the drain');
cmp_ok($restarts, '<=', $limit * ($poisonous + 1),
    'and none for longer than its tries');

wait_for(sub { eval { $d->get('/healthz')->{status} == 200 } });
my $key = $d->key;
my %stored = map { $_ => 1 } split /\n/,
    $d->sql('SELECT lower(hex(uid)) FROM integration_directory');
my $lost = grep { !$stored{ tr/-//dr } } @good;
my $taken = grep { $stored{ tr/-//dr } } @bad;
figure('r20.stored', scalar(@good) - $lost, 'records');
figure('r20.lost', $lost, 'records');
is($lost, 0, 'what is no crasher is stored');
is($taken, 0, 'no crasher is');
is(scalar keys %stored, $n + @good, 'nothing twice');
figure('r20.dup', keys(%stored) - $n - @good, 'records');

my @dead = @{ $d->get('/api/v1/dead-letters?limit=100', key => $key)
    ->{json}{data} };
is(scalar @dead, $poisonous, 'each crasher is a dead letter');
# the last delivery is the one that finds that there were enough
my ($tries) = sort { $b <=> $a } map { $_->{deliveries} - 1 } @dead;
figure('r20.tries', $tries);
cmp_ok($tries, '<=', $limit, "after $limit deliveries at most");
is(scalar(grep { $_->{reason} =~ /delivered \d+ times without success/ } @dead),
    $poisonous, 'with the reason');
figure('r20.dip', sprintf('%.0f', 100 * (1 - $took / $poisoned)), '%');
is($redis->call('XPENDING', 'idash:capture', 'integrationd')->[0], 0,
    'nothing is pending');

$d->stop;
done_testing();

# Adds the records; seconds until all are acknowledged, starting the sidecar
# again whenever it died, as its supervisor would.
sub drained {
    my $from = now();

    $redis->call('XADD', 'idash:capture', '*', @$_) for @_;
    wait_for(sub {
        if (!IDash::Process::alive($d->pid)) {
            $restarts++;
            $d->run;
        }
        my $group = { @{ $redis->call('XINFO', 'GROUPS', 'idash:capture')->[0]
            || [] } };
        return defined $group->{pending} && $group->{pending} == 0
            && defined $group->{lag} && $group->{lag} == 0;
    }, 120) or diag $d->tail;
    return now() - $from;
}

sub preload {
    my $source = write_file(test_dir() . '/poison.c', $_[0]);
    my $out = `cc -shared -fPIC -o $source.so $source 2>&1`;

    die "the library does not compile: $out" if $? != 0;
    return "$source.so";
}
