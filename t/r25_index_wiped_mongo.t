# r25_index_wiped.t with its documents on a server of the Mongo protocol.

use strict;
use warnings;

use lib 't/lib';
use IDash::Mongo;

IDash::Mongo::rerun('r25_index_wiped');
