/*
 * Inside the SQLite backend: what its files share.  One writer thread owns the
 * only connection that writes and commits jobs in groups; readers are opened
 * when first needed and each serves one call at a time.
 *
 * Tables: integration_directory holds what filters ask (numbers only), detail
 * the rest of a row, body headers and bodies.  Their key is the start in
 * microseconds, moved up when taken (bump), so that rowid order is time order
 * in every index.  Labels are numbers of table dict.  Ids that are looked up
 * (business references, trace, event ..) are hashes in table ref, which is cut
 * in partitions so that inserts stay in few pages however random the ids are.
 */

#ifndef STORE_SQLITE_H
#define STORE_SQLITE_H

#include <sqlite3.h>

#include "store_ops.h"

#define STORE_SCHEMA       4              /* user_version */
#define SQLITE_BUSY_MS      5000
#define SQLITE_READ_US      INT64_C(5000000)   /* of a call without deadline */
#define SQLITE_BUMP_MAX     INT64_C(1048576)   /* us that a start may move */
#define STORE_ANY          (-2)           /* in roll-ups: not split by this */
#define STORE_NO_LABEL     (-1)           /* in buckets: the log has none */

/* What index dir_trouble holds: PENDING, RETRYING and FAIL.  A query that names
 * the index says it in the same words, or SQLite does not take it. */
#define SQLITE_TROUBLE(t)                                                     \
    "(" t "status=0 OR " t "status=2 OR " t "status=3)"

struct store_sqlite;

/* A connection with what its callbacks need; used by one thread at a time. */
struct sqlite_conn {
    sqlite3               *db;
    struct store_sqlite   *store;
    sqlite3_stmt         **stmts;          /* by enum sqlite_stmt */
    sqlite3_stmt         **docs;           /* of each collection */
    int64_t                deadline_us;    /* clock_mono_us, 0: none */
    bool                   expired;        /* the deadline broke a query */
    int64_t                seen;           /* last row that idash_seen saw */
    bool                   any_seen;
};

/* Statements that are kept, prepared when first used. */
/* rows of the statements that insert many */
#define SQLITE_ROWS  16

enum sqlite_stmt {
    SQL_BEGIN, SQL_COMMIT, SQL_ROLLBACK,
    SQL_LOG_INSERT, SQL_DETAIL_INSERT, SQL_BODY_INSERT, SQL_REF_INSERT,
    SQL_LOG_INSERT_MANY, SQL_DETAIL_INSERT_MANY, SQL_BODY_INSERT_MANY,
    SQL_REF_INSERT_MANY,                   /* SQLITE_ROWS at once */
    SQL_DIGEST, SQL_DICT_FIND, SQL_DICT_INSERT,
    SQL_PART_LAST, SQL_PART_PUT,
    SQL_HEAT_ADD, SQL_HEAT_UNDONE, SQL_HEAT_TODO,
    SQL_COUNTER_ADD,
    SQL_DELIVERY_READ, SQL_DELIVERY_INSERT, SQL_DELIVERY_CLAIM,
    SQL_DELIVERY_RENEW, SQL_BATCH_RENEW,
    SQL_DELIVERY_MOVE, SQL_DELIVERY_DELETE, SQL_DELIVERY_HOLD,
    SQL_LANE_FIRST, SQL_LANE_WAITING, SQL_LANE_TAKE, SQL_LANE_TAKE_OVER,
    SQL_BATCH_CLAIM, SQL_BATCH_ATTEMPT, SQL_BATCH_LET_GO,
    SQL_LOG_ATTEMPT, SQL_LOG_UPDATE, SQL_DETAIL_PUT, SQL_BODY_PUT,
    SQL_ATTEMPT_INSERT, SQL_LOG_ROW, SQL_LOG_BODY,
    SQL_READ_BEGIN, SQL_READ_END,
    SQL_STMT_COUNT
};

extern const char *const  sqlite_stmt_text[SQL_STMT_COUNT];

