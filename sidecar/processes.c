/* The thread that says "I am here", and the list of all who did. */

#include "processes.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"

#define BEAT_S      10
#define YOUNG_US    INT64_C(5000000)       /* so long a beat a second */
#define GONE_US     INT64_C(600000000)     /* a silent one is forgotten */
#define PREFIX      "process:"             /* documents of STORE_META */
#define ID_LEN      128
#define LIST_ARENA  (4 * 1024 * 1024)

struct processes {
    const struct config  *config;
    struct store         *store;
    struct drain         *drain;
    struct dispatch      *dispatch;
    pthread_t             thread;
    pthread_mutex_t       lock;
    pthread_cond_t        wake;
    bool                  stop;
    char                  host[65];
    char                  id[ID_LEN];
    int64_t               started_us;
};


static void
time_set(json_t *v, const char *name, int64_t us)
{
    char  text[CLOCK_RFC3339 + 1];

    if (us <= 0) {
        (void) json_object_set_new(v, name, json_null());
        return;
    }

    clock_text(us, text);
    (void) json_object_set_new(v, name, json_string(text));
}


int64_t
processes_resident(void)
{
    FILE       *f = fopen("/proc/self/statm", "re");
    long long   total, pages = 0;

    if (f == NULL) {
        return LOGDOC_NONE;
    }

    if (fscanf(f, "%lld %lld", &total, &pages) != 2) {
        pages = 0;
    }

    (void) fclose(f);
    return (int64_t) pages * sysconf(_SC_PAGESIZE);
}


static json_t *
drain_json(struct drain *drain)
{
    struct drain_stats  d;
    json_t             *v;

    if (drain == NULL) {
        return json_null();
    }

    drain_stats(drain, &d);
    v = json_pack("{s:I,s:I,s:I,s:I,s:I,s:b,s:b}",
        "stored", (json_int_t) d.stored, "dead", (json_int_t) d.dead,
        "errors", (json_int_t) d.errors, "lag", (json_int_t) d.lag,
        "pending", (json_int_t) d.pending, "redis_up", d.redis_up,
        "store_up", d.store_up);
    time_set(v, "last_progress_at", d.last_us);
    return v;
}


static json_t *
dispatch_json(struct dispatch *dispatch)
{
    struct dispatch_stats  d;
    json_t                *v;

    if (dispatch == NULL) {
        return json_null();
    }

    dispatch_stats(dispatch, &d);
    v = json_pack("{s:I,s:I,s:I,s:I,s:I,s:I}",
        "delivered", (json_int_t) d.delivered, "retried",
        (json_int_t) d.retried, "failed", (json_int_t) d.failed, "late",
        (json_int_t) d.late, "in_flight", (json_int_t) d.in_flight,
        "breakers_open", (json_int_t) d.breakers_open);
    time_set(v, "last_progress_at", d.last_us);
    return v;
}


static json_t *
roles_json(unsigned roles)
{
    static const struct {
        unsigned     bit;
        const char  *name;
    } names[] = {
        { CONFIG_ROLE_DRAIN, "drain" }, { CONFIG_ROLE_DISPATCH, "dispatch" },
        { CONFIG_ROLE_API, "api" }
    };
    json_t  *list = json_array();

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (roles & names[i].bit) {
            (void) json_array_append_new(list, json_string(names[i].name));
        }
    }

    return list;
}


static char *
process_json(const struct processes *p)
{
    json_t   *v;
    char     *text;
    int64_t   bytes = processes_resident();

    v = json_pack("{s:s,s:I,s:o,s:o,s:o,s:o}", "host", p->host, "pid",
        (json_int_t) getpid(), "roles", roles_json(p->config->roles),
        "resident_bytes", bytes == LOGDOC_NONE ? json_null()
            : json_integer((json_int_t) bytes), "drain",
        drain_json(p->drain), "dispatch", dispatch_json(p->dispatch));
    time_set(v, "started_at", p->started_us);
    text = v == NULL ? NULL : json_dumps(v, JSON_COMPACT);
    json_decref(v);
    return text;
}


