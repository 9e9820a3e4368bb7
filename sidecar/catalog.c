/*
 * The catalogue as one immutable snapshot behind a lock.  Lookups share the
 * lock; a newer snapshot is built outside it and swapped in.  While the store
 * is away the last one serves.
 */

#include "catalog.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth_key.h"
#include "clock.h"
#include "log.h"

#define CATALOG_REFRESH_US   1000000
#define CATALOG_PAGE         200
#define CATALOG_MAX_ARENA    (4 * 1024 * 1024)
#define CATALOG_MAX_ENTRIES  1000000
#define DAY_US               (INT64_C(86400) * 1000000)

struct catalog_lab {
    int64_t  id, org_id;
    int64_t  retention_ok_us, retention_fail_us;
};

struct catalog_action {
    int64_t  id, category_id;
};

struct catalog_entry {                     /* a developer under its hash */
    uint8_t                   hmac[32];
    struct catalog_developer  developer;
};

/* a growing array of one of the above */
struct catalog_list {
    char    *p;
    size_t   n, room, size;
};

struct snapshot {
    int64_t              version;
    struct catalog_list  labs, actions, developers;   /* sorted */
};

struct catalog {
    struct store         *store;
    const struct secret  *secret;
    pthread_rwlock_t      lock;            /* of now */
    struct snapshot      *now;
    pthread_mutex_t       refresh;
    _Atomic int64_t       next_us;
};


static void *
catalog_push(struct catalog_list *l)
{
    size_t   room;
    char    *p;

    if (l->n == l->room) {
        room = l->room == 0 ? 64 : l->room * 2;
        p = l->n >= CATALOG_MAX_ENTRIES ? NULL : realloc(l->p, room * l->size);
        if (p == NULL) {
            return NULL;
        }

        l->p = p;
        l->room = room;
    }

    p = l->p + l->n * l->size;
    memset(p, 0, l->size);
    l->n++;
    return p;
}


static int
catalog_by_id(const void *a, const void *b)
{
    int64_t  x, y;

    memcpy(&x, a, sizeof(x));              /* id is the first member */
    memcpy(&y, b, sizeof(y));
    return (x > y) - (x < y);
}


static int
catalog_by_hmac(const void *a, const void *b)
{
    return memcmp(a, b, 32);
}


static void
snapshot_destroy(struct snapshot *s)
{
    if (s != NULL) {
        free(s->labs.p);
        free(s->actions.p);
        free(s->developers.p);
        free(s);
    }
}


static int64_t
json_int(const json_t *object, const char *name, int64_t missing)
{
    json_t  *v = json_object_get(object, name);

    return json_is_integer(v) ? json_integer_value(v) : missing;
}


static int64_t
json_days(const json_t *object, const char *name)
{
    int64_t  days = json_int(object, name, LOGDOC_NONE);

    return days > 0 && days <= 36500 ? days * DAY_US : LOGDOC_NONE;
}


static enum result
catalog_add_lab(struct catalog *c, struct snapshot *s,
    const struct store_doc *d, const json_t *body)
{
    struct catalog_lab  *lab;
    int64_t              id;

    (void) c;

    if (slice_int(d->id, &id) != RESULT_OK) {
        return RESULT_INVALID;
    }

    lab = catalog_push(&s->labs);
    if (lab == NULL) {
        return RESULT_MEMORY;
    }

    lab->id = id;
    lab->org_id = json_int(body, "org_id", LOGDOC_NONE);
    lab->retention_ok_us = json_days(body, "retention_ok_days");
    lab->retention_fail_us = json_days(body, "retention_fail_days");
    return RESULT_OK;
}


static enum result
catalog_add_action(struct catalog *c, struct snapshot *s,
    const struct store_doc *d, const json_t *body)
{
    struct catalog_action  *action;
    int64_t                 id;

    (void) c;

    if (slice_int(d->id, &id) != RESULT_OK) {
        return RESULT_INVALID;
    }

    action = catalog_push(&s->actions);
    if (action == NULL) {
        return RESULT_MEMORY;
    }

    action->id = id;
    action->category_id = json_int(body, "action_category_id", LOGDOC_NONE);
    return RESULT_OK;
}


static void
catalog_labs(struct catalog_developer *dev, const json_t *labs)
{
    size_t   i;
    json_t  *v;

    if (!json_is_array(labs)) {
        dev->nlabs = -1;
        return;
    }

    json_array_foreach(labs, i, v) {
        if (!json_is_integer(v)) {
            continue;
        }

        if (dev->nlabs == 64) {
            log_write(LOG_ERROR, "catalog", "developer %s has more than 64 "
                "labs; write null for all labs of its org", dev->id);
            return;
        }

        dev->labs[dev->nlabs++] = json_integer_value(v);
    }
}