/* The same of each collection of documents; store_sqlite_docs.c has them. */
enum sqlite_doc_stmt {
    SQLITE_DOC_GET, SQLITE_DOC_VERSION, SQLITE_DOC_INSERT, SQLITE_DOC_UPDATE,
    SQLITE_DOC_STMTS
};

struct sqlite_writer;
struct sqlite_readers;
struct sqlite_dict;
struct sqlite_packer;
struct sqlite_checkpointer;

struct store_sqlite {
    struct store            base;
    char                   *path;
    bool                    read_only;
    struct sqlite_writer   *writer;        /* NULL when read only */
    struct sqlite_readers  *readers;
    struct sqlite_dict     *dict;
    struct sqlite_packer   *packer;
    struct sqlite_checkpointer  *checkpointer;     /* the writer's */
};

/* -- store_sqlite.c ------------------------------------------------------ */

/*
 * What RC of SQLite means to callers; logs it (once a second) with what to do.
 * WHAT is the noun of the moment: "insert", "query".
 */
enum result sqlite_result(struct sqlite_conn *c, int rc, const char *what);

/* Opens one connection and sets it up; ERR says what is wrong. */
must_check enum result sqlite_conn_open(struct store_sqlite *s, bool write,
    struct sqlite_conn *c, char *err, size_t errlen);
void sqlite_conn_close(struct sqlite_conn *c);

/* A kept statement, reset and without bindings; NULL: *rc says why. */
sqlite3_stmt *sqlite_stmt_get(struct sqlite_conn *c, enum sqlite_stmt which,
    int *rc);

/* Runs a statement without rows to its end and resets it. */
int sqlite_stmt_done(sqlite3_stmt *st);

/* Bind bytes that stay until the statement is reset; none is an empty blob. */
void sqlite_bind_slice(sqlite3_stmt *st, int i, struct slice s);
void sqlite_bind_blob(sqlite3_stmt *st, int i, const void *p, size_t n);
/* NULL for LOGDOC_NONE. */
void sqlite_bind_int(sqlite3_stmt *st, int i, int64_t v);
int64_t sqlite_column_int(sqlite3_stmt *st, int i);   /* NULL: LOGDOC_NONE */
struct slice sqlite_column_slice(sqlite3_stmt *st, int i);

/* -- store_sqlite_schema.c ----------------------------------------------- */

/* Creates the schema in a new file, checks the version of an old one. */
must_check enum result sqlite_schema_check(struct sqlite_conn *c, bool create,
    char *err, size_t errlen);

/* -- store_sqlite_write.c ------------------------------------------------ */

/*
 * One piece of work of the writer's thread, inside a transaction.  RESULT_OK:
 * commit.  CONFLICT, NOT_FOUND, INVALID: it changed nothing.  Any other result
 * rolls the group back; a job may run twice and must not keep what it did in
 * the first run.
 */
typedef enum result (*sqlite_job_pt)(struct sqlite_conn *c, void *arg);

must_check enum result sqlite_writer_start(struct store_sqlite *s, char *err,
    size_t errlen);
void sqlite_writer_stop(struct store_sqlite *s);

/* Queues the job and waits until its group is on disk. */
must_check enum result sqlite_write(struct store_sqlite *s, sqlite_job_pt run,
    void *arg);

/* -- store_sqlite_read.c ------------------------------------------------- */

must_check enum result sqlite_readers_create(struct store_sqlite *s,
    unsigned max);
void sqlite_readers_destroy(struct store_sqlite *s);

/* A reader in a read transaction; queries on it end at the deadline. */
must_check enum result sqlite_read_begin(struct store_sqlite *s,
    int64_t deadline_us, struct sqlite_conn **out);
void sqlite_read_end(struct sqlite_conn *c);

must_check enum result sqlite_prepare(struct sqlite_conn *c, const char *sql,
    sqlite3_stmt **out);

/* -- store_sqlite_dict.c ------------------------------------------------- */

enum sqlite_label {
    SQLITE_ENDPOINT, SQLITE_DEVELOPER, SQLITE_INTEGRATION, SQLITE_METHOD
};

