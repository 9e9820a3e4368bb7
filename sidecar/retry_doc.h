/*
 * What a batch retry keeps, all in collection retry_job, told apart by the
 * beginning of the id:
 *
 *   plan:<plan>            what would be sent, as it is shown
 *   ids:<plan>:<n>         the ids of the eligible logs, RETRY_CHUNK each
 *   job:<job>              the job as it is shown, its lease in "_lease"
 *   items:<job>:<n>        what became of ids:<plan>:<n>
 *   run:<job>              there is while a runner has something to do
 *   replay:<replay>        an inbound call made again
 *   call:<replay>          there is while it is to be sent
 *   claim:<replay>         the log that it became
 *
 * Members that begin with _ are not shown.
 */

#ifndef RETRY_DOC_H
#define RETRY_DOC_H

#include <jansson.h>

#include "store.h"

#define RETRY_CHUNK     200
#define RETRY_MAX       100000             /* logs of one plan */
#define RETRY_DOC_ID    64                 /* with the NUL */

struct retry_doc {
    char      id[RETRY_DOC_ID];
    int64_t   version;                     /* 0: not yet there */
    int64_t   org_id;
    int64_t   created_us, expires_us;
    json_t   *v;                           /* owned */
};

/* N < 0: none behind the id. */
void retry_doc_id(struct retry_doc *d, const char *kind, const char *id,
    int64_t n);

/* Fills D of id D->id; the caller cleans up.  NOT_FOUND when it has expired. */
must_check enum result retry_doc_get(struct store *s, struct retry_doc *d);
/* By D->version (0: must be new); CONFLICT: another was quicker. */
must_check enum result retry_doc_put(struct store *s, struct retry_doc *d);
void retry_doc_cleanup(struct retry_doc *d);

/* A copy without what is not shown. */
json_t *retry_doc_public(const json_t *v);

void retry_time(json_t *v, const char *name, int64_t us);  /* NONE: null */

/* "there is work for this job" */
must_check enum result retry_mark(struct store *s, const char *job,
    int64_t org_id);

/* Is a document of that org and "_labs" visible in the scope? */
bool retry_visible(const struct retry_doc *d, const struct scope *sc);
json_t *retry_labs(const struct scope *sc);

#endif /* RETRY_DOC_H */
