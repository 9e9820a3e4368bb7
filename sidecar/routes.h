/*
 * Who receives an event: all enabled integrations of an action and lab whose
 * developer is enabled, from a table in memory that follows
 * store_config_version.  Candidates only: filters run afterwards.
 */

#ifndef ROUTES_H
#define ROUTES_H

#include "integration.h"

struct routes;

must_check enum result routes_create(struct store *s, struct routes **out);
void routes_destroy(struct routes *r);

/* Pinned: *out stays valid until routes_release, whatever changes. */
struct routes_pin;
must_check enum result routes_find(struct routes *r, int64_t action_id,
    int64_t lab_id, struct routes_pin **pin,
    const struct integration *const **out, size_t *n);

/* By id, disabled ones too; *held: it or its developer is disabled now. */
must_check enum result routes_get(struct routes *r, struct slice id,
    struct routes_pin **pin, const struct integration **out, bool *held);
void routes_release(struct routes_pin *pin);

/* Takes over the newest configuration now; false: the store did not answer. */
bool routes_refresh(struct routes *r);

#endif /* ROUTES_H */
