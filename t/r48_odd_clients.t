# Storm 48: clients that are not ours: curl in all its ways, ab, wrk, h2load,
# slowhttptest, and nginx itself.  With capture on and off each gets the same
# answers, and each request is one record.

use strict;
use warnings;

use Test::More;

use lib 't/lib';
use IDash;
use IDash::Capture;
use Oracle;

my $up = nginx(module => 0, connections => 4096,
    server => 'keepalive_requests 1000000; absolute_redirect off;
        root {{dir}}/www;
        location / { default_type application/json;
            return 200 "{\"ok\":true,\"uri\":\"$request_uri\"}"; }
        location /echo { proxy_pass http://127.0.0.1:{{port}}/large.txt; }
        location = /large.txt { }
        location /fail { return 503 "busy"; }
        location /moved { return 302 /large.txt; }');
write_file($up->dir . '/www/large.txt', IDash::Capture::pattern(200_000));
utime 1_700_000_000, 1_700_000_000, $up->dir . '/www/large.txt';

my $pair = IDash::Capture->new(connections => 4096,
    http => "upstream up { server @{[ $up->addr ]}; keepalive 32; }
        client_header_timeout 1s; client_body_timeout 1s; send_timeout 1s;
        capture_buffer 32m path={{ring}};",
    server => 'listen unix:{{dir}}/h2 http2;
        keepalive_requests 1000000;
        location / { capture on; proxy_http_version 1.1;
            proxy_set_header Connection ""; proxy_set_header Host odd;
            proxy_pass http://up; }
        location = /capture_status { capture_status; }',
);
my ($on, $off) = @$pair{qw(on off)};
my ($differ, $lost, $dup, $seen) = (0, 0, 0, 0);

# Runs CODE on both; what it returns must be equal, and there must be N records
# more (undef: as many as the client chose to make).
sub both {
    my ($name, $n, $code) = @_;

    my $before = $on->status->{captured};
    my $plain = $code->($off);
    my $text = $code->($on);

    $_ = $pair->text($_) for $plain, $text;
    $differ++ if $text ne $plain;
    is($text, $plain, "$name: same answers");

    return if !defined $n;

    my $got;
    wait_for(sub {
        $got = $on->status->{captured} - $before;
        $got >= $n;
    }, 10);
    is($got, $n, "$name: $n records");
    $lost += $n - $got if $got < $n;
    $dup += $got - $n if $got > $n;
    return;
}

sub run_quietly { return scalar `$_[0] 2>&1` }

# curl: bytes and headers as they come

my $file = write_file(test_dir() . '/body', IDash::Capture::pattern(70_000));
my $h2 = '--http2-prior-knowledge --unix-socket %h2';

for my $case (
    [ 'get', '' ], [ 'head', '-I' ], [ '1.0', '-0' ],
    [ 'compressed', '--compressed' ], [ 'range', '-r 10-99,200-', '/large.txt' ],
    [ 'resume', '-C 199000', '/large.txt' ],
    [ 'not modified', '-z "Wed, 15 Nov 2023 00:00:00 GMT"', '/large.txt' ],
    [ 'post', "--data-binary \@$file", '/echo' ],
    [ 'expect', "-H 'Expect: 100-continue' --data-binary \@$file", '/echo' ],
    [ 'put', "-T $file", '/echo' ], [ 'put chunked', "-T - <$file", '/echo' ],
    [ 'multipart', "-F a=1 -F 'f=\@$file;type=text/plain' -H 'Content-Type: "
        . "multipart/form-data; boundary=x'", '/echo' ],
    [ 'delete', '-X DELETE' ], [ 'odd method', '-X PURGE' ],
    [ 'options', '-X OPTIONS' ], [ 'path as is', '--path-as-is', '/a/../b//c' ],
    [ 'many headers', join ' ', map { "-H 'X-$_: $_'" } 1 .. 60 ],
    [ 'error', '', '/fail' ], [ 'redirect', '', '/moved' ],
    [ 'h2 get', $h2 ], [ 'h2 large', $h2, '/large.txt' ],
    [ 'h2 post', "$h2 --data-binary \@$file", '/echo' ])
{
    my ($name, $options, $path) = @$case;
    $path //= '/plain?a=b';

    both("curl $name", 1, sub {
        my ($nginx) = @_;
        my $args = $options;

        $args =~ s{%h2}{$nginx->dir . '/h2'}e;
        my $out = run_quietly("curl -s -i --max-time 20 $args "
            . 'http://' . $nginx->addr . $path);
        $out =~ s/^(boundary|--)\w{20}/$1/mg;
        $out =~ s/(boundary=|^--)\d{20}/$1/mg;
        return $out;
    });
}

both('curl follows', 2, sub {
    return run_quietly('curl -s -L --max-time 20 http://' . $_[0]->addr
        . '/moved');
});

# ab: HTTP/1.0, with and without keepalive, and a body

sub only {
    my ($text, $pattern) = @_;
    return join "\n", grep { /$pattern/ } split /\n/, $text;
}

my $many = Oracle::scale(2000);
my $ab = qr/^(?:Document Length|Complete|Failed|Non-2xx|Total body|HTML trans)/;

for my $case ([ 'plain', '' ], [ 'keepalive', '-k' ],
    [ 'post', "-k -p $file -T text/plain" ], [ 'head', '-i' ])
{
    my ($name, $options) = @$case;

    both("ab $name", $many, sub {
        return only(run_quietly("ab -q -n $many -c 8 $options http://"
            . $_[0]->addr . '/plain'), $ab);
    });
}

# h2load: streams, and HTTP/1.1

for my $case ([ 'streams', '-m 20 -B unix:%h2 http://odd' ],
    [ '1.1', '--h1 http://%addr' ])
{
    my ($name, $options) = @$case;

    both("h2load $name", $many, sub {
        my ($nginx) = @_;
        my $args = $options;

        $args =~ s{%h2}{$nginx->dir . '/h2'}e;
        $args =~ s{%addr}{$nginx->addr}e;
        return only(run_quietly("h2load -n $many -c 4 $args/plain"),
            qr/^(?:requests|status codes)/);
    });
}

# wrk counts as many as it can: no error, no other status

both('wrk', undef, sub {
    my $out = run_quietly('wrk -d 1s -t 1 -c 16 http://' . $_[0]->addr
        . '/plain');
    return only($out, qr/Socket errors|Non-2xx/)
        . ($out =~ /(\d+) requests in/ && $1 > 0 ? ' some' : ' none');
});

# slowhttptest: headers, bodies, ranges and reads that take their time; all at
# once, since each takes its seconds

my @slow = ([ '-H', '-i 1 -s 8192', '/plain' ],
    [ '-B', '-i 1 -s 8192', '/echo' ],
    [ '-R', '-a 10 -b 99 -t GET', '/plain' ],
    [ '-X', '-w 10 -y 20 -n 1 -z 32 -k 1', '/large.txt' ]);
my %running;

for my $case (@slow) {
    my ($mode, $options, $path) = @$case;

    for my $nginx ($on, $off) {
        open my $fh, '-|', "slowhttptest $mode $options -c 20 -r 20 -l 2 -p 2"
            . ' -u http://' . $nginx->addr . "$path 2>&1"
            or die "slowhttptest: $!";
        $running{$nginx->addr}{$mode} = $fh;
    }
}

for my $case (@slow) {
    both("slowhttptest $case->[0]", undef, sub {
        my $fh = $running{ $_[0]->addr }{ $case->[0] };
        my $out = join '', <$fh>;

        $out =~ s/\e\[[\d;]*[A-Za-z]//g;
        my @states = $out =~ /service available:\s+(\w+)/g;
        return @states ? $states[-1] : $out;
    });
}

# what they left half said ends by its time-out
wait_for(sub {
    my $count = $on->status->{captured};
    sleep 2;
    return $on->status->{captured} == $count;
});

# nginx as the client: 1.0 and closed, 1.1 and kept, with its own buffering

for my $version ('1.0', '1.1') {
    both("nginx $version", 40, sub {
        my ($nginx) = @_;
        my $front = nginx(module => 0,
            http => "upstream odd { server @{[ $nginx->addr ]}; keepalive 4; }",
            location => "proxy_http_version $version; "
                . ($version eq '1.1' ? 'proxy_set_header Connection "";' : '')
                . ' proxy_pass http://odd;');
        my $all = join '', map {
            ($_ % 2 ? $front->post('/echo', 'x' x (1000 * $_))
                : $front->get("/plain?$_"))->{body}
        } 1 .. 40;
        $front->stop;
        return $all;
    });
}

my $status;
wait_for(sub { $status = $on->status; $status->{queued} == 0 });
is($status->{captured}, $status->{acked} + $status->{dropped},
    'each record has an outcome');
is($status->{dropped}, 0, 'nothing was dropped');

my %ids = map { $_->[1]{id} => 1 } $pair->redis->entries;
is(scalar keys %ids, $status->{captured}, 'each record is there, once');

figure('r48.requests', $status->{seen}, 'requests');
figure('r48.differ', $differ, 'clients');
figure('r48.lost', $lost, 'records');
figure('r48.dup', $dup, 'records');

done_testing();
