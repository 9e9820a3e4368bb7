/*
 * Batches on the Mongo protocol.  Each document changes by itself, so three of
 * them carry what must be one step:
 *
 *   batch_lane   one a lane: number and members of the batch closed last.
 *                Its change from one number to the next is the closing; no
 *                other begins until "stamped" says that the members know it
 *   batch        one a batch, until all have ended: lease, token, and the
 *                outcome while its members take it over
 *   the logs     batch_id, once and for good; token and lease follow the batch
 *
 * Whoever meets a step half done does the rest: the next to close, or the next
 * to claim a member.
 */

#ifndef STORE_MONGO_BATCH_H
#define STORE_MONGO_BATCH_H

#include "store_mongo_batch_close.h"

enum result mongo_batch_get(struct store *s, const uint8_t id[UUID_BYTES],
    int64_t token, struct arena *a, struct logdoc **out, size_t *n);

/* An outcome that not every member has: FINISH is that of each of them. */
struct mongo_batch_rest {
    bool                 found;
    struct store_finish  finish;           /* without id */
    struct log_attempt   attempt;          /* finish.attempt, if any */
    uint8_t            (*ids)[UUID_BYTES];
    size_t               n;
};

/*
 * Claims the batch that CLAIM's log is a member of (doc.batch_id).  When the
 * one before was finished half it is not claimed: REST is to be written first,
 * by nobody else until LEASE_US.
 */
must_check enum result mongo_batch_claim(struct mongo_store *m,
    int64_t now_us, int64_t lease_us, struct arena *a,
    struct store_claim *claim, struct mongo_batch_rest *rest);

/* Who claimed the batch goes on owning it; *KEPT: it was still his. */
must_check enum result mongo_batch_renew(struct mongo_store *m,
    const struct store_lease *l, int64_t until_us, bool *kept);

/* Keeps the outcome F with the batch before any member has it. */
must_check enum result mongo_batch_note(struct mongo_store *m,
    struct slice batch, const struct store_finish *f, bool *late);

/* When no member is leased any more: the batch goes on, or is over.  F NULL:
 * a member was taken out. */
must_check enum result mongo_batch_settle(struct mongo_store *m,
    struct slice batch, const struct store_finish *f, int64_t attempts);

#endif /* STORE_MONGO_BATCH_H */
