/*
 * Events in.  Order of writes: idempotency key, event document, logs, then the
 * answer.  A crash in between was never answered: a repeat with the key finds
 * that logs are missing and begins anew.
 */

#include "event.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "changes.h"
#include "clock.h"
#include "json_member.h"
#include "lane.h"
#include "log.h"
#include "logdoc.h"

#define MAX_EVENT        (2 * 1024 * 1024)
#define MAX_DELIVERIES   256               /* of one event */
#define MAX_AHEAD_US     (INT64_C(366) * 86400 * 1000000)

struct events {
    const struct config  *config;
    struct store         *store;
    struct routes        *routes;
    struct redis         *redis;
    struct jq_child      *jq;
};

/* One event being accepted. */
struct accepting {
    struct events              *e;
    const struct event_caller  *caller;
    struct arena               *a;
    struct event_fault         *fault;
    json_t                     *root;
    struct slice                json, payload;     /* exact bytes */
    int64_t                     action_id, lab_id, org_id, category_id;
    int64_t                     priority, deliver_us, now_us;
    struct slice                key;
    uint8_t                     digest[32];
    uint8_t                     id[UUID_BYTES];
    char                        id_text[UUID_TEXT + 1];
    struct logdoc              *logs;
    size_t                      nlogs;
};


/* -- life ---------------------------------------------------------------- */

static char *
jq_beside_us(void)
{
    char     path[4096];
    ssize_t  n = readlink("/proc/self/exe", path, sizeof(path) - 8);

    if (n <= 0) {
        return strdup("integrationd-jq");
    }

    path[n] = '\0';

    for (char *slash = path + n; slash > path; slash--) {
        if (*slash == '/') {
            slash[1] = '\0';
            break;
        }
    }

    (void) strncat(path, "integrationd-jq", sizeof(path) - strlen(path) - 1);
    return strdup(path);
}


enum result
events_create(const struct config *c, struct store *s, struct routes *routes,
    const struct secret *secret, struct events **out)
{
    struct events  *e;
    char           *path;
    enum result     r;

    (void) secret;

    e = calloc(1, sizeof(*e));
    path = c->jq_path != NULL ? strdup(c->jq_path) : jq_beside_us();

    if (e == NULL || path == NULL) {
        free(path);
        free(e);
        return RESULT_MEMORY;
    }

    e->config = c;
    e->store = s;
    e->routes = routes;
    r = redis_create(c, &e->redis);
    r = r != RESULT_OK ? r : jq_child_create(path,
        (unsigned) (c->jq_timeout_us / 1000), &e->jq);
    free(path);

    if (r != RESULT_OK) {
        events_destroy(e);
        return r;
    }

    *out = e;
    return RESULT_OK;
}


void
events_destroy(struct events *e)
{
    if (e != NULL) {
        jq_child_destroy(e->jq);
        redis_destroy(e->redis);
        free(e);
    }
}


struct jq_child *
events_jq(struct events *e)
{
    return e->jq;
}


/* -- checking ------------------------------------------------------------ */

static enum result
wrong(struct accepting *x, const char *pointer, const char *code,
    const char *detail)
{
    (void) snprintf(x->fault->pointer, sizeof(x->fault->pointer), "%s",
        pointer);
    (void) snprintf(x->fault->code, sizeof(x->fault->code), "%s", code);
    (void) snprintf(x->fault->detail, sizeof(x->fault->detail), "%s", detail);
    return RESULT_INVALID;
}


static bool
is_known(const char *name)
{
    static const char *const  names[] = { "action_id", "lab_id", "refs",
        "payload", "idempotency_key", "priority", "deliver_at" };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(name, names[i]) == 0) {
            return true;
        }
    }

    return false;
}


static enum result
check_refs(struct accepting *x)
{
    const json_t  *refs = json_object_get(x->root, "refs"), *v;
    const char    *name;
    char           pointer[128];

    if (refs == NULL) {
        return RESULT_OK;
    }

    if (!json_is_object(refs) || json_object_size(refs) > 16) {
        return wrong(x, "#/refs", "type",
            "must be an object of at most 16 references");
    }

    json_object_foreach((json_t *) refs, name, v) {
        if ((!json_is_string(v) && !json_is_integer(v))
            || strlen(name) > 64
            || (json_is_string(v) && json_string_length(v) > 256))
        {
            (void) snprintf(pointer, sizeof(pointer), "#/refs/%.64s", name);
            return wrong(x, pointer, "type",
                "must be text of at most 256 bytes or a whole number");
        }
    }

    return RESULT_OK;
}


