/*
 * Events in.  Order of writes: idempotency key, event document, logs, then the
 * answer.  The first two hold the plan: which log ids go to which integrations.
 * Whoever finds a plan without its logs (a repeat with the key, or the mender
 * of event_mend.c after a crash) writes the same logs by the same ids.
 */

#include "event_private.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "changes.h"
#include "clock.h"
#include "json_slice.h"
#include "lane.h"
#include "log.h"
#include "logdoc.h"


/* -- life ---------------------------------------------------------------- */

enum result
events_create(const struct config *c, struct store *s, struct routes *routes,
    const struct secret *secret, struct events **out)
{
    struct events  *e;
    enum result     r;

    (void) secret;

    e = calloc(1, sizeof(*e));
    if (e == NULL) {
        return RESULT_MEMORY;
    }

    e->config = c;
    e->store = s;
    e->routes = routes;
    r = redis_create(c, &e->redis);
    r = r != RESULT_OK ? r : jq_child_create(c->jq_path,
        (unsigned) (c->jq_timeout_us / 1000), &e->jq);

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


void
events_taker(struct events *e, const struct event_taker *taker)
{
    e->taker = *taker;
}


void
events_count(struct events *e, struct event_counters *counters)
{
    e->counters = counters;
}


const char *
event_reason_text(enum event_reason r)
{
    static const char *const  text[EVENT_REASONS] = {
        [EVENT_INVALID] = "invalid", [EVENT_UNKNOWN] = "unknown",
        [EVENT_TOO_BIG] = "too_big", [EVENT_KEY_REUSED] = "key_reused",
        [EVENT_UNAVAILABLE] = "unavailable", [EVENT_INTERNAL] = "internal"
    };

    return text[r];
}


struct jq_child *
events_jq(struct events *e)
{
    return e->jq;
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
 * message rather than vanish.  What was planned has passed its filter. */
static enum result
prepare(struct accepting *x, const struct integration *i, struct logdoc *d,
    bool planned, bool *wanted)
{
    struct slice  text, program;
    enum result   r = RESULT_OK;

    *wanted = true;

    if (i->filter.n > 0) {
        r = run_program(x, JQ_FILTER, i->filter, &text);
        *wanted = planned || r != RESULT_OK
                  || slice_eq(text, SLICE_LIT("true"));
    }

    if (r == RESULT_OK && *wanted) {
        text = x->payload;
        program = integration_program(i, i->transform, x->root);

        if (program.n > 0) {
            r = run_program(x, JQ_TRANSFORM, program, &text);
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
            text = arena_copy(x->a, json_slice(v));
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
            ? json_slice(v)
            : arena_printf(x->a, "%lld", (long long) json_integer_value(v));
    }
}


/* ID NULL: a new one, one microsecond after the one before, so that the
 * deliveries of an event keep their order. */
static void
log_init(struct accepting *x, struct logdoc *d, const uint8_t *id)
{
    char  text[UUID_TEXT + 1];

    logdoc_init(d);

    if (id == NULL) {
        uuid_make(d->id, x->now_us + (int64_t) x->nlogs);
    } else {
        memcpy(d->id, id, UUID_BYTES);
    }

    uuid_text(d->id, text);
    d->started_us = uuid_time_us(d->id);
    d->action_id = x->action_id;
    d->action_category_id = x->category_id;
    d->lab_id = x->lab_id;
    d->org_id = x->org_id;
    d->attempts = 0;
    d->event_id = slice_of(x->id_text);
    d->message_id = arena_copy(x->a, slice_of(text));
    fill_refs(x, d);
}


static void
fill_log(struct accepting *x, const struct integration *i, struct logdoc *d,
    const uint8_t *id)
{
    log_init(x, d, id);
    d->kind = i->transport == INTEGRATION_MLLP ? LOG_KIND_HL7
                                               : LOG_KIND_WEBHOOK;
    d->status = LOG_PENDING;
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
}


/* The next log of X, for I. */
static enum result
add_log(struct accepting *x, const struct integration *i, const uint8_t *id)
{
    struct logdoc  *d = &x->logs[x->nlogs];
    bool            wanted;
    enum result     r;

    fill_log(x, i, d, id);
    r = prepare(x, i, d, id != NULL, &wanted);
    r = r != RESULT_OK ? r : lane_fill(d, i, x->root, x->a);
    x->nlogs += r == RESULT_OK && wanted;
    return r;
}


static enum result
route(struct accepting *x)
{
    const struct integration *const  *found;
    const struct slice                only = x->caller->only;
    struct routes_pin                *pin;
    size_t                            n;
    enum result                       r;

    /* one that was named may have been made a moment ago */
    if (only.n > 0) {
        (void) routes_refresh(x->e->routes);
    }

    r = routes_find(x->e->routes, x->action_id, x->lab_id, &pin, &found, &n);
    if (r != RESULT_OK) {
        return r;
    }

    if (n > EVENT_MAX_DELIVERIES) {
        routes_release(pin);
        return event_wrong(x, "#/action_id", "too_many",
            "more than 256 integrations want this event");
    }

    x->logs = arena_alloc(x->a, (n + 1) * sizeof(*x->logs));
    r = x->logs == NULL ? RESULT_MEMORY : RESULT_OK;

    for (size_t i = 0; i < n && r == RESULT_OK; i++) {
        if (only.n == 0 || slice_eq(found[i]->id, only)) {
            r = add_log(x, found[i], NULL);
        }
    }

    routes_release(pin);

    if (r == RESULT_OK && only.n > 0 && x->nlogs == 0) {
        return event_wrong(x, "#", "unwanted", "the integration does not want "
            "it: its action, lab or filter leaves it out, or it or its "
            "developer is disabled");
    }

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


/* The plan, as kept with the key and with the event. */
static json_t *
plan_json(const struct accepting *x)
{
    json_t  *ids = json_array(), *to = json_array();
    char     text[UUID_TEXT + 1], digest[65];

    for (size_t i = 0; i < x->nlogs; i++) {
        uuid_text(x->logs[i].id, text);
        (void) json_array_append_new(ids, json_string(text));
        (void) json_array_append_new(to, json_stringn(
            x->logs[i].integration_id.p, x->logs[i].integration_id.n));
    }

    hex(x->digest, 32, digest);
    return json_pack("{s:s,s:s,s:o,s:o}", "event_id", x->id_text, "digest",
        digest, "log_ids", ids, "integration_ids", to);
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


/* A new document of BODY, which is given up; its text is the caller's. */
static char *
doc_fill(const struct accepting *x, struct store_doc *d, struct slice id,
    json_t *body, int64_t expires_us)
{
    char  *text = json_dumps(body, JSON_COMPACT);

    json_decref(body);
    *d = (struct store_doc) { .id = id, .org_id = x->org_id,
        .created_us = x->now_us, .updated_us = x->now_us,
        .expires_us = expires_us,
        .body = slice_of(text == NULL ? "" : text) };
    return text;
}


/* The event keeps its raw text once, and what is planned of it. */
static json_t *
event_json(const struct accepting *x)
{
    json_t  *body = plan_json(x);

    (void) json_object_set_new(body, "action_id", json_integer(x->action_id));
    (void) json_object_set_new(body, "lab_id", json_integer(x->lab_id));
    (void) json_object_set_new(body, "raw",
        json_stringn(x->json.p, x->json.n));
    return body;
}


static void
offer(struct accepting *x)
{
    const struct event_taker  *t = &x->e->taker;

    for (size_t i = 0; i < x->nlogs; i++) {
        if (t->offer == NULL || !t->offer(t->arg, &x->logs[i])) {
            x->queued = true;
        }
    }
}


/* What was offered and has a lease is taken, or the offer is withdrawn. */
static void
hand_over(struct accepting *x, enum result r,
    const enum store_insert *outcome)
{
    const struct event_taker  *t = &x->e->taker;

    for (size_t i = 0; i < x->nlogs; i++) {
        if (x->logs[i].lease_until_us != LOGDOC_NONE) {
            t->take(t->arg, &x->logs[i], r == RESULT_OK
                && outcome[i] == STORE_NEW);
        }
    }
}


/* Of two equal calls at once only one plans: the key tells which, when NEW.
 * Another that completes the same plan may have written it first. */
static enum result
keep(struct accepting *x, bool new)
{
    enum store_insert   outcome[EVENT_MAX_DELIVERIES];
    struct store_doc    key, event;
    struct store_event  e = { .event = &event, .logs = x->logs,
        .n = x->nlogs };
    char               *key_text = NULL, *event_text;
    enum result         r = RESULT_MEMORY;

    event_text = doc_fill(x, &event, slice_of(x->id_text), event_json(x),
        x->deliver_us + x->e->config->retention_fail_us);

    if (new && x->key.n > 0) {
        key_text = doc_fill(x, &key, key_id(x), plan_json(x),
            x->now_us + x->e->config->idempotency_keep_us);
        e.key = &key;
    }

    if (new) {
        offer(x);
    } else {
        x->queued = true;
    }

    if (event_text != NULL && (e.key == NULL || key_text != NULL)) {
        r = store_event_put(x->e->store, &e, outcome);
    }

    free(event_text);
    free(key_text);

    if (r == RESULT_OK) {
        events_queue(x->e, x->logs, x->nlogs);
    }

    hand_over(x, r, outcome);
    return r;
}


/* A refusal loses nothing: the reconciler finds what is due. */
void
events_queue(struct events *e, const struct logdoc *logs, size_t n)
{
    struct due_item  due[EVENT_MAX_DELIVERIES], gone[EVENT_MAX_DELIVERIES];
    struct due_item  item;
    size_t           ndue = 0, ngone = 0;

    for (size_t i = 0; i < n && i < EVENT_MAX_DELIVERIES; i++) {
        memcpy(item.id, logs[i].id, UUID_BYTES);
        item.priority = logs[i].priority;

        /* a batch may be full at once */
        item.due_us = logs[i].lease_until_us != LOGDOC_NONE
                          ? logs[i].lease_until_us
                      : (logs[i].lane_flags & LOG_LANE_BATCH)
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

    } else if (ndue > 0 && !(e->config->roles & CONFIG_ROLE_DISPATCH)) {
        (void) !due_tell(e->redis);        /* else the call wakes it */
    }

    if (n > 0) {
        (void) changes_append(e->redis, e->config, logs, n);
    }
}


/* -- plans without logs -------------------------------------------------- */

/* The integration was deleted meanwhile: so is the delivery. */
static void
add_cancelled(struct accepting *x, const uint8_t *id, struct slice to)
{
    struct logdoc  *d = &x->logs[x->nlogs++];

    log_init(x, d, id);
    d->kind = LOG_KIND_WEBHOOK;
    d->status = LOG_CANCELLED;
    d->integration_id = arena_copy(x->a, to);
    d->error_code = SLICE_LIT("integration_deleted");
    d->error_message = SLICE_LIT("its integration was deleted");
    d->request.data = x->payload;
    d->request.bytes = (int64_t) x->payload.n;
    d->expires_us = x->now_us + x->e->config->retention_fail_us;
}


static enum result
plan_again(struct accepting *x, const uint8_t *id, struct slice to)
{
    const struct integration  *i;
    struct routes_pin         *pin;
    bool                       held;
    enum result                r;

    r = routes_get(x->e->routes, to, &pin, &i, &held);

    if (r == RESULT_NOT_FOUND) {
        add_cancelled(x, id, to);
        return RESULT_OK;
    }

    if (r == RESULT_OK) {
        r = add_log(x, i, id);
        routes_release(pin);
    }

    return r;
}


enum result
event_complete(struct accepting *x, const json_t *plan)
{
    const json_t  *ids = json_object_get(plan, "log_ids");
    const json_t  *to = json_object_get(plan, "integration_ids");
    const char    *event = json_string_value(json_object_get(plan,
                       "event_id"));
    uint8_t        id[UUID_BYTES];
    size_t         n = json_array_size(ids);
    enum result    r = RESULT_OK;

    if (event == NULL || uuid_parse(slice_of(event), x->id) != RESULT_OK
        || json_array_size(to) != n || n > EVENT_MAX_DELIVERIES)
    {
        return RESULT_INTERNAL;
    }

    uuid_text(x->id, x->id_text);
    x->nlogs = 0;
    x->logs = arena_alloc(x->a, (n + 1) * sizeof(*x->logs));
    r = x->logs == NULL ? RESULT_MEMORY : RESULT_OK;

    for (size_t i = 0; i < n && r == RESULT_OK; i++) {
        r = uuid_parse(slice_of(json_string_value(json_array_get(ids, i))),
            id);
        r = r != RESULT_OK ? RESULT_INTERNAL : plan_again(x, id,
            slice_of(json_string_value(json_array_get(to, i))));
    }

    if (r == RESULT_OK) {
        digest_of(x);
        r = keep(x, false);
    }

    return r;
}


enum result
event_logs_missing(struct events *e, const json_t *plan, struct arena *a,
    bool *missing)
{
    const struct scope  all = { .platform = true };
    const json_t       *ids = json_object_get(plan, "log_ids"), *v;
    struct logdoc      *d = arena_alloc(a, sizeof(*d));
    uint8_t             id[UUID_BYTES];
    size_t              i;
    enum result         r = d == NULL ? RESULT_MEMORY : RESULT_OK;

    *missing = false;

    json_array_foreach((json_t *) ids, i, v) {
        if (r != RESULT_OK || *missing) {
            break;
        }

        r = uuid_parse(slice_of(json_string_value(v)), id);
        r = r != RESULT_OK ? RESULT_INTERNAL
            : store_log_get(e->store, &all, id, a, d);

        if (r == RESULT_NOT_FOUND) {
            *missing = true;
            r = RESULT_OK;
        }
    }

    return r;
}


/* NOT_FOUND: the key is new.  OK: *out is the first answer, and true. */
static enum result
find_repeat(struct accepting *x, struct event_accepted *out)
{
    struct store_doc  d;
    json_t           *kept;
    const char       *digest;
    char              ours[65];
    bool              missing = false;
    enum result       r;

    r = store_doc_get(x->e->store, STORE_IDEMPOTENCY, key_id(x), x->a, &d);
    if (r != RESULT_OK) {
        return r;
    }

    kept = json_loadb(d.body.p, d.body.n, 0, NULL);
    digest = json_string_value(json_object_get(kept, "digest"));
    hex(x->digest, 32, ours);

    if (digest == NULL || strcmp(digest, ours) != 0) {
        json_decref(kept);
        return RESULT_CONFLICT;
    }

    r = event_logs_missing(x->e, kept, x->a, &missing);
    r = r != RESULT_OK || !missing ? r : event_complete(x, kept);

    if (r == RESULT_OK) {
        answer_fill(kept, x->a, out);
        out->repeated = true;
    }

    json_decref(kept);
    return r;
}


static enum event_reason
reason_of(enum result r, const struct event_fault *fault)
{
    switch (r) {
    case RESULT_INVALID:
        /* an unknown member is a mistake of form */
        return strcmp(fault->code, "size") == 0 ? EVENT_TOO_BIG
               : strcmp(fault->code, "unknown") == 0
                     && (strcmp(fault->pointer, "#/action_id") == 0
                         || strcmp(fault->pointer, "#/lab_id") == 0)
                   ? EVENT_UNKNOWN : EVENT_INVALID;
    case RESULT_TOO_BIG:
        return EVENT_TOO_BIG;
    case RESULT_CONFLICT:
        return EVENT_KEY_REUSED;
    case RESULT_UNAVAILABLE:
    case RESULT_TIMEOUT:
    case RESULT_AGAIN:
        return EVENT_UNAVAILABLE;
    default:
        return EVENT_INTERNAL;
    }
}


static void
count(struct event_counters *n, enum result r,
    const struct event_accepted *out, const struct event_fault *fault)
{
    if (n == NULL) {
        return;
    }

    if (r != RESULT_OK) {
        n->refused[reason_of(r, fault)]++;

    } else if (out->repeated) {
        n->repeated++;

    } else {
        n->accepted++;
        n->unrouted += out->nlogs == 0;
        n->deliveries += out->nlogs;
    }
}


static enum result
accept_one(struct events *e, const struct event_caller *caller,
    struct slice json, struct arena *a, struct event_accepted *out,
    struct event_fault *fault)
{
    struct accepting  x = { .e = e, .caller = caller, .a = a, .fault = fault,
        .json = json, .now_us = clock_wall_us() };
    json_t           *answer;
    enum result       r;

    memset(out, 0, sizeof(*out));
    memset(fault, 0, sizeof(*fault));
    r = event_check(&x);

    if (r == RESULT_OK && x.key.n > 0) {
        digest_of(&x);
        r = find_repeat(&x, out);

        if (r != RESULT_NOT_FOUND) {
            out->queued = x.queued;
            json_decref(x.root);
            return r;
        }

        r = RESULT_OK;
    }

    uuid_make(x.id, x.now_us);
    uuid_text(x.id, x.id_text);
    r = r != RESULT_OK ? r : route(&x);
    r = r != RESULT_OK ? r : keep(&x, true);

    if (r == RESULT_CONFLICT) {
        r = find_repeat(&x, out);

    } else if (r == RESULT_OK) {
        answer = plan_json(&x);
        answer_fill(answer, a, out);
        json_decref(answer);
    }

    out->queued = x.queued;
    json_decref(x.root);
    return r;
}


enum result
event_accept(struct events *e, const struct event_caller *caller,
    struct slice json, struct arena *a, struct event_accepted *out,
    struct event_fault *fault)
{
    enum result  r = accept_one(e, caller, json, a, out, fault);

    count(e->counters, r, out, fault);
    return r;
}
