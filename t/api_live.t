# GET /stream: frames, filters, resume, reset, rate, cap, end.

use strict;
use warnings;

use lib 't/lib';
use ApiTest;
use IDash;
use Test::More;

my $api = api(conf => { sse_ping => '300ms', sse_clients => 6, sse_rate => 4 });
my $north = $api->key('viewer', 3);
my $south = $api->key('viewer', 4);

# An open stream; frames arrive in {frames}.
sub stream {
    my ($query, %opt) = @_;

    my $c = IDash::HTTP->new($api->d->socket, timeout => 10);
    my @headers = map { "$_->[0]: $_->[1]\r\n" } @{ $opt{headers} || [] };
    my $key = $opt{key} || $api->{admin};
    $c->send("GET /api/v1/stream?$query HTTP/1.1\r\nHost: x\r\n"
        . "Authorization: Bearer $key\r\n@headers\r\n");
    my $head = $c->head;
    return { c => $c, head => $head, text => '', frames => [] };
}

# The next frame as { event, id, data }; undef when the stream ended.
sub frame {
    my ($s) = @_;

    while ($s->{text} !~ /\n\n/) {
        # one chunk
        my $c = $s->{c};
        while ($c->{in} !~ /\r\n/) { $c->more or return }
        my ($hex) = $c->{in} =~ /^([0-9a-f]+)/i or return;
        my $n = hex $hex or return;
        my $at = index $c->{in}, "\r\n";
        while (length $c->{in} < $at + 4 + $n) { $c->more or return }
        $s->{text} .= substr $c->{in}, $at + 2, $n;
        substr($c->{in}, 0, $at + 4 + $n) = '';
    }

    $s->{text} =~ s/^(.*?)\n\n//s;
    return { map { /^(\w+): ?(.*)$/ ? ($1 => $2) : () } split /\n/, $1 };
}

# The next frame of that event; others are passed over.
sub wait_event {
    my ($s, $event) = @_;

    for (1 .. 200) {
        my $f = frame($s) or return;
        return $f if ($f->{event} || '') eq $event;
    }
    return;
}

# a first frame, then what changes
my $s = stream('kind=api', key => $north);
is($s->{head}{status}, 200, 'open');
my $first = frame($s);
like($first->{id}, qr/^\d+-\d+$/, 'the first frame has an id');
is($first->{data}, '', 'no data');
ok($first->{retry} > 0, 'and a time to retry');
is(http_header($s->{head}, 'X-Accel-Buffering'), 'no', 'nginx keeps none');

my $id = $api->record;
my $log = wait_event($s, 'log');
is(from_json($log->{data})->{id}, $id, 'a new log');
is(from_json($log->{data})->{http}, 201, 'with its status');
ok(wait_event($s, 'ping'), 'pings');

# tenants and filters
{
    my $far = stream('', key => $south);
    my $fail = stream('status=FAIL');
    frame($_) for $far, $fail;
    my $mine = $api->record(status => 500);
    my $theirs = $api->record(key => 'south-key-0123456789',
        'ref.lab_id' => 21);
    is(from_json(wait_event($far, 'log')->{data})->{id}, $theirs,
        'a tenant hears of his own alone');
    is(from_json(wait_event($fail, 'log')->{data})->{id}, $mine, 'a filter');
    $_->{c}->close for $far, $fail;
}

# resume
{
    my $last = $log->{id};
    my @missed = map { $api->record(us => 1_790_000_100_000_000 + $_) } 1 .. 3;
    $api->stored(6);

    for my $how ([ '', [ [ 'Last-Event-ID', $last ] ] ],
        [ "last_event_id=$last", [] ])
    {
        my $again = stream($how->[0], headers => $how->[1], key => $north);
        is(frame($again)->{id}, $last, 'resumes where it was');
        my @got = map { from_json(wait_event($again, 'log')->{data})->{id} }
            1 .. 4;
        # told as they were committed, by several threads
        is_deeply([ sort @got[1 .. 3] ], [ sort @missed ],
            'and hears all since');
        $again->{c}->close;
    }
}

# a gap
{
    $api->redis_of->call('XTRIM', 'idash:changes', 'MAXLEN', 1);
    my $again = stream("last_event_id=$first->{id}");
    ok(wait_event($again, 'reset'), 'what was trimmed away is a reset');
    my $fresh = $api->record;
    is(from_json(wait_event($again, 'log')->{data})->{id}, $fresh,
        'then it goes on');
    $again->{c}->close;
    my $odd = stream('last_event_id=x');
    is($odd->{head}{status}, 400, 'no id');
    is(stream('q=x')->{head}{status}, 400, 'what changes do not carry');
    is(stream('topics=all')->{head}{status}, 400, 'no topic');
}

# an entry of another version, as one of fields was: who resumes is told to fetch
# anew, who is there that something changed
{
    my @other = (id => ApiTest::uuid(1_790_000_000_000_000, 99), kind => 'api', status => 'FAIL');
    my $here = stream('');
    my $at = frame($here)->{id};
    $api->redis_of->call('XADD', 'idash:changes', '*', @other);
    is(from_json(wait_event($here, 'count')->{data})->{n}, 1,
        'what cannot be read is counted');
    my $next = $api->record;
    is(from_json(wait_event($here, 'log')->{data})->{id}, $next,
        'and the rest is told');
    my $again = stream("last_event_id=$at");
    frame($again);
    my $f;
    do { $f = frame($again) } while ($f && $f->{event} eq 'ping');
    is($f->{event}, 'reset', 'resumed over it: a reset, no silent gap');
    $_->{c}->close for $here, $again;
}