static enum result
check_numbers(struct accepting *x)
{
    const json_t  *v = json_object_get(x->root, "action_id");

    if (!json_is_integer(v) || json_integer_value(v) < 0) {
        return wrong(x, "#/action_id", "required",
            "must be the integer id of an action");
    }

    x->action_id = json_integer_value(v);
    v = json_object_get(x->root, "lab_id");

    if (!json_is_integer(v) || json_integer_value(v) < 0) {
        return wrong(x, "#/lab_id", "required",
            "must be the integer id of a lab");
    }

    x->lab_id = json_integer_value(v);
    v = json_object_get(x->root, "priority");
    x->priority = LOGDOC_NONE;

    if (v != NULL) {
        if (!json_is_integer(v) || json_integer_value(v) < 0
            || json_integer_value(v) > 2)
        {
            return wrong(x, "#/priority", "range",
                "must be 2 (HIGH), 1 (MODERATE) or 0 (LOW)");
        }

        x->priority = json_integer_value(v);
    }

    return RESULT_OK;
}


static enum result
check_payload(struct accepting *x)
{
    if (json_object_get(x->root, "payload") == NULL) {
        return wrong(x, "#/payload", "required", "is required");
    }

    if (json_member_range(x->json, "payload", &x->payload) != RESULT_OK) {
        return wrong(x, "#/payload", "json", "cannot be found in the text");
    }

    return RESULT_OK;
}


static enum result
check_times(struct accepting *x)
{
    const json_t  *v = json_object_get(x->root, "deliver_at");

    x->deliver_us = x->now_us;

    if (v == NULL) {
        return RESULT_OK;
    }

    if (json_is_integer(v) && json_integer_value(v) >= 0
        && json_integer_value(v) < INT64_MAX / 1000000)
    {
        x->deliver_us = json_integer_value(v) * 1000000;

    } else if (!json_is_string(v)
               || clock_parse(json_string_value(v), &x->deliver_us)
                      != RESULT_OK)
    {
        return wrong(x, "#/deliver_at", "time",
            "must be RFC 3339 such as 2026-01-02T03:04:05Z, or Unix seconds");
    }

    if (x->deliver_us > x->now_us + MAX_AHEAD_US) {
        return wrong(x, "#/deliver_at", "range",
            "must be within a year from now");
    }

    if (x->deliver_us < x->now_us) {
        x->deliver_us = x->now_us;
    }

    return RESULT_OK;
}


static enum result
check_key(struct accepting *x)
{
    const json_t  *v = json_object_get(x->root, "idempotency_key");

    x->key = SLICE_NONE;

    if (v == NULL) {
        return RESULT_OK;
    }

    if (!json_is_string(v) || json_string_length(v) == 0
        || json_string_length(v) > 255)
    {
        return wrong(x, "#/idempotency_key", "length",
            "must be text of 1 to 255 bytes");
    }

    x->key = (struct slice) { json_string_value(v), json_string_length(v) };
    return RESULT_OK;
}


static bool
lab_in_scope(const struct scope *s, int64_t lab_id, int64_t org_id)
{
    if (s->platform) {
        return true;
    }

    if (org_id != s->org_id) {
        return false;
    }

    for (unsigned i = 0; s->labs != NULL && i < s->nlabs; i++) {
        if (s->labs[i] == lab_id) {
            return true;
        }
    }

    return s->labs == NULL;
}


