/*
 * What is kept: one interface, SQLite or a server of the Mongo protocol behind
 * it.  Every call is safe from any thread and blocks until durable or answered.
 * Writes to SQLite are grouped behind this interface (one writer, <= 2 ms).
 * RESULT_UNAVAILABLE from a write: outcome unknown; the same write again is
 * harmless.
 */

#ifndef STORE_H
#define STORE_H

#include <jansson.h>

#include "buf.h"
#include "filter.h"
#include "heatmap.h"
#include "logdoc.h"

struct store;

struct store_options {
    const char  *uri;                      /* sqlite:PATH or mongodb://.. */
    unsigned     readers;                  /* SQLite: connections that query */
    bool         read_only;                /* the CLI's queries */
};

/* Opens, checks the schema's version, creates it when new.  ERR says what. */
must_check enum result store_open(const struct store_options *o,
    struct store **out, char *err, size_t errlen);
void store_close(struct store *s);
must_check enum result store_migrate(struct store *s, char *err, size_t len);
must_check enum result store_ping(struct store *s);
const char *store_name(const struct store *s);         /* "sqlite", "mongo" */

/* -- logs ---------------------------------------------------------------- */

enum store_insert {
    STORE_NEW,                             /* written now */
    STORE_SAME,                            /* was there already, same digest */
    STORE_DIFFERENT,                       /* same id, other digest: alarm */
    STORE_REFUSED                          /* this document alone is bad */
};

/*
 * Inserts N logs; on RESULT_OK outcome[i] tells each.  Buckets of the heatmap
 * count only STORE_NEW ones (kind api: at once; outbound: at the terminal
 * state).  Any other result: nothing is known, insert all again.
 */
must_check enum result store_logs_insert(struct store *s,
    const struct logdoc *docs, size_t n, enum store_insert *outcome);

/* What is read lives in *a.  Bodies are read by store_log_get alone. */
must_check enum result store_log_get(struct store *s, const struct scope *sc,
    const uint8_t id[UUID_BYTES], struct arena *a, struct logdoc *out);

must_check enum result store_attempts(struct store *s, const struct scope *sc,
    const uint8_t id[UUID_BYTES], struct arena *a, struct log_attempt **out,
    size_t *n);

struct store_page {
    unsigned  limit;
    bool      ascending;
    bool      has_after;                   /* start after this position: */
    int64_t   after_us;
    uint8_t   after_id[UUID_BYTES];
    int64_t   deadline_us;                 /* clock_mono_us(); partial after */
};

struct store_rows {
    struct logdoc  *rows;                  /* in the arena, newest first */
    size_t          n;
    bool            more;
    bool            partial;               /* deadline: not all was looked at */
    int64_t         searched_to_us;        /* when partial: so far back */
    uint8_t         searched_to_id[UUID_BYTES];
};

must_check enum result store_logs_find(struct store *s,
    const struct filter *f, const struct store_page *p, struct arena *a,
    struct store_rows *out);

/* Counts up to CAP; *capped when there are more or the deadline passed. */
must_check enum result store_logs_count(struct store *s,
    const struct filter *f, int64_t cap, int64_t deadline_us, int64_t *n,
    bool *capped);

/* -- outbound ------------------------------------------------------------ */

/*
 * Outbound logs are inserted PENDING by store_logs_insert with
 * next_attempt_us, priority and, in request.data, the very bytes to send.
 * From then on only these change them; LEASE and TOKEN fence late finishers.
 * One that is inserted with lease_until_us, token 1 and attempts 1 is claimed
 * from the beginning.
 */
struct store_claim {
    uint8_t        id[UUID_BYTES];         /* in */
    bool           claimed;
    int64_t        due_us;                 /* not claimed: when to look again;
                                              NONE: never, it has ended */
    int64_t        since_us;               /* claimed: when it was first due */
    bool           behind;                 /* another of its lane comes first */
    bool           forming;                /* of a batch that is still open */
    struct slice   lane;                   /* forming: its lane */
    struct logdoc  doc;                    /* claimed: with request.data, the
                                              new token and attempts; of a
                                              batch: with batch_id */
};

/*
 * One atomic step a log: {PENDING or RETRYING, next_attempt_us <= NOW, no lease
 * after NOW} -> lease until LEASE_UNTIL, token + 1, attempts + 1.
 *
 * A log with a lane (LOG_LANE_ORDERED) is claimed only while no other open or
 * held log of the lane is before it by (lane_us, id).  One of an open batch is
 * not claimed (forming); a claim of one member of a closed batch claims all of
 * them, the others then read as leased.
 */
must_check enum result store_claim(struct store *s, int64_t now_us,
    int64_t lease_until_us, struct arena *a, struct store_claim *claims,
    size_t n);

/* A claimed log, or the batch that it was claimed with as a whole. */
struct store_lease {
    uint8_t  id[UUID_BYTES];               /* of the batch, if batched */
    int64_t  token;                        /* that the claim gave */
    bool     batched;
};

