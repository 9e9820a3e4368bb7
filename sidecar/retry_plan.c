/* Plans, and the orders that are given to jobs. */

#include "retry_plan.h"

#include <stdio.h>

#include "clock.h"
#include "logdoc_json.h"

#define PLAN_PAGE       200
#define PLAN_SAMPLE     10
#define PLAN_ENDPOINTS  50
#define PLAN_LIFE_US    INT64_C(3600000000)
#define PLAN_ARENA      (64 * 1024 * 1024)
#define PLAN_TRIES      20

struct planning {
    struct store      *store;
    struct routes     *routes;
    struct retry_ask  *ask;
    char               id[UUID_TEXT + 1];
    struct arena       page, one;
    json_t            *ids;                /* of the chunk that is filled */
    int64_t            chunks;
    size_t             matched, eligible, by_why[RESEND_WHYS];
    json_t            *endpoints, *sample;
    size_t             rest_matched, rest_eligible;
};


static enum result
chunk_keep(struct planning *p)
{
    struct retry_doc  d;
    enum result       r;

    if (json_array_size(p->ids) == 0) {
        return RESULT_OK;
    }

    retry_doc_id(&d, "ids", p->id, p->chunks);
    d.org_id = p->ask->org_id;
    d.v = json_pack("{s:O}", "ids", p->ids);
    r = retry_doc_put(p->store, &d);
    retry_doc_cleanup(&d);
    (void) json_array_clear(p->ids);
    p->chunks++;
    return r;
}


static void
count_up(json_t *v, const char *name)
{
    json_t  *n = json_object_get(v, name);

    (void) json_integer_set(n, json_integer_value(n) + 1);
}


/* One line for each integration; what is over the limit goes together. */
static void
count_endpoint(struct planning *p, const struct logdoc *d, bool ok)
{
    json_t  *v = NULL;
    size_t   i;

    json_array_foreach(p->endpoints, i, v) {
        const char  *id = json_string_value(
            json_object_get(v, "integration_id"));
        const char  *name = json_string_value(json_object_get(v, "endpoint"));

        if (slice_eq(slice_of(id), d->integration_id)
            && slice_eq(slice_of(name), d->endpoint))
        {
            break;
        }
    }

    if (i == json_array_size(p->endpoints)) {
        if (i == PLAN_ENDPOINTS) {
            p->rest_matched++;
            p->rest_eligible += ok;
            return;
        }

        v = json_object();
        (void) json_object_set_new(v, "endpoint", json_stringn(
            d->endpoint.n == 0 ? "" : d->endpoint.p, d->endpoint.n));
        (void) json_object_set_new(v, "integration_id",
            d->integration_id.n == 0 ? json_null() : json_stringn(
                d->integration_id.p, d->integration_id.n));
        (void) json_object_set_new(v, "matched", json_integer(0));
        (void) json_object_set_new(v, "eligible", json_integer(0));
        (void) json_array_append_new(p->endpoints, v);
    }

    count_up(v, "matched");

    if (ok) {
        count_up(v, "eligible");
    }
}


static void
sample_add(struct planning *p, const struct logdoc *row, enum resend_why why)
{
    struct buf   b;
    json_t      *v;

    if (json_array_size(p->sample) == PLAN_SAMPLE) {
        return;
    }

    buf_init(&b, PLAN_ARENA);
    logdoc_json(&b, row, LOGDOC_ROW);
    v = b.failed ? NULL : json_loadb(b.p, b.n, 0, NULL);
    buf_cleanup(&b);

    if (v != NULL) {
        (void) json_object_set_new(v, "eligible",
            json_boolean(why == RESEND_OK));
        (void) json_object_set_new(v, "reason", why == RESEND_OK ? json_null()
            : json_string(resend_why_text(why)));
        (void) json_array_append_new(p->sample, v);
    }
}


static enum result
plan_row(struct planning *p, const struct logdoc *row)
{
    struct logdoc    d;
    enum resend_why  why = RESEND_GONE;
    char             id[UUID_TEXT + 1];
    enum result      r;

    arena_reset(&p->one);
    r = store_log_get(p->store, &p->ask->filter->scope, row->id, &p->one, &d);

    if (r == RESULT_NOT_FOUND) {
        return RESULT_OK;                  /* expired this moment */
    }

    r = r != RESULT_OK ? r : resend_one_of_many(p->store, p->routes, &d,
        &p->one, &why);

    if (r != RESULT_OK) {
        return r;
    }

    p->matched++;
    p->by_why[why]++;
    count_endpoint(p, row, why == RESEND_OK);
    sample_add(p, row, why);

    if (why != RESEND_OK) {
        return RESULT_OK;
    }

    p->eligible++;
    uuid_text(d.id, id);
    (void) json_array_append_new(p->ids, json_string(id));
    return json_array_size(p->ids) == RETRY_CHUNK ? chunk_keep(p) : RESULT_OK;
}


static bool
is_before(const struct logdoc *a, const struct logdoc *b)
{
    return a->started_us != b->started_us
               ? a->started_us < b->started_us
               : memcmp(a->id, b->id, UUID_BYTES) < 0;
}


