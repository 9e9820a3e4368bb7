/*
 * The keeper: what dispatch looks after beside single deliveries.  It samples
 * Redis' clock, puts back into the queue what the store knows to be open and
 * the queue has lost, cancels what waits for an integration that was deleted or
 * answered 410, and disables integrations that have only failed for long.
 */

#include "dispatch_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "direct.h"
#include "log.h"

#define SAMPLE_US     (INT64_C(10) * 1000000)
#define COUNT_US      (INT64_C(2) * 1000000)
#define SAMPLES       5
#define TICK_US       (INT64_C(1) * 1000000)
#define PAGE          1000
#define HEALTH_PARTS  100                  /* looks in dispatch_give_up */
#define HEALTH_LEAST_US  INT64_C(200000)
#define HEALTH_MOST_US   (INT64_C(60) * 1000000)
#define MARK          "idash:due:mark"
#define FAILING       "failing:"           /* documents of STORE_META */

struct keeper {
    struct dispatch  *d;
    int64_t           sampled_us, reconciled_us, health_us, counted_us;
    int64_t           version;             /* of the configuration swept */
    bool              started;
};


/* -- time ---------------------------------------------------------------- */

/* Their time minus ours, at least: they looked before their answer came. */
static bool
sample_offset(struct redis *r, int64_t *offset_us)
{
    const char  *argv[] = { "TIME" };
    redisReply  *reply;
    bool         ok;

    if (redis_context(r) == NULL) {
        return false;
    }

    reply = redis_argv(r, 1, argv, NULL);
    ok = reply != NULL && reply->type == REDIS_REPLY_ARRAY
         && reply->elements == 2 && reply->element[0]->str != NULL
         && reply->element[1]->str != NULL;

    if (ok) {
        *offset_us = strtoll(reply->element[0]->str, NULL, 10) * 1000000
                     + strtoll(reply->element[1]->str, NULL, 10)
                     - clock_wall_us();
    }

    freeReplyObject(reply);
    return ok;
}


/* The best of a few: by none of them is anything sent before its time, however
 * slow an answer was. */
static void
sample_clock(struct keeper *k)
{
    int64_t  best = INT64_MIN, offset;

    for (int i = 0; i < SAMPLES; i++) {
        if (!sample_offset(k->d->keep_redis, &offset)) {
            return;
        }

        best = offset > best ? offset : best;
    }

    atomic_store(&k->d->offset_us, best);
    k->sampled_us = clock_mono_us();
}


/* -- what is open -------------------------------------------------------- */

/* Calls EACH with pages of what is open and due before BEFORE. */
static enum result
walk(struct keeper *k, int64_t before_us,
    enum result (*each)(struct keeper *k, struct store_due *page, size_t n))
{
    struct arena       a;
    struct store_due  *page;
    uint8_t            after_id[UUID_BYTES] = { 0 };
    int64_t            after = INT64_MIN + 1;
    size_t             n;
    enum result        r;

    arena_init(&a, 4 * 1024 * 1024);

    do {
        arena_reset(&a);
        n = 0;
        r = store_due(k->d->store, before_us, after, after_id, PAGE, &a,
            &page, &n);

        if (r == RESULT_OK && n > 0) {
            after = page[n - 1].due_us;
            memcpy(after_id, page[n - 1].id, UUID_BYTES);
            r = each(k, page, n);
        }

        dispatch_renew(k->d);              /* a long walk starves no lease */
    } while (r == RESULT_OK && n == PAGE && !dispatch_stops(k->d));

    arena_cleanup(&a);
    return r;
}


/* NX leaves alone what is still there. */
static enum result
put_back(struct keeper *k, struct store_due *page, size_t n)
{
    struct due_item  *items = malloc(n * sizeof(*items));
    enum result       r;

    if (items == NULL) {
        return RESULT_MEMORY;
    }

    for (size_t i = 0; i < n; i++) {
        memcpy(items[i].id, page[i].id, UUID_BYTES);
        items[i].due_us = page[i].due_us;
        items[i].priority = page[i].priority;
    }

    r = due_add(k->d->keep_redis, items, n, true);
    free(items);

    if (r == RESULT_OK) {
        atomic_fetch_add(&k->d->reconciled, n);
        dispatch_signal(k->d);
    }

    return r;
}


