/*
 * The mender of events.  An event document without its logs is what a crash
 * between the two left, or a store that went away: its logs are written now.
 * How far all events were looked at is kept in the store, so that each is
 * looked at once, whatever number of processes there is.
 */

#include "event_private.h"

#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "fusion.h"
#include "log.h"

#define MARK       SLICE_LIT("events:mended")
#define PAGE       100
#define AGAIN_US   (INT64_C(600) * 1000000)    /* clocks may differ so much */
#define EVERY_US   (INT64_C(86400) * 1000000)  /* no mark: so far back */
#define LAG_US     (INT64_C(120) * 1000000)    /* an acceptance may take */
#define ARENA      (512 * 1024 * 1024)


static int64_t
mark_read(struct events *e, struct arena *a)
{
    struct store_doc  d;
    json_t           *body;
    int64_t           us = 0;

    if (store_doc_get(e->store, STORE_META, MARK, a, &d) == RESULT_OK) {
        body = json_loadb(d.body.p, d.body.n, 0, NULL);
        us = json_integer_value(json_object_get(body, "us"));
        json_decref(body);
    }

    return us;
}


static enum result
mark_write(struct events *e, int64_t us)
{
    struct store_doc  d = { .id = MARK, .org_id = LOGDOC_NONE,
        .created_us = clock_wall_us(), .updated_us = clock_wall_us(),
        .expires_us = LOGDOC_NONE };
    char              body[40];
    int64_t           version;

    (void) snprintf(body, sizeof(body), "{\"us\":%lld}", (long long) us);
    d.body = slice_of(body);
    return store_doc_put(e->store, STORE_META, &d, -1, &version);
}


/* Parsed anew from its exact text, at the time when it was accepted. */
static enum result
complete(struct events *e, const json_t *doc, int64_t accepted_us,
    struct arena *a)
{
    const struct event_caller  caller = { .scope = { .platform = true } };
    const json_t        *raw = json_object_get(doc, "raw");
    struct event_fault   fault;
    struct accepting     x = { .e = e, .caller = &caller, .a = a,
        .fault = &fault, .now_us = accepted_us };
    enum result          r;

    x.json = (struct slice) { json_string_value(raw),
        json_string_length(raw) };
    r = event_check(&x);

    if (r == RESULT_INVALID) {
        log_write(LOG_ERROR, "events", "event %s cannot be completed: %s %s",
            json_string_value(json_object_get(doc, "event_id")),
            fault.pointer, fault.detail);
        r = RESULT_OK;

    } else {
        r = r != RESULT_OK ? r : event_complete(&x, doc);
    }

    json_decref(x.root);
    return r;
}


static enum result
mend_one(struct events *e, const struct store_doc *d, struct arena *a,
    unsigned *mended)
{
    json_t       *doc = json_loadb(d->body.p, d->body.n, 0, NULL);
    bool          fusion = json_object_get(doc, "fusion") != NULL;
    bool          missing = false;
    enum result   r = RESULT_OK;

    if (fusion || json_object_get(doc, "integration_ids") != NULL) {
        r = event_logs_missing(e, doc, a, &missing);
    }

    if (r == RESULT_OK && missing) {
        r = fusion ? fusion_complete(e, doc, a)
                   : complete(e, doc, d->created_us, a);
        *mended += r == RESULT_OK;
    }

    json_decref(doc);
    return r;
}


enum result
events_mend(struct events *e, int64_t before_us, bool all, unsigned *mended)
{
    struct store_doc  *docs;
    struct arena       a;
    uint8_t            id[UUID_BYTES] = { 0 };
    char               after[UUID_TEXT + 1];
    int64_t            from;
    size_t             n = PAGE;
    bool               end = false;
    enum result        r = RESULT_OK;

    *mended = 0;
    arena_init(&a, ARENA);
    from = mark_read(e, &a);
    from = from == 0 ? before_us - EVERY_US : all ? from - AGAIN_US : from;
    from = from < 0 ? 0 : from;

    /* ids sort by their time */
    for (int i = 0; i < 6; i++) {
        id[i] = (uint8_t) ((uint64_t) from / 1000 >> (40 - 8 * i));
    }

    uuid_text(id, after);

    while (r == RESULT_OK && n == PAGE && !end) {
        arena_reset(&a);
        r = store_doc_list(e->store, STORE_EVENT, LOGDOC_NONE,
            slice_of(after), false, PAGE, &a, &docs, &n);

        for (size_t i = 0; r == RESULT_OK && i < n && !end; i++) {
            end = uuid_parse(docs[i].id, id) != RESULT_OK
                  || uuid_time_us(id) >= before_us;
            r = end ? RESULT_OK : mend_one(e, &docs[i], &a, mended);
        }

        if (r == RESULT_OK && n > 0) {
            (void) snprintf(after, sizeof(after), "%.*s",
                SLICE_ARG(docs[n - 1].id));
        }
    }

    arena_cleanup(&a);
    from = clock_wall_us() - LAG_US;
    return r != RESULT_OK ? r : mark_write(e, before_us < from ? before_us
        : from);
}
