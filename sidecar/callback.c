/* Callbacks: the note, and what comes of it. */

#include "callback.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "changes.h"
#include "clock.h"
#include "direct.h"
#include "due.h"

#define NOTE   "callback:"                 /* of STORE_EVENT; behind all ids */
#define PAGE   200
#define ARENA  (64 * 1024 * 1024)

static const struct {
    const char  *name, *field;             /* in the note; as Fusion says it */
    bool         ok, failed;               /* after which end it is called */
}  kinds[] = {
    { "success", "success_task_handler", true, false },
    { "failed", "failed_task_handler", false, true },
    { "subscribe", "subscribe", true, true }
};

#define KINDS  (sizeof(kinds) / sizeof(kinds[0]))


static void
note_id(const uint8_t log_id[UUID_BYTES], char id[64])
{
    char  text[UUID_TEXT + 1];

    uuid_text(log_id, text);
    (void) snprintf(id, 64, NOTE "%s", text);
}


enum result
callback_plan(struct store *s, const uint8_t log_id[UUID_BYTES],
    int64_t org_id, const json_t *handlers, int64_t expires_us)
{
    struct store_doc  d = { .org_id = org_id, .created_us = clock_wall_us(),
        .updated_us = clock_wall_us(), .expires_us = expires_us };
    char              id[64], *text;
    int64_t           version;
    enum result       r;

    if (json_object_size(handlers) == 0) {
        return RESULT_OK;
    }

    text = json_dumps(handlers, JSON_COMPACT);
    if (text == NULL) {
        return RESULT_MEMORY;
    }

    note_id(log_id, id);
    d.id = slice_of(id);
    d.body = slice_of(text);
    r = store_doc_put(s, STORE_EVENT, &d, 0, &version);
    free(text);
    return r == RESULT_CONFLICT ? RESULT_OK : r;
}


/* The same for one log and kind, whoever makes it. */
static void
callback_id(const struct logdoc *of, size_t kind, uint8_t id[UUID_BYTES])
{
    uint8_t  seed[UUID_BYTES + 1], digest[32];

    memcpy(seed, of->id, UUID_BYTES);
    seed[UUID_BYTES] = (uint8_t) kind;
    (void) EVP_Digest(seed, sizeof(seed), digest, NULL, EVP_sha256(), NULL);
    uuid_make(id, of->started_us + 1 + (int64_t) kind);
    memcpy(id + 8, digest, 8);
    id[8] = (uint8_t) (0x80 | (id[8] & 0x3f));
}


static bool
is_ok(const struct logdoc *d)
{
    return d->status == LOG_SUCCESS || d->status == LOG_COMMITTED;
}


/* Of what the store holds alone, so that it is the same each time. */
static struct slice
callback_body(const struct logdoc *d, struct arena *a)
{
    struct slice  type = direct_field(d, "task_type");
    struct slice  tag = direct_field(d, "log_tag");
    char          id[UUID_TEXT + 1], *text;
    int64_t       n = 0;
    struct slice  out;
    json_t       *body;

    uuid_text(d->id, id);
    (void) !slice_int(type, &n);
    body = json_pack("{s:s,s:s,s:i,s:I,s:s,s:I,s:o,s:o}", "job_id", id,
        "status", is_ok(d) ? "finished" : "failed", "task", 4,
        "task_type", (json_int_t) n, "result", log_status_text(d->status),
        "attempts", (json_int_t) d->attempts,
        "http_status", d->http_status == LOGDOC_NONE ? json_null()
            : json_integer(d->http_status),
        "log_tag", tag.n == 0 ? json_null() : json_stringn(tag.p, tag.n));

    if (d->error_code.n > 0) {
        (void) json_object_set_new(body, "error", json_pack("{s:s%,s:s%}",
            "code", d->error_code.p, d->error_code.n, "message",
            d->error_message.n == 0 ? "" : d->error_message.p,
            d->error_message.n));
    }

    text = json_dumps(body, JSON_COMPACT);
    out = text == NULL ? SLICE_NONE : arena_copy(a, slice_of(text));
    json_decref(body);
    free(text);
    return out;
}


static void
callback_log(const struct logdoc *of, size_t kind, const char *url,
    struct arena *a, struct logdoc *d)
{
    char  id[UUID_TEXT + 1], job[UUID_TEXT + 1];

    logdoc_init(d);
    callback_id(of, kind, d->id);
    uuid_text(d->id, id);
    uuid_text(of->id, job);

    d->kind = LOG_KIND_WEBHOOK;
    d->status = LOG_PENDING;
    d->started_us = uuid_time_us(d->id);
    d->next_attempt_us = clock_wall_us();
    d->priority = of->priority;
    d->attempts = 0;
    d->action_id = of->action_id;
    d->action_category_id = of->action_category_id;
    d->org_id = of->org_id;
    d->lab_id = of->lab_id;
    d->developer_id = of->developer_id;
    d->event_id = of->event_id;
    d->message_id = arena_copy(a, slice_of(id));
    d->endpoint = slice_of(kinds[kind].field);
    d->method = SLICE_LIT("POST");
    d->url = arena_copy(a, slice_of(url));
    d->fields[d->nfields++] = (struct log_pair) {
        SLICE_LIT(DIRECT_CALLBACK), slice_of(kinds[kind].field) };
    d->refs[d->nrefs++] = (struct log_pair) { SLICE_LIT("job_id"),
        arena_copy(a, slice_of(job)) };
    d->request.data = callback_body(of, a);
    d->request.bytes = (int64_t) d->request.data.n;
}


