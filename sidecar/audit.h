/*
 * The audit log: who did what to which thing, from where, and how it ended.
 * Entries are only ever added; one is written before its act, and without it the
 * act does not happen.
 */

#ifndef AUDIT_H
#define AUDIT_H

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
};

/* KEEP_US: how long the entry lives. */
must_check enum result audit_write(struct store *s,
    const struct audit_entry *e, int64_t keep_us);

#endif /* AUDIT_H */
