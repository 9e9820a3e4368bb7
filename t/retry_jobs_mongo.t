# A plan and a job of retry_jobs.t with their documents on a server of the Mongo protocol.

use strict;
use warnings;

use lib 't/lib';
use IDash::Mongo;

IDash::Mongo::rerun('retry_jobs');