static enum result
plan_page(struct planning *p, const struct store_rows *rows,
    struct store_page *page)
{
    bool         turned = rows->n > 1
                          && is_before(&rows->rows[rows->n - 1],
                                 &rows->rows[0]);
    enum result  r = RESULT_OK;

    for (size_t i = 0; i < rows->n && r == RESULT_OK; i++) {
        const struct logdoc  *row = &rows->rows[turned ? rows->n - 1 - i : i];

        p->ask->looked++;
        r = p->ask->looked > RETRY_MAX ? RESULT_TOO_BIG
            : clock_mono_us() > p->ask->deadline_us ? RESULT_TIMEOUT
                                                    : plan_row(p, row);
        page->has_after = true;
        page->after_us = row->started_us;
        memcpy(page->after_id, row->id, UUID_BYTES);
    }

    return r;
}


static enum result
plan_walk(struct planning *p)
{
    struct store_page  page = { .limit = PLAN_PAGE, .ascending = true,
                                .deadline_us = p->ask->deadline_us };
    struct store_rows  rows;
    enum result        r;

    do {
        arena_reset(&p->page);
        memset(&rows, 0, sizeof(rows));
        r = store_logs_find(p->store, p->ask->filter, &page, &p->page, &rows);
        r = r != RESULT_OK ? r : plan_page(p, &rows, &page);

        if (r == RESULT_OK && rows.partial) {
            r = RESULT_TIMEOUT;
        }
    } while (r == RESULT_OK && rows.more);

    return r != RESULT_OK ? r : chunk_keep(p);
}


static json_t *
plan_print(struct planning *p, int64_t now_us)
{
    json_t  *v = json_object(), *why = json_object();

    for (int i = RESEND_OK + 1; i < RESEND_WHYS; i++) {
        if (p->by_why[i] > 0) {
            (void) json_object_set_new(why, resend_why_text(
                (enum resend_why) i), json_integer((json_int_t) p->by_why[i]));
        }
    }

    if (p->rest_matched > 0) {
        (void) json_array_append_new(p->endpoints, json_pack(
            "{s:n,s:n,s:I,s:I}", "endpoint", "integration_id", "matched",
            (json_int_t) p->rest_matched, "eligible",
            (json_int_t) p->rest_eligible));
    }

    (void) json_object_set_new(v, "plan", json_string(p->id));
    (void) json_object_set_new(v, "filter", json_string(p->ask->query));
    retry_time(v, "to", p->ask->filter->to_us);
    retry_time(v, "as_of", now_us);
    (void) json_object_set_new(v, "matched",
        json_integer((json_int_t) p->matched));
    (void) json_object_set_new(v, "eligible",
        json_integer((json_int_t) p->eligible));
    (void) json_object_set_new(v, "ineligible", why);
    (void) json_object_set(v, "by_endpoint", p->endpoints);
    (void) json_object_set(v, "sample", p->sample);
    retry_time(v, "expires_at", now_us + PLAN_LIFE_US);
    (void) json_object_set_new(v, "_chunks", json_integer(p->chunks));
    (void) json_object_set_new(v, "_labs",
        retry_labs(&p->ask->filter->scope));
    return v;
}


enum result
retry_plan_make(struct store *s, struct routes *routes, struct retry_ask *ask,
    const uint8_t id[UUID_BYTES], struct retry_doc *out)
{
    struct planning  p = { .store = s, .routes = routes, .ask = ask };
    int64_t          now_us = clock_wall_us();
    enum result      r;

    uuid_text(id, p.id);
    p.ids = json_array();
    p.endpoints = json_array();
    p.sample = json_array();
    arena_init(&p.page, PLAN_ARENA);
    arena_init(&p.one, PLAN_ARENA);
    ask->looked = 0;
    retry_doc_id(out, "plan", p.id, -1);
    r = plan_walk(&p);

    if (r == RESULT_OK) {
        out->org_id = ask->org_id;
        out->expires_us = now_us + PLAN_LIFE_US;
        out->v = plan_print(&p, now_us);
        r = retry_doc_put(s, out);
    }

    arena_cleanup(&p.page);
    arena_cleanup(&p.one);
    json_decref(p.ids);
    json_decref(p.endpoints);
    json_decref(p.sample);
    return r;
}


/* -- jobs ---------------------------------------------------------------- */

/* The plan is one job's alone. */
static enum result
plan_take(struct store *s, const struct scope *sc, const char *plan,
    const char *job, struct retry_doc *out, char used[UUID_TEXT + 1])
{
    const char   *by;
    enum result   r = RESULT_CONFLICT;

    for (int i = 0; i < PLAN_TRIES && r == RESULT_CONFLICT; i++) {
        retry_doc_cleanup(out);
        retry_doc_id(out, "plan", plan, -1);
        r = retry_doc_get(s, out);

        if (r != RESULT_OK || !retry_visible(out, sc)) {
            return r == RESULT_OK ? RESULT_NOT_FOUND : r;
        }

        if (json_integer_value(json_object_get(out->v, "eligible")) == 0) {
            return RESULT_INVALID;
        }

        by = json_string_value(json_object_get(out->v, "_job"));

        if (by != NULL) {
            (void) snprintf(used, UUID_TEXT + 1, "%.36s", by);
            return strcmp(by, job) == 0 ? RESULT_OK : RESULT_CONFLICT;
        }

        (void) json_object_set_new(out->v, "_job", json_string(job));
        r = retry_doc_put(s, out);
    }

    return r == RESULT_CONFLICT ? RESULT_UNAVAILABLE : r;
}


