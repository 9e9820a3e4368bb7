# Every write by a person: one entry that says who, what, when, whence and how it
# ended, and holds no secret.  What is refused before leaves none; what fails
# after it was allowed has a second.  Two people who edit the same thing.

use strict;
use warnings;

use POSIX ();
use Test::More;
use Time::HiRes ();

use lib 't/lib';
use ApiTest;
use IDash;
use IDash::Wait;
use Outbound;

my $o = Outbound->new(conf => { replay_base_url => 'http://127.0.0.1:9' });
my $api = $o->api_of;
my $person = $api->key('admin', 0, '--name', 'Ann');
my ($key_id) = $person =~ /^idash_(\w{8})_/;
my $whence = '203.0.113.9';
my @secrets = ($person, 'secret-of-bearer', 'secret-of-replay',
    'secret-of-partner-1');
my $requests = 0;

# A write of hers: (answer, its audit entries, oldest first).
sub act {
    my ($method, $path, %opt) = @_;

    my $id = sprintf '%032x', ++$requests;
    my $r = $api->call($method, $path, key => $person, %opt,
        headers => [ [ 'X-Real-IP', $whence ], [ 'X-Request-Id', $id ],
            @{ $opt{headers} || [] } ]);
    push @secrets, grep { defined } @{ $r->{json} }{
        qw(key auth_key signing_secret) } if ref $r->{json} eq 'HASH';
    my @all = @{ $api->get('/audit?limit=200')->{json}{data} };
    return ($r, reverse grep { $_->{request_id} eq $id } @all);
}

sub match { return (headers => [ [ 'If-Match', $_[0] ] ]) }

# -- what the writes are about ---------------------------------------------

my $hook = $o->integration(url => $o->url('/ok/a'), auth => 'bearer',
    auth_secret => 'secret-of-bearer', is_auto_retry => \0);
my ($done) = $o->event;
$o->until_status($done, 'SUCCESS');
my $failing = $o->integration(url => $o->url('/fail/f'), is_auto_retry => \0,
    action_id => 2);
my ($failed) = $o->event(action_id => 2);
$o->until_status($failed, 'FAIL');
my ($later, $later_still) = map {
    POSIX::strftime('%Y-%m-%dT%H:%M:%S.000Z', gmtime(time + $_ * 86400))
} 30, 60;
my ($waiting, $moving) = map { $o->event(deliver_at => $later) } 1, 2;
my $inbound = $api->record(status => 422, method => 'POST',
    uri => '/patients', key => 'north-key-0123456789');
my $etag;                                  # deliveries are logs of the store too
wait_for(sub { $etag = http_header($api->get("/logs/$inbound"), 'ETag') })
    or die "the record is not stored\n";

# a record of a version that nobody knows
$o->redis_of->call('XADD', 'idash:capture', '*', 'v', '9', 'id', 'x');
my $dead;
wait_for(sub {
    ($dead) = @{ $api->get('/dead-letters')->{json}{data} };
});

sub retry_plan { return $o->post('/retry-plans', { filter => 'status=FAIL' })->{json} }

my %made;