/*
 * Whoever made these claims goes on owning what they still own until
 * LEASE_UNTIL; *KEPT: how many of them (NULL: not asked).  The others, which
 * have ended or are another's by now, stay as they are.
 */
must_check enum result store_renew(struct store *s,
    const struct store_lease *leases, size_t n, int64_t lease_until_us,
    size_t *kept);

struct store_finish {
    uint8_t             id[UUID_BYTES];
    int64_t             token;
    enum log_status     status;            /* to move to */
    bool                attempt_used;      /* false: attempts - 1 */
    bool                drop_bodies;       /* is_logs_disabled, at the end */
    uint32_t            flags;             /* or-ed */
    int64_t             next_attempt_us;   /* NONE: none */
    int64_t             expires_us;        /* of an ended log */
    struct slice        error_code, error_message;
    const struct log_attempt  *attempt;    /* kept first; NULL: none used */
    const struct logdoc       *doc;        /* as it was claimed, which spares
                                              reading it again; or NULL */
    bool                hold;              /* FAIL: its lane waits behind it */
    bool                late;              /* out: another token, not written */
    bool                next;              /* out: who is first in its lane */
    uint8_t             next_id[UUID_BYTES];
    int64_t             next_priority, next_due_us;
};

/*
 * Each: the attempt's row, then the log by {id, token}; buckets count at a
 * terminal status (SUCCESS, FAIL, CANCELLED, COMMITTED) in the bucket of its
 * start.  The log's response and timing become the attempt's.
 */
must_check enum result store_finish(struct store *s, struct store_finish *f,
    size_t n);

/*
 * A batch: the logs of a lane with LOG_LANE_BATCH that are due by lane_us and
 * in no batch yet, oldest first.  Closed when SIZE or BYTES is reached, or the
 * first has waited until its next_attempt_us: then all become members of ID
 * and due, for good, in one step.
 */
struct store_batch {
    struct slice  lane;
    bool          ordered;                 /* one batch after the other */
    unsigned      size;                    /* at most so many members */
    int64_t       bytes;                   /* of their bodies, with commas */
    int64_t       now_us;
    uint8_t       id[UUID_BYTES];
    bool          closed;                  /* out */
    uint8_t       first[UUID_BYTES];       /* closed: a member, to be claimed */
    int64_t       due_us;                  /* open: when to ask again; NONE */
};

/* RESULT_INVALID: this store forms no batches. */
must_check enum result store_batch_close(struct store *s,
    struct store_batch *b);

/*
 * The open members of a closed batch in their order, with bodies, for the owner
 * of the claim that gave TOKEN.  None, and never a part of them: the batch has
 * ended, or its lease has and another claim came.
 */
must_check enum result store_batch_get(struct store *s,
    const uint8_t id[UUID_BYTES], int64_t token, struct arena *a,
    struct logdoc **out, size_t *n);

enum store_move { STORE_CANCEL, STORE_DROP_DELETED, STORE_DROP_GONE,
                  STORE_RESCHEDULE, STORE_RELEASE };

/* The error code of what MOVE cancels; NULL: it cancels nothing. */
const char *store_move_code(enum store_move move);

/* Also out of a closed batch. */
static inline bool
store_move_drops(enum store_move move)
{
    return move == STORE_DROP_DELETED || move == STORE_DROP_GONE;
}

/*
 * CANCEL: PENDING or RETRYING, not leased -> CANCELLED; a FAIL that holds its
 * lane lets it go and stays FAIL.  DROP_: the same, out of a closed batch too,
 * since its integration was deleted or its endpoint said that it is gone.
 * RESCHEDULE: next_attempt_us = AT.  RELEASE: a lease is ended, due AT.
 * RESULT_CONFLICT: it is leased, in a closed batch or has ended; *status tells.
 */
must_check enum result store_move(struct store *s, const struct scope *sc,
    const uint8_t id[UUID_BYTES], enum store_move move, int64_t at_us,
    struct slice reason, enum log_status *status);

struct store_due {
    uint8_t  id[UUID_BYTES];
    int64_t  due_us;                       /* or the lease's end when later */
    int64_t  priority;
    struct slice integration_id;
};

/* PENDING and RETRYING logs due (or leased) before BEFORE, by (due, id) after
 * the position given; the reconciler's and the holder's view. */
must_check enum result store_due(struct store *s, int64_t before_us,
    int64_t after_us, const uint8_t after_id[UUID_BYTES], unsigned limit,
    struct arena *a, struct store_due **out, size_t *n);

/* -- counts -------------------------------------------------------------- */

struct store_cell {
    struct slice  key;                     /* value of BY as text, "" none */
    int64_t       at_us;                   /* start of the slot */
    int64_t       ok, fail;
    uint32_t      hist[HIST_SLOTS];        /* of durations */
};

enum store_by { STORE_BY_NONE, STORE_BY_ENDPOINT, STORE_BY_ACTION,
                STORE_BY_DEVELOPER, STORE_BY_LAB, STORE_BY_KIND };