static void
queue_logs(const struct config *c, struct redis *r, const struct logdoc *logs,
    size_t n)
{
    struct due_item  items[KINDS];

    for (size_t i = 0; i < n; i++) {
        memcpy(items[i].id, logs[i].id, UUID_BYTES);
        items[i].due_us = logs[i].next_attempt_us;
        items[i].priority = logs[i].priority;
    }

    /* a refusal loses nothing: the reconciler finds what is due */
    (void) !due_add(r, items, n, true);
    (void) changes_append(r, c, logs, n);
}


/* The note goes when the logs are there. */
static enum result
settle(struct store *s, const struct config *c, struct redis *r,
    const struct logdoc *d, const json_t *handlers, struct arena *a)
{
    enum store_insert  outcome[KINDS];
    struct logdoc     *logs = arena_alloc(a, KINDS * sizeof(*logs));
    const char        *url;
    char               id[64];
    size_t             n = 0;
    enum result        result;

    if (logs == NULL) {
        return RESULT_MEMORY;
    }

    for (size_t k = 0; k < KINDS; k++) {
        url = json_string_value(json_object_get(handlers, kinds[k].name));

        if (url != NULL && (is_ok(d) ? kinds[k].ok : kinds[k].failed)) {
            callback_log(d, k, url, a, &logs[n++]);
        }
    }

    result = store_logs_insert(s, logs, n, outcome);

    if (result == RESULT_OK) {
        if (n > 0) {
            queue_logs(c, r, logs, n);
        }

        note_id(d->id, id);
        result = store_doc_delete(s, STORE_EVENT, slice_of(id), -1);
    }

    return result == RESULT_NOT_FOUND ? RESULT_OK : result;
}


static enum result
settle_note(struct store *s, const struct config *c, struct redis *r,
    const struct store_doc *note, struct arena *a, bool *done)
{
    const struct scope  all = { .platform = true };
    struct logdoc      *d = arena_alloc(a, sizeof(*d));
    json_t             *handlers;
    uint8_t             id[UUID_BYTES];
    enum result         result;

    *done = false;

    if (d == NULL) {
        return RESULT_MEMORY;
    }

    if (note->id.n != strlen(NOTE) + UUID_TEXT
        || uuid_parse((struct slice) { note->id.p + strlen(NOTE), UUID_TEXT },
               id) != RESULT_OK)
    {
        return RESULT_OK;
    }

    result = store_log_get(s, &all, id, a, d);

    if (result != RESULT_OK || d->status == LOG_PENDING
        || d->status == LOG_RETRYING)
    {
        return result == RESULT_NOT_FOUND ? RESULT_OK : result;
    }

    handlers = json_loadb(note->body.p, note->body.n, 0, NULL);
    result = settle(s, c, r, d, handlers, a);
    json_decref(handlers);
    *done = result == RESULT_OK;
    return result;
}


enum result
callback_settle(struct store *s, const struct config *c, struct redis *r,
    const uint8_t log_id[UUID_BYTES])
{
    struct store_doc  note;
    struct arena      a;
    char              id[64];
    bool              done;
    enum result       result;

    note_id(log_id, id);
    arena_init(&a, ARENA);
    result = store_doc_get(s, STORE_EVENT, slice_of(id), &a, &note);
    result = result != RESULT_OK ? result
        : settle_note(s, c, r, &note, &a, &done);
    arena_cleanup(&a);
    return result == RESULT_NOT_FOUND ? RESULT_OK : result;
}


enum result
callback_sweep(struct store *s, const struct config *c, struct redis *r,
    unsigned *n)
{
    struct store_doc  *notes;
    struct arena       list, a;
    char               after[64] = NOTE;
    size_t             count = PAGE;
    bool               done, end = false;
    enum result        result = RESULT_OK;

    *n = 0;
    arena_init(&list, ARENA);
    arena_init(&a, ARENA);

    while (result == RESULT_OK && count == PAGE && !end) {
        arena_reset(&list);
        result = store_doc_list(s, STORE_EVENT, LOGDOC_NONE, slice_of(after),
            false, PAGE, &list, &notes, &count);

        for (size_t i = 0; result == RESULT_OK && i < count && !end; i++) {
            end = notes[i].id.n < strlen(NOTE)
                  || memcmp(notes[i].id.p, NOTE, strlen(NOTE)) != 0;
            arena_reset(&a);

            if (!end) {
                result = settle_note(s, c, r, &notes[i], &a, &done);
                *n += result == RESULT_OK && done;
                (void) snprintf(after, sizeof(after), "%.*s",
                    SLICE_ARG(notes[i].id));
            }
        }
    }

    arena_cleanup(&list);
    arena_cleanup(&a);
    return result;
}
