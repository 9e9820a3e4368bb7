# Redis and the store fail in every way; nothing is lost, nothing twice, and an
# outage never makes a dead letter.

use strict;
use warnings;

use Test::More;

use lib 't/lib';
use IDash;
use IDash::Record;

my $redis = redis(aof => 1);
my $d = sidecar(redis => $redis, conf => { drain_min_idle => '1s',
    drain_reclaim => '500ms' });
my $key = $d->key;
my $sent = 0;

send_records(50);
all_there('to begin with');

# -- Redis ------------------------------------------------------------------

$redis->kill9;
select undef, undef, undef, 0.3;
is($d->get('/healthz')->{status}, 200, 'alive without Redis');
$redis->restart;
send_records(50);
all_there('Redis killed');

$redis->freeze;
select undef, undef, undef, 0.5;
$redis->thaw;
send_records(50);
all_there('Redis frozen');

$redis->call('DEL', 'idash:capture');
send_records(50);
all_there('stream and group deleted');

$redis->call('XGROUP', 'DESTROY', 'idash:capture', 'integrationd');
send_records(50);
all_there('group destroyed');

send_records(20);
$redis->call('CONFIG', 'SET', 'maxmemory', 1);
select undef, undef, undef, 0.5;
$redis->call('CONFIG', 'SET', 'maxmemory', 0);
send_records(20);
all_there('Redis out of memory');

send_records(20);
$redis->call('REPLICAOF', '127.0.0.1', '1');
like_log(qr/READONLY/, 'a replica that refuses writes is in the log');
$redis->call('REPLICAOF', 'NO', 'ONE');
send_records(20);
all_there('Redis read-only', 60);

# a snapshot that cannot be written stops all writes
mkdir "$redis->{dir}/dump.rdb" or die "dump.rdb: $!";
write_file("$redis->{dir}/dump.rdb/x", '');
$redis->call('CONFIG', 'SET', 'save', '3600 1');
send_records(20);
save_ends('err');
like_log(qr/MISCONF/, 'writes that are stopped are in the log');
is($d->get('/healthz')->{status}, 200, 'alive without writes');
unlink "$redis->{dir}/dump.rdb/x";
rmdir "$redis->{dir}/dump.rdb" or die "dump.rdb: $!";
save_ends('ok');
$redis->call('CONFIG', 'SET', 'save', '');
send_records(20);
all_there('Redis refuses writes', 60);

# a large file that takes its time
$redis->kill9;
append_file("$redis->{dir}/conf", "key-load-delay 3000\n"
    . "loading-process-events-interval-bytes 1024\n");
$redis->restart;
like_log(qr/LOADING/, 'a server that is loading is in the log');
send_records(20);
all_there('Redis loading', 60);

$redis->call('CONFIG', 'SET', 'requirepass', 'secret');
$redis->call('AUTH', 'secret');
$redis->call('CLIENT', 'KILL', 'TYPE', 'normal');
send_records(20, 'secret');
like_log(qr/NOAUTH/, 'a wanted password is in the log');
with_password('secret', 'CONFIG', 'SET', 'requirepass', '');
all_there('password', 60);

$redis->call('CLIENT', 'KILL', 'TYPE', 'normal') for 1 .. 3;
send_records(50);
all_there('connections cut');

# -- the store --------------------------------------------------------------

my $lock = $d->lock_store;
send_records(100);
select undef, undef, undef, 7;
is($redis->call('XPENDING', 'idash:capture', 'integrationd')->[0] > 0, 1,
    'a locked store: the batch waits') or diag $d->tail;
$d->unlock_store($lock);
all_there('store locked for longer than SQLite waits', 60);

# an outage and restarts in it are no deliveries that count
$lock = $d->lock_store;
send_records(30);
for (1 .. 3) {
    select undef, undef, undef, 0.5;
    $d->kill9;
    $d->{opt}{no_wait} = 1;
    $d->run;
}
select undef, undef, undef, 1;
$d->unlock_store($lock);
wait_for(sub { eval { $d->get('/healthz')->{status} == 200 } }) or do {
    $d->stop;
    $d->run;
};
all_there('killed three times in an outage', 60);

is($d->dead_letters, 0, 'no dead letters');
is($redis->call('XPENDING', 'idash:capture', 'integrationd')->[0], 0,
    'nothing pending');
unlike($d->log_text, qr/ALERT/, 'no alerts');
is($d->stop, 0, 'stops well');

my %said;
for (split /\n/, $d->log_text) {
    my ($second, $pid, $text) = /^(\S+ \S+) \[(?:warn|error)\] (\d+)#\d+: (.*)/
        or next;
    $text =~ s/\d+/N/g;
    push @{ $said{"$second $pid $text"} }, $_;
}
my ($most) = sort { @$b <=> @$a } values %said;
is(scalar @$most, 1, 'the log says once a second at most what is wrong')
    or diag join "\n", @$most;
cmp_ok(scalar keys %said, '<', 400, 'and stays readable: '
    . scalar(keys %said) . ' lines');

done_testing();

sub send_records {
    my ($n, $password) = @_;

    $redis->call('AUTH', $password) if $password;
    add_record($redis) for 1 .. $n;
    $sent += $n;
    return;
}

# Saves a snapshot until that ends so.
sub save_ends {
    my ($status) = @_;

    ok(wait_for(sub {
        eval { $redis->call('BGSAVE') };
        return $redis->client->info('persistence')->{rdb_last_bgsave_status}
            eq $status;
    }), "the snapshot ends: $status");
    return;
}

sub with_password {
    my ($password, @command) = @_;

    $redis->call('AUTH', $password);
    return $redis->call(@command);
}

sub all_there {
    my ($name, $time) = @_;
    my $n = 0;

    wait_for(sub { ($n = eval { scalar $d->logs($key) } || 0) >= $sent },
        $time || 30);
    is($n, $sent, "all there: $name") or diag $d->tail;
    return;
}

sub like_log {
    my ($re, $name) = @_;

    wait_for(sub { $d->log_text =~ $re });
    like($d->log_text, $re, $name);
    return;
}
