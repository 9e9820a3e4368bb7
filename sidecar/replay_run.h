/* The thread that makes inbound calls again, at replay_base_url alone. */

#ifndef REPLAY_RUN_H
#define REPLAY_RUN_H

#include "config.h"
#include "secret.h"
#include "store.h"

struct replay_run;

must_check enum result replay_run_start(const struct config *c,
    struct store *s, const struct secret *secret, struct replay_run **out);
void replay_run_stop(struct replay_run *r);

#endif /* REPLAY_RUN_H */
