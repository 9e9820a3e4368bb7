/* Lists of logs by keyset, one log, its attempts and bodies. */

#include "api_logs.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "api_export.h"
#include "api_audit.h"
#include "clock.h"
#include "json.h"
#include "logdoc_json.h"

#define LOGS_LIMIT       50
#define LOGS_LIMIT_MAX   200
#define LOGS_COUNT_CAP   10000
#define LOGS_PAGE_US     200000            /* a page in part has a cursor on */
#define LOGS_ASCENDING   0x9e3779b97f4a7c15ull     /* in a cursor's hash */

struct logs_query {
    struct filter   filter;
    struct cursor   cursor;
    bool            has_cursor, ascending, count;
    int             format;                /* enum api_format, -1: JSON */
    uint64_t        hash;
    int64_t         limit;
};


static bool
logs_query_parse(struct api_call *c, struct logs_query *q)
{
    static const char *const  sorts[] = { "-time", "time", NULL };
    static const char *const  counts[] = { "capped", NULL };
    static const char *const  formats[] = { "csv", "ndjson", NULL };
    int                       sort, count;

    if (!api_param_int(c, "limit", 1, LOGS_LIMIT_MAX, LOGS_LIMIT, &q->limit)
        || !api_param_word(c, "sort", sorts, &sort)
        || !api_param_word(c, "count", counts, &count)
        || !api_param_word(c, "format", formats, &q->format))
    {
        return false;
    }

    q->ascending = sort == 1;
    q->count = count == 0;

    /* taken now, checked once the filter is known */
    for (unsigned i = 0; i < c->nparams; i++) {
        if (slice_eq(c->params[i].name, SLICE_LIT("cursor"))) {
            c->params[i].used = true;
        }
    }

    if (!api_filter(c, &q->filter) || !api_params_end(c)) {
        return false;
    }

    q->hash = filter_hash(&q->filter) ^ (q->ascending ? LOGS_ASCENDING : 0);
    return api_cursor(c, q->hash, &q->cursor, &q->has_cursor);
}


static void
cursor_at(struct cursor *to, const struct logs_query *q, bool back, int64_t us,
    const uint8_t id[UUID_BYTES])
{
    memset(to, 0, sizeof(*to));
    to->back = back;
    to->hash = q->hash;
    to->us = us;
    memcpy(to->id, id, UUID_BYTES);
}


/* Where the pages on both sides begin. */
struct logs_ends {
    struct cursor  next, prev;
    bool           has_next, has_prev;
};


static void
logs_ends(const struct logs_query *q, const struct store_rows *rows,
    const struct logdoc *first, const struct logdoc *last,
    struct logs_ends *ends)
{
    bool  back = q->cursor.back;

    ends->has_next = back || rows->more || rows->partial;
    ends->has_prev = back ? rows->more || rows->partial : q->has_cursor;

    /* an empty page lies where its cursor says */
    cursor_at(&ends->next, q, false, last == NULL ? q->cursor.us
        : last->started_us, last == NULL ? q->cursor.id : last->id);
    cursor_at(&ends->prev, q, true, first == NULL ? q->cursor.us
        : first->started_us, first == NULL ? q->cursor.id : first->id);

    if (rows->partial && !rows->more) {
        cursor_at(back ? &ends->prev : &ends->next, q, back,
            rows->searched_to_us, rows->searched_to_id);
    }
}


/* True when the rows came oldest first. */
static bool
rows_ascend(const struct store_rows *rows)
{
    const struct logdoc  *a, *b;

    if (rows->n < 2) {
        return false;
    }

    a = &rows->rows[0];
    b = &rows->rows[rows->n - 1];
    return a->started_us != b->started_us
               ? a->started_us < b->started_us
               : memcmp(a->id, b->id, UUID_BYTES) < 0;
}