must_check enum result sqlite_dict_create(struct store_sqlite *s);
void sqlite_dict_destroy(struct store_sqlite *s);
void sqlite_dict_forget(struct store_sqlite *s);     /* after a rollback */

/* The number of a label, made when new; "" is LOGDOC_NONE.  Writer only. */
must_check enum result sqlite_dict_put(struct sqlite_conn *c,
    enum sqlite_label kind, struct slice text, int64_t *id);
/* RESULT_NOT_FOUND: no log has it. */
must_check enum result sqlite_dict_find(struct sqlite_conn *c,
    enum sqlite_label kind, struct slice text, int64_t *id);
/* The text of a number, copied into the arena; LOGDOC_NONE is "". */
must_check enum result sqlite_dict_text(struct sqlite_conn *c, int64_t id,
    struct arena *a, struct slice *out);

/* -- store_sqlite_checkpoint.c ------------------------------------------- */

/* Takes the checkpoints from WRITER, which the store outlives. */
must_check enum result sqlite_checkpointer_start(struct store_sqlite *s,
    struct sqlite_conn *writer, char *err, size_t errlen);
/* Before the writer's connection is closed and after its last commit. */
void sqlite_checkpointer_stop(struct store_sqlite *s);

/* -- store_sqlite_pack.c ------------------------------------------------- */

#define SQLITE_NUMBER  10                  /* bytes of one, at most */

struct sqlite_unpack {
    const uint8_t  *p, *end;
    bool            bad;                   /* they were not what they should */
};

/* Writes V at P; gives the place behind. */
uint8_t *sqlite_put_uint(uint8_t *p, uint64_t v);
uint64_t sqlite_get_uint(struct sqlite_unpack *u);

/* What the directory's columns do not hold, bodies left out; starts with the
 * digest. */
void sqlite_pack_detail(const struct logdoc *d, struct buf *out);
/* Slices borrow from P. */
must_check enum result sqlite_unpack_detail(struct slice p, struct logdoc *d);

#define SQLITE_MAX_KEYS  (LOGDOC_MAX_PAIRS + 5)

/* The hashes under which table ref finds the log. */
unsigned sqlite_pack_keys(const struct logdoc *d,
    int64_t keys[SQLITE_MAX_KEYS]);
/* The hash of one term; field tells the id, NAME the reference. */
int64_t sqlite_key_hash(enum filter_field field, struct slice name,
    struct slice value);

/* -- store_sqlite_body.c ------------------------------------------------- */

must_check enum result sqlite_packer_create(struct store_sqlite *s);
void sqlite_packer_destroy(struct store_sqlite *s);

/*
 * A buffer of packed rows, which is given back with the memory it has by then:
 * to grow and to touch a new one costs as much as a tenth of the packing.
 */
void sqlite_packer_lend(struct store_sqlite *s, struct buf *b, size_t cap);
void sqlite_packer_take_back(struct store_sqlite *s, struct buf *b);
/* Frees what is kept of them. */
void sqlite_packer_idle(struct store_sqlite *s);

/* Headers and bodies, compressed; nothing is added when all are empty. */
must_check enum result sqlite_pack_body(struct store_sqlite *s,
    const struct logdoc *d, struct buf *out);
must_check enum result sqlite_unpack_body(struct slice p, struct arena *a,
    struct logdoc *d);

/* -- store_sqlite_lot.c -------------------------------------------------- */

struct sqlite_lot {
    enum sqlite_stmt  one, many;           /* its statements */
    unsigned          columns, n;
    struct {
        int64_t       number[2];           /* all columns but the last */
        struct slice  blob;                /* the last; a NULL p: a number */
        int64_t       last;
    }                 rows[SQLITE_ROWS];
};

void sqlite_lot_init(struct sqlite_lot *lot, enum sqlite_stmt one,
    enum sqlite_stmt many, unsigned columns);
/* P must outlive the flush, which comes by itself when the lot is full. */
must_check enum result sqlite_lot_add_blob(struct sqlite_conn *c,
    struct sqlite_lot *lot, int64_t id, const char *p, size_t n);