static void
beat(struct processes *p)
{
    struct store_doc  d;
    char             *text = process_json(p);
    int64_t           version;
    enum result       r;

    if (text == NULL) {
        return;                            /* the next one may have memory */
    }

    memset(&d, 0, sizeof(d));
    d.id = slice_of(p->id);
    d.org_id = LOGDOC_NONE;
    d.created_us = p->started_us;
    d.updated_us = clock_wall_us();
    d.expires_us = d.updated_us + GONE_US;
    d.body = slice_of(text);
    r = store_doc_put(p->store, STORE_META, &d, -1, &version);
    free(text);

    if (r != RESULT_OK) {
        log_rate(LOG_WARN, "main", "this process cannot be listed in the "
            "store: %s", result_text(r));
    }
}


/* Until the next beat; false: stop. */
static bool
beat_wait(struct processes *p)
{
    struct timespec  until;
    bool             stop;

    (void) clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += clock_wall_us() - p->started_us < YOUNG_US ? 1 : BEAT_S;
    pthread_mutex_lock(&p->lock);

    while (!p->stop
           && pthread_cond_timedwait(&p->wake, &p->lock, &until) == 0)
    {
        /* void */
    }

    stop = p->stop;
    pthread_mutex_unlock(&p->lock);
    return !stop;
}


static void *
processes_main(void *arg)
{
    struct processes  *p = arg;

    do {
        beat(p);
    } while (beat_wait(p));

    (void) !store_doc_delete(p->store, STORE_META, slice_of(p->id), -1);
    return NULL;
}


enum result
processes_start(const struct config *c, struct store *s, struct drain *drain,
    struct dispatch *dispatch, struct processes **out)
{
    struct processes    *p = calloc(1, sizeof(*p));
    pthread_condattr_t   attr;

    if (p == NULL) {
        return RESULT_MEMORY;
    }

    p->config = c;
    p->store = s;
    p->drain = drain;
    p->dispatch = dispatch;
    p->started_us = clock_wall_us();
    (void) gethostname(p->host, sizeof(p->host) - 1);
    (void) snprintf(p->id, sizeof(p->id), PREFIX "%s:%ld", p->host,
        (long) getpid());

    (void) pthread_mutex_init(&p->lock, NULL);
    (void) pthread_condattr_init(&attr);
    (void) pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void) pthread_cond_init(&p->wake, &attr);
    (void) pthread_condattr_destroy(&attr);

    if (pthread_create(&p->thread, NULL, processes_main, p) != 0) {
        (void) pthread_cond_destroy(&p->wake);
        (void) pthread_mutex_destroy(&p->lock);
        free(p);
        return RESULT_UNAVAILABLE;
    }

    *out = p;
    return RESULT_OK;
}


void
processes_stop(struct processes *p)
{
    if (p == NULL) {
        return;
    }

    pthread_mutex_lock(&p->lock);
    p->stop = true;
    (void) pthread_cond_signal(&p->wake);
    pthread_mutex_unlock(&p->lock);

    (void) pthread_join(p->thread, NULL);
    (void) pthread_cond_destroy(&p->wake);
    (void) pthread_mutex_destroy(&p->lock);
    free(p);
}


/* One that was there lately; NULL: forgotten, or no JSON. */
static json_t *
process_read(const struct store_doc *d, int64_t now)
{
    json_t  *v;

    if (now - d->updated_us > GONE_US) {
        return NULL;
    }

    v = json_loadb(d->body.p, d->body.n, 0, NULL);
    time_set(v, "seen_at", d->updated_us);
    (void) json_object_set_new(v, "lost",
        json_boolean(now - d->updated_us > PROCESSES_LOST_US));
    return v;
}


enum result
processes_list(struct store *s, json_t **out, bool *more)
{
    struct store_doc  *docs = NULL;
    struct arena       a;
    json_t            *v;
    size_t             n = 0;
    int64_t            now = clock_wall_us();
    enum result        r;

    *out = json_array();
    *more = false;
    arena_init(&a, LIST_ARENA);
    r = store_doc_list(s, STORE_META, LOGDOC_NONE, SLICE_LIT(PREFIX), false,
        PROCESSES_MAX + 1, &a, &docs, &n);

    for (size_t i = 0; r == RESULT_OK && i < n; i++) {
        if (docs[i].id.n < sizeof(PREFIX) - 1
            || memcmp(docs[i].id.p, PREFIX, sizeof(PREFIX) - 1) != 0)
        {
            break;                         /* ids are in order */
        }

        v = process_read(&docs[i], now);

        if (v != NULL && json_array_size(*out) < PROCESSES_MAX) {
            (void) json_array_append(*out, v);
        } else if (v != NULL) {
            *more = true;
        }

        json_decref(v);
    }

    arena_cleanup(&a);
    return r;
}