/*
 * Sums buckets that match (only bucket fields count) into slots of SLOT_US
 * (multiple of 5 min, aligned to UTC + OFFSET_US).  Cells come in the arena,
 * unordered.  WITH_HIST false leaves hist 0.  Terms on fields that buckets do
 * not know are ignored; the bucket that holds from_us counts whole.  How a log
 * counts: heatmap_count_of.
 */
must_check enum result store_cells(struct store *s, const struct filter *f,
    enum store_by by, int64_t slot_us, int64_t offset_us, bool with_hist,
    struct arena *a, struct store_cell **out, size_t *n);

/* The same from the documents themselves, up to the deadline. */
must_check enum result store_cells_exact(struct store *s,
    const struct filter *f, enum store_by by, int64_t slot_us,
    int64_t offset_us, int64_t deadline_us, struct arena *a,
    struct store_cell **out, size_t *n, bool *partial);

struct store_error_group {
    uint64_t      fingerprint;
    enum log_kind kind;
    struct slice  endpoint, code, message;
    int64_t       http_status, count, first_us, last_us;
    uint8_t       last_id[UUID_BYTES];
};

/* FAIL and RETRYING logs by fingerprint, most frequent first. */
must_check enum result store_error_groups(struct store *s,
    const struct filter *f, unsigned limit, int64_t deadline_us,
    struct arena *a, struct store_error_group **out, size_t *n,
    bool *partial);

/* Logs now in each status (not limited in time): PENDING and RETRYING. */
must_check enum result store_open_counts(struct store *s,
    const struct scope *sc, int64_t *pending, int64_t *retrying);

/* Recounts buckets that a crash or a redelivery may have touched. */
must_check enum result store_recount(struct store *s, unsigned max_buckets,
    unsigned *done);

/* -- configuration and other small documents ----------------------------- */

enum store_coll {
    STORE_ORG, STORE_LAB, STORE_CATEGORY, STORE_ACTION, STORE_DEVELOPER,
    STORE_INTEGRATION, STORE_API_KEY, STORE_VIEW, STORE_AUDIT,
    STORE_DEAD_LETTER, STORE_EVENT, STORE_IDEMPOTENCY, STORE_RETRY_JOB,
    STORE_META, STORE_COLL_COUNT
};

/* "org", "action_category" ...: names of design section 2 */
const char *store_coll_name(enum store_coll c);

struct store_doc {
    struct slice  id;                      /* text; integers in decimal */
    int64_t       version;                 /* from 1; the ETag */
    int64_t       org_id;                  /* owner, LOGDOC_NONE: platform */
    int64_t       created_us, updated_us;
    int64_t       expires_us;              /* LOGDOC_NONE: never */
    struct slice  body;                    /* JSON object, or bytes (dead) */
};

/*
 * VERSION 0: must not exist yet (RESULT_CONFLICT).  n: replaces version n only.
 * -1: whatever is there.  *version is the new one.
 */
must_check enum result store_doc_put(struct store *s, enum store_coll c,
    const struct store_doc *d, int64_t if_version, int64_t *version);
must_check enum result store_doc_get(struct store *s, enum store_coll c,
    struct slice id, struct arena *a, struct store_doc *out);

/* An event: its idempotency key, itself, and its deliveries. */
struct store_event {
    const struct store_doc  *key;          /* STORE_IDEMPOTENCY, or NULL */
    const struct store_doc  *event;        /* STORE_EVENT */
    const struct logdoc     *logs;
    size_t                   n;
};

/*
 * Writes all of it, at once where the store can, else in that order.  CONFLICT:
 * the key is there already, nothing was written.  An event and logs that are
 * there stay as they are.
 */
must_check enum result store_event_put(struct store *s,
    const struct store_event *e, enum store_insert *outcome);
must_check enum result store_doc_delete(struct store *s, enum store_coll c,
    struct slice id, int64_t if_version);

/*
 * Ordered by the bytes of id, after AFTER ("" from the start; descending:
 * before).  ORG_ID LOGDOC_NONE: of every owner; else what that org owns.
 */
must_check enum result store_doc_list(struct store *s, enum store_coll c,
    int64_t org_id, struct slice after, bool descending, unsigned limit,
    struct arena *a, struct store_doc **out, size_t *n);

/* Grows with every change of a configuration collection: caches ask it. */
must_check enum result store_config_version(struct store *s, int64_t *v);

/* -- upkeep -------------------------------------------------------------- */

/* Deletes up to MAX expired logs and documents; *done how many. */
must_check enum result store_expire(struct store *s, int64_t now_us,
    unsigned max, unsigned *done);

struct store_stats {
    int64_t  logs, bytes, oldest_us;
    int64_t  dead_letters;
};

must_check enum result store_stats(struct store *s, struct store_stats *out);

/* The ops table that store_sqlite.c and store_mongo.c define is in
 * store_ops.h; the functions above are its thin front in store_ops.c. */

#endif /* STORE_H */