must_check enum result sqlite_lot_add_ref(struct sqlite_conn *c,
    struct sqlite_lot *lot, int64_t part, int64_t key, int64_t id);
must_check enum result sqlite_lot_flush(struct sqlite_conn *c,
    struct sqlite_lot *lot);

/* -- store_sqlite_insert.c ----------------------------------------------- */

enum result sqlite_logs_insert(struct store *s, const struct logdoc *docs,
    size_t n, enum store_insert *outcome);
enum result sqlite_event_put(struct store *s, const struct store_event *e,
    enum store_insert *outcome);

/* Rounded up to hours, so that few pages of the index change. */
int64_t sqlite_expires_hour(const struct logdoc *d);
must_check enum result sqlite_blob_put(struct sqlite_conn *c,
    enum sqlite_stmt which, int64_t id, const char *p, size_t n);

/* -- store_sqlite_logs.c ------------------------------------------------- */

/* The columns that sqlite_row_decode wants, of d and t. */
#define SQLITE_ROW_COLUMNS                                                    \
    "d.id,d.bump,d.uid,d.org,d.lab,d.kind,d.status,d.action,d.category,"      \
    "d.developer,d.integration,d.endpoint,d.method,d.http,d.error,d.dur,"     \
    "d.attempts,d.flags,t.data"
#define SQLITE_ROW_COUNT  19

/* Fills D from the row; text is copied into the arena. */
must_check enum result sqlite_row_decode(struct sqlite_conn *c,
    sqlite3_stmt *st, struct arena *a, struct logdoc *d);

enum result sqlite_log_get(struct store *s, const struct scope *sc,
    const uint8_t id[UUID_BYTES], struct arena *a, struct logdoc *out);

/* The same inside a transaction of C, with bodies. */
must_check enum result sqlite_log_read(struct sqlite_conn *c,
    const struct scope *sc, const uint8_t id[UUID_BYTES], struct arena *a,
    struct logdoc *out);

/* -- store_sqlite_delivery.c --------------------------------------------- */

#define SQLITE_MAX_LANE  512               /* bytes; longer ones share */

struct sqlite_delivery {                   /* a row of table delivery */
    int64_t   id;                          /* of integration_directory */
    int64_t   due, token, leased, since;
    uint32_t  flags;
    bool      held, batched;
    uint8_t   batch[UUID_BYTES];
    char      lane[SQLITE_MAX_LANE];
    size_t    nlane;
};

/* A log that is open joins the deliveries; ID is its row. */
must_check enum result sqlite_delivery_insert(struct sqlite_conn *c,
    const struct logdoc *d, int64_t id);

enum result sqlite_delivery_read(struct sqlite_conn *c,
    const uint8_t uid[UUID_BYTES], struct sqlite_delivery *row);

/* DUE: when it goes on, LOGDOC_NONE: it has ended, INT64_MAX: it is held. */
must_check enum result sqlite_delivery_settle(struct sqlite_conn *c,
    const uint8_t uid[UUID_BYTES], int64_t due_us);

enum result sqlite_due(struct store *s, int64_t before_us, int64_t after_us,
    const uint8_t after_id[UUID_BYTES], unsigned limit, struct arena *a,
    struct store_due **out, size_t *n);

/* -- store_sqlite_claim.c ------------------------------------------------ */

enum result sqlite_claim(struct store *s, int64_t now_us,
    int64_t lease_until_us, struct arena *a, struct store_claim *claims,
    size_t n);
enum result sqlite_renew(struct store *s, const struct store_lease *leases,
    size_t n, int64_t lease_until_us, size_t *kept);

/* -- store_sqlite_finish.c ----------------------------------------------- */

enum result sqlite_finish(struct store *s, struct store_finish *f, size_t n);

/* The row, detail and body of a log that was changed otherwise. */
must_check enum result sqlite_log_update(struct sqlite_conn *c, int64_t id,
    const struct logdoc *d);

/* -- store_sqlite_move.c ------------------------------------------------- */

enum result sqlite_move(struct store *s, const struct scope *sc,
    const uint8_t id[UUID_BYTES], enum store_move move, int64_t at_us,
    struct slice reason, enum log_status *status);

