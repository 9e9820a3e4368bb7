# The commands of integrationd: what they print, refuse and leave behind.

use strict;
use warnings;

use Test::More;

use lib 't/lib';
use IDash;
use IDash::Record;

my $redis = redis();
my $d = IDash::Sidecar->prepare(redis => $redis);
my ($status, $out);

# -- help and usage ---------------------------------------------------------

sub runs { ($status, $out) = run_plain(@_); return $out }

my $help = runs('--help');
is($status, 0, 'help');
for my $command (qw(run check migrate key logs retry resend replay cancel import export version)) {
    like($help, qr/^  $command\s/m, "help names $command");
    my $text = runs($command, '--help');
    is($status, 0, "$command --help");
    like($text, qr/^usage: integrationd $command /, 'begins with usage');
}

runs('nonsense');
is($status, 2, 'an unknown command is a usage error');
runs('logs', '--nope');
is($status, 2, 'an unknown option too');
like($out, qr/there is no option --nope; see integrationd logs --help/,
    'and says where to look');
runs('logs', '--limit');
like($out, qr/--limit needs a value/, 'a missing value');
runs('version');
like($out, qr/^integrationd \d+\.\d+\.\d+$/, 'version');

# -- check ------------------------------------------------------------------

($status, $out) = $d->command('check');
is($status, 0, 'check') or diag $out;
like($out, qr/conf is good/, 'names the file');

my $sample = runs('check', '--sample');
write_file($d->dir . '/sample', $sample);
runs('check', '-c', $d->dir . '/sample');
unlike($out, qr/:\d+:/, 'the sample has no mistake') or diag $out;
is($sample, read_file(root_dir() . '/conf/integrationd.conf'),
    'conf/integrationd.conf is what check --sample prints');