/* A key that goes when the index goes. */
static bool
mark_is_there(struct keeper *k)
{
    const char  *argv[] = { "EXISTS", MARK };
    redisReply  *reply;
    bool         there;

    if (redis_context(k->d->keep_redis) == NULL) {
        return false;
    }

    reply = redis_argv(k->d->keep_redis, 2, argv, NULL);
    there = reply != NULL && reply->type == REDIS_REPLY_INTEGER
            && reply->integer == 1;
    freeReplyObject(reply);
    return there;
}


static void
mark_set(struct keeper *k)
{
    const char  *argv[] = { "SET", MARK, "1" };

    if (redis_context(k->d->keep_redis) != NULL) {
        freeReplyObject(redis_argv(k->d->keep_redis, 3, argv, NULL));
    }
}


/* An index that was wiped has also lost what is due in ten hours: then all that
 * is open is put back.  Else what is overdue, in case one write was lost. */
static void
reconcile(struct keeper *k)
{
    bool         all = !k->started || !mark_is_there(k);
    enum result  r;

    r = walk(k, all ? INT64_MAX : dispatch_now(k->d)
        - 2 * k->d->config->dispatch_reconcile_us, put_back);

    if (r != RESULT_OK) {
        log_rate(LOG_WARN, "dispatch", "reconciling the due queue: %s",
            result_text(r));
        return;
    }

    if (all) {
        mark_set(k);
    }

    k->reconciled_us = clock_mono_us();
    k->started = true;
}


static void
cancel(struct keeper *k, const struct store_due *item, enum store_move move,
    const char *reason)
{
    const struct scope  all = { .platform = true };
    struct due_item     gone = { .priority = item->priority };
    enum log_status     status;

    /* what is leased ends first; its own claimer cancels it then */
    if (store_move(k->d->store, &all, item->id, move, LOGDOC_NONE,
            slice_of(reason), &status) == RESULT_OK)
    {
        memcpy(gone.id, item->id, UUID_BYTES);
        (void) !due_remove(k->d->keep_redis, &gone, 1);
    }
}


static enum result
cancel_gone(struct keeper *k, struct store_due *page, size_t n)
{
    const struct integration  *i;
    struct routes_pin         *pin;
    bool                       held;
    enum result                r;

    for (size_t at = 0; at < n && !dispatch_stops(k->d); at++) {
        if (page[at].integration_id.n == 0) {
            continue;                      /* to its own URL */
        }

        r = routes_get(k->d->routes, page[at].integration_id, &pin, &i, &held);

        if (r == RESULT_NOT_FOUND) {
            cancel(k, &page[at], STORE_DROP_DELETED,
                "its integration was deleted");

        } else if (r == RESULT_OK) {
            if (i->gone) {
                cancel(k, &page[at], STORE_DROP_GONE,
                    "the endpoint answered 410 to another delivery");
            }

            routes_release(pin);
        }
    }

    return RESULT_OK;
}


/* When the configuration has changed, or at a 410. */
static void
sweep(struct keeper *k)
{
    int64_t  version;
    bool     asked;

    pthread_mutex_lock(&k->d->lock);
    asked = k->d->sweep;
    k->d->sweep = false;
    pthread_mutex_unlock(&k->d->lock);

    if (store_config_version(k->d->store, &version) != RESULT_OK
        || (!asked && version == k->version))
    {
        return;
    }

    /* the table that routes has must be as new */
    if (!routes_refresh(k->d->routes)
        || walk(k, INT64_MAX, cancel_gone) != RESULT_OK)
    {
        dispatch_sweep(k->d);
        return;
    }

    k->version = version;
}


/* -- integrations that only fail ----------------------------------------- */

struct failing {
    char     id[64];
    int64_t  since_us, version;
    int64_t  told;                         /* per cent, of the last notice */
};

struct health {
    struct keeper    *k;
    struct failing   *known;
    size_t            n, size;
    int64_t           now_us;
};