/* -- store_sqlite_attempt.c ---------------------------------------------- */

#define SQLITE_MAX_ATTEMPTS  200           /* shown of one log, the newest */

/* What was sent and answered, as sqlite_pack_body. */
must_check enum result sqlite_attempt_pack(struct store_sqlite *s,
    const struct log_attempt *t, struct buf *out);
/* ID is the log's row, BODY what was packed. */
must_check enum result sqlite_attempt_insert(struct sqlite_conn *c, int64_t id,
    const struct log_attempt *t, struct slice body);

enum result sqlite_attempts(struct store *s, const struct scope *sc,
    const uint8_t id[UUID_BYTES], struct arena *a, struct log_attempt **out,
    size_t *n);

/* -- store_sqlite_lane.c ------------------------------------------------- */

/* Is nobody of the lane before it?  Members of one batch are level. */
must_check enum result sqlite_lane_is_first(struct sqlite_conn *c,
    const uint8_t uid[UUID_BYTES], const struct sqlite_delivery *row,
    bool *first);

/* Who is first now, unless held, into F. */
must_check enum result sqlite_lane_next(struct sqlite_conn *c,
    const struct sqlite_delivery *row, struct store_finish *f);

/* Ends the hold of a failed delivery, of its whole batch. */
must_check enum result sqlite_lane_let_go(struct sqlite_conn *c,
    const uint8_t uid[UUID_BYTES], const struct sqlite_delivery *row);

/* D, just inserted, takes the place of what it is a resend of. */
must_check enum result sqlite_lane_take_over(struct sqlite_conn *c,
    const struct logdoc *d);

/* Makes the log of the row one that is found by its batch. */
must_check enum result sqlite_batch_note(struct sqlite_conn *c,
    const struct sqlite_delivery *row);

enum result sqlite_batch_close(struct store *s, struct store_batch *b);
enum result sqlite_batch_get(struct store *s, const uint8_t id[UUID_BYTES],
    int64_t token, struct arena *a, struct logdoc **out, size_t *n);

/* -- store_sqlite_where.c ------------------------------------------------ */

#define SQLITE_MAX_BINDS   512
#define SQLITE_FIRST_BIND  5               /* 1 to 4 are the walk's own */

/* SQL with its values; the text is built, values are always bound. */
struct sqlite_where {
    struct buf  sql;                       /* " AND .. AND .." */
    int64_t     binds[SQLITE_MAX_BINDS];
    unsigned    nbinds;
    bool        nothing;                   /* no log can match */
    bool        needs_detail;              /* filter_match decides the rest */
};

void sqlite_where_init(struct sqlite_where *w);
void sqlite_where_cleanup(struct sqlite_where *w);

/* Conditions on table d for scope, times and every term of the filter. */
must_check enum result sqlite_where_build(struct sqlite_conn *c,
    const struct filter *f, struct sqlite_where *w);

/* The label that a term names; false: the field is no label. */
bool sqlite_where_label(enum filter_field f, enum sqlite_label *kind);

/* -- store_sqlite_plan.c ------------------------------------------------- */

/* One ordered walk: entries of VALUE, in ref those of a partition too. */
struct sqlite_source {
    int64_t  value, part;
    int64_t  low, high;                    /* ids that it can hold: [,) */
};

/* Another index that has one value of the filter: both lists must meet. */
struct sqlite_also {
    const char  *index, *column;
    int64_t      value;
    double       density;
};

#define SQLITE_MAX_ALSO  3

struct sqlite_plan {
    const char            *index;          /* NULL: the table itself */
    const char            *column;         /* of the index */
    struct sqlite_also     also[SQLITE_MAX_ALSO];
    unsigned               nalso;          /* only with one source */
    double                 density;        /* of the index, entries a us */
    const char            *extra;          /* what a partial index asks for */
    bool                   refs;           /* through table ref */
    struct sqlite_source  *sources;        /* in the order of the walk */
    unsigned               nsources, room;
};

/* The index whose entries that the filter wants are sparsest at the start of
 * the walk over [low, high); the table when none is much sparser. */
