/*
 * The audit log and the dead letters, newest first.  A dead letter belongs to
 * no tenant (nobody could read whose it is), so only platform keys see them;
 * it goes back to the stream byte for byte as it came.
 */

#include "api_records.h"

#include <stdio.h>
#include <stdlib.h>

#include <openssl/evp.h>

#include "api_audit.h"
#include "json.h"
#include "redis.h"

#define RECORDS_LIMIT      50
#define RECORDS_LIMIT_MAX  200
#define DEAD_PAGE          4               /* one may have 6 MB */
#define DEAD_MAX_FIELDS    512

struct records_list {
    enum store_coll  coll;
    int64_t          org_id;
    int64_t          limit;
    struct cursor    cursor;
    bool             has_cursor;
    uint64_t         hash;
};


static bool
list_parse(struct api_call *c, struct records_list *l)
{
    l->hash = (uint64_t) l->coll << 40 ^ (uint64_t) l->org_id;

    return api_param_int(c, "limit", 1, RECORDS_LIMIT_MAX, RECORDS_LIMIT,
               &l->limit)
           && api_cursor(c, l->hash, &l->cursor, &l->has_cursor)
           && api_params_end(c);
}


static void
list_end(struct api_call *c, const struct records_list *l,
    const struct cursor *last, bool more)
{
    struct cursor  next = *last;

    next.hash = l->hash;
    (void) buf_adds(&c->out, "],");
    api_page(c, more ? &next : NULL, NULL, more);
    (void) buf_adds(&c->out, "}");
    api_send_cached(c, API_JSON);
}


static void
cursor_name(struct cursor *to, struct slice id)
{
    to->name_n = id.n < CURSOR_MAX_NAME ? id.n : CURSOR_MAX_NAME;
    memcpy(to->name, id.p, to->name_n);
}


/* -- audit ----------------------------------------------------------------- */

/* The stored object with its id in front. */
static void
audit_row(struct buf *b, const struct store_doc *d)
{
    (void) buf_adds(b, "{\"id\":");
    json_text(b, d->id);

    if (d->body.n > 2) {
        (void) buf_adds(b, ",");
        (void) buf_add(b, d->body.p + 1, d->body.n - 1);
    } else {
        (void) buf_adds(b, "}");
    }
}


void
api_audit_list(struct api_call *c)
{
    struct records_list   l = { .coll = STORE_AUDIT };
    struct store_doc     *docs = NULL;
    struct cursor         last;
    size_t                n = 0, shown;
    enum result           r;

    /* the platform sees all, an org what was done to what is its own */
    l.org_id = c->caller.rights & AUTH_PLATFORM ? LOGDOC_NONE
                                                : c->caller.org_id;
    if (!list_parse(c, &l)) {
        return;
    }

    if (c->caller.nlabs >= 0) {
        (void) api_problem(c, 403, "The audit log is of the whole org; your "
            "key is for some labs.");
        return;
    }

    r = store_doc_list(c->env->store, l.coll, l.org_id,
        (struct slice) { l.cursor.name, l.cursor.name_n }, true,
        (unsigned) l.limit + 1, &c->arena, &docs, &n);
    if (r != RESULT_OK) {
        (void) api_problem_result(c, r);
        return;
    }

    memset(&last, 0, sizeof(last));
    shown = n > (size_t) l.limit ? (size_t) l.limit : n;
    (void) buf_adds(&c->out, "{\"data\":[");

    for (size_t i = 0; i < shown; i++) {
        (void) buf_adds(&c->out, i == 0 ? "" : ",");
        audit_row(&c->out, &docs[i]);
        cursor_name(&last, docs[i].id);
    }

    list_end(c, &l, &last, n > shown);
}


/* -- dead letters ---------------------------------------------------------- */

static bool
platform_only(struct api_call *c)
{
    return (c->caller.rights & AUTH_PLATFORM)
           || api_problem(c, 403, "Dead letters belong to the platform: a key "
                  "of org 0 is needed.");
}


/* All but the record itself. */
static bool
dead_row(struct api_call *c, const struct store_doc *d)
{
    json_t  *body = json_loadb(d->body.p, d->body.n, 0, NULL);

    if (body == NULL) {
        body = json_pack("{s:s}", "reason", "the document is damaged");
    }

    (void) json_object_del(body, "record");
    (void) json_object_set_new(body, "id", json_stringn(d->id.p, d->id.n));
    return api_print_json(c, body);
}


/* A few at a time, since each may be large. */
static bool
dead_page(struct api_call *c, int64_t left, struct cursor *last, size_t *n)
{
    struct store_doc  *docs = NULL;
    struct arena       arena;
    enum result        r;
    bool               ok = true;

    arena_init(&arena, API_MAX_ARENA);

    r = store_doc_list(c->env->store, STORE_DEAD_LETTER, LOGDOC_NONE,
        (struct slice) { last->name, last->name_n }, true,
        left < DEAD_PAGE ? (unsigned) left : DEAD_PAGE, &arena, &docs, n);

    for (size_t i = 0; r == RESULT_OK && ok && i < *n; i++) {
        (void) buf_adds(&c->out, c->out.p[c->out.n - 1] == '[' ? "" : ",");
        ok = dead_row(c, &docs[i]);
        cursor_name(last, docs[i].id);
    }

    arena_cleanup(&arena);
    return r == RESULT_OK ? ok : api_problem_result(c, r);
}


