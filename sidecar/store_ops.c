/*
 * The front of store.h: picks the backend by the scheme of the URI, checks the
 * arguments that are wrong on any backend, and calls through its table.
 */

#include "store_ops.h"

#include <stdio.h>

#define STORE_MAX_LIMIT  100000

static const struct store_ops *const  backends[] = {
    &store_sqlite,
    &store_mongo,
};

static const struct {
    const char  *name;
    bool         config;
} collections[STORE_COLL_COUNT] = {
    [STORE_ORG] = { "org", true },
    [STORE_LAB] = { "lab", true },
    [STORE_CATEGORY] = { "action_category", true },
    [STORE_ACTION] = { "action_category_list", true },
    [STORE_DEVELOPER] = { "developer_authentication", true },
    [STORE_INTEGRATION] = { "lab_integration", true },
    [STORE_API_KEY] = { "api_key", true },
    [STORE_VIEW] = { "view", false },
    [STORE_AUDIT] = { "audit_log", false },
    [STORE_DEAD_LETTER] = { "dead_letter", false },
    [STORE_EVENT] = { "event", false },
    [STORE_IDEMPOTENCY] = { "idempotency", false },
    [STORE_RETRY_JOB] = { "retry_job", false },
    [STORE_META] = { "meta", false },
};


const char *
store_coll_name(enum store_coll c)
{
    return collections[c].name;
}


bool
store_coll_is_config(enum store_coll c)
{
    return collections[c].config;
}


static const struct store_ops *
store_backend(const char *uri)
{
    for (size_t i = 0; i < sizeof(backends) / sizeof(backends[0]); i++) {
        for (size_t j = 0; backends[i]->schemes[j] != NULL; j++) {
            const char  *scheme = backends[i]->schemes[j];

            if (strncmp(uri, scheme, strlen(scheme)) == 0) {
                return backends[i];
            }
        }
    }

    return NULL;
}


enum result
store_open(const struct store_options *o, struct store **out, char *err,
    size_t errlen)
{
    const struct store_ops  *ops;
    enum result              result;

    *out = NULL;
    ops = o->uri == NULL ? NULL : store_backend(o->uri);

    if (ops == NULL) {
        snprintf(err, errlen, "store: unknown scheme; write sqlite:/PATH, "
            "mongodb://HOST/DB or mongodb+srv://HOST/DB");
        return RESULT_INVALID;
    }

    result = ops->open(o, out, err, errlen);
    if (result == RESULT_OK) {
        (*out)->ops = ops;
    }

    return result;
}


void
store_close(struct store *s)
{
    if (s != NULL) {
        s->ops->close(s);
    }
}


enum result
store_migrate(struct store *s, char *err, size_t len)
{
    return s->ops->migrate(s, err, len);
}


enum result
store_ping(struct store *s)
{
    return s->ops->ping(s);
}


const char *
store_name(const struct store *s)
{
    return s->ops->name;
}


enum result
store_logs_insert(struct store *s, const struct logdoc *docs, size_t n,
    enum store_insert *outcome)
{
    return n == 0 ? RESULT_OK : s->ops->logs_insert(s, docs, n, outcome);
}


enum result
store_log_get(struct store *s, const struct scope *sc,
    const uint8_t id[UUID_BYTES], struct arena *a, struct logdoc *out)
{
    return s->ops->log_get(s, sc, id, a, out);
}


enum result
store_attempts(struct store *s, const struct scope *sc,
    const uint8_t id[UUID_BYTES], struct arena *a, struct log_attempt **out,
    size_t *n)
{
    *out = NULL;
    *n = 0;
    return s->ops->attempts(s, sc, id, a, out, n);
}


enum result
store_claim(struct store *s, int64_t now_us, int64_t lease_until_us,
    struct arena *a, struct store_claim *claims, size_t n)
{
    return s->ops->claim(s, now_us, lease_until_us, a, claims, n);
}


enum result
store_finish(struct store *s, struct store_finish *f, size_t n)
{
    return s->ops->finish(s, f, n);
}