/* A member of a stored document, LOGDOC_NONE when there is none. */
static enum result
doc_member(struct accepting *x, enum store_coll coll, int64_t id,
    const char *name, int64_t *out)
{
    struct store_doc  d;
    json_t           *body, *v;
    char              text[24];
    enum result       r;

    (void) snprintf(text, sizeof(text), "%lld", (long long) id);
    r = store_doc_get(x->e->store, coll, slice_of(text), x->a, &d);

    if (r == RESULT_OK) {
        body = json_loadb(d.body.p, d.body.n, 0, NULL);
        v = json_object_get(body, name);
        *out = json_is_integer(v) ? json_integer_value(v) : LOGDOC_NONE;
        json_decref(body);
    }

    return r;
}


/* An action or lab that is not there is the caller's mistake; another tenant's
 * lab is not there. */
static enum result
check_owners(struct accepting *x)
{
    enum result  r;

    r = doc_member(x, STORE_ACTION, x->action_id, "action_category_id",
        &x->category_id);

    if (r == RESULT_NOT_FOUND) {
        return wrong(x, "#/action_id", "unknown", "there is no such action");
    }

    if (r != RESULT_OK) {
        return r;
    }

    r = doc_member(x, STORE_LAB, x->lab_id, "org_id", &x->org_id);

    if (r == RESULT_NOT_FOUND
        || (r == RESULT_OK
            && !lab_in_scope(&x->caller->scope, x->lab_id, x->org_id)))
    {
        return wrong(x, "#/lab_id", "unknown", "there is no such lab");
    }

    return r;
}


static enum result
parse(struct accepting *x)
{
    json_error_t   error;
    const char    *name;
    json_t        *v;
    enum result    r;

    if (x->json.n > MAX_EVENT) {
        return RESULT_TOO_BIG;
    }

    x->root = json_loadb(x->json.p, x->json.n, JSON_REJECT_DUPLICATES, &error);

    if (x->root == NULL) {
        return wrong(x, "#", "json", error.text);
    }

    if (!json_is_object(x->root)) {
        return wrong(x, "#", "type", "an event is a JSON object");
    }

    json_object_foreach(x->root, name, v) {
        if (!is_known(name)) {
            char  pointer[128];

            (void) snprintf(pointer, sizeof(pointer), "#/%.100s", name);
            return wrong(x, pointer, "unknown", "is no member of an event");
        }
    }

    r = check_numbers(x);
    r = r != RESULT_OK ? r : check_payload(x);
    r = r != RESULT_OK ? r : check_times(x);
    r = r != RESULT_OK ? r : check_key(x);
    r = r != RESULT_OK ? r : check_refs(x);
    return r != RESULT_OK ? r : check_owners(x);
}


/* -- payloads ------------------------------------------------------------ */

/* Runs a program over the event; OUT is in the arena. */
static enum result
run_program(struct accepting *x, enum jq_mode mode, struct slice program,
    struct slice *out)
{
    struct buf   buf;
    enum result  r;

    buf_init(&buf, JQ_MAX_OUTPUT);
    r = jq_child_run(x->e->jq, mode, program, x->json, &buf);
    *out = arena_copy(x->a, (struct slice) { buf.p, buf.n });
    buf_cleanup(&buf);
    return r;
}


/* Programs see the event; a filter that fails lets the delivery FAIL with its
 * message rather than vanish. */
static enum result
prepare(struct accepting *x, const struct integration *i, struct logdoc *d,
    bool *wanted)
{
    struct slice  text;
    enum result   r = RESULT_OK;

    *wanted = true;

    if (i->filter.n > 0) {
        r = run_program(x, JQ_FILTER, i->filter, &text);
        *wanted = r != RESULT_OK || slice_eq(text, SLICE_LIT("true"));
    }

    if (r == RESULT_OK && *wanted) {
        text = x->payload;

        if (i->transform.n > 0) {
            r = run_program(x, JQ_TRANSFORM, i->transform, &text);
        }
    }

    if (r == RESULT_UNAVAILABLE) {
        return r;
    }

    if (r == RESULT_OK && i->transport == INTEGRATION_MLLP && i->hl7_raw
        && *wanted)
    {
        json_t  *v = json_loadb(text.p, text.n, JSON_DECODE_ANY, NULL);

        /* the message itself is the text of the JSON string */
        if (json_is_string(v)) {
            text = arena_copy(x->a, (struct slice) { json_string_value(v),
                json_string_length(v) });
        } else {
            r = RESULT_INVALID;
            text = SLICE_LIT("hl7_raw: the payload must be a text");
        }

        json_decref(v);
    }

    if (r != RESULT_OK) {
        d->status = LOG_FAIL;
        d->next_attempt_us = LOGDOC_NONE;
        d->error_code = SLICE_LIT("transform");
        d->error_message = (struct slice) { text.p,
            text.n > 250 ? 250 : text.n };
        text = x->payload;
    }

    d->request.data = text;
    d->request.bytes = (int64_t) text.n;
    return RESULT_OK;
}


