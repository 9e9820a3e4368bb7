/*
 * Reads the store page by page, each in a pool thread and with a deadline of
 * its own, so that a long export holds neither the event loop nor a
 * transaction.
 */

#include "api_export.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "api_audit.h"
#include "clock.h"
#include "json.h"
#include "logdoc_json.h"

#define EXPORT_PAGE   200
#define EXPORT_REFS   4

struct export {
    struct api_env      *env;
    struct auth_caller   caller;
    struct arena         arena;            /* the filter's texts */
    struct filter        filter;
    struct store_page    page;
    enum api_format      format;
    bool                 begun;
};

static const char *const  export_refs[EXPORT_REFS] = {
    "bill_id", "patient_id", "lrr_id", "report_id"
};


void
api_export_cell(struct buf *b, struct slice s)
{
    (void) buf_add(b, "\"", 1);

    if (s.n > 0 && (s.p[0] == '=' || s.p[0] == '+' || s.p[0] == '-'
                    || s.p[0] == '@' || s.p[0] == '\t' || s.p[0] == '\r'))
    {
        (void) buf_add(b, "'", 1);
    }

    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '"') {
            (void) buf_add(b, "\"", 1);
        }
        (void) buf_add(b, s.p + i, 1);
    }

    (void) buf_add(b, "\"", 1);
}


static void
cell_int(struct buf *b, int64_t n)
{
    (void) buf_adds(b, ",");

    if (n != LOGDOC_NONE) {
        (void) buf_addf(b, "%" PRId64, n);
    }
}


static void
cell_text(struct buf *b, struct slice s)
{
    (void) buf_adds(b, ",");
    api_export_cell(b, s);
}


static void
csv_refs(struct buf *b, const struct logdoc *d)
{
    for (int i = 0; i < EXPORT_REFS; i++) {
        struct slice  value = SLICE_NONE;

        for (unsigned j = 0; j < d->nrefs; j++) {
            if (slice_eq(d->refs[j].name, slice_of(export_refs[i]))) {
                value = d->refs[j].value;
            }
        }

        cell_text(b, value);
    }
}


static void
csv_head(struct buf *b)
{
    (void) buf_adds(b, "id,started_at_utc,kind,status,http,method,endpoint,url,"
        "action_id,action_category_id,developer_id,integration_id,lab_id,"
        "org_id,duration_us,attempts,error_code,error_message,event_id,"
        "trace_id");

    for (int i = 0; i < EXPORT_REFS; i++) {
        (void) buf_addf(b, ",%s", export_refs[i]);
    }

    (void) buf_adds(b, "\r\n");
}


static void
csv_row(struct buf *b, const struct logdoc *d)
{
    char  id[UUID_TEXT + 1], at[CLOCK_RFC3339 + 1];

    uuid_text(d->id, id);
    clock_text(d->started_us, at);
    (void) buf_addf(b, "%s,%s,%s,%s", id, at, log_kind_text(d->kind),
        log_status_text(d->status));
    cell_int(b, d->http_status);
    cell_text(b, d->method);
    cell_text(b, d->endpoint);
    cell_text(b, d->url);
    cell_int(b, d->action_id);
    cell_int(b, d->action_category_id);
    cell_text(b, d->developer_id);
    cell_text(b, d->integration_id);
    cell_int(b, d->lab_id);
    cell_int(b, d->org_id);
    cell_int(b, d->duration_us);
    cell_int(b, d->attempts);
    cell_text(b, d->error_code);
    cell_text(b, d->error_message);
    cell_text(b, d->event_id);
    cell_text(b, d->trace_id);
    csv_refs(b, d);
    (void) buf_adds(b, "\r\n");
}


static void
export_rows(struct export *e, const struct store_rows *rows, struct buf *out)
{
    for (size_t i = 0; i < rows->n; i++) {
        if (e->format == API_FORMAT_CSV) {
            csv_row(out, &rows->rows[i]);
        } else {
            logdoc_json(out, &rows->rows[i], LOGDOC_ROW);
            (void) buf_adds(out, "\n");
        }
    }
}