static json_t *
job_print(const json_t *plan, const struct retry_order *o, const char *id)
{
    static const char *const  zero[] = { "done", "sent", "succeeded",
                                         "failed", "skipped",
                                         "consecutive_failures" };
    int64_t                   now_us = clock_wall_us();
    json_t                   *v;

    v = json_pack("{s:s,s:s,s:O,s:I,s:I,s:s%,s:O,s:s,s:{s:s,s:s},s:O,s:O}",
        "id", id, "state", "queued",
        "total", json_object_get(plan, "eligible"),
        "rate_per_s", (json_int_t) o->rate,
        "stop_after_consecutive_failures", (json_int_t) o->stop_after,
        "reason", o->reason.p, o->reason.n,
        "filter", json_object_get(plan, "filter"), "plan", o->plan,
        "created_by", "key_id", o->key_id, "name", o->name,
        "_chunks", json_object_get(plan, "_chunks"),
        "_labs", json_object_get(plan, "_labs"));

    if (v == NULL) {
        return NULL;
    }

    for (size_t i = 0; i < sizeof(zero) / sizeof(zero[0]); i++) {
        (void) json_object_set_new(v, zero[i], json_integer(0));
    }

    retry_time(v, "created_at", now_us);
    retry_time(v, "updated_at", now_us);
    retry_time(v, "started_at", LOGDOC_NONE);
    retry_time(v, "ended_at", LOGDOC_NONE);
    retry_time(v, "eta", LOGDOC_NONE);
    (void) json_object_set_new(v, "error", json_null());
    return v;
}


enum result
retry_job_make(struct store *s, const struct scope *sc,
    const struct retry_order *o, const uint8_t id[UUID_BYTES],
    struct retry_doc *out, char used[UUID_TEXT + 1])
{
    struct retry_doc  plan = { .v = NULL };
    char              text[UUID_TEXT + 1];
    enum result       r;

    uuid_text(id, text);
    retry_doc_id(out, "job", text, -1);
    r = plan_take(s, sc, o->plan, text, &plan, used);

    if (r == RESULT_OK) {
        out->org_id = plan.org_id;
        out->v = job_print(plan.v, o, text);
        r = retry_doc_put(s, out);

        if (r == RESULT_CONFLICT) {        /* made before a crash */
            r = retry_doc_get(s, out);
        }
    }

    retry_doc_cleanup(&plan);
    return r != RESULT_OK ? r : retry_mark(s, text, out->org_id);
}


/* Where an act leads from a state; NULL: nowhere. */
static const char *
act_leads(const char *state, enum retry_act act, bool leased)
{
    bool  live = strcmp(state, "queued") == 0 || strcmp(state, "running") == 0;
    bool  held = strcmp(state, "paused") == 0 || strcmp(state, "stopped") == 0;

    switch (act) {
    case RETRY_PAUSE:
        return live ? "paused" : NULL;
    case RETRY_RESUME:
        return held ? "queued" : NULL;
    default:
        return !live && !held ? NULL : leased ? "cancelling" : "cancelled";
    }
}


static bool
is_leased(const json_t *v)
{
    const json_t  *lease = json_object_get(v, "_lease");

    return json_integer_value(json_object_get(lease, "until_us"))
           > clock_wall_us();
}


enum result
retry_job_act(struct store *s, const struct scope *sc, const char *job,
    enum retry_act act, struct retry_doc *out)
{
    const char   *to;
    enum result   r = RESULT_CONFLICT;

    for (int i = 0; i < PLAN_TRIES && r == RESULT_CONFLICT; i++) {
        retry_doc_cleanup(out);
        retry_doc_id(out, "job", job, -1);
        r = retry_doc_get(s, out);

        if (r != RESULT_OK || !retry_visible(out, sc)) {
            return r == RESULT_OK ? RESULT_NOT_FOUND : r;
        }

        to = act_leads(json_string_value(json_object_get(out->v, "state")),
            act, is_leased(out->v));

        if (to == NULL) {
            return RESULT_INVALID;
        }

        (void) json_object_set_new(out->v, "state", json_string(to));
        retry_time(out->v, "updated_at", clock_wall_us());

        if (act == RETRY_RESUME) {
            (void) json_object_set_new(out->v, "consecutive_failures",
                json_integer(0));

        } else if (strcmp(to, "cancelled") == 0) {
            retry_time(out->v, "ended_at", clock_wall_us());
        }

        r = retry_doc_put(s, out);
    }

    return r != RESULT_OK ? (r == RESULT_CONFLICT ? RESULT_UNAVAILABLE : r)
        : retry_mark(s, job, out->org_id);
}
