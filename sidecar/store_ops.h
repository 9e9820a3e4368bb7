/*
 * What a store must be able to do: the table that store_sqlite.c and
 * store_mongo.c define.  Contracts of the functions stand in store.h; here is
 * only what differs from there.  A backend embeds struct store as the first
 * member of its own state; the front sets OPS after a successful open.
 */

#ifndef STORE_OPS_H
#define STORE_OPS_H

#include "store.h"

struct store_ops {
    const char   *name;                    /* store_name() */
    const char   *schemes[3];              /* "sqlite:" ..., NULL at the end */

    enum result (*open)(const struct store_options *o, struct store **out,
        char *err, size_t errlen);
    void        (*close)(struct store *s);
    enum result (*migrate)(struct store *s, char *err, size_t len);
    enum result (*ping)(struct store *s);

    enum result (*logs_insert)(struct store *s, const struct logdoc *docs,
        size_t n, enum store_insert *outcome);
    enum result (*log_get)(struct store *s, const struct scope *sc,
        const uint8_t id[UUID_BYTES], struct arena *a, struct logdoc *out);
    enum result (*attempts)(struct store *s, const struct scope *sc,
        const uint8_t id[UUID_BYTES], struct arena *a,
        struct log_attempt **out, size_t *n);
    enum result (*logs_find)(struct store *s, const struct filter *f,
        const struct store_page *p, struct arena *a, struct store_rows *out);
    enum result (*logs_count)(struct store *s, const struct filter *f,
        int64_t cap, int64_t deadline_us, int64_t *n, bool *capped);

    enum result (*claim)(struct store *s, int64_t now_us,
        int64_t lease_until_us, struct arena *a, struct store_claim *claims,
        size_t n);
    enum result (*renew)(struct store *s, const struct store_lease *leases,
        size_t n, int64_t lease_until_us, size_t *kept);
    enum result (*finish)(struct store *s, struct store_finish *f, size_t n);
    enum result (*move)(struct store *s, const struct scope *sc,
        const uint8_t id[UUID_BYTES], enum store_move move, int64_t at_us,
        struct slice reason, enum log_status *status);
    enum result (*due)(struct store *s, int64_t before_us, int64_t after_us,
        const uint8_t after_id[UUID_BYTES], unsigned limit, struct arena *a,
        struct store_due **out, size_t *n);

    enum result (*batch_close)(struct store *s, struct store_batch *b);
    enum result (*batch_get)(struct store *s, const uint8_t id[UUID_BYTES],
        int64_t token, struct arena *a, struct logdoc **out, size_t *n);

    enum result (*cells)(struct store *s, const struct filter *f,
        enum store_by by, int64_t slot_us, int64_t offset_us, bool with_hist,
        struct arena *a, struct store_cell **out, size_t *n);
    enum result (*cells_exact)(struct store *s, const struct filter *f,
        enum store_by by, int64_t slot_us, int64_t offset_us,
        int64_t deadline_us, struct arena *a, struct store_cell **out,
        size_t *n, bool *partial);
    enum result (*error_groups)(struct store *s, const struct filter *f,
        unsigned limit, int64_t deadline_us, struct arena *a,
        struct store_error_group **out, size_t *n, bool *partial);
    enum result (*open_counts)(struct store *s, const struct scope *sc,
        int64_t *pending, int64_t *retrying);
    enum result (*recount)(struct store *s, unsigned max_buckets,
        unsigned *done);

    enum result (*doc_put)(struct store *s, enum store_coll c,
        const struct store_doc *d, int64_t if_version, int64_t *version);
    enum result (*doc_get)(struct store *s, enum store_coll c,
        struct slice id, struct arena *a, struct store_doc *out);
    enum result (*doc_delete)(struct store *s, enum store_coll c,
        struct slice id, int64_t if_version);
    enum result (*doc_list)(struct store *s, enum store_coll c,
        int64_t org_id, struct slice after, bool descending, unsigned limit,
        struct arena *a, struct store_doc **out, size_t *n);
    enum result (*config_version)(struct store *s, int64_t *v);

    /* NULL: one after the other */
    enum result (*event_put)(struct store *s, const struct store_event *e,
        enum store_insert *outcome);

    enum result (*expire)(struct store *s, int64_t now_us, unsigned max,
        unsigned *done);
    enum result (*stats)(struct store *s, struct store_stats *out);
};

struct store {
    const struct store_ops  *ops;
};

extern const struct store_ops  store_sqlite;
extern const struct store_ops  store_mongo;

/* What D becomes by F: the same on every store. */
void store_finish_apply(struct logdoc *d, const struct store_finish *f);

/* True when a put or delete in C must raise the configuration's version. */
bool store_coll_is_config(enum store_coll c);

#endif /* STORE_OPS_H */
