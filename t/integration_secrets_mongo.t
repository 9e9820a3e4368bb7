# integration_secrets.t with its documents on a server of the Mongo protocol.

use strict;
use warnings;

use lib 't/lib';
use IDash::Mongo;

IDash::Mongo::rerun('integration_secrets');