must_check enum result sqlite_plan_make(struct sqlite_conn *c,
    const struct filter *f, int64_t low, int64_t high, bool ascending,
    struct sqlite_plan *out);
must_check enum result sqlite_plan_add(struct sqlite_plan *p, int64_t value,
    int64_t part, int64_t low, int64_t high);
void sqlite_plan_cleanup(struct sqlite_plan *p);

/* -- store_sqlite_walk.c ------------------------------------------------- */

/*
 * Visits the logs of one source that match, in order of id.  ROW gets the
 * statement with COLUMNS and returns false to end the walk, with *result set
 * when that is a failure.
 */
struct sqlite_walk {
    const struct filter  *f;
    const char           *columns;
    bool                  with_detail;     /* columns name t */
    bool                  ascending;
    int64_t               low, high;       /* ids, [low, high) */
    bool                (*row)(void *arg, struct sqlite_conn *c,
                               sqlite3_stmt *st, enum result *result);
    void                 *arg;
    sqlite3_stmt         *st;              /* the walk's own, as the next */
    struct sqlite_meet   *meet;
};

must_check enum result sqlite_walk_prepare(struct sqlite_conn *c,
    struct sqlite_walk *w, const struct sqlite_plan *p,
    const struct sqlite_where *where);
/* RESULT_TIMEOUT: up to c->seen (when c->any_seen) everything was visited. */
must_check enum result sqlite_walk_source(struct sqlite_conn *c,
    struct sqlite_walk *w, const struct sqlite_source *s);
void sqlite_walk_cleanup(struct sqlite_walk *w);

/* [low, high) of ids that the filter's times and the table allow. */
must_check enum result sqlite_walk_range(struct sqlite_conn *c,
    const struct filter *f, int64_t *low, int64_t *high);

/* -- store_sqlite_meet.c ------------------------------------------------- */

struct sqlite_meet;

/* Ids that stand in all lists of the plan, in order. */
must_check enum result sqlite_meet_create(struct sqlite_conn *c,
    const struct sqlite_plan *p, bool ascending, struct sqlite_meet **out);
void sqlite_meet_destroy(struct sqlite_meet *m);
must_check enum result sqlite_meet_begin(struct sqlite_meet *m, int64_t low,
    int64_t high);
/* RESULT_NOT_FOUND: no more; RESULT_TIMEOUT: visited up to c->seen. */
must_check enum result sqlite_meet_next(struct sqlite_meet *m, int64_t *id);

/* -- store_sqlite_find.c ------------------------------------------------- */

enum result sqlite_logs_find(struct store *s, const struct filter *f,
    const struct store_page *p, struct arena *a, struct store_rows *out);
enum result sqlite_logs_count(struct store *s, const struct filter *f,
    int64_t cap, int64_t deadline_us, int64_t *n, bool *capped);

/* -- store_sqlite_heat.c ------------------------------------------------- */

#define SQLITE_HEAT_HOUR  12               /* buckets of 5 min */
#define SQLITE_HEAT_DAY   288

struct sqlite_heat_key {
    int64_t  at;                           /* in buckets since 1970 */
    int64_t  org, lab, kind, action, endpoint, developer;
};

/* Counts of one job; they reach table heatmap in its transaction. */
struct sqlite_heat;

must_check enum result sqlite_heat_create(struct sqlite_heat **out);
void sqlite_heat_destroy(struct sqlite_heat *h);
must_check enum result sqlite_heat_count(struct sqlite_heat *h,
    const struct sqlite_heat_key *key, bool ok, int64_t duration_us);
must_check enum result sqlite_heat_flush(struct sqlite_heat *h,
    struct sqlite_conn *c);
/* Counts a log that has ended, by its own labels.  Writer only. */
must_check enum result sqlite_heat_log(struct sqlite_conn *c,
    struct sqlite_heat *h, const struct logdoc *d);

/* -- store_sqlite_roll.c ------------------------------------------------- */