static bool
logs_count(struct api_call *c, const struct logs_query *q)
{
    int64_t      n;
    bool         capped;
    enum result  r;

    r = store_logs_count(c->env->store, &q->filter, LOGS_COUNT_CAP,
        c->deadline_us, &n, &capped);
    if (r != RESULT_OK) {
        return api_problem_result(c, r);
    }

    (void) buf_addf(&c->out, "\"count\":{\"value\":%" PRId64
        ",\"relation\":\"%s\"},", n, capped ? "gte" : "eq");
    return true;
}


static void
logs_print(struct api_call *c, const struct logs_query *q,
    const struct store_rows *rows)
{
    struct logs_ends      ends;
    const struct logdoc  *first = NULL, *last = NULL;
    bool                  reverse;

    reverse = rows_ascend(rows) != q->ascending;

    for (size_t i = 0; i < rows->n; i++) {
        size_t  at = reverse ? rows->n - 1 - i : i;

        last = &rows->rows[at];
        first = i == 0 ? last : first;
        (void) buf_adds(&c->out, i == 0 ? "" : ",");
        logdoc_json(&c->out, last, LOGDOC_ROW);
    }

    logs_ends(q, rows, first, last, &ends);

    (void) buf_adds(&c->out, "],");
    api_page(c, ends.has_next ? &ends.next : NULL,
        ends.has_prev ? &ends.prev : NULL,
        q->cursor.back ? ends.has_prev : ends.has_next);

    (void) buf_addf(&c->out, ",\"partial\":%s,\"searched_to\":",
        rows->partial ? "true" : "false");
    json_time(&c->out, rows->partial ? rows->searched_to_us : LOGDOC_NONE);
    (void) buf_adds(&c->out, "}");
}


static void
logs_page(struct api_call *c, const struct logs_query *q)
{
    struct store_page  page;
    struct store_rows  rows;
    enum result        r;

    memset(&page, 0, sizeof(page));
    memset(&rows, 0, sizeof(rows));
    page.limit = (unsigned) q->limit;
    page.ascending = q->ascending != q->cursor.back;
    page.has_after = q->has_cursor;
    page.after_us = q->cursor.us;
    memcpy(page.after_id, q->cursor.id, UUID_BYTES);
    page.deadline_us = clock_mono_us() + LOGS_PAGE_US;
    page.deadline_us = page.deadline_us < c->deadline_us ? page.deadline_us
                                                         : c->deadline_us;

    (void) buf_adds(&c->out, "{\"as_of\":");
    json_time(&c->out, clock_wall_us());
    (void) buf_adds(&c->out, ",");

    r = store_logs_find(c->env->store, &q->filter, &page, &c->arena, &rows);
    if (r != RESULT_OK) {
        (void) api_problem_result(c, r);
        return;
    }

    c->env->counters.partial += rows.partial;

    if (q->count && !logs_count(c, q)) {
        return;
    }

    (void) buf_adds(&c->out, "\"data\":[");
    logs_print(c, q, &rows);
    api_send_cached(c, API_JSON);
}


void
api_logs_list(struct api_call *c)
{
    struct logs_query  q;

    memset(&q, 0, sizeof(q));

    if (!logs_query_parse(c, &q)) {
        return;
    }

    if (q.format >= 0) {
        if (q.has_cursor || q.count) {
            (void) api_problem_param(c, SLICE_LIT("format"), "combination",
                "An export is whole: it takes no cursor and no count.");
            return;
        }

        api_export(c, &q.filter, q.ascending, (enum api_format) q.format);
        return;
    }

    logs_page(c, &q);
}


bool
api_log_id(struct api_call *c, uint8_t id[UUID_BYTES])
{
    return uuid_parse(c->ids[0], id) == RESULT_OK
           || api_problem_result(c, RESULT_NOT_FOUND);
}