static struct failing *
failing_find(const struct health *h, const char *id)
{
    for (size_t i = 0; i < h->n; i++) {
        if (strcmp(h->known[i].id, id) == 0) {
            return &h->known[i];
        }
    }

    return NULL;
}


static bool
failing_read(struct health *h, const struct store_doc *doc)
{
    struct failing  *f;
    json_t          *body;
    size_t           skip = strlen(FAILING), n = doc->id.n - skip;

    if (h->n == h->size) {
        f = realloc(h->known, (h->size + 64) * sizeof(*f));

        if (f == NULL) {
            return false;
        }

        h->known = f;
        h->size += 64;
    }

    f = &h->known[h->n];
    memset(f, 0, sizeof(*f));

    if (n == 0 || n >= sizeof(f->id)) {
        return true;
    }

    memcpy(f->id, doc->id.p + skip, n);
    f->version = doc->version;
    body = json_loadb(doc->body.p, doc->body.n, 0, NULL);
    f->since_us = json_integer_value(json_object_get(body, "since_us"));
    f->told = json_integer_value(json_object_get(body, "told"));
    json_decref(body);
    h->n++;
    return true;
}


/* What any instance has noted. */
static enum result
failing_load(struct health *h)
{
    struct arena       a;
    struct store_doc  *docs;
    char               after[128] = FAILING;
    size_t             n = 0;
    bool               more = true;
    enum result        r = RESULT_OK;

    arena_init(&a, 4 * 1024 * 1024);

    while (more && r == RESULT_OK) {
        arena_reset(&a);
        r = store_doc_list(h->k->d->store, STORE_META, LOGDOC_NONE,
            slice_of(after), false, PAGE, &a, &docs, &n);
        more = r == RESULT_OK && n == PAGE;

        for (size_t i = 0; i < n && r == RESULT_OK; i++) {
            if (docs[i].id.n < strlen(FAILING)
                || memcmp(docs[i].id.p, FAILING, strlen(FAILING)) != 0)
            {
                more = false;
                break;
            }

            r = failing_read(h, &docs[i]) ? RESULT_OK : RESULT_MEMORY;
            (void) snprintf(after, sizeof(after), "%.*s",
                SLICE_ARG(docs[i].id));
        }
    }

    arena_cleanup(&a);
    return r;
}


/* Of two instances one succeeds; the other reads it next time. */
static bool
failing_write(struct health *h, const char *id, int64_t since_us,
    int64_t told, int64_t version)
{
    char              name[96], body[96];
    struct store_doc  doc = { .org_id = LOGDOC_NONE,
        .created_us = clock_wall_us(), .updated_us = clock_wall_us(),
        .expires_us = LOGDOC_NONE };

    (void) snprintf(name, sizeof(name), FAILING "%s", id);
    (void) snprintf(body, sizeof(body), "{\"since_us\":%lld,\"told\":%lld}",
        (long long) since_us, (long long) told);
    doc.id = slice_of(name);
    doc.body = slice_of(body);

    return store_doc_put(h->k->d->store, STORE_META, &doc, version, &version)
           == RESULT_OK;
}


static void
failing_forget(struct health *h, const char *id)
{
    char  name[96];

    (void) snprintf(name, sizeof(name), FAILING "%s", id);
    (void) !store_doc_delete(h->k->d->store, STORE_META, slice_of(name), -1);
}


static void
give_up(struct health *h, const struct failing *f)
{
    struct dispatch  *d = h->k->d;

    if (integration_disable(d->store, slice_of(f->id), "failing")
        == RESULT_UNAVAILABLE)
    {
        return;
    }

    failing_forget(h, f->id);
    atomic_fetch_add(&d->given_up, 1);
    log_write(LOG_ERROR, "dispatch", "integration %s has only failed for "
        "%lld h and is disabled; its deliveries are held", f->id,
        (long long) (d->config->dispatch_give_up_us / 3600 / 1000000));
}


static void
tell_failing(struct health *h, const struct failing *f, int64_t percent)
{
    static const int64_t  steps[] = { 90, 70, 50 };

    for (int i = 0; i < 3; i++) {
        if (percent >= steps[i] && f->told < steps[i]) {
            if (failing_write(h, f->id, f->since_us, steps[i], f->version)) {
                log_write(LOG_WARN, "dispatch", "integration %s has only "
                    "failed for %lld %% of the time after which it is "
                    "disabled", f->id, (long long) steps[i]);
            }

            return;
        }
    }
}