my $man = read_file(root_dir() . '/man/integrationd.8');
my ($keys) = $man =~ /^\.\\" keys\n(.*?)^\.\\" end of keys/ms;
is($keys, runs('check', '--man'), 'the man page has the keys as they are');
my @keys = $sample =~ /^(?:# )?(\w+) = "/mg;
my $reference = runs('check', '--keys');
like($reference, qr/^\| `$_` \|/m, "reference of $_") for @keys;

my ($fields) = read_file(root_dir() . '/sidecar/openapi.yaml')
    =~ /^ +# fields of an integration\n(.*?)^ +# end of fields/ms;
is($fields, runs('check', '--integrations'),
    'openapi.yaml has the fields of an integration as they are');

write_file($d->dir . '/bad', "store = \"sqlite:/nowhere/at/all/x.db\"\n");
runs('check', '-c', $d->dir . '/bad');
is($status, 2, 'a store whose directory is missing');
like($out, qr{/nowhere/at/all: there is no such directory; make it},
    'and what to do');
write_file($d->dir . '/bad', "\nredis_db = -1\n");
runs('check', '-c', $d->dir . '/bad');
like($out, qr/bad:2: redis_db: "-1" is not a whole number/, 'file and line');

write_file($d->dir . '/secret', 'x' x 32);
chmod 0400, $d->dir . '/secret';
write_file($d->dir . '/bad', 'store = "mongodb://joe:hunter2@127.0.0.1:1/x'
    . "?serverSelectionTimeoutMS=300\"\nsecret_file = \"" . $d->dir
    . "/secret\"\n");
runs('migrate', '-c', $d->dir . '/bad');
isnt($status, 0, 'a store that is not there');
like($out, qr/127\.0\.0\.1:1.*is the server up/, 'by its hosts');
unlike($out, qr/hunter2/, 'without its password');

# -- keys on the store itself ----------------------------------------------

($status, $out) = $d->command('migrate');
is($status, 0, 'migrate makes the store') or diag $out;
like($out, qr/27 categories and actions added/, 'and seeds it');
($status, $out) = $d->command('migrate');
like($out, qr/ 0 categories/, 'once');

($status, $out) = $d->command('key', 'create');
is($status, 2, 'a key needs a role');
($status, $out) = $d->command('key', 'create', '--role', 'admin');
like($out, qr/--org is needed/, 'and an org');
($status, $out) = $d->command('key', 'create', '--role', 'viewer', '--org', 3,
    '--labs', '1,x');
like($out, qr/--labs must be ids/, 'labs are numbers');

my $admin = $d->key;
like($admin, qr/^idash_[0-9A-Za-z]{8}_[0-9A-Za-z]{43}$/, 'a key');
my $viewer = $d->key('--role', 'viewer', '--org', '3', '--labs', '12,13',
    '--name', 'front desk', '--expires', 7);
($status, $out) = $d->command('key', 'list');
like($out, qr/valid\s+admin\s+org 0/, 'list shows the admin');
like($out, qr/valid\s+viewer\s+org 3 .* front desk/, 'and the viewer');
unlike($out, qr/\Q$admin\E/, 'but no key');
my ($file) = $d->store =~ /^sqlite:(.*)/;
unlike(read_file($file), qr/\Q${\substr $admin, 15}\E/,
    'nor does the store hold one');
is((stat "$file.secret")[2] & 07777, 0400, 'the secret is 0400');

# -- with the process up ----------------------------------------------------

$d->run;
is($d->get('/api/v1/logs', key => $admin)->{status}, 200, 'the key works');
my $late = $d->key;
is($d->get('/api/v1/logs', key => $late)->{status}, 200,
    'one made meanwhile too');
my ($id) = $late =~ /^idash_(\w{8})_/;
($status, $out) = $d->command('key', 'revoke', $id);
is($out, "revoked $id\n", 'revoke');
is($d->get('/api/v1/logs', key => $late)->{status}, 401, 'revoked at once');
($status, $out) = $d->command('key', 'revoke', 'nobody12');
is($status, 1, 'revoke of none');
like($out, qr/not found/, 'says so');

# -- logs -------------------------------------------------------------------

my @ids = map { add_record($redis, status => $_, 'ref.bill_id' => "B$_") }
    200, 404, 500;
wait_for(sub { ($d->command('logs'))[1] =~ /$ids[2]/ });
($status, $out) = $d->command('logs');
is($status, 0, 'logs');
like($out, qr/$ids[0].*$ids[1].*$ids[2]/s, 'oldest first');
($status, $out) = $d->command('logs', 'status=FAIL', 'http=4xx');
is(scalar(split /\n/, $out), 1, 'filters');
like($out, qr/$ids[1]  api      FAIL       404 .*GET \/x  client_error/,
    'a line of text');
($status, $out) = $d->command('logs', 'ref[bill_id]=B500', '--json');
my $log = from_json($out);
is($log->{_id}, $ids[2], 'JSON');
is($log->{error}, 'server_error', 'with its error');
($status, $out) = $d->command('logs', 'status=NOPE');
is($status, 2, 'a wrong value');
like($out, qr/logs: status=NOPE: /, 'is named');
($status, $out) = $d->command('logs', 'colour=red');
like($out, qr/there is no such filter/, 'an unknown filter');

my $pid = open my $follow, '-|', IDash::Sidecar::binary(), 'logs', '-c',
    $d->dir . '/conf', '--follow', '--limit', 1, 'status=FAIL';
my $first = <$follow>;
like($first, qr/$ids[2]/, 'follow begins with what is there');
add_record($redis);
my $new = add_record($redis, status => 503);
my $line = <$follow>;
like($line, qr/$new.*503/, 'and goes on with what comes');
kill 'TERM', $pid;
close $follow;

# -- reload, reopen, a second process ---------------------------------------

kill 'HUP', $d->pid;
wait_for(sub { $d->log_text =~ /configuration read anew/ });
like($d->log_text, qr/configuration read anew/, 'HUP');
append_file($d->dir . '/conf', "retention_ok = 5\n");
kill 'HUP', $d->pid;
wait_for(sub { $d->log_text =~ /the old configuration stays/ });
like($d->log_text, qr/retention_ok: "5" is not a time/, 'HUP on a bad file');
is($d->get('/healthz')->{status}, 200, 'still up');
is($d->stop, 0, 'stops');

done_testing();

sub run_plain {
    my (@argv) = @_;

    my $pid = open my $fh, '-|';
    die "fork: $!" if !defined $pid;
    if ($pid == 0) {
        open STDERR, '>&', \*STDOUT;
        exec IDash::Sidecar::binary(), @argv or POSIX::_exit(127);
    }

    local $/;
    my $text = <$fh>;
    close $fh;
    return ($? >> 8, $text // '');
}
