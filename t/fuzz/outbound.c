/*
 * What business applications send: an event, or the items of Fusion's /queue/
 * and /schedule/, by the first byte.  On a store that keeps nothing, has every
 * action and lab, and holds what it is given against its own limits.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fusion.h"
#include "log.h"
#include "store_ops.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum result
doc_get(struct store *s, enum store_coll c, struct slice id, struct arena *a,
    struct store_doc *out)
{
    (void) s;
    (void) a;

    if (c != STORE_ACTION && c != STORE_LAB) {
        return RESULT_NOT_FOUND;
    }

    memset(out, 0, sizeof(*out));
    out->id = id;
    out->body = SLICE_LIT("{\"org_id\":3,\"action_category_id\":1}");
    return RESULT_OK;
}


static enum result
doc_put(struct store *s, enum store_coll c, const struct store_doc *d,
    int64_t if_version, int64_t *version)
{
    json_t  *v = json_loadb(d->body.p, d->body.n, 0, NULL);

    (void) s;
    (void) c;
    (void) if_version;

    if (!json_is_object(v)) {
        abort();                           /* nobody could read it again */
    }

    json_decref(v);
    *version = 1;
    return RESULT_OK;
}


static enum result
doc_list(struct store *s, enum store_coll c, int64_t org_id,
    struct slice after, bool descending, unsigned limit, struct arena *a,
    struct store_doc **out, size_t *n)
{
    (void) s;
    (void) c;
    (void) org_id;
    (void) after;
    (void) descending;
    (void) limit;
    (void) a;
    *out = NULL;
    *n = 0;
    return RESULT_OK;
}


static enum result
config_version(struct store *s, int64_t *v)
{
    (void) s;
    *v = 1;
    return RESULT_OK;
}


static enum result
log_get(struct store *s, const struct scope *sc, const uint8_t id[UUID_BYTES],
    struct arena *a, struct logdoc *out)
{
    (void) s;
    (void) sc;
    (void) id;
    (void) a;
    (void) out;
    return RESULT_NOT_FOUND;
}


static enum result
logs_insert(struct store *s, const struct logdoc *docs, size_t n,
    enum store_insert *outcome)
{
    (void) s;

    for (size_t i = 0; i < n; i++) {
        if (docs[i].nrefs > LOGDOC_MAX_PAIRS || docs[i].url.n == 0
            || memchr(docs[i].url.p, '\n', docs[i].url.n) != NULL
            || docs[i].next_attempt_us == LOGDOC_NONE
            || docs[i].priority < 0 || docs[i].priority > 2)
        {
            abort();
        }

        outcome[i] = STORE_NEW;
    }

    return RESULT_OK;
}


static const struct store_ops  ops = {
    .name = "none", .doc_get = doc_get, .doc_put = doc_put,
    .doc_list = doc_list, .config_version = config_version,
    .log_get = log_get, .logs_insert = logs_insert
};

static struct store     store = { &ops };
static struct config   *config;
static struct secret   *secret;
static struct routes   *routes;
static struct events   *events;


static void
start(void)
{
    char  path[64], err[512];

    snprintf(path, sizeof(path), "/tmp/fuzz-secret-%d", (int) getpid());
    (void) setenv("INTEGRATIOND_REDIS", "/nonexistent.sock", 1);
    (void) log_open("/dev/null", LOG_ERROR, false);

    if (config_load(NULL, &config, err, sizeof(err)) != RESULT_OK
        || secret_load(path, 1, &secret, err, sizeof(err)) != RESULT_OK
        || routes_create(&store, &routes) != RESULT_OK
        || events_create(config, &store, routes, secret, &events)
               != RESULT_OK)
    {
        abort();
    }

    (void) unlink(path);
}


static void
fuzz_event(struct slice text, struct arena *a)
{
    const struct event_caller  caller = { .scope = { .platform = true },
        .id = SLICE_LIT("fuzz") };
    struct event_accepted      accepted;
    struct event_fault         fault;
    enum result                r;

    r = event_accept(events, &caller, text, a, &accepted, &fault);

    if (r == RESULT_INVALID && (fault.pointer[0] != '#'
                                || fault.detail[0] == '\0'))
    {
        abort();
    }
}


static void
fuzz_fusion(struct slice text, bool scheduled, struct arena *a)
{
    struct fusion_call  *c = calloc(1, sizeof(*c));
    enum result          r;

    if (c == NULL) {
        abort();
    }

    c->config = config;
    c->store = &store;
    c->secret = secret;
    c->events = events;
    c->arena = a;
    c->developer_id = SLICE_LIT("dev");
    c->org_id = 3;
    r = fusion_queue(c, text, scheduled);

    /* refused with a reason, or a job for each item */
    if ((r == RESULT_INVALID) != (c->nfaults > 0)
        || (r == RESULT_OK && c->njobs == 0))
    {
        abort();
    }

    free(c);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena  a;
    struct slice  text;

    if (events == NULL) {
        start();
    }

    if (size == 0) {
        return 0;
    }

    arena_init(&a, 64 * 1024 * 1024);
    text = (struct slice) { (const char *) data + 1, size - 1 };

    if (data[0] == 'e') {
        fuzz_event(text, &a);
    } else {
        fuzz_fusion(text, data[0] == 's', &a);
    }

    arena_cleanup(&a);
    return 0;
}