# jobs: of the own org and labs, on the topic alone, and resumed
{
    my $lab = $api->key('viewer', 3, '--labs', 11);
    my $few = sub {
        my ($n) = @_;
        IDash::Wait::wait_for(sub {
            $api->get('/system')->{json}{api}{live_clients} <= $n;
        });
    };
    $few->(1);
    my %s = (north => stream('topics=jobs', key => $north),
        south => stream('topics=jobs', key => $south),
        lab => stream('topics=jobs', key => $lab), all => stream('topics=logs,jobs'),
        logs => stream('topics=logs'));
    my %at = map { $_ => frame($s{$_})->{id} } keys %s;
    for my $job ([ 3, 'null', 'whole-org' ], [ 3, '[11]', 'lab-11' ],
        [ 3, '[11,12]', 'both' ])
    {
        $api->redis_of->call('XADD', 'idash:changes', '*', 'kind', 'job',
            'org', $job->[0], 'labs', $job->[1], 'data',
            to_json({ id => $job->[2] }));
    }
    my $log = $api->record;
    my $told = sub {
        return from_json(wait_event($_[0], 'job')->{data})->{id};
    };
    is(join(' ', map { $told->($s{north}) } 1 .. 3), 'whole-org lab-11 both',
        'an org hears of its jobs');
    is(join(' ', map { $told->($s{all}) } 1 .. 3), 'whole-org lab-11 both',
        'beside the logs too');
    is($told->($s{lab}), 'lab-11', 'a key of one lab of that lab alone');
    $_->{c}->close for delete @s{qw(north all)};
    $few->(4);
    my $back = stream("topics=jobs&last_event_id=$at{lab}", key => $lab);
    frame($back);
    is($told->($back), 'lab-11', 'and when it resumes');
    my $f;
    do { $f = frame($s{logs}) } while ($f && $f->{event} eq 'ping');
    is(from_json($f->{data})->{id}, $log, 'who follows logs hears of no job');
    my @south = map { frame($s{south})->{event} } 1 .. 3;
    is_deeply(\@south, [ ('ping') x 3 ], 'another org neither');
    $_->{c}->close for values %s, $back;
    $few->(1);
}

# rate: no log is told twice, none is forgotten
{
    my $fast = stream('org_id=3');
    my $start = frame($fast);
    $api->record for 1 .. 40;
    my ($logs, $counted) = (0, 0);
    while ($logs + $counted < 40) {
        my $f = frame($fast) or last;
        $logs++ if ($f->{event} || '') eq 'log';
        $counted += from_json($f->{data})->{n}
            if ($f->{event} || '') eq 'count';
    }
    is($logs + $counted, 40, 'told or counted, all of them');
    ok($counted > 0, "$counted only counted");
    $fast->{c}->close;
}

# the cap
{
    IDash::Wait::wait_for(sub {
        $api->get('/system')->{json}{api}{live_clients} <= 1;
    });
    my @many = map { stream('') } 1 .. 5;
    my $more = stream('');
    is($more->{head}{status}, 503, 'one too many');
    ok(http_header($more->{head}, 'Retry-After'), 'may try again');
    $_->{c}->close for @many;
    IDash::Wait::wait_for(sub {
        $api->get('/system')->{json}{api}{live_clients} <= 1;
    });
    pass('those who left are noticed');
}

# a key that is revoked takes its streams with it, others go on
{
    my $gone = $api->key('viewer', 3);
    my ($id) = $gone =~ /^idash_(.{8})/;
    my $stream = stream('', key => $gone);
    my $beside = stream('', key => $north);
    frame($_) for $stream, $beside;
    is($api->call('DELETE', "/api-keys/$id", headers => [ [ 'If-Match', '*' ] ])
        ->{status}, 204, 'a key is revoked');
    ok(wait_event($stream, 'bye'), 'its stream ends');
    is(frame($stream), undef, 'with that');
    ok(wait_event($beside, 'ping'), 'another one does not');
    $_->{c}->close for $stream, $beside;
}

# a Redis that never had what was told: no silent gap
{
    my $here = stream('', key => $north);
    frame($here);
    $api->redis_of->call('DEL', 'idash:changes');
    $api->redis_of->call('XADD', 'idash:changes', '1-1', 'kind', 'old');
    $api->redis_of->call('CLIENT', 'KILL', 'TYPE', 'normal');
    ok(wait_event($here, 'reset'), 'an older stream is a reset');
    my $fresh = $api->record;
    is(from_json(wait_event($here, 'log')->{data})->{id}, $fresh,
        'then it goes on');
    $here->{c}->close;
}

# Redis away
{
    my $other = stream('', key => $north);
    frame($other);
    $api->redis_of->stop;
    ok(wait_event($other, 'ping'), 'pings go on without Redis');
    $api->redis_of->restart;
    IDash::Wait::wait_for(sub { $api->get('/readyz')->{status} == 200 });
    my $back = $api->record;
    my $f;
    do { $f = frame($other) } while ($f && $f->{event} !~ /^(log|reset)$/);
    ok($f, 'and news with it');
    $other->{c}->close;
}

# the end
{
    my $last = stream('');
    frame($last);
    is($api->d->stop, 0, 'stops with streams open');
    ok(wait_event($last, 'bye'), 'who say bye');
}

answers_fit_description();
done_testing();