static void
fill_refs(struct accepting *x, struct logdoc *d)
{
    const json_t  *refs = json_object_get(x->root, "refs"), *v;
    const char    *name;

    json_object_foreach((json_t *) refs, name, v) {
        struct log_pair  *p;

        if (d->nrefs == LOGDOC_MAX_PAIRS) {
            break;
        }

        p = &d->refs[d->nrefs++];
        p->name = arena_copy(x->a, slice_of(name));
        p->value = json_is_string(v)
            ? (struct slice) { json_string_value(v), json_string_length(v) }
            : arena_printf(x->a, "%lld", (long long) json_integer_value(v));
    }
}


static void
fill_log(struct accepting *x, const struct integration *i, struct logdoc *d,
    size_t n)
{
    char  text[UUID_TEXT + 1];

    logdoc_init(d);

    /* one microsecond apart: deliveries of an event keep their order */
    d->started_us = x->now_us + (int64_t) n;
    uuid_make(d->id, d->started_us);
    uuid_text(d->id, text);

    d->kind = i->transport == INTEGRATION_MLLP ? LOG_KIND_HL7
                                               : LOG_KIND_WEBHOOK;
    d->status = LOG_PENDING;
    d->action_id = x->action_id;
    d->action_category_id = x->category_id;
    d->lab_id = x->lab_id;
    d->org_id = x->org_id;
    d->developer_id = arena_copy(x->a, i->developer_id);
    d->integration_id = arena_copy(x->a, i->id);
    d->endpoint = arena_copy(x->a, i->name);
    d->method = arena_copy(x->a, i->transport == INTEGRATION_MLLP
        ? SLICE_LIT("") : i->method);
    d->url = i->transport == INTEGRATION_MLLP
        ? arena_printf(x->a, "mllp%s://%.*s:%lld", i->tls ? "s" : "",
              SLICE_ARG(i->host), (long long) i->port)
        : arena_copy(x->a, i->url);
    d->priority = x->priority != LOGDOC_NONE ? x->priority : i->priority;
    d->next_attempt_us = x->deliver_us;
    d->attempts = 0;
    d->event_id = slice_of(x->id_text);
    d->message_id = arena_copy(x->a, slice_of(text));
    fill_refs(x, d);
}


static enum result
route(struct accepting *x)
{
    const struct integration *const  *found;
    struct routes_pin                *pin;
    size_t                            n;
    bool                              wanted;
    enum result                       r;

    r = routes_find(x->e->routes, x->action_id, x->lab_id, &pin, &found, &n);
    if (r != RESULT_OK) {
        return r;
    }

    if (n > MAX_DELIVERIES) {
        routes_release(pin);
        return wrong(x, "#/action_id", "too_many",
            "more than 256 integrations want this event");
    }

    x->logs = arena_alloc(x->a, (n + 1) * sizeof(*x->logs));
    r = x->logs == NULL ? RESULT_MEMORY : RESULT_OK;

    for (size_t i = 0; i < n && r == RESULT_OK; i++) {
        fill_log(x, found[i], &x->logs[x->nlogs], x->nlogs);
        r = prepare(x, found[i], &x->logs[x->nlogs], &wanted);
        r = r != RESULT_OK ? r : lane_fill(&x->logs[x->nlogs], found[i],
            x->root, x->a);
        x->nlogs += wanted;
    }

    routes_release(pin);
    return r;
}


/* -- keeping ------------------------------------------------------------- */

static void
digest_of(struct accepting *x)
{
    (void) EVP_Digest(x->json.p, x->json.n, x->digest, NULL, EVP_sha256(),
        NULL);
}