static enum result
catalog_add_developer(struct catalog *c, struct snapshot *s,
    const struct store_doc *d, const json_t *body)
{
    struct catalog_entry  *e;
    const char            *hmac, *name;
    uint8_t                mac[32];

    (void) c;
    hmac = json_string_value(json_object_get(body, "key_hmac"));

    if (hmac == NULL) {
        return RESULT_OK;                  /* has no key: calls nothing */
    }

    if (auth_unhex(slice_of(hmac), mac, 32) != RESULT_OK
        || d->id.n >= sizeof(e->developer.id))
    {
        return RESULT_INVALID;
    }

    e = catalog_push(&s->developers);
    if (e == NULL) {
        return RESULT_MEMORY;
    }

    name = json_string_value(json_object_get(body, "name"));
    memcpy(e->hmac, mac, 32);
    memcpy(e->developer.id, d->id.p, d->id.n);
    (void) snprintf(e->developer.name, sizeof(e->developer.name), "%s",
        name == NULL ? "" : name);
    e->developer.org_id = json_int(body, "org_id", LOGDOC_NONE);
    e->developer.enabled = !json_is_false(json_object_get(body, "enabled"));
    catalog_labs(&e->developer, json_object_get(body, "lab_ids"));
    return RESULT_OK;
}


typedef enum result catalog_add_pt(struct catalog *c, struct snapshot *s,
    const struct store_doc *d, const json_t *body);

/* A document that cannot be read is left out and named, not fatal. */
static enum result
catalog_add(struct catalog *c, struct snapshot *s, enum store_coll coll,
    const struct store_doc *d, catalog_add_pt *add)
{
    json_t       *body;
    enum result   r;

    body = json_loadb(d->body.p, d->body.n, JSON_REJECT_DUPLICATES, NULL);
    r = json_is_object(body) ? add(c, s, d, body) : RESULT_INVALID;
    json_decref(body);

    if (r == RESULT_INVALID) {
        log_write(LOG_ERROR, "catalog", "%s %.*s is not well formed and left "
            "out", store_coll_name(coll), SLICE_ARG(d->id));
        return RESULT_OK;
    }

    return r;
}


static enum result
catalog_read(struct catalog *c, struct snapshot *s, enum store_coll coll,
    catalog_add_pt *add)
{
    struct store_doc  *docs;
    struct slice       after = SLICE_LIT("");
    struct arena       pages[2];
    unsigned           turn = 0;
    size_t             n = CATALOG_PAGE;
    enum result        r = RESULT_OK;

    arena_init(&pages[0], CATALOG_MAX_ARENA);
    arena_init(&pages[1], CATALOG_MAX_ARENA);

    /* the id to go on from lives in the page before */
    while (r == RESULT_OK && n == CATALOG_PAGE) {
        arena_reset(&pages[turn]);
        r = store_doc_list(c->store, coll, LOGDOC_NONE, after, false,
            CATALOG_PAGE, &pages[turn], &docs, &n);

        for (size_t i = 0; r == RESULT_OK && i < n; i++) {
            r = catalog_add(c, s, coll, &docs[i], add);
            after = docs[i].id;
        }

        turn ^= 1;
    }

    arena_cleanup(&pages[0]);
    arena_cleanup(&pages[1]);
    return r;
}


static void
catalog_sort(struct catalog_list *l, int (*order)(const void *, const void *))
{
    if (l->n > 1) {
        qsort(l->p, l->n, l->size, order);
    }
}


static enum result
snapshot_load(struct catalog *c, int64_t version, struct snapshot **out)
{
    struct snapshot  *s;
    enum result       r;

    s = calloc(1, sizeof(*s));
    if (s == NULL) {
        return RESULT_MEMORY;
    }

    s->version = version;
    s->labs.size = sizeof(struct catalog_lab);
    s->actions.size = sizeof(struct catalog_action);
    s->developers.size = sizeof(struct catalog_entry);

    r = catalog_read(c, s, STORE_LAB, catalog_add_lab);
    r = r == RESULT_OK ? catalog_read(c, s, STORE_ACTION, catalog_add_action)
                       : r;
    r = r == RESULT_OK ? catalog_read(c, s, STORE_DEVELOPER,
                             catalog_add_developer)
                       : r;

    if (r != RESULT_OK) {
        snapshot_destroy(s);
        return r;
    }

    catalog_sort(&s->labs, catalog_by_id);
    catalog_sort(&s->actions, catalog_by_id);
    catalog_sort(&s->developers, catalog_by_hmac);
    *out = s;
    return RESULT_OK;
}