# name; method; path; body; action; type of the target; more
my @writes = (
    [ POST => '/orgs', { id => 70, name => 'O' }, 'org.create', 'org' ],
    [ PUT => '/orgs/70', { name => 'O 2' }, 'org.update', 'org' ],
    [ POST => '/labs', { id => 71, name => 'L', org_id => 70 }, 'lab.create',
        'lab' ],
    [ PUT => '/labs/71', { name => 'L 2', org_id => 70 }, 'lab.update', 'lab' ],
    [ DELETE => '/labs/71', undef, 'lab.delete', 'lab' ],
    [ DELETE => '/orgs/70', undef, 'org.delete', 'org' ],
    [ POST => '/action-categories', { id => 90, name => 'C' },
        'action_category.create', 'action_category' ],
    [ PUT => '/action-categories/90', { name => 'C 2' },
        'action_category.update', 'action_category' ],
    [ POST => '/actions', { id => 901, name => 'A', action_category_id => 90 },
        'action.create', 'action_category_list' ],
    [ PUT => '/actions/901', { name => 'A 2', action_category_id => 90 },
        'action.update', 'action_category_list' ],
    [ DELETE => '/actions/901', undef, 'action.delete',
        'action_category_list' ],
    [ DELETE => '/action-categories/90', undef, 'action_category.delete',
        'action_category' ],
    [ POST => '/developers', { name => 'D', org_id => 3,
        auth_key => 'secret-of-partner-1', replay_credentials =>
            { headers => [ [ 'X-Key', 'secret-of-replay' ] ] } },
        'developer.create', 'developer_authentication' ],
    [ PUT => '/developers/%', { name => 'D 2', org_id => 3 },
        'developer.update', 'developer_authentication' ],
    [ DELETE => '/developers/%', undef, 'developer.delete',
        'developer_authentication' ],
    [ POST => '/integrations', { name => 'I', org_id => 3, lab_id => 11,
        action_id => 1, url => 'https://partner.example/', auth => 'bearer',
        auth_secret => 'secret-of-bearer', enabled => \0 },
        'integration.create', 'lab_integration' ],
    [ PUT => '/integrations/%', { name => 'I 2', org_id => 3, lab_id => 11,
        action_id => 1, url => 'https://partner.example/', enabled => \0 },
        'integration.update', 'lab_integration' ],
    [ POST => '/integrations/%/rotate-secret', {}, 'integration.rotate_secret',
        'lab_integration' ],
    [ POST => '/integrations/%/test', { event => { payload => {} } },
        'integration.test', 'lab_integration' ],
    [ DELETE => '/integrations/%', undef, 'integration.delete',
        'lab_integration' ],
    [ POST => '/api-keys', { name => 'K', org_id => 3, role => 'viewer' },
        'api_key.create', 'api_key' ],
    [ PUT => '/api-keys/%', { name => 'K 2', org_id => 3, role => 'viewer' },
        'api_key.update', 'api_key' ],
    [ DELETE => '/api-keys/%', undef, 'api_key.revoke', 'api_key' ],
    [ POST => '/views', { name => 'V', query => 'status=FAIL' },
        'view.create', 'view' ],
    [ PUT => '/views/%', { name => 'V 2', query => 'status=FAIL' },
        'view.update', 'view' ],
    [ DELETE => '/views/%', undef, 'view.delete', 'view' ],
    [ POST => "/logs/$done/resend", { reason => 'because' }, 'log.resend',
        'integration_directory' ],
    [ POST => "/logs/$inbound/replay", { reason => 'because',
        body => { a => 1 }, base_etag => $etag }, 'log.replay', 'integration_directory' ],
    [ POST => "/logs/$moving/reschedule", { reason => 'because',
        deliver_at => $later_still }, 'log.reschedule',
        'integration_directory' ],
    [ POST => "/logs/$waiting/cancel", { reason => 'because' }, 'log.cancel',
        'integration_directory' ],
    [ POST => '/retry-jobs', sub { { plan => retry_plan()->{plan},
        reason => 'because', rate_per_s => 1 } }, 'retry_job.create',
        'retry_job' ],
    [ POST => "/dead-letters/$dead->{id}/replay", undef, 'dead_letter.replay',
        'dead_letter' ],
    [ GET => "/logs/$inbound", undef, 'log.view', 'integration_directory' ],
    [ GET => '/logs?format=csv', undef, 'logs.export',
        'integration_directory' ],
);