const char *
store_move_code(enum store_move move)
{
    static const char *const  codes[] = {
        [STORE_CANCEL] = "cancelled",
        [STORE_DROP_DELETED] = "integration_deleted",
        [STORE_DROP_GONE] = "gone",
        [STORE_RESCHEDULE] = NULL,
        [STORE_RELEASE] = NULL
    };

    return codes[move];
}


enum result
store_move(struct store *s, const struct scope *sc,
    const uint8_t id[UUID_BYTES], enum store_move move, int64_t at_us,
    struct slice reason, enum log_status *status)
{
    return s->ops->move(s, sc, id, move, at_us, reason, status);
}


enum result
store_due(struct store *s, int64_t before_us, int64_t after_us,
    const uint8_t after_id[UUID_BYTES], unsigned limit, struct arena *a,
    struct store_due **out, size_t *n)
{
    *n = 0;
    return s->ops->due(s, before_us, after_us, after_id, limit, a, out, n);
}


enum result
store_batch_close(struct store *s, struct store_batch *b)
{
    b->closed = false;
    b->due_us = LOGDOC_NONE;
    return s->ops->batch_close(s, b);
}


enum result
store_renew(struct store *s, const struct store_lease *leases, size_t n,
    int64_t lease_until_us, size_t *kept)
{
    size_t  mine = 0;

    kept = kept == NULL ? &mine : kept;
    *kept = 0;
    return s->ops->renew(s, leases, n, lease_until_us, kept);
}


enum result
store_batch_get(struct store *s, const uint8_t id[UUID_BYTES], int64_t token,
    struct arena *a, struct logdoc **out, size_t *n)
{
    *n = 0;
    return s->ops->batch_get(s, id, token, a, out, n);
}


enum result
store_logs_find(struct store *s, const struct filter *f,
    const struct store_page *p, struct arena *a, struct store_rows *out)
{
    memset(out, 0, sizeof(*out));

    if (p->limit == 0 || p->limit > STORE_MAX_LIMIT) {
        return RESULT_INVALID;
    }

    return s->ops->logs_find(s, f, p, a, out);
}


enum result
store_logs_count(struct store *s, const struct filter *f, int64_t cap,
    int64_t deadline_us, int64_t *n, bool *capped)
{
    *n = 0;
    *capped = false;

    if (cap < 1) {
        return RESULT_INVALID;
    }

    return s->ops->logs_count(s, f, cap, deadline_us, n, capped);
}


static bool
slot_is_valid(int64_t slot_us, int64_t offset_us)
{
    return slot_us > 0 && slot_us % HEATMAP_BUCKET_US == 0
        && offset_us % HEATMAP_BUCKET_US == 0;
}


enum result
store_cells(struct store *s, const struct filter *f, enum store_by by,
    int64_t slot_us, int64_t offset_us, bool with_hist, struct arena *a,
    struct store_cell **out, size_t *n)
{
    *out = NULL;
    *n = 0;

    if (!slot_is_valid(slot_us, offset_us)) {
        return RESULT_INVALID;
    }

    return s->ops->cells(s, f, by, slot_us, offset_us, with_hist, a, out, n);
}


enum result
store_cells_exact(struct store *s, const struct filter *f, enum store_by by,
    int64_t slot_us, int64_t offset_us, int64_t deadline_us, struct arena *a,
    struct store_cell **out, size_t *n, bool *partial)
{
    *out = NULL;
    *n = 0;
    *partial = false;

    if (!slot_is_valid(slot_us, offset_us)) {
        return RESULT_INVALID;
    }

    return s->ops->cells_exact(s, f, by, slot_us, offset_us, deadline_us, a,
        out, n, partial);
}


enum result
store_error_groups(struct store *s, const struct filter *f, unsigned limit,
    int64_t deadline_us, struct arena *a, struct store_error_group **out,
    size_t *n, bool *partial)
{
    *out = NULL;
    *n = 0;
    *partial = false;
    return s->ops->error_groups(s, f, limit, deadline_us, a, out, n, partial);
}


