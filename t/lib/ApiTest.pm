package ApiTest;

# A sidecar with two tenants and some logs; every answer is kept, and held
# against sidecar/openapi.yaml at the end of the test.

use strict;
use warnings;

use Digest::SHA 'sha256_hex';
use Exporter 'import';
use IDash;
use IDash::Wait;
use Test::More;

our @EXPORT = qw(api record answers_fit_description);

my %catalog = (
    orgs => [ { id => 3, name => 'North' }, { id => 4, name => 'South' } ],
    labs => [
        { id => 11, name => 'One', org_id => 3 },
        { id => 12, name => 'Two', org_id => 3 },
        { id => 21, name => 'Far', org_id => 4 },
    ],
    developers => [
        { id => 'dev-north', name => 'N', org_id => 3, key => 'north-key-0123456789' },
        { id => 'dev-south', name => 'S', org_id => 4, key => 'south-key-0123456789' },
    ],
);

my $seen;

# api(redis => .., conf => {..}): prepared, imported, started.
sub api {
    my (%opt) = @_;

    my $redis = delete $opt{redis} || redis();

    # the records' times are fixed, so that ranges can be
    $opt{conf} = { retention_ok => '3650d', retention_fail => '3650d',
        %{ $opt{conf} || {} } };
    my $d = IDash::Sidecar->prepare(redis => $redis, %opt);
    my $self = bless { d => $d, redis => $redis, n => 0 }, __PACKAGE__;

    write_file($d->dir . '/catalog.json', to_json(\%catalog));
    my ($status, $out) = $d->command('import', $d->dir . '/catalog.json');
    die "import: $out" if $status != 0;

    $self->{admin} = $d->key;
    $d->run;
    return $self;
}

sub d { return $_[0]{d} }
sub redis_of { return $_[0]{redis} }

# A key: key(role, org, more options of "key create").
sub key {
    my ($self, $role, $org, @more) = @_;
    return $self->{d}->key('--role', $role, '--org', $org, @more);
}

sub call {
    my ($self, $method, $path, %opt) = @_;

    $opt{key} = $self->{admin} if !exists $opt{key};
    delete $opt{key} if !defined $opt{key};
    $opt{headers} = [ @{ $opt{headers} || [] } ];   # call adds its own

    if (exists $opt{json}) {
        $opt{body} = to_json(delete $opt{json});
        push @{ $opt{headers} }, [ 'Content-Type', 'application/json' ];
    }

    $path = "/api/v1$path" if $path !~ m{^/api/};
    my $r = $self->{d}->call($method, $path, %opt);
    keep($method, $path, $r);
    return $r;
}

sub get { my ($self, $path, %opt) = @_; return $self->call('GET', $path, %opt) }

# Remembers an answer for the description's check.
sub keep {
    my ($method, $path, $r) = @_;

    return if !$r->{status};
    $seen ||= IDash::Process::dir('answers') . '/seen';
    append_file($seen, to_json({
        method => $method, path => $path, status => $r->{status} + 0,
        type => scalar http_header($r, 'Content-Type'),
        body => $r->{json} || ($r->{body} // '') eq '' ? $r->{body} // ''
            : 'bytes',
    }) . "\n");
    return;
}

sub answers_fit_description {
    my $root = root_dir();
    my $out = `/usr/bin/python3 $root/t/lib/openapi.py $root/sidecar/openapi.yaml answers $seen 2>&1`;
    my $status = $?;

    is($status, 0, 'answers are as openapi.yaml describes them') or diag $out;
    note $out;
    return;
}

# An id of a start in microseconds: UUIDv7, ms then us.
sub uuid {
    my ($us, $n) = @_;

    my $hex = sprintf '%012x', int($us / 1000);
    return substr($hex, 0, 8) . '-' . substr($hex, 8, 4)
        . sprintf('-7%03x-8000-%012x', $us % 1000, $n);
}

# Adds one record to the stream; gives the log's id.
sub record {
    my ($self, %f) = @_;

    my $n = ++$self->{n};
    my $us = delete $f{us} // 1_790_000_000_000_000 + $n * 1_000_000;
    my $id = uuid($us, $n);
    my %r = (
        v => 1, id => $id, kind => 'api', start_us => $us,
        duration_us => 12_400, method => 'POST', scheme => 'http',
        host => 'lims', uri => '/patients?lab=11&x=%41', protocol => 'HTTP/1.1',
        status => 201, complete => 1, route => '/patients', action => 57,
        key_sha256 => sha256_hex(delete $f{key} // 'north-key-0123456789'),
        client_ip => '192.0.2.1', client_port => 4711, sent_bytes => 200,
        request_bytes => 9, response_bytes => 2,
        request_headers => "Host: lims\r\nAccept: */*\r\nAccept: a/b\r\n",
        response_headers => "Content-Type: application/json\r\n",
        request_body => '{"a":1.0}', response_body => 'ok',
        'ref.lab_id' => 11, 'ref.bill_id' => "B-$n", %f,
    );

    $self->{redis}->call('XADD', 'idash:capture', '*',
        map { $_ => $r{$_} } grep { defined $r{$_} } sort keys %r);
    return $id;
}

# Waits until the store has N logs.
sub stored {
    my ($self, $n) = @_;

    wait_for(sub {
        my $r = $self->{d}->get('/api/v1/system', key => $self->{admin});
        return $r->{json} && $r->{json}{store}{logs} >= $n;
    }) or die "no $n logs in the store:\n" . $self->{d}->tail;
    return;
}

1;