for my $w (@writes) {
    my ($method, $path, $json, $action, $type) = @$w;

    $path =~ s/%/$made{$type}/;
    $json = $json->() if ref $json eq 'CODE';
    my $from = Time::HiRes::time();
    my ($r, @entries) = act($method, $path,
        defined $json ? (json => $json) : (),
        $method =~ /PUT|DELETE/ ? match('*') : ());
    my $until = Time::HiRes::time();

    like($r->{status}, qr/^2/, "$action goes well") or diag $r->{body};
    $made{$type} = $r->{json}{id} if $method eq 'POST' && $r->{status} == 201;
    $made{$type} = $r->{json}{id} if $type eq 'retry_job';
    is(scalar @entries, 1, 'one entry') or next;

    my $e = $entries[0];
    is_deeply([ @{ $e->{actor} }{qw(key_id name role org_id)} ],
        [ $key_id, 'Ann', 'admin', 0 ], 'who');
    is($e->{action}, $action, 'what');
    is($e->{target}{type}, $type, 'to what');
    my ($id) = $path =~ m{^/[a-z-]+/([^/?]+)};
    is($e->{target}{id}, $id // $made{$type}, 'to which')
        if $action ne 'logs.export';
    my $at = Outbound::seconds($e->{at});
    ok($at >= $from - 0.002 && $at <= $until, 'when');
    is($e->{ip}, $whence, 'whence');
    is($e->{outcome}, 'allowed', 'outcome');
    is($e->{reason}, 'because', 'why') if ref $json && $json->{reason};
}

# jobs: what is done to one that runs
{
    my ($job) = @{ $api->get('/retry-jobs')->{json}{data} };
    for my $verb (qw(pause resume cancel)) {
        my ($r, @entries) = act(POST => "/retry-jobs/$job->{id}/$verb",
            json => { reason => 'because' });
        is($entries[0]{action}, "retry_job.$verb", "$verb of a job");
        is($entries[0]{reason}, 'because', 'with its reason');
        is(scalar @entries, $r->{status} == 200 ? 1 : 2,
            'one entry, one more if the job had ended');
    }
    my ($r, @entries) = act(POST => "/retry-jobs/$job->{id}/pause",
        json => { reason => 'x' x 501 });
    is($r->{status}, 422, 'a reason that is too long');
    is(scalar @entries, 0, 'is refused before');
}

# -- refused before: no entry ----------------------------------------------

my $lab = $api->get('/labs/11');
my %lab = (name => 'One', org_id => 3);
for my $case (
    [ 'a fault', 422, PUT => '/labs/11', json => { name => '' }, match('*') ],
    [ 'no version named', 428, PUT => '/labs/11', json => \%lab ],
    [ 'a stale one', 412, PUT => '/labs/11', json => \%lab, match('"77"') ],
    [ 'one that is no number', 412, PUT => '/labs/11', json => \%lab,
        match('"x"') ],
    [ 'delete without one', 428, DELETE => '/labs/11' ],
    [ 'delete of a stale one', 412, DELETE => '/labs/11', match('"77"') ],
    [ 'revoke without one', 428, DELETE => "/api-keys/$key_id" ],
    [ 'a rotation of a stale one', 412,
        POST => "/integrations/$hook->{id}/rotate-secret", json => {},
        match('"77"') ],
    [ 'an id that is taken', 409, POST => '/labs', json =>
        { id => 11, name => 'x', org_id => 3 } ],
    [ 'what there is not', 404, PUT => '/labs/99', json => \%lab,
        match('*') ],
    [ 'an unknown member', 422, POST => "/logs/$moving/cancel",
        json => { force => \1 } ],
) {
    my ($name, $status, @call) = @$case;
    my ($r, @entries) = act(@call);
    is($r->{status}, $status, $name) or diag $r->{body};
    is(scalar @entries, 0, 'leaves no entry');
}
is($api->get('/labs/11')->{body}, $lab->{body}, 'nor a change');

# -- allowed, then failed: two ----------------------------------------------

{
    my ($r, @entries) = act(POST => "/integrations/$hook->{id}/send",
        json => { action_id => 57, lab_id => 11, payload => {} });
    is($r->{status}, 422, 'a trial send of an event that it does not want');
    is_deeply([ map { "$_->{action} $_->{outcome}" } sort {
        $a->{outcome} cmp $b->{outcome} } @entries ],
        [ 'integration.send allowed', 'integration.send failed' ],
        'is told twice');
}

{
    my ($r, @entries) = act(POST => "/logs/$done/cancel",
        json => { reason => 'late' });
    is($r->{status}, 409, 'cancel of what has ended');
    is_deeply([ map { $_->{outcome} } @entries ], [ 'allowed', 'failed' ],
        'allowed, then failed');
    is($entries[1]{detail}{status}, 409, 'with the answer');
    is($entries[1]{target}{id}, $done, 'of the same log');
}

# a repeat of a call with its key is answered from what is kept: one act
{
    my @call = (POST => "/logs/$done/resend", json => { reason => 'once' });
    my ($first, @one) = act(@call, headers => [ [ 'Idempotency-Key', 'k1' ] ]);
    my ($again, @two) = act(@call, headers => [ [ 'Idempotency-Key', 'k1' ] ]);
    is($again->{json}{_id}, $first->{json}{_id}, 'the same answer');
    is(scalar @one, 1, 'one entry');
    is(scalar @two, 0, 'and none of the repeat');
}

# -- two people -------------------------------------------------------------

{
    my $url = "/integrations/$failing->{id}";
    my $read = $api->get($url);
    my $tag = http_header($read, 'ETag');
    my %body = %{ $read->{json} };
    delete @body{qw(id version created_at updated_at signing_secrets)};

    my ($ann) = act(PUT => $url, json => { %body, name => 'by Ann' },
        match($tag));
    is($ann->{status}, 200, 'Ann saves');
    my $bob = $api->call('PUT', $url, json => { %body, timeout_ms => 9000 },
        match($tag));
    is($bob->{status}, 412, 'Bob read it before: his is refused');
    is($bob->{json}{status}, 412, 'as a problem');
    is($api->get($url)->{json}{name}, 'by Ann', "Ann's change is there");

    my $new = $api->get($url);
    %body = %{ $new->{json} };
    delete @body{qw(id version created_at updated_at signing_secrets)};
    $bob = $api->call('PUT', $url, json => { %body, timeout_ms => 9000 },
        match(http_header($new, 'ETag')));
    is($bob->{status}, 200, 'he reads it again and saves');
    my $both = $api->get($url)->{json};
    is("$both->{name} $both->{timeout_ms}", 'by Ann 9000', 'both changes');

    # at the same moment: one wins, the other hears of it
    my $from = http_header($api->get($url), 'ETag');
    my @answers = together(8, sub {
        my ($n) = @_;
        return $api->d->call('PUT', "/api/v1$url", key => $person,
            body => to_json({ %body, name => "racer $n" }),
            headers => [ [ 'If-Match', $from ],
                [ 'Content-Type', 'application/json' ] ])->{status};
    });
    is(scalar(grep { $_ == 200 } @answers), 1, 'of eight at once one saves');
    is(scalar(grep { $_ == 412 } @answers), 7, 'seven are told');
    my @entries = grep { $_->{action} eq 'integration.update'
        && $_->{target}{id} eq $failing->{id}
        && (($_->{detail}{after} || {})->{name} // '') =~ /^racer/ }
        @{ $api->get('/audit?limit=200')->{json}{data} };
    my @failed = grep { $_->{action} eq 'integration.update'
        && $_->{outcome} eq 'failed' }
        @{ $api->get('/audit?limit=200')->{json}{data} };
    is(scalar @entries - @failed, 1,
        'of those that were allowed all but one have failed');
}

# CODE N times at once, in processes; what each gave.
sub together {
    my ($n, $code) = @_;

    my @fh = map {
        my $me = $_;
        my $pid = open my $fh, '-|';
        die "fork: $!" if !defined $pid;
        if ($pid == 0) {
            print $code->($me);
            close STDOUT;
            POSIX::_exit(0);
        }
        $fh;
    } 1 .. $n;
    return map { my $line = readline $_; close $_; $line } @fh;
}

# -- no secret --------------------------------------------------------------

{
    my ($path, @all) = '/audit?limit=200';
    while ($path) {
        my $r = $api->get($path);
        push @all, $r->{body};
        my $next = $r->{json}{page}{next};
        $path = $next && "/audit?limit=200&cursor=$next";
    }
    my $text = join '', @all;
    is(scalar(grep { index($text, $_) >= 0 } @secrets), 0,
        scalar(@secrets) . ' secrets: none stands in the audit log');
    unlike($text, qr/hmac|idash1:|"sealed"/, 'nor a hash or a sealed value');
}

answers_fit_description();
done_testing();
