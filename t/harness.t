# The harness itself: what other tests lean on.

use strict;
use warnings;

use Test::More;

use lib 't/lib';
use IDash;

my $redis = redis(aof => 1);
is($redis->call('SET', 'k', "a\r\nb"), 'OK', 'Redis answers');
is($redis->call('GET', 'k'), "a\r\nb", 'bytes come back');
$redis->call('XADD', 'idash:capture', '*', 'id', 'one', 'v', '1');
is(($redis->wait_entries(1))[0][1]{id}, 'one', 'stream entries');
ok(!eval { $redis->call('INCR', 'k') }, 'an error reply dies');
like($@, qr/not an integer/, 'with its words');

$redis->kill9;
$redis->restart;
is($redis->call('XLEN', 'idash:capture'), 1, 'AOF survives kill -9')
    or diag $redis->call('XLEN', 'idash:capture');

my $up = upstream(sub {
    my ($req, $socket) = @_;

    return { status => 201, body => "got $req->{body}" }
        if $req->{method} eq 'POST';
    return "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"
        if $req->{uri} eq '/cut';
    return { body => 'plain' };
});

my $nginx = nginx(module => 0, location => "proxy_pass " . $up->url . ';');
is($nginx->get('/')->{body}, 'plain', 'through nginx');

my $res = $nginx->post('/', 'x' x 100_000);
is($res->{status}, 201, 'status of a post');
is(length $res->{body}, 100_004, 'body of a post');
is(($nginx->post('/', undef, chunked => [ 'ab', 'cd' ]))->{body}, 'got abcd',
    'chunked request');
is($nginx->get('/cut')->{complete}, 0, 'a cut response is seen as cut');
like(($up->seen)[0], qr{^GET / HTTP/1\.0\r\n}, 'what the upstream saw');
is(scalar $nginx->workers, 1, 'one worker');
ok($nginx->reload, 'reload starts a new worker');

my $proxy = proxy($redis->socket);
my $client = IDash::RedisClient->new($proxy->addr, timeout => 1);
is($client->call('PING'), 'PONG', 'through the fault proxy');
$proxy->set(down => 'drop');
ok(!eval { $client->call('PING') }, 'a swallowed reply');
like($@, qr/no reply within/, 'is a time-out');
$proxy->set(down => 'pass', refuse => 1);
ok(!eval { IDash::RedisClient->new($proxy->addr)->call('PING') }, 'refused');
ok($proxy->counts->{connections} >= 2, 'counts');

my $hole = IDash::Peer->black_hole;
ok(defined connect_to($hole->addr), 'a black hole takes a connection');

is($nginx->stop, 0, 'nginx ends well');
is_deeply([ $nginx->alerts ], [], 'no alerts');

done_testing();
