package IDash::Record;

# Capture records as nginx would write them, for tests without nginx.

use strict;
use warnings;

use Exporter 'import';
use Time::HiRes 'time';

our @EXPORT = qw(record record_id add_record);

# A UUIDv7 of the time US (now).
sub record_id {
    my ($us) = @_;

    $us = int(time * 1e6) if !defined $us;
    my $ms = int($us / 1000);
    return sprintf '%08x-%04x-7%03x-8%03x-%06x%06x', $ms >> 16, $ms & 0xffff,
        $us % 1000, rand 4096, rand 2 ** 24, rand 2 ** 24;
}

# Names and values; undef leaves a field out.
sub record {
    my (%field) = @_;

    my $us = $field{start_us} || int(time * 1e6);
    my %all = (
        v => 1, id => record_id($us), kind => 'api', start_us => $us,
        duration_us => 1500, method => 'GET', scheme => 'http',
        host => 'api.example.org', uri => '/x?a=1', protocol => 'HTTP/1.1',
        status => 200, complete => 1, route => '/x',
        client_ip => '127.0.0.1', %field,
    );
    return map { ($_ => $all{$_}) } grep { defined $all{$_} } sort keys %all;
}

# XADDs one; its id.
sub add_record {
    my ($redis, %field) = @_;

    my %all = record(%field);
    $redis->call('XADD', 'idash:capture', '*', %all);
    return $all{id};
}

1;