static bool
log_read(struct api_call *c, struct logdoc *d)
{
    struct scope  scope;
    enum result   r;
    uint8_t       id[UUID_BYTES];

    if (!api_params_end(c) || !api_log_id(c, id)) {
        return false;
    }

    auth_scope(&c->caller, &scope);
    logdoc_init(d);
    r = store_log_get(c->env->store, &scope, id, &c->arena, d);
    return r == RESULT_OK || api_problem_result(c, r);
}


/* Who sees bodies in clear leaves a trace, or does not see them. */
static bool
log_audit(struct api_call *c, const struct logdoc *d, const char *action)
{
    char  id[UUID_TEXT + 1];

    uuid_text(d->id, id);
    return api_audit(c, action, "integration_directory", slice_of(id),
        d->org_id == LOGDOC_NONE ? c->caller.org_id : d->org_id, SLICE_NONE,
        "");
}


static enum logdoc_view
log_view(const struct api_call *c)
{
    return c->caller.rights & AUTH_UNMASK ? LOGDOC_FULL : LOGDOC_MASKED;
}


void
api_logs_get(struct api_call *c)
{
    struct logdoc  *d;

    d = arena_alloc(&c->arena, sizeof(*d));
    if (d == NULL || !log_read(c, d)) {
        return;
    }

    if (log_view(c) == LOGDOC_FULL
        && d->request.data.n + d->response.data.n > 0
        && !log_audit(c, d, "log.view"))
    {
        return;
    }

    logdoc_json(&c->out, d, log_view(c));
    api_send_cached(c, API_JSON);
}


void
api_logs_attempts(struct api_call *c)
{
    struct log_attempt  *attempts;
    struct logdoc       *d;
    struct scope         scope;
    size_t               n;
    enum result          r;

    /* the log first: of a foreign one nothing is said */
    d = arena_alloc(&c->arena, sizeof(*d));
    if (d == NULL || !log_read(c, d)) {
        return;
    }

    auth_scope(&c->caller, &scope);
    r = store_attempts(c->env->store, &scope, d->id, &c->arena, &attempts, &n);
    if (r != RESULT_OK) {
        (void) api_problem_result(c, r);
        return;
    }

    if (n > 0 && log_view(c) == LOGDOC_FULL
        && !log_audit(c, d, "log.attempts.view"))
    {
        return;
    }

    (void) buf_adds(&c->out, "{\"data\":[");

    for (size_t i = n; i > 0; i--) {
        logdoc_json_attempt(&c->out, &attempts[i - 1], log_view(c));
        (void) buf_adds(&c->out, i == 1 ? "" : ",");
    }

    (void) buf_adds(&c->out, "]}");
    api_send_cached(c, API_JSON);
}


static void
log_body(struct api_call *c, bool request)
{
    const struct log_body  *body;
    struct logdoc          *d;

    if (!(c->caller.rights & AUTH_UNMASK)) {
        (void) api_problem(c, 403, "Your key may not see bodies (right: "
            "unmask).");
        return;
    }

    d = arena_alloc(&c->arena, sizeof(*d));
    if (d == NULL || !log_read(c, d)
        || !log_audit(c, d, request ? "log.body.request"
                                    : "log.body.response"))
    {
        return;
    }

    body = request ? &d->request : &d->response;
    (void) buf_add(&c->out, body->data.p, body->data.n);
    (void) http_head_add(&c->head, "Content-Disposition",
        "attachment; filename=\"%.*s-%s.bin\"", SLICE_ARG(c->ids[0]),
        request ? "request" : "response");
    (void) http_head_add(&c->head, "Content-Security-Policy", "sandbox");

    if (body->cut.n > 0) {
        (void) http_head_add(&c->head, "X-Body-Cut", "%.*s",
            SLICE_ARG(body->cut));
    }

    api_send(c, 200, "application/octet-stream");
}


void
api_logs_body_request(struct api_call *c)
{
    log_body(c, true);
}


void
api_logs_body_response(struct api_call *c)
{
    log_body(c, false);
}
