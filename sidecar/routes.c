/*
 * The table of integrations in memory.  A pin holds one whole table: it is
 * built anew when the configuration's version grows, and freed with its last
 * pin.
 */

#include "routes.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "log.h"

#define ASK_US    INT64_C(1000000)         /* how often the version is asked */
#define PAGE      500

struct routes_pin {                        /* one table */
    unsigned              pins;            /* the routes' own counts too */
    int64_t               version;
    struct integration  **all;             /* by id */
    bool                 *held;
    size_t                n, size;
    const struct integration  **by_route;  /* enabled; by action, lab, id */
    size_t                nroutes;
};

struct routes {
    struct store       *store;
    pthread_mutex_t     lock;
    struct routes_pin  *now;
    int64_t             asked_us;
    bool                loading;
};

static pthread_mutex_t  pins_lock = PTHREAD_MUTEX_INITIALIZER;


static void
table_free(struct routes_pin *t)
{
    for (size_t i = 0; i < t->n; i++) {
        integration_free(t->all[i]);
    }

    free(t->all);
    free(t->held);
    free(t->by_route);
    free(t);
}


void
routes_release(struct routes_pin *pin)
{
    unsigned  left;

    if (pin == NULL) {
        return;
    }

    pthread_mutex_lock(&pins_lock);
    left = --pin->pins;
    pthread_mutex_unlock(&pins_lock);

    if (left == 0) {
        table_free(pin);
    }
}


static struct routes_pin *
table_pin(struct routes_pin *t)
{
    pthread_mutex_lock(&pins_lock);
    t->pins++;
    pthread_mutex_unlock(&pins_lock);

    return t;
}


/* -- loading ------------------------------------------------------------- */

static bool
table_grow(struct routes_pin *t)
{
    struct integration  **all;
    bool                 *held;
    size_t                size;

    if (t->n < t->size) {
        return true;
    }

    size = t->size == 0 ? 64 : t->size * 2;
    all = realloc(t->all, size * sizeof(*all));

    if (all == NULL) {
        return false;
    }

    t->all = all;
    held = realloc(t->held, size * sizeof(*held));

    if (held == NULL) {
        return false;
    }

    t->held = held;
    t->size = size;
    return true;
}


/* Disabled developers, by asking the store once each. */
static bool
developer_is_enabled(struct store *s, struct slice id, bool *enabled)
{
    struct store_doc  d;
    struct arena      a;
    json_t           *body;
    enum result       r;

    *enabled = true;

    if (id.n == 0) {
        return true;
    }

    arena_init(&a, 4 * 1024 * 1024);
    r = store_doc_get(s, STORE_DEVELOPER, id, &a, &d);

    if (r == RESULT_OK) {
        body = json_loadb(d.body.p, d.body.n, 0, NULL);
        *enabled = !json_is_false(json_object_get(body, "enabled"));
        json_decref(body);

    } else if (r == RESULT_NOT_FOUND) {
        *enabled = false;
    }

    arena_cleanup(&a);
    return r == RESULT_OK || r == RESULT_NOT_FOUND;
}


static enum result
table_add(struct store *s, struct routes_pin *t, const struct store_doc *d)
{
    struct integration  *i;
    bool                 enabled;
    enum result          r;

    r = integration_load(d, &i);

    if (r == RESULT_INVALID) {
        log_rate(LOG_ERROR, "routes", "integration %.*s cannot be read; it is "
            "left out", SLICE_ARG(d->id));
        return RESULT_OK;
    }

    if (r != RESULT_OK) {
        return r;
    }

    if (!developer_is_enabled(s, i->developer_id, &enabled)) {
        integration_free(i);
        return RESULT_UNAVAILABLE;
    }

    if (!table_grow(t)) {
        integration_free(i);
        return RESULT_MEMORY;
    }

    t->held[t->n] = !i->enabled || !enabled;
    t->all[t->n++] = i;
    return RESULT_OK;
}


static int
by_route(const void *a, const void *b)
{
    const struct integration  *x = *(const struct integration *const *) a;
    const struct integration  *y = *(const struct integration *const *) b;

    if (x->action_id != y->action_id) {
        return x->action_id < y->action_id ? -1 : 1;
    }

    if (x->lab_id != y->lab_id) {
        return x->lab_id < y->lab_id ? -1 : 1;
    }

    return strcmp(x->id.p, y->id.p);
}


static enum result
table_index(struct routes_pin *t)
{
    t->by_route = calloc(t->n + 1, sizeof(*t->by_route));
    if (t->by_route == NULL) {
        return RESULT_MEMORY;
    }

    for (size_t i = 0; i < t->n; i++) {
        if (!t->held[i]) {
            t->by_route[t->nroutes++] = t->all[i];
        }
    }

    qsort(t->by_route, t->nroutes, sizeof(*t->by_route), by_route);
    return RESULT_OK;
}


