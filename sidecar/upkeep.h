/* The thread that keeps the store small and its counts true. */

#ifndef UPKEEP_H
#define UPKEEP_H

#include "config.h"
#include "store.h"

struct upkeep;

must_check enum result upkeep_start(const struct config *c, struct store *s,
    struct upkeep **out);
void upkeep_stop(struct upkeep *u);
/* SIGHUP: bytes of dead letters. */
void upkeep_set_dead_max(struct upkeep *u, int64_t bytes);

#endif /* UPKEEP_H */
