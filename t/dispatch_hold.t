# What is held and by whom: a disabled integration or developer, an earlier HL7
# message of the same destination.  Held deliveries use no attempt, resume when
# they may, and those that may never end by their age, with a reason.

use strict;
use warnings;

use Test::More;
use Time::HiRes qw(sleep);

use lib 't/lib';
use IDash;
use IDash::Wait;
use Outbound;

our $store;                                # the Mongo run sets it
my $o = Outbound->new(store => $store, conf => { dispatch_probe => '500ms' });
my $api = $o->api_of;

sub brief {
    my ($id) = @_;
    return join ' ', @{ $o->log_of($id) }{qw(status attempts)};
}

# What the delivery has come to when the dispatcher has surely looked at it.
sub held {
    my ($id) = @_;
    sleep 2.5;
    return brief($id) . ', ' . scalar(my @tries = $o->attempts_of($id))
        . ' kept';
}

# -- a disabled developer or integration -----------------------------

my $developer = $o->post('/developers', { name => 'Partner', org_id => 3 })
    ->{json}{id};

sub developer_is {
    my ($enabled) = @_;

    my $r = $api->call('PUT', "/developers/$developer", json => {
        name => 'Partner', org_id => 3, enabled => $enabled ? \1 : \0 },
        headers => [ [ 'If-Match', '*' ] ]);
    is($r->{status}, 200, $enabled ? 'enabled' : 'disabled') or diag $r->{body};
    sleep 1.2;                             # the routes follow
    return;
}

my %switch = (
    developer => sub { developer_is($_[1]) },
    integration => sub { $o->change($_[0]{id}, enabled => $_[1] ? \1 : \0) },
);

for my $who (sort keys %switch) {
    my $action = $who eq 'developer' ? 1 : 2;
    my $i = $o->integration(url => $o->url("/ok/$who"), action_id => $action,
        $who eq 'developer' ? (developer_id => $developer) : ());

    # one that was tried already, and one that has yet to be
    my $bad = $o->integration(url => $o->url("/fail/$who"), schedule => '3s,3s',
        action_id => $action, name => "$who bad",
        $who eq 'developer' ? (developer_id => $developer) : ());
    my %id = map { $o->log_of($_)->{endpoint} => $_ }
        $o->event(action_id => $action, deliver_at => time + 2);
    my ($new, $tried) = @id{ $i->{name}, "$who bad" };
    $switch{$who}->($i, 0);
    is(held($new), 'PENDING 0, 0 kept', "$who disabled: held, no attempt used");
    is(scalar(my @none = $o->hits("/ok/$who")), 0, 'nothing was sent');
    is_deeply([ $o->event(action_id => $action) ], [],
        'a new event goes to nobody') if $who eq 'developer';

    $switch{$who}->($i, 1);
    is($o->until_status($new, 'SUCCESS')->{attempts}, 1,
        "$who enabled: sent, in one attempt");
    is(scalar(my @hits = $o->hits("/ok/$who")), 1, 'once');

    # held between two attempts
    $o->until_status($tried, 'RETRYING');
    $switch{$who}->($bad, 0);
    my $before = $o->log_of($tried)->{attempts};
    sleep 4;
    is(brief($tried), "RETRYING $before", 'held between two attempts');
    $o->remove($bad->{id});
    my $log = $o->until_status($tried, 'CANCELLED');
    like($log->{error}{message}, qr/deleted/, 'until it is deleted')
        or diag to_json($log->{error});
    is($log->{error}{code}, 'integration_deleted', 'by its code too');
    is($log->{attempts}, $before, 'with the attempts that it had');
    $switch{$who}->($i, 1) if $who eq 'developer';
    $o->remove($i->{id});
}

# -- an HL7 destination has one line -----------------------------------

my $dir = IDash::Process::dir('hl7');

# "bad" of a message: the connection is closed, until there is a file "well".
my $mllp = IDash::Peer->start(sub {
    my ($socket, $peer) = @_;
    my $in = '';

    while (sysread $socket, my $part, 65_536) {
        $in .= $part;
        while ($in =~ s/^\x0b(.*?)\x1c\x0d//s) {
            my @msh = split /\|/, (split /\r/, my $message = $1)[0];
            my ($text) = $message =~ /\rPID\|1\|\|([^|\r]*)/;

            $peer->note("$text $msh[9]");
            return if $text =~ /^bad/ && !-e "$dir/well";
            syswrite $socket, "\x0bMSH|^~\\&|H|H|I|L|20260101||ACK|1|P|2.5.1\r"
                . "MSA|AA|$msh[9]\r\x1c\x0d";
        }
    }
}, listen => IO::Socket::INET->new(LocalAddr => '0.0.0.0', Listen => 64));