/* What a roll-up is split by, beside kind. */
enum sqlite_dim {
    SQLITE_DIM_NONE, SQLITE_DIM_ENDPOINT, SQLITE_DIM_ACTION,
    SQLITE_DIM_DEVELOPER, SQLITE_DIM_LAB, SQLITE_DIM_COUNT
};

/* Of roll-ups; only the first two are on the lists of what is (to be) done. */
enum sqlite_level {
    SQLITE_LEVEL_HOUR, SQLITE_LEVEL_DAY,   /* in quarters */
    SQLITE_LEVEL_DAY_HOURS,                /* from :00 */
    SQLITE_LEVEL_DAY_HALVES                /* from :30 */
};

/* One quarter of a packed row, or several from there on. */
struct sqlite_quarter {
    unsigned        index;                 /* in the hour or day */
    uint64_t        ok, fail;
    const uint8_t  *hist;                  /* packed */
    size_t          nhist;
};

void sqlite_quarter_pack(struct buf *b, const struct sqlite_quarter *q);
/* Takes the next one off *p; false at the end, *bad when it is damaged. */
bool sqlite_quarter_next(struct slice *p, struct sqlite_quarter *q,
    bool *bad);

enum result sqlite_recount(struct store *s, unsigned max, unsigned *done);

/* -- store_sqlite_sum.c -------------------------------------------------- */

/* Cells by (slot, key) while they are summed. */
struct sqlite_sum;

must_check enum result sqlite_sum_create(int64_t slot_us, int64_t offset_us,
    struct sqlite_sum **out);
void sqlite_sum_destroy(struct sqlite_sum *t);
/* The cell of AT and KEY, NULL without memory. */
struct store_cell *sqlite_sum_at(struct sqlite_sum *t, int64_t at_us,
    int64_t key);
/* Copies all into the arena, keys as text. */
must_check enum result sqlite_sum_take(struct sqlite_sum *t,
    struct sqlite_conn *c, enum store_by by, struct arena *a,
    struct store_cell **out, size_t *n);

/* -- store_sqlite_cells.c ------------------------------------------------ */

enum result sqlite_cells(struct store *s, const struct filter *f,
    enum store_by by, int64_t slot_us, int64_t offset_us, bool with_hist,
    struct arena *a, struct store_cell **out, size_t *n);
enum result sqlite_cells_exact(struct store *s, const struct filter *f,
    enum store_by by, int64_t slot_us, int64_t offset_us, int64_t deadline_us,
    struct arena *a, struct store_cell **out, size_t *n, bool *partial);

/* -- store_sqlite_errors.c ----------------------------------------------- */

enum result sqlite_error_groups(struct store *s, const struct filter *f,
    unsigned limit, int64_t deadline_us, struct arena *a,
    struct store_error_group **out, size_t *n, bool *partial);
enum result sqlite_open_counts(struct store *s, const struct scope *sc,
    int64_t *pending, int64_t *retrying);

/* -- store_sqlite_docs.c ------------------------------------------------- */

/* A new document, inside a job of the writer; CONFLICT: it is there. */
must_check enum result sqlite_doc_add(struct sqlite_conn *c,
    enum store_coll coll, const struct store_doc *d);
enum result sqlite_doc_put(struct store *s, enum store_coll coll,
    const struct store_doc *d, int64_t if_version, int64_t *version);
enum result sqlite_doc_get(struct store *s, enum store_coll coll,
    struct slice id, struct arena *a, struct store_doc *out);
enum result sqlite_doc_delete(struct store *s, enum store_coll coll,
    struct slice id, int64_t if_version);
enum result sqlite_doc_list(struct store *s, enum store_coll coll,
    int64_t org_id, struct slice after, bool descending, unsigned limit,
    struct arena *a, struct store_doc **out, size_t *n);
enum result sqlite_config_version(struct store *s, int64_t *v);

/* -- store_sqlite_upkeep.c ----------------------------------------------- */

enum result sqlite_expire(struct store *s, int64_t now_us, unsigned max,
    unsigned *done);
enum result sqlite_stats(struct store *s, struct store_stats *out);

#endif /* STORE_SQLITE_H */