static enum result
table_load(struct store *s, int64_t version, struct routes_pin **out)
{
    struct routes_pin  *t;
    struct store_doc   *docs;
    struct arena        a;
    char                after[64] = "";
    size_t              n;
    enum result         r;

    t = calloc(1, sizeof(*t));
    if (t == NULL) {
        return RESULT_MEMORY;
    }

    t->pins = 1;
    t->version = version;
    arena_init(&a, 64 * 1024 * 1024);

    do {
        arena_reset(&a);
        n = 0;
        r = store_doc_list(s, STORE_INTEGRATION, LOGDOC_NONE, slice_of(after),
            false, PAGE, &a, &docs, &n);

        for (size_t i = 0; i < n && r == RESULT_OK; i++) {
            r = table_add(s, t, &docs[i]);
        }

        if (n > 0 && docs[n - 1].id.n < sizeof(after)) {
            memcpy(after, docs[n - 1].id.p, docs[n - 1].id.n);
            after[docs[n - 1].id.n] = '\0';
        }
    } while (r == RESULT_OK && n == PAGE);

    arena_cleanup(&a);
    r = r != RESULT_OK ? r : table_index(t);

    if (r != RESULT_OK) {
        table_free(t);
        return r;
    }

    *out = t;
    return RESULT_OK;
}


/* Takes over a newer table when there is one; one thread loads at a time. */
static enum result
refresh(struct routes *r)
{
    struct routes_pin  *fresh, *old;
    int64_t             version;
    enum result         result;

    result = store_config_version(r->store, &version);
    if (result != RESULT_OK || (r->now != NULL && r->now->version == version))
    {
        return result;
    }

    result = table_load(r->store, version, &fresh);
    if (result != RESULT_OK) {
        return result;
    }

    pthread_mutex_lock(&r->lock);
    old = r->now;
    r->now = fresh;
    pthread_mutex_unlock(&r->lock);

    routes_release(old);
    return RESULT_OK;
}


bool
routes_refresh(struct routes *r)
{
    bool  mine, fresh;

    pthread_mutex_lock(&r->lock);
    mine = !r->loading;
    r->loading = true;
    pthread_mutex_unlock(&r->lock);

    if (!mine) {
        return false;
    }

    fresh = refresh(r) == RESULT_OK;
    pthread_mutex_lock(&r->lock);
    r->loading = false;
    pthread_mutex_unlock(&r->lock);

    return fresh;
}


static struct routes_pin *
current(struct routes *r)
{
    struct routes_pin  *pin;
    int64_t             now = clock_mono_us();
    bool                mine;

    pthread_mutex_lock(&r->lock);
    mine = !r->loading && now - r->asked_us > ASK_US;

    if (mine) {
        r->loading = true;
        r->asked_us = now;
    }

    pthread_mutex_unlock(&r->lock);

    if (mine) {
        if (refresh(r) != RESULT_OK) {
            log_rate(LOG_WARN, "routes", "integrations cannot be read anew; "
                "the known ones serve");
        }

        pthread_mutex_lock(&r->lock);
        r->loading = false;
        pthread_mutex_unlock(&r->lock);
    }

    pthread_mutex_lock(&r->lock);
    pin = table_pin(r->now);
    pthread_mutex_unlock(&r->lock);

    return pin;
}


/* -- the interface ------------------------------------------------------- */

enum result
routes_create(struct store *s, struct routes **out)
{
    struct routes  *r;
    enum result     result;

    r = calloc(1, sizeof(*r));
    if (r == NULL) {
        return RESULT_MEMORY;
    }

    r->store = s;
    (void) pthread_mutex_init(&r->lock, NULL);
    result = refresh(r);

    if (result != RESULT_OK) {
        routes_destroy(r);
        return result;
    }

    *out = r;
    return RESULT_OK;
}


void
routes_destroy(struct routes *r)
{
    if (r != NULL) {
        routes_release(r->now);
        (void) pthread_mutex_destroy(&r->lock);
        free(r);
    }
}


/* The first entry not before (action, lab). */
static size_t
lower_bound(const struct routes_pin *t, int64_t action_id, int64_t lab_id)
{
    size_t  low = 0, high = t->nroutes, mid;

    while (low < high) {
        mid = low + (high - low) / 2;

        if (t->by_route[mid]->action_id < action_id
            || (t->by_route[mid]->action_id == action_id
                && t->by_route[mid]->lab_id < lab_id))
        {
            low = mid + 1;
        } else {
            high = mid;
        }
    }

    return low;
}


enum result
routes_find(struct routes *r, int64_t action_id, int64_t lab_id,
    struct routes_pin **pin, const struct integration *const **out, size_t *n)
{
    struct routes_pin  *t = current(r);
    size_t              from = lower_bound(t, action_id, lab_id), to = from;

    while (to < t->nroutes && t->by_route[to]->action_id == action_id
           && t->by_route[to]->lab_id == lab_id)
    {
        to++;
    }

    *pin = t;
    *out = (const struct integration *const *) t->by_route + from;
    *n = to - from;
    return RESULT_OK;
}


/* The store lists by id, so the table is sorted by it. */
enum result
routes_get(struct routes *r, struct slice id, struct routes_pin **pin,
    const struct integration **out, bool *held)
{
    struct routes_pin  *t = current(r);
    size_t              low = 0, high = t->n, mid, len;
    int                 order;

    while (low < high) {
        mid = low + (high - low) / 2;
        len = t->all[mid]->id.n < id.n ? t->all[mid]->id.n : id.n;
        order = memcmp(t->all[mid]->id.p, id.p, len);
        order = order != 0 ? order
                           : (t->all[mid]->id.n > id.n)
                                 - (t->all[mid]->id.n < id.n);

        if (order == 0) {
            *pin = t;
            *out = t->all[mid];
            *held = t->held[mid];
            return RESULT_OK;
        }

        if (order < 0) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }

    routes_release(t);
    return RESULT_NOT_FOUND;
}