static void
health_of(void *arg, const struct limiter_state *s)
{
    struct health   *h = arg;
    struct failing  *f = failing_find(h, s->id);
    int64_t          limit = h->k->d->config->dispatch_give_up_us;

    if (strncmp(s->id, DIRECT_ID, strlen(DIRECT_ID)) == 0) {
        return;                            /* nothing could be disabled */
    }

    if (f == NULL) {
        if (s->fail_since_us != 0 && s->fail_since_us < h->k->health_us) {
            /* it was noted before and is no more: others had success */
            limiter_forgive(h->k->d->limits, slice_of(s->id));

        } else if (s->fail_since_us != 0) {
            (void) failing_write(h, s->id, s->fail_since_us, 0, 0);
        }

    } else if (s->ok_last_us > f->since_us) {
        failing_forget(h, s->id);

    } else if (s->fail_last_us - f->since_us >= limit) {
        give_up(h, f);

    } else if (s->fail_last_us > f->since_us) {
        tell_failing(h, f, (s->fail_last_us - f->since_us) * 100 / limit);
    }
}


static void
look_after_health(struct keeper *k)
{
    struct health  h = { .k = k, .now_us = dispatch_now(k->d) };

    if (failing_load(&h) == RESULT_OK) {
        limiter_each(k->d->limits, health_of, &h);
        k->health_us = h.now_us;
    }

    free(h.known);
}


/* -- the thread ---------------------------------------------------------- */

static int64_t
health_interval(const struct dispatch *d)
{
    int64_t  us = d->config->dispatch_give_up_us / HEALTH_PARTS;

    return us < HEALTH_LEAST_US ? HEALTH_LEAST_US
           : us > HEALTH_MOST_US ? HEALTH_MOST_US : us;
}


/* What waits in Redis, for people to look at. */
static void
count_due(struct keeper *k)
{
    struct dispatch  *d = k->d;
    int64_t           n[DUE_PRIORITIES], overdue, sum = 0;

    if (due_count(d->keep_redis, n, dispatch_now(d), &overdue) != RESULT_OK) {
        sum = overdue = LOGDOC_NONE;
    }

    for (unsigned p = 0; p < DUE_PRIORITIES && sum != LOGDOC_NONE; p++) {
        sum += n[p];
    }

    atomic_store(&d->due, sum);
    atomic_store(&d->overdue, overdue);
    k->counted_us = clock_mono_us();
}


static void
keep_step(struct keeper *k)
{
    struct dispatch  *d = k->d;
    int64_t           now = clock_mono_us();

    if (k->sampled_us == 0 || now - k->sampled_us > SAMPLE_US) {
        sample_clock(k);
    }

    if (!k->started || now - k->reconciled_us
                       > d->config->dispatch_reconcile_us)
    {
        reconcile(k);
    }

    dispatch_renew(d);
    sweep(k);

    if (k->counted_us == 0 || now - k->counted_us > COUNT_US) {
        count_due(k);
    }

    if (dispatch_now(d) - k->health_us > health_interval(d)) {
        look_after_health(k);
    }
}


void *
dispatch_keep_run(void *arg)
{
    struct keeper  k = { .d = arg };
    int64_t        tick;

    tick = health_interval(k.d) < TICK_US ? health_interval(k.d) : TICK_US;

    if (k.d->config->dispatch_reconcile_us < tick) {
        tick = k.d->config->dispatch_reconcile_us;
    }

    if (dispatch_renew_tick(k.d) < tick) {
        tick = dispatch_renew_tick(k.d);
    }

    while (!dispatch_stops(k.d)) {
        keep_step(&k);

        pthread_mutex_lock(&k.d->lock);

        if (!k.d->stopping && !k.d->sweep) {
            dispatch_wait(k.d, &k.d->keep, tick);
        }

        pthread_mutex_unlock(&k.d->lock);
    }

    return NULL;
}
