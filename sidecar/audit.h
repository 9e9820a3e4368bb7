/*
 * The audit log: who did what to which thing, from where, and how it ended.
 * Entries are only ever added; one is written before its act ("allowed"), and
 * without it the act does not happen.  An act that then fails has a second one
 * of the same request ("failed").
 */

#ifndef AUDIT_H
#define AUDIT_H

#include <jansson.h>

#include "auth.h"
#include "store.h"

struct audit_entry {
    const struct auth_caller  *caller;
    const char                *ip, *request_id;
    const char                *action;     /* "log.view", "developer.update" */
    const char                *type;       /* collection of the target */
    struct slice               target;     /* its id, "" none */
    int64_t                    org_id;     /* the target's owner */
    struct slice               detail;     /* JSON, or "" */
    struct slice               reason;     /* what the person wrote, or "" */
    bool                       failed;     /* of an act that was allowed */
};

/* KEEP_US: how long the entry lives. */
must_check enum result audit_write(struct store *s,
    const struct audit_entry *e, int64_t keep_us);

/*
 * {"before":..,"after":..} as text to free, NULL: no memory.  Takes both, which
 * hold no secret; NULL is null.  Long text stands as its length and SHA-256, so
 * that an entry of large programs or certificates fits and still tells one
 * change from another.
 */
char *audit_change(json_t *before, json_t *after);

#endif /* AUDIT_H */
