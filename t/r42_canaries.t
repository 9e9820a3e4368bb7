# Storm 42: secrets in headers, arguments, Referer and values that are cut: none
# is found in Redis' files, the store, the spool, logs or metrics, also when
# Redis was away or a worker was killed.  (Its ring, on tmpfs,
# is the one place where they may be.)

use strict;
use warnings;

use File::Find ();
use Test::More;

use lib 't/lib';
use IDash;

my $secrets = 1000;
my $mark = 'Zq7';                       # every secret begins with it
my $made = 0;

sub secret {
    $made++;
    return $mark . join '', map { ('a' .. 'z', 0 .. 9)[rand 36] } 1 .. 20;
}

# The same, written as a browser might.
sub escaped {
    my ($text) = @_;
    $text =~ s/(.)/rand() < 0.3 ? sprintf '%%%02X', ord $1 : $1/ge;
    return $text;
}

my $answer = sub {
    my ($req) = @_;
    my ($cookie, $token) = map { IDash::HTTP::header($req, "X-Make-$_") }
        qw(Cookie Token);

    return { status => $token ? 302 : 200, body => '{"ok":true}', headers => [
        $cookie ? [ 'Set-Cookie', "sid=$cookie; Path=/" ] : (),
        $token ? [ 'Location', "https://u:$token\@h/cb?x=1#access_token=$token" ]
            : (),
        $token ? [ 'Link', "</next?page=2&api_key=$token>; rel=next" ] : (),
    ] };
};

my $redis = redis(aof => 1);
my $up = upstream($answer);
my $d = sidecar(redis => $redis);
my $key = $d->key;
my $nginx = nginx(redis => $redis, log => 'notice', workers => 2,
    http => 'capture_buffer 4m path={{ring}}; large_client_header_buffers 8 64k;'
        . ' capture_spool {{spool}} max=64m segment=1m;',
    server => "location = /capture_status { capture_status; }
        location / { capture on; capture_key \$http_x_api_key;
            capture_route '\$request_method \$request_uri';
            capture_ref bill_id \$arg_bill; capture_field query \$args;
            capture_field from \$http_referer;
            capture_redact_headers Authorization Proxy-Authorization Cookie
                Set-Cookie X-Api-Key X-Make-Cookie X-Make-Token;
            proxy_buffer_size 64k; proxy_buffers 8 64k;
            proxy_busy_buffers_size 128k; proxy_pass @{[ $up->url ]}; }",
);

my @args = qw(access_token token api_key apikey password Token API-KEY
    user[password] filter.token api%5Fkey tok%65n);
my @headers = ('Authorization', 'Proxy-Authorization', 'cookie', 'X-Api-KEY');

# What a request may hide a secret in; each gives path and headers.
my @places = (
    sub { ('/a', [ $headers[rand @headers], 'Bearer ' . secret() ]) },
    sub { ('/a', map { [ $_, secret() ] } @headers) },
    sub { ('/a?' . $args[rand @args] . '=' . secret()) },
    sub { ('/a?x=1&' . $args[rand @args] . '=' . escaped(secret()) . '&y=2') },
    sub { ('/a?x=1;token=' . secret() . ';y=2') },
    sub { ('/a;token=' . secret() . '/b?c=d') },
    sub { ('/a?next=%2Fcb%3Ftoken%3D' . secret()) },
    sub { ('/a?bill=B-1&token=' . secret() . '&token=' . secret()) },
    sub { ('/a?bill=' . 'b' x (1000 + rand 40) . '&token=' . secret()) },
    sub { ('/a?' . 'x=' . 'a' x (1000 + rand 40) . '&token=' . secret()) },
    sub { ('/a?token=' . secret() . secret() x 100) },
    sub { ('/a?x=' . 'a' x (60_000 + rand 4000) . '&password=' . secret()) },
    sub { ('/a', [ 'Referer', 'http://h/p?token=' . secret() . '&z=1' ]) },
    sub { ('/a', [ 'Referer', 'https://me:' . secret() . '@h/p' ]) },
    sub { ('/a', [ 'Referer', '/p#access_token=' . secret() ]) },
    sub { ('/a', [ 'X-Forwarded-Uri', '/p?a=b&api_key=' . secret() ]) },
    sub { ('/a', [ 'X-Make-Cookie', secret() ]) },
    sub { ('/a', [ 'X-Make-Token', secret() ]) },
    sub { ('/a', (map { [ "X-Pad-$_", 'p' x 6000 ] } 1 .. 40),
        [ 'Authorization', secret() ], [ 'Cookie', 'a=' . secret() ]) },
    sub { ('/a', [ 'Cookie', join '; ', map { "c$_=" . secret() } 1 .. 20 ]) },
);