void
api_dead_list(struct api_call *c)
{
    struct records_list  l = { .coll = STORE_DEAD_LETTER,
                               .org_id = LOGDOC_NONE };
    struct cursor        last;
    int64_t              left;
    size_t               n = 1;

    if (!platform_only(c) || !list_parse(c, &l)) {
        return;
    }

    last = l.cursor;
    (void) buf_adds(&c->out, "{\"data\":[");

    for (left = l.limit; left > 0 && n > 0; left -= (int64_t) n) {
        if (!dead_page(c, left, &last, &n)) {
            return;
        }
    }

    /* a full page may be the last one: the next is empty then */
    list_end(c, &l, &last, left == 0);
}


/* "3:abc," cut off the front; false when it is none. */
static bool
netstring_next(struct slice *rest, struct slice *value)
{
    const char  *colon = memchr(rest->p, ':', rest->n < 12 ? rest->n : 12);
    size_t       head;
    int64_t      n;

    if (colon == NULL) {
        return false;
    }

    head = (size_t) (colon - rest->p);
    if (slice_int((struct slice) { rest->p, head }, &n) != RESULT_OK || n < 0
        || (uint64_t) n > rest->n || rest->n - (size_t) n < head + 2
        || rest->p[head + 1 + (size_t) n] != ',')
    {
        return false;
    }

    value->p = colon + 1;
    value->n = (size_t) n;
    rest->p += head + 2 + (size_t) n;
    rest->n -= head + 2 + (size_t) n;
    return true;
}


/* The record's bytes out of the document's base64; in the arena. */
static struct slice
record_decode(struct api_call *c, const json_t *body)
{
    const json_t   *record = json_object_get(body, "record");
    const char     *text = json_string_value(record);
    size_t          n = json_string_length(record);
    unsigned char  *to;
    int             len;

    if (text == NULL || n == 0 || n % 4 != 0 || n > INT32_MAX) {
        return SLICE_NONE;
    }

    to = arena_alloc(&c->arena, n / 4 * 3);
    len = to == NULL ? -1 : EVP_DecodeBlock(to, (const unsigned char *) text,
                                (int) n);
    if (len < 0) {
        return SLICE_NONE;
    }

    /* EVP counts the padding's bytes too */
    len -= (text[n - 1] == '=') + (text[n - 2] == '=');
    return (struct slice) { (char *) to, (size_t) len };
}


/* XADD with the fields as they were, to the stream that they came from. */
static bool
record_send(struct api_call *c, const json_t *body, struct slice record)
{
    const struct config  *conf = c->env->config;
    const char    *stream = json_string_value(json_object_get(body, "stream"));
    const char    *argv[3 + DEAD_MAX_FIELDS];
    size_t         len[3 + DEAD_MAX_FIELDS];
    struct redis  *redis = NULL;
    redisReply    *reply = NULL;
    struct slice   value;
    int            argc = 3;
    bool           sent = false;

    argv[0] = "XADD";
    argv[1] = stream != NULL && strcmp(stream, conf->events_stream) == 0
                  ? conf->events_stream : conf->capture_stream;
    argv[2] = "*";

    for (int i = 0; i < 3; i++) {
        len[i] = strlen(argv[i]);
    }

    while (record.n > 0 && argc < 3 + DEAD_MAX_FIELDS
           && netstring_next(&record, &value))
    {
        argv[argc] = value.p;
        len[argc++] = value.n;
    }

    if (record.n > 0 || argc < 5 || argc % 2 == 0) {
        return api_problem(c, 409, "The record is damaged and cannot go back.");
    }

    if (redis_create(c->env->config, &redis) == RESULT_OK
        && redis_context(redis) != NULL)
    {
        reply = redis_argv(redis, argc, argv, len);
        sent = reply != NULL && reply->type == REDIS_REPLY_STRING;
    }

    freeReplyObject(reply);
    redis_destroy(redis);
    return sent || api_problem(c, 503, "Redis does not take the record.");
}


static bool
dead_audit(struct api_call *c, const struct store_doc *d)
{
    return api_audit(c, "dead_letter.replay", "dead_letter", d->id,
        LOGDOC_NONE, SLICE_NONE, "");
}


static void
dead_send(struct api_call *c, const struct store_doc *d, const json_t *body)
{
    struct slice  record = record_decode(c, body);
    enum result   r;

    if (json_is_true(json_object_get(body, "record_cut")) || record.p == NULL) {
        (void) api_problem(c, 409, "Only a part of the record was kept.");
        return;
    }

    if (!dead_audit(c, d) || !record_send(c, body, record)) {
        return;
    }

    /* it is in the stream: one that stays here would only go twice */
    r = store_doc_delete(c->env->store, STORE_DEAD_LETTER, d->id, -1);
    if (r != RESULT_OK && r != RESULT_NOT_FOUND) {
        (void) api_problem_result(c, r);
        return;
    }

    (void) buf_adds(&c->out, "{\"status\":\"queued\"}");
    api_send(c, 202, API_JSON);
}


void
api_dead_replay(struct api_call *c)
{
    struct store_doc  d;
    json_t           *body;
    enum result       r;

    if (!api_params_end(c) || !platform_only(c)) {
        return;
    }

    r = store_doc_get(c->env->store, STORE_DEAD_LETTER, c->ids[0], &c->arena,
        &d);
    if (r != RESULT_OK) {
        (void) api_problem_result(c, r);
        return;
    }

    body = json_loadb(d.body.p, d.body.n, 0, NULL);
    if (body == NULL) {
        (void) api_problem_result(c, RESULT_INTERNAL);
        return;
    }

    dead_send(c, &d, body);
    json_decref(body);
}
