/*
 * What the files of fusion*.c share: an item while it is checked, and the job
 * that becomes of one that is right.
 */

#ifndef FUSION_PRIVATE_H
#define FUSION_PRIVATE_H

#include "json_slice.h"
#include "logdoc.h"

struct fusion_call;

struct item {                              /* one, while it is checked */
    struct fusion_call  *c;
    size_t               index;
    struct slice         text;             /* its exact bytes */
    json_t              *root, *map;       /* map: what fusion_map gave */
    struct slice         payload;
    json_t              *headers, *handlers;
    int64_t              now_us, due_us;
    int64_t              attempts;         /* LOGDOC_NONE: the schedule's */
    int64_t              category_id;
    bool                 goes_on;          /* the log of log_id goes on */
    uint8_t              log_id[UUID_BYTES];
    struct slice         message_id, resend_of;
};

struct job {                               /* one that was found right */
    json_t         *doc;                   /* NULL: log_id goes on */
    struct logdoc   log;
    json_t         *handlers;
    int64_t         due_us;
};


/* null is as if it were not there: old callers send it */
static inline const json_t *
member(const json_t *o, const char *name)
{
    const json_t  *v = json_object_get(o, name);

    return json_is_null(v) ? NULL : v;
}


/* All of an item; faults are noted, other results end the call. */
must_check enum result fusion_item_check(struct item *x, bool scheduled);
void fusion_item_cleanup(struct item *x);

/* Of an item that is right.  The caller lets go of doc and handlers. */
must_check enum result fusion_job_make(struct item *x, struct job *job);

/* The log of a document, the same each time. */
must_check enum result fusion_job_log(const json_t *doc, struct arena *a,
    struct logdoc *d);

#endif /* FUSION_PRIVATE_H */