/* Moves on; false at the end.  A page that got nowhere cuts the answer. */
static bool
export_advance(struct export *e, const struct store_rows *rows,
    struct buf *out)
{
    const struct logdoc  *last = rows->n == 0 ? NULL : &rows->rows[rows->n - 1];
    int64_t               before = e->page.after_us;

    if (rows->more && last != NULL) {
        e->page.after_us = last->started_us;
        memcpy(e->page.after_id, last->id, UUID_BYTES);

    } else if (rows->partial) {
        e->page.after_us = rows->searched_to_us;
        memcpy(e->page.after_id, rows->searched_to_id, UUID_BYTES);

        if (e->page.has_after && before == e->page.after_us && rows->n == 0) {
            out->failed = true;
        }

    } else {
        return false;
    }

    e->page.has_after = true;
    return true;
}


static bool
export_more(void *arg, struct buf *out)
{
    struct export      *e = arg;
    struct store_rows   rows;
    struct arena        arena;
    bool                more = false;

    if (!e->begun && e->format == API_FORMAT_CSV) {
        csv_head(out);
    }
    e->begun = true;

    arena_init(&arena, API_MAX_ARENA);
    e->page.deadline_us = clock_mono_us() + e->env->config->api_deadline_us;

    if (store_logs_find(e->env->store, &e->filter, &e->page, &arena, &rows)
        == RESULT_OK)
    {
        export_rows(e, &rows, out);
        more = export_advance(e, &rows, out);
    } else {
        /* the client sees a cut transfer, not a short file */
        out->failed = true;
    }

    arena_cleanup(&arena);
    return more;
}


static void
export_end(void *arg)
{
    struct export  *e = arg;

    arena_cleanup(&e->arena);
    free(e);
}


static const struct http_stream_ops  export_ops = { export_more, export_end };


static bool
export_audit(struct api_call *c, enum api_format format)
{
    struct buf   b;
    char        *detail;
    bool         ok;

    buf_init(&b, 64 * 1024);
    (void) buf_addf(&b, "{\"format\":\"%s\",\"target\":",
        format == API_FORMAT_CSV ? "csv" : "ndjson");
    json_text(&b, http_target(c->http));
    (void) buf_adds(&b, "}");
    detail = buf_take(&b, NULL);

    ok = detail == NULL ? api_problem_result(c, RESULT_TOO_BIG)
        : api_audit(c, "logs.export", "integration_directory", SLICE_LIT(""),
              c->caller.org_id, SLICE_NONE, detail);
    free(detail);
    return ok;
}


void
api_export(struct api_call *c, const struct filter *f, bool ascending,
    enum api_format format)
{
    struct export  *e;
    bool            csv = format == API_FORMAT_CSV;

    if (!export_audit(c, format)) {
        return;
    }

    e = calloc(1, sizeof(*e));
    if (e == NULL) {
        (void) api_problem_result(c, RESULT_MEMORY);
        return;
    }

    e->env = c->env;
    e->caller = c->caller;
    e->filter = *f;
    auth_scope(&e->caller, &e->filter.scope);
    e->format = format;
    e->page.limit = EXPORT_PAGE;
    e->page.ascending = ascending;
    e->arena = c->arena;
    arena_init(&c->arena, API_MAX_ARENA);

    api_head_init(c, 200);
    (void) http_head_add(&c->head, "Content-Type", "%s",
        csv ? "text/csv; charset=utf-8" : "application/x-ndjson");
    (void) http_head_add(&c->head, "Content-Disposition",
        "attachment; filename=\"logs.%s\"", csv ? "csv" : "ndjson");
    http_answer_stream(c->http, &c->head, &export_ops, e);
    c->answered = true;
}