enum result
store_open_counts(struct store *s, const struct scope *sc, int64_t *pending,
    int64_t *retrying)
{
    return s->ops->open_counts(s, sc, pending, retrying);
}


enum result
store_recount(struct store *s, unsigned max_buckets, unsigned *done)
{
    *done = 0;
    return s->ops->recount(s, max_buckets, done);
}


enum result
store_doc_put(struct store *s, enum store_coll c, const struct store_doc *d,
    int64_t if_version, int64_t *version)
{
    *version = 0;

    if (d->id.n == 0 || if_version < -1) {
        return RESULT_INVALID;
    }

    return s->ops->doc_put(s, c, d, if_version, version);
}


static enum result
event_put_each(struct store *s, const struct store_event *e,
    enum store_insert *outcome)
{
    int64_t      version;
    enum result  r = RESULT_OK;

    if (e->key != NULL) {
        r = store_doc_put(s, STORE_IDEMPOTENCY, e->key, 0, &version);
    }

    if (r != RESULT_OK) {
        return r;
    }

    r = store_doc_put(s, STORE_EVENT, e->event, 0, &version);
    r = r == RESULT_CONFLICT ? RESULT_OK : r;
    return r != RESULT_OK ? r : store_logs_insert(s, e->logs, e->n, outcome);
}


enum result
store_event_put(struct store *s, const struct store_event *e,
    enum store_insert *outcome)
{
    return s->ops->event_put == NULL ? event_put_each(s, e, outcome)
                                     : s->ops->event_put(s, e, outcome);
}


enum result
store_doc_get(struct store *s, enum store_coll c, struct slice id,
    struct arena *a, struct store_doc *out)
{
    return s->ops->doc_get(s, c, id, a, out);
}


enum result
store_doc_delete(struct store *s, enum store_coll c, struct slice id,
    int64_t if_version)
{
    return s->ops->doc_delete(s, c, id, if_version);
}


enum result
store_doc_list(struct store *s, enum store_coll c, int64_t org_id,
    struct slice after, bool descending, unsigned limit, struct arena *a,
    struct store_doc **out, size_t *n)
{
    *out = NULL;
    *n = 0;

    if (limit == 0 || limit > STORE_MAX_LIMIT) {
        return RESULT_INVALID;
    }

    return s->ops->doc_list(s, c, org_id, after, descending, limit, a, out,
        n);
}


enum result
store_config_version(struct store *s, int64_t *v)
{
    return s->ops->config_version(s, v);
}


enum result
store_expire(struct store *s, int64_t now_us, unsigned max, unsigned *done)
{
    *done = 0;
    return s->ops->expire(s, now_us, max, done);
}


enum result
store_stats(struct store *s, struct store_stats *out)
{
    memset(out, 0, sizeof(*out));
    return s->ops->stats(s, out);
}


void
store_finish_apply(struct logdoc *d, const struct store_finish *f)
{
    d->status = f->status;
    d->flags |= f->flags;
    d->next_attempt_us = f->next_attempt_us;
    d->lease_until_us = LOGDOC_NONE;
    d->error_code = f->error_code;
    d->error_message = f->error_message;

    if (!f->attempt_used) {
        d->attempts--;
    }

    if (f->expires_us != LOGDOC_NONE) {
        d->expires_us = f->expires_us;
    }

    if (f->attempt != NULL) {
        d->http_status = f->attempt->http_status;
        d->duration_us = f->attempt->duration_us;
        d->connect_us = f->attempt->connect_us;
        d->first_byte_us = f->attempt->first_byte_us;
        d->response = f->attempt->response;
    }

    d->error_fingerprint = d->error_code.n == 0 ? 0 : logdoc_fingerprint(d);

    if (f->drop_bodies) {
        d->request.headers = d->request.data = SLICE_NONE;
        d->response.headers = d->response.data = SLICE_NONE;
    }
}