static void
hex(const uint8_t *p, size_t n, char *out)
{
    for (size_t i = 0; i < n; i++) {
        (void) snprintf(out + 2 * i, 3, "%02x", p[i]);
    }
}


static struct slice
key_id(struct accepting *x)
{
    uint8_t  digest[32];
    char     text[65];

    (void) EVP_Digest(x->key.p, x->key.n, digest, NULL, EVP_sha256(), NULL);
    hex(digest, 32, text);
    return arena_printf(x->a, "%.*s:%s", SLICE_ARG(x->caller->id), text);
}


/* The answer as kept with the key, so that a repeat gives it again. */
static json_t *
answer_json(struct accepting *x)
{
    json_t  *ids = json_array(), *out;
    char     text[UUID_TEXT + 1], digest[65];

    for (size_t i = 0; i < x->nlogs; i++) {
        uuid_text(x->logs[i].id, text);
        (void) json_array_append_new(ids, json_string(text));
    }

    hex(x->digest, 32, digest);
    out = json_pack("{s:s,s:s,s:o}", "event_id", x->id_text, "digest", digest,
        "log_ids", ids);
    return out;
}


static void
answer_fill(const json_t *kept, struct arena *a, struct event_accepted *out)
{
    const json_t  *ids = json_object_get(kept, "log_ids"), *v;
    size_t         i;

    (void) snprintf(out->event_id, sizeof(out->event_id), "%s",
        json_string_value(json_object_get(kept, "event_id")));
    out->log_ids = arena_alloc(a, (json_array_size(ids) + 1)
        * sizeof(*out->log_ids));
    out->nlogs = 0;

    if (out->log_ids == NULL) {
        return;
    }

    json_array_foreach((json_t *) ids, i, v) {
        (void) snprintf(out->log_ids[out->nlogs++], sizeof(*out->log_ids),
            "%s", json_string_value(v));
    }
}


/* Were all logs of the kept answer written?  They are in one batch. */
static enum result
logs_are_kept(struct accepting *x, const struct event_accepted *out)
{
    const struct scope  all = { .platform = true };
    struct logdoc       d;
    uint8_t             id[UUID_BYTES];
    enum result         r = RESULT_OK;

    if (out->nlogs > 0) {
        r = uuid_parse(slice_of(out->log_ids[out->nlogs - 1]), id);
        r = r != RESULT_OK ? r : store_log_get(x->e->store, &all, id, x->a,
            &d);
    }

    return r;
}


/* NOT_FOUND: the key is new, or its call never came to an end.  OK: *out is
 * the first answer. */
static enum result
find_repeat(struct accepting *x, struct event_accepted *out)
{
    struct store_doc  d;
    json_t           *kept;
    const char       *digest;
    char              ours[65];
    bool              same;
    enum result       r;

    r = store_doc_get(x->e->store, STORE_IDEMPOTENCY, key_id(x), x->a, &d);
    if (r != RESULT_OK) {
        return r;
    }

    kept = json_loadb(d.body.p, d.body.n, 0, NULL);
    digest = json_string_value(json_object_get(kept, "digest"));
    hex(x->digest, 32, ours);
    same = digest != NULL && strcmp(digest, ours) == 0;

    if (same) {
        answer_fill(kept, x->a, out);
        out->repeated = true;
    }

    json_decref(kept);

    if (!same) {
        return RESULT_CONFLICT;
    }

    r = logs_are_kept(x, out);

    if (r == RESULT_NOT_FOUND) {
        memset(out, 0, sizeof(*out));

        /* of two that find this at once only one may begin anew */
        r = store_doc_delete(x->e->store, STORE_IDEMPOTENCY, key_id(x),
            d.version);
        return r == RESULT_OK ? RESULT_NOT_FOUND : r;
    }

    return r;
}


static enum result
put_json(struct accepting *x, enum store_coll coll, struct slice id,
    json_t *body, int64_t expires_us)
{
    struct store_doc  d = { .id = id, .org_id = x->org_id,
        .created_us = x->now_us, .updated_us = x->now_us,
        .expires_us = expires_us };
    int64_t           version;
    char             *text = json_dumps(body, JSON_COMPACT);
    enum result       r;

    json_decref(body);

    if (text == NULL) {
        return RESULT_MEMORY;
    }

    d.body = slice_of(text);
    r = store_doc_put(x->e->store, coll, &d, 0, &version);
    free(text);
    return r;
}