/* Under c->refresh. */
static enum result
catalog_load(struct catalog *c)
{
    struct snapshot  *fresh = NULL, *old = c->now;
    int64_t           version;
    enum result       r;

    r = store_config_version(c->store, &version);

    if (r != RESULT_OK || (old != NULL && old->version == version)) {
        return r;
    }

    r = snapshot_load(c, version, &fresh);
    if (r != RESULT_OK) {
        return r;
    }

    (void) pthread_rwlock_wrlock(&c->lock);
    c->now = fresh;
    (void) pthread_rwlock_unlock(&c->lock);

    snapshot_destroy(old);
    return RESULT_OK;
}


/* Asks for a newer version at most once a second; one thread does it. */
static void
catalog_refresh(struct catalog *c)
{
    enum result  r;

    if (clock_mono_us() < c->next_us
        || pthread_mutex_trylock(&c->refresh) != 0)
    {
        return;
    }

    if (clock_mono_us() >= c->next_us) {
        r = catalog_load(c);
        c->next_us = clock_mono_us() + CATALOG_REFRESH_US;

        if (r != RESULT_OK) {
            log_rate(LOG_WARN, "catalog", "cannot be read anew: %s; the last "
                "one serves", result_text(r));
        }
    }

    (void) pthread_mutex_unlock(&c->refresh);
}


enum result
catalog_create(struct store *s, const struct secret *secret,
    struct catalog **out)
{
    struct catalog  *c;
    enum result      r;

    c = calloc(1, sizeof(*c));
    if (c == NULL) {
        return RESULT_MEMORY;
    }

    c->store = s;
    c->secret = secret;
    (void) pthread_rwlock_init(&c->lock, NULL);
    (void) pthread_mutex_init(&c->refresh, NULL);

    r = catalog_load(c);
    if (r != RESULT_OK) {
        catalog_destroy(c);
        return r;
    }

    c->next_us = clock_mono_us() + CATALOG_REFRESH_US;
    *out = c;
    return RESULT_OK;
}


void
catalog_destroy(struct catalog *c)
{
    if (c == NULL) {
        return;
    }

    snapshot_destroy(c->now);
    (void) pthread_rwlock_destroy(&c->lock);
    (void) pthread_mutex_destroy(&c->refresh);
    free(c);
}


static const void *
catalog_find(const struct catalog_list *l, const void *key,
    int (*order)(const void *, const void *))
{
    return l->n == 0 ? NULL : bsearch(key, l->p, l->n, l->size, order);
}


enum result
catalog_developer_by_key(struct catalog *c, struct slice key_sha256_hex,
    struct catalog_developer *out)
{
    const struct catalog_entry  *e;
    uint8_t                      digest[32], mac[32];

    if (auth_unhex(key_sha256_hex, digest, 32) != RESULT_OK) {
        return RESULT_INVALID;
    }

    auth_developer_hmac(c->secret, digest, mac);
    catalog_refresh(c);

    (void) pthread_rwlock_rdlock(&c->lock);
    e = catalog_find(&c->now->developers, mac, catalog_by_hmac);

    if (e != NULL) {
        *out = e->developer;
    }

    (void) pthread_rwlock_unlock(&c->lock);
    return e == NULL ? RESULT_NOT_FOUND : RESULT_OK;
}


enum result
catalog_action(struct catalog *c, int64_t action_id, int64_t *category_id)
{
    const struct catalog_action  *a;

    catalog_refresh(c);

    (void) pthread_rwlock_rdlock(&c->lock);
    a = catalog_find(&c->now->actions, &action_id, catalog_by_id);

    if (a != NULL) {
        *category_id = a->category_id;
    }

    (void) pthread_rwlock_unlock(&c->lock);
    return a == NULL ? RESULT_NOT_FOUND : RESULT_OK;
}


enum result
catalog_lab(struct catalog *c, int64_t lab_id, int64_t *org_id,
    int64_t *retention_ok_us, int64_t *retention_fail_us)
{
    const struct catalog_lab  *lab;

    catalog_refresh(c);

    (void) pthread_rwlock_rdlock(&c->lock);
    lab = catalog_find(&c->now->labs, &lab_id, catalog_by_id);

    if (lab != NULL) {
        *org_id = lab->org_id;
        *retention_ok_us = lab->retention_ok_us;
        *retention_fail_us = lab->retention_fail_us;
    }

    (void) pthread_rwlock_unlock(&c->lock);
    return lab == NULL ? RESULT_NOT_FOUND : RESULT_OK;
}
