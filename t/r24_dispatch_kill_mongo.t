# r24_dispatch_kill.t with its documents on a server of the Mongo protocol.

use strict;
use warnings;

use lib 't/lib';
use IDash::Mongo;

IDash::Mongo::rerun('r24_dispatch_kill');