/* The event keeps its raw text once, and what is planned of it. */
static enum result
keep_event(struct accepting *x)
{
    json_t  *body = answer_json(x);

    (void) json_object_set_new(body, "state", json_string("accepted"));
    (void) json_object_set_new(body, "action_id", json_integer(x->action_id));
    (void) json_object_set_new(body, "lab_id", json_integer(x->lab_id));
    (void) json_object_set_new(body, "raw",
        json_stringn(x->json.p, x->json.n));

    return put_json(x, STORE_EVENT, slice_of(x->id_text), body,
        x->now_us + x->e->config->retention_fail_us);
}


static enum result
keep_logs(struct accepting *x)
{
    enum store_insert  outcome[MAX_DELIVERIES];

    return x->nlogs == 0 ? RESULT_OK
        : store_logs_insert(x->e->store, x->logs, x->nlogs, outcome);
}


/* A refusal loses nothing: the reconciler finds what is due. */
void
events_queue(struct events *e, const struct logdoc *logs, size_t n)
{
    struct due_item  due[MAX_DELIVERIES], gone[MAX_DELIVERIES], item;
    size_t           ndue = 0, ngone = 0;

    for (size_t i = 0; i < n && i < MAX_DELIVERIES; i++) {
        memcpy(item.id, logs[i].id, UUID_BYTES);
        item.priority = logs[i].priority;

        /* a batch may be full at once */
        item.due_us = (logs[i].lane_flags & LOG_LANE_BATCH)
                          ? logs[i].lane_us : logs[i].next_attempt_us;

        if (logs[i].status == LOG_PENDING || logs[i].status == LOG_RETRYING) {
            due[ndue++] = item;
        } else {
            gone[ngone++] = item;
        }
    }

    if ((ndue > 0 && due_add(e->redis, due, ndue, false) != RESULT_OK)
        || (ngone > 0 && due_remove(e->redis, gone, ngone) != RESULT_OK))
    {
        log_rate(LOG_WARN, "events", "the due queue is away; accepted "
            "deliveries wait for the reconciler");
    }

    if (n > 0) {
        (void) changes_append(e->redis, e->config, logs, n);
    }
}


static enum result
keep(struct accepting *x)
{
    enum result  r;

    /* the key first: of two equal calls at once only one goes on */
    if (x->key.n > 0) {
        r = put_json(x, STORE_IDEMPOTENCY, key_id(x), answer_json(x),
            x->now_us + x->e->config->idempotency_keep_us);
        if (r != RESULT_OK) {
            return r;
        }
    }

    r = keep_event(x);
    return r != RESULT_OK ? r : keep_logs(x);
}


enum result
event_accept(struct events *e, const struct event_caller *caller,
    struct slice json, struct arena *a, struct event_accepted *out,
    struct event_fault *fault)
{
    struct accepting  x = { .e = e, .caller = caller, .a = a, .fault = fault,
        .json = json, .now_us = clock_wall_us() };
    json_t           *answer;
    enum result       r;

    memset(out, 0, sizeof(*out));
    memset(fault, 0, sizeof(*fault));
    r = parse(&x);

    if (r == RESULT_OK && x.key.n > 0) {
        digest_of(&x);
        r = find_repeat(&x, out);

        if (r != RESULT_NOT_FOUND) {
            json_decref(x.root);
            return r;
        }

        r = RESULT_OK;
    }

    uuid_make(x.id, x.now_us);
    uuid_text(x.id, x.id_text);
    r = r != RESULT_OK ? r : route(&x);
    r = r != RESULT_OK ? r : keep(&x);

    if (r == RESULT_CONFLICT) {
        r = find_repeat(&x, out);

    } else if (r == RESULT_OK) {
        events_queue(e, x.logs, x.nlogs);
        answer = answer_json(&x);
        answer_fill(answer, a, out);
        json_decref(answer);
    }

    json_decref(x.root);
    return r;
}
