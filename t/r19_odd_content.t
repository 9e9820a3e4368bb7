# Storm 19: bodies of 20 MB, bytes that are not UTF-8, NUL, names with "$" and
# ".", JSON that is none: neighbours are stored, what is kept is kept byte for
# byte, and what is not is a dead letter with its reason.  On both stores.

use strict;
use warnings;

use Test::More;

use lib 't/lib';
use IDash;
use IDash::Mongo;
use IDash::Record;
use IDash::StoreClient;
use Oracle;

my $big = 'x' x (20 << 20);

# kind of oddity, what is odd, whether it is kept
my @kinds = (
    [ 'bytes', { response_body => "\xff\xfe bad \xc3\x28", uri => "/\xc0\x80",
        request_headers => "Host: a\r\nX-A: \xe9\xff\r\n" }, 1 ],
    [ 'NUL', { response_body => "a\0b\0", request_body => "\0" x 100,
        request_headers => "Host: a\r\nX-A: a\0b\r\n" }, 1 ],
    [ 'names', { request_headers => "\$a.b: \$ne\r\n.x.: 1\r\n",
        response_headers => "\$where: 1\r\na.b: 2\r\na.b: 3\r\n",
        'ref.bill_id' => '$gt', response_body => '{"$date":{"$a.b":1}}' }, 1 ],
    [ 'lines', { request_headers => "no colon\r\n folded\r\n: empty\r\n\r\n",
        response_body => '{"$date":"bad","a.b":NaN}' }, 1 ],
    [ '20 MB', { response_body => $big }, 0 ],
);

subtest sqlite => sub { odd('sqlite', 'sqlite:' . test_dir('s') . '/d.db') };
subtest mongo => sub {
    my $missing = IDash::Mongo::missing();
    plan skip_all => $missing if defined $missing;

    my $mongo = IDash::Mongo->start;
    my $n = IDash::Mongo::is_foreign() ? "idash_$$" : 'odd';
    odd('mongo', $mongo->uri($n), $mongo->uri("${n}2"));
    $mongo->stop if !IDash::Mongo::is_foreign();
};
done_testing();

sub odd {
    my ($name, $uri, $other) = @_;

    by_store($name, $other || 'sqlite:' . test_dir('s') . '/e.db');
    through_drain($name, $uri);
    return;
}

# Of 100 logs ten are odd, two of those have a body of 20 MB.
sub by_store {
    my ($name, $uri) = @_;
    my $client = IDash::StoreClient->start($uri);

    ok($client->is_open, 'open') or diag $client->error;
    my $said = $client->ask('odd 0 100');
    like($said, qr/^ok (?:98 0 0 2|100 0 0 0)$/, 'only what is too big');
    my ($kept, $refused) = (split / /, $said)[1, 4];
    is($client->ask('odd 0 100'), "ok 0 $kept 0 $refused", 'the same again');
    is($client->ask('check 0 100 -1'), "$kept 0 $refused", 'byte for byte');
    is($client->ask('cells'), "ok $kept $kept", 'counted');
    figure("r19.$name.refused", $refused, 'records');
    is($client->stop, 0, 'exit');
    return;
}

sub through_drain {
    my ($name, $uri) = @_;
    my $redis = redis();
    my $d = Oracle->sidecar($redis, store => $uri,
        conf => { drain_threads => 1 });
    my $key = $d->key;
    my (@good, @odd);

    for my $i (0 .. 59) {
        if ($i % 6 == 3) {
            my $kind = $kinds[ ($i / 6) % @kinds ];
            my %record = record(%{ $kind->[1] });
            $redis->call('XADD', 'idash:capture', '*', %record);
            push @odd, [ @$kind, \%record ];
        } else {
            push @good, add_record($redis, request_body => "neighbour $i");
        }
    }

    my $refused = grep { !$_->[2] } @odd;
    my $stored = @good + @odd - $refused;
    wait_for(sub { $d->counter('drain_stored') >= $stored
        && $d->counter('drain_dead') >= $refused }, 60);
    is($d->counter('drain_stored'), $stored, 'neighbours are stored');
    is($d->counter('drain_dead'), $refused, 'what is too big is not');

    my %have = map { $_->{_id} => $_ } $d->logs($key);
    is(scalar(grep { !$have{$_} } @good), 0, 'each of them');
    figure("r19.$name.stored", scalar keys %have, 'records');
    figure("r19.$name.lost", scalar(grep { !$have{$_} } @good,
        map { $_->[2] ? $_->[3]{id} : () } @odd), 'records');
    figure("r19.$name.dup", $d->counter('drain_stored') - keys %have, 'records');

    is_kept($d, $key, @$_) for grep { $_->[2] } @odd[0 .. $#kinds];

    my @dead = @{ $d->get('/api/v1/dead-letters', key => $key)->{json}{data} };
    figure("r19.$name.flagged", scalar @dead, 'records');
    is(scalar(grep { $_->{reason} =~ /^(?:has more than \d+ bytes|field response_body has 20971520 bytes.*)$/ } @dead), $refused, 'with the reason')
        or diag map { "$_->{reason}\n" } @dead;
    is($redis->call('XPENDING', 'idash:capture', 'integrationd')->[0], 0,
        'nothing is pending');
    is($d->stop, 0, 'it ends well');
    return;
}

# What REST gives back of one: bodies as bytes, headers as pairs.
sub is_kept {
    my ($d, $key, $kind, $odd, undef, $record) = @_;

    for my $side (qw(request response)) {
        my $body = $record->{"${side}_body"} // next;
        my $r = $d->get("/api/v1/logs/$record->{id}/body/$side", key => $key);
        is($r->{body}, $body, "$kind: the $side\'s body") or diag $r->{status};
    }

    my $log = $d->get("/api/v1/logs/$record->{id}", key => $key)->{json};
    for my $side (qw(request response)) {
        my $text = $record->{"${side}_headers"} // next;
        next if $text =~ /[^\r\n -~]|^[ :]|\n[ :]|no colon/;
        is_deeply($log->{$side}{headers},
            [ map { [ split /: / ] } split /\r\n/, $text ],
            "$kind: the $side\'s headers");
    }
    return;
}