{
    my $to = sub {
        my ($name, $address, $action) = @_;
        return $o->integration(nowait => 1, name => $name, url => '',
            action_id => $action, transport => 'mllp', host => $address,
            port => $mllp->port, schedule => join(',', ('1s') x 30),
            transform => '{message: "ADT^A04^ADT_A01", segments:'
                . ' [["EVN","A04"],["PID",1,null,.payload.n + "' . $name
                . '"]]}');
    };
    $to->('-a', '127.0.3.1', 3);
    $to->('-a2', '127.0.3.1', 4);          # another action, the same place
    $to->('-b', '127.0.3.2', 3);
    sleep 1.3;

    my (@a, @b);
    my $take = sub {
        for my $id (@_) {
            push @{ $o->log_of($id)->{endpoint} eq '-b' ? \@b : \@a }, $id;
        }
    };
    $take->($o->event(action_id => 3, payload => { n => 'bad1' }));
    $take->($o->event(action_id => 3, payload => { n => '2' }));
    $take->($o->event(action_id => 4, payload => { n => '3' }));
    $take->($o->event(action_id => 3, payload => { n => '4' }));
    is(scalar(@a) . scalar(@b), '43', 'four to one, three to the other');

    # the other one's line is held by its own first alone
    ok(wait_for(sub { $o->log_of($a[0])->{attempts} >= 3 }),
        'the first is tried again and again');
    is_deeply([ map { brief($_) } @a[1 .. 3], @b[1 .. 2] ],
        [ ('PENDING 0') x 5 ], 'those behind it wait, of other actions too');
    $o->integration(name => '-c', url => '', action_id => 20,
        transport => 'mllp', host => '127.0.3.3', port => $mllp->port,
        transform => '{message: "ADT^A04^ADT_A01", segments:'
            . ' [["EVN","A04"],["PID",1,null,.payload.n]]}');
    my ($free) = $o->event(action_id => 20, payload => { n => 'free' });
    is($o->until_status($free, 'SUCCESS')->{status}, 'SUCCESS',
        'another destination does not wait');
    is(brief($a[1]), 'PENDING 0', 'while they do');

    write_file("$dir/well", '');
    is($o->until_status($_, 'SUCCESS')->{status}, 'SUCCESS', 'then all go')
        for @a, @b;
    my (%last, @order);
    for my $note (map { [ split ] } $mllp->seen) {
        push @order, $note->[0] if !$last{ $note->[0] };
        ($last{ $note->[0] } //= $note->[1]) eq $note->[1]
            or fail("$note->[0] came with another MSH-10");
    }
    is_deeply([ grep { /-a/ } @order ], [ qw(bad1-a 2-a 3-a2 4-a) ],
        'one after the other');
    is_deeply([ grep { /-b/ } @order ], [ qw(bad1-b 2-b 4-b) ],
        'at the other too');
}

# -- too old -------------------------------------------------------------

# Accepted six days ago, as its dispatcher was away: by a clock put back.
SKIP: {
    my ($library) = glob '/usr/lib/*/faketime/libfaketimeMT.so.1';
    die "libfaketime is not there\n" if !defined $library && $ENV{CI};
    skip 'libfaketime is not there', 1 if !defined $library;
    skip 'ASan must be loaded before libfaketime', 1 if $ENV{IDASH_SANITIZE};

    my @batch = (is_batch => \1, batch_window_ms => 1000, batch_size => 5);
    my @held = map { $o->integration(url => $o->url("/ok/old$_"),
        action_id => $_, $_ == 23 ? @batch : ()) } 21 .. 23;
    $o->integration(url => $o->url('/ok/young'), action_id => 24);
    $o->d->stop;
    my $front = IDash::Sidecar->start(redis => $o->redis_of, beside => $o->d,
        conf => { %{ $o->{conf} }, roles => 'api' }, env => {
            LD_PRELOAD => $library, FAKETIME => '-6d',
            FAKETIME_DONT_FAKE_MONOTONIC => 1 });
    my $post = sub {
        my ($path, $method, $json, @headers) = @_;
        my $r = $front->call($method, "/api/v1$path", key => $api->{admin},
            body => to_json($json), headers => [ @headers,
                [ 'Content-Type', 'application/json' ] ]);
        like($r->{status}, qr/^20/, "$method $path") or diag $r->{body};
        return $r->{json};
    };
    my @old = map { @{ $post->('/events', 'POST', { action_id => $_,
        lab_id => 11, payload => { n => $_ } })->{log_ids} } } 21, 22, 23;
    for my $i (@held[0, 2]) {              # of the other nothing is held
        my $now = $front->call('GET', "/api/v1/integrations/$i->{id}",
            key => $api->{admin})->{json};
        delete @$now{qw(id version created_at updated_at disabled_reason
            signing_secrets _id)};
        $post->("/integrations/$i->{id}", 'PUT', { %$now, enabled => \0 },
            [ 'If-Match', '*' ]);
    }
    $front->stop;
    $o->d->run;
    my ($new) = $o->event(action_id => 24);
    my @ended = map { $o->until_status($_, 'FAIL') } @old;
    is_deeply([ map { "$_->{status} $_->{error}{code} $_->{attempts}" } @ended ],
        [ ('FAIL exhausted 0') x 3 ],
        'too old: it ends with a reason, no attempt used');
    like($o->log_of($old[0])->{error}{message}, qr/within its age/, 'in words');
    is(scalar(grep { $_->{path} =~ m{^/ok/old} } $o->hits), 0,
        'nothing of it was sent');
    is($o->until_status($new, 'SUCCESS')->{status}, 'SUCCESS',
        'a new one goes on');
}

done_testing();