my $sent = 0;

sub send_secrets {
    my ($want) = @_;
    my $until = $made + $want;

    while ($made < $until) {
        my ($path, @more) = $places[$sent % @places]->();
        my $r = $nginx->get($path, headers => \@more);
        $sent++;
        next if $r->{status} =~ /^(?:200|302)$/;
        fail("$path: $r->{status}");
        return;
    }
    return;
}

sub settled {
    return wait_for(sub {
        my $s = $nginx->status;
        $s->{queued} + $s->{spooled} == 0;
    }, 60);
}

# Files below DIR and texts that hold a secret, or the beginning of one; what
# is packed in the store is looked at through the API.
my ($hits, $looked) = (0, 0);

sub look {
    my ($what, $text) = @_;

    $looked += length $text;
    my $plain = $text =~ s/%([0-9a-fA-F]{2})/chr hex $1/ger;
    my $n = () = "$text\n$plain" =~ /\Q$mark\E[a-z0-9]/g;
    $hits += $n;
    $text = "$text\n$plain";
    $text =~ /\Q$mark\E[a-z0-9]/;
    is($n, 0, "$what holds no secret")
        or diag substr $text, $-[0] < 80 ? 0 : $-[0] - 80, 140;
    return;
}

sub look_files {
    my ($what, $dir) = @_;
    my $text = '';

    File::Find::find({ no_chdir => 1, wanted => sub {
        $text .= read_file($_) if -f $_;
    } }, $dir);
    look($what, $text);
    return;
}

sub look_everywhere {
    my ($when) = @_;

    $redis->call('SAVE');
    look_files("$when: Redis' files", $redis->{dir});
    look_files("$when: store, secrets and log of the sidecar", $d->dir);
    look_files("$when: the spool", $nginx->spool);
    look("$when: nginx' log", $nginx->log_text);
    look("$when: capture_status", $nginx->get('/capture_status')->{raw}
        . $nginx->get('/capture_status?format=prometheus')->{raw});
    look("$when: metrics", $d->get('/metrics')->{raw});
    return;
}

# what is not drained yet stands in Redis

$d->freeze;
send_secrets($secrets / 3);
settled();
look_everywhere('in the stream');
$d->thaw;

# Redis away: the spool, kept as it is when looked at

$redis->stop;
send_secrets($secrets / 3);
wait_for(sub { $nginx->status->{spooled} > 0 });
look_files('away: the spool', $nginx->spool);
look('away: nginx\' log', $nginx->log_text);

# a worker that is killed leaves its ring to another

kill 'KILL', ($nginx->workers)[0];
$nginx->allow(qr/exited on signal 9/);
send_secrets($secrets / 3);
$redis->restart;
settled();

# all that is stored, as the API gives it

my @logs;
wait_for(sub { @logs = $d->logs($key); @logs >= $sent }, 60);
look_everywhere('at the end');
my $text = join "\n", map {
    $d->get("/api/v1/logs/$_->{_id}", key => $key)->{body}
} @logs;
look('the API', $text);
like($text, qr/\*\*\*/, 'which shows masks');
my ($status, $out) = $d->command('logs');
look('integrationd logs', $out);

my %seen;
$seen{ $_->{_id} }++ for @logs;
my $dup = grep { $_ > 1 } values %seen;

figure('r42.secrets', $made, 'secrets');
figure('r42.bytes', $looked, 'bytes looked through');
figure('r42.hits', $hits, 'secrets');
figure('r42.lost', $sent - keys %seen, 'records');
figure('r42.dup', $dup, 'records');

cmp_ok($made, '>=', $secrets, 'as many secrets as wanted');
is($hits, 0, 'none was found');
is(scalar keys %seen, $sent, 'each request is one log');

done_testing();
