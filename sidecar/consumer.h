/*
 * A name in the consumer group that no other process has and that this one has
 * again after a restart, so that it finds its own pending entries at once.
 */

#ifndef CONSUMER_H
#define CONSUMER_H

#include "config.h"

struct consumer;

/*
 * config.consumer as it is; else host-pid-random, kept in a locked file beside
 * the SQLite file or in $STATE_DIRECTORY; else (nowhere to keep it) a new one.
 */
must_check enum result consumer_create(const struct config *c,
    struct consumer **out);
void consumer_destroy(struct consumer *c);
const char *consumer_name(const struct consumer *c);

#endif /* CONSUMER_H */
