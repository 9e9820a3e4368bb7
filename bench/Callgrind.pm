package Callgrind;

# Instructions of nginx' threads, in user space, counted by callgrind: slow, but
# the same on a busy machine as on an idle one.  A dump is asked for by USR1,
# since nginx then calls a function that it calls at no other time; callgrind's
# own control needs rights that a container may not give.

use strict;
use warnings;

use IDash;

# Why there is none, or nothing.
sub missing {
    return have_command('valgrind') ? undef : 'no valgrind';
}

# What to put before a command; DIR, which all may write, takes the files.
sub command {
    my ($dir) = @_;

    return (qw(valgrind --tool=callgrind --trace-children=yes
        --separate-threads=yes --dump-before=ngx_reopen_files),
        "--callgrind-out-file=$dir/callgrind.%p");
}

# Instructions of a worker's loop while CODE runs.
sub measure {
    my ($nginx, $dir, $code) = @_;
    my ($pid) = $nginx->workers;

    dump_counts($nginx, $dir);
    $code->();
    dump_counts($nginx, $dir);

    my $ir = counted(glob "$dir/callgrind.$pid.*");
    die "callgrind counted nothing\n" if !$ir;
    return $ir;
}

# Those of a worker's other threads in all their life; it has ended.
sub others {
    my ($pid, $dir) = @_;
    return counted(grep { !/-0*1$/ } glob "$dir/callgrind.$pid*-*");
}

sub counted {
    my $sum = 0;

    for my $file (@_) {
        $sum += $1 if read_file($file) =~ /^totals: (\d+)/m;
    }
    return $sum;
}

sub dump_counts {
    my ($nginx, $dir) = @_;
    my ($pid) = $nginx->workers;

    unlink glob "$dir/callgrind.$pid.*";
    $nginx->signal('USR1');
    wait_for(sub {
        my @files = glob "$dir/callgrind.$pid.*";
        return @files && !grep { read_file($_) !~ /^totals:/m } @files;
    }) or die "callgrind does not dump\n";
    return;
}

1;
