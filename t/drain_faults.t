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

my $lines = grep { /\[(?:warn|error)\]/ } split /\n/, $d->log_text;
cmp_ok($lines, '<', 200, "the log stays readable: $lines lines");

done_testing();

sub send_records {
    my ($n, $password) = @_;

    $redis->call('AUTH', $password) if $password;
    add_record($redis) for 1 .. $n;
    $sent += $n;
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
