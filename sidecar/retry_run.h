/*
 * The runner of batch retries, a thread of the dispatch role.  A job is run
 * under a lease by one runner of all; another takes it over when the lease
 * ends, and sends nothing twice: the ids of the copies are durable before the
 * copies are.
 */

#ifndef RETRY_RUN_H
#define RETRY_RUN_H

#include "outbound.h"

struct retry_run;

must_check enum result retry_run_start(const struct config *c,
    struct store *s, struct outbound *o, struct retry_run **out);
/* Lets go of its jobs. */
void retry_run_stop(struct retry_run *r);

#endif /* RETRY_RUN_H */
