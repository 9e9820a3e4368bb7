# What is no record becomes a dead letter with its reason; the rest flows.

use strict;
use warnings;

use Test::More;

use MIME::Base64;

use lib 't/lib';
use IDash;
use IDash::Record;

my $redis = redis();
my $d = sidecar(redis => $redis);
my $key = $d->key;

my %good = record();
my @bad = (
    [ 'wrong version', qr/format version "2" is not 1/, record(v => 2) ],
    [ 'no version', qr/field v is missing/, record(v => undef) ],
    [ 'no id', qr/field id is missing/, record(id => undef) ],
    [ 'repeated', qr/field status is there twice/, record(), status => 200 ],
    [ 'no number', qr/field status is no decimal/, record(status => 'abc') ],
    [ 'kind', qr/neither api nor webhook/, record(kind => 'mllp') ],
    [ 'long', qr/field method has 300 bytes/, record(method => 'x' x 300) ],
    [ 'body', qr/field request_body has 1048577 bytes/,
        record(request_body => 'x' x (1024 * 1024 + 1)) ],
    [ 'many', qr/names and values/, record(), map { ("n$_", 1) } 1 .. 500 ],
    [ 'random', qr/field v is missing/, map { random(40) } 1 .. 40 ],
    [ 'empty value', qr/field v is missing/, '', '' ],
    [ 'id of another log', qr/id is that of a log with other content/,
        record(%good, status => 500) ],
);

$redis->call('XADD', 'idash:capture', '*', %good);
log_of($good{id});

# good ones between the bad ones
my @good;
for my $case (@bad) {
    my (undef, undef, @fields) = @$case;
    push @good, add_record($redis);
    $redis->call('XADD', 'idash:capture', '*', @fields);
}

push @good, add_record($redis);
log_of($_) for @good;
pass('every good record is stored');

my @dead;
wait_for(sub { @dead = dead(); @dead >= @bad });
is(scalar @dead, scalar @bad, 'every bad one is a dead letter');

for my $case (@bad) {
    my ($name, $reason) = @$case;
    ok(scalar(grep { $_->{reason} =~ $reason } @dead), "reason: $name")
        or diag join "\n", map { $_->{reason} } @dead;
}

my ($version) = grep { $_->{reason} =~ /version "2"/ } @dead;
is(netstrings(decode_base64($version->{record}))->{v}, 2,
    'a dead letter keeps the record');
ok(!$version->{record_cut}, 'whole');
is($version->{stream}, 'idash:capture', 'and whence it came');
is($version->{deliveries}, 1, 'at its first delivery');

# 100 MB in one record: never read into memory whole
$redis->call('XADD', 'idash:capture', '*',
    record(response_body => 'x' x (100 * 1024 * 1024)));
my $after = add_record($redis);
log_of($after);
wait_for(sub { @dead = dead(); @dead == @bad + 1 });
like((grep { $_->{reason} =~ /has more than/ } @dead)[0]{reason},
    qr/^has more than \d+ bytes$/, '100 MB: a dead letter by its size');
my $peak = peak();
cmp_ok($peak, '<=', 64 * 1024 * ($ENV{SANITIZE} || build_dir() =~ /sanit/
    ? 8 : 1), "at most 64 MB resident: $peak kB");

wait_for(sub { $redis->call('XLEN', 'idash:capture') == 0 });
is($redis->call('XLEN', 'idash:capture'), 0, 'nothing is left in the stream');

# delivered five times without success: nothing was alive to say so
$d->stop;
add_record($redis) for 1 .. 3;
my $victim = add_record($redis, host => 'poison');
my $fine = add_record($redis);
$redis->call('XREADGROUP', 'GROUP', 'integrationd', 'gone', 'STREAMS',
    'idash:capture', '>');
my @pending = map { $_->[0] }
    @{ $redis->call('XPENDING', 'idash:capture', 'integrationd', '-', '+',
        10) };
is(scalar @pending, 5, 'five are pending with a consumer that is gone');
$redis->call('XCLAIM', 'idash:capture', 'integrationd', 'gone', 0,
    $pending[3], 'RETRYCOUNT', 5);
$redis->call('XCLAIM', 'idash:capture', 'integrationd', 'gone', 0,
    $pending[4], 'RETRYCOUNT', 3);

my $e = sidecar(redis => $redis, beside => $d, conf => {
    secret_file => $d->dir . '/dash.db.secret', drain_min_idle => '200ms',
    drain_reclaim => '200ms' });
$d = $e;
is_deeply(log_of($fine)->{flags}, ['suspect'], 'three deliveries: a suspect');
wait_for(sub { @dead = dead(); @dead == @bad + 2 });
is(scalar(grep { $_->{reason} =~ /delivered 5 times without success/ } @dead),
    1, 'five: a dead letter');
is($d->get("/api/v1/logs/$victim", key => $key)->{status}, 404, 'not stored');
wait_for(sub { $redis->call('XPENDING', 'idash:capture',
    'integrationd')->[0] == 0 });
is($redis->call('XPENDING', 'idash:capture', 'integrationd')->[0], 0,
    'nothing pending');
$d->stop;

done_testing();

sub random { return join '', map { chr int rand 256 } 1 .. $_[0] }

sub log_of {
    my ($id) = @_;
    my $res;

    wait_for(sub {
        $res = $d->get("/api/v1/logs/$id", key => $key);
        return $res->{status} == 200;
    }) or diag "no log $id: $res->{status}";
    return $res->{json}{data} || $res->{json};
}

# What the store has; sqlite3 reads beside the writer.
sub dead {
    my ($path) = $d->store =~ /^sqlite:(.*)/;
    my @rows = split /\n/, `sqlite3 -readonly '$path' "SELECT hex(body) FROM @{[ dead_table() ]}" 2>&1`;
    return map { eval { from_json(pack 'H*', $_) } || () } @rows;
}

sub dead_table { return 'dead_letter' }

sub netstrings {
    my ($bytes) = @_;
    my @all;

    while ($bytes =~ /\G(\d+):/gc) {
        my $at = pos $bytes;
        push @all, substr $bytes, $at, $1;
        pos($bytes) = $at + $1 + 1;
    }

    return { @all };
}

sub status_kb {
    my ($name) = @_;
    my ($kb) = read_file('/proc/' . $d->pid . '/status')
        =~ /^$name:\s+(\d+)/m;
    return $kb;
}

sub peak { return status_kb('VmHWM') }
