/*
 * Live events.  The reader thread owns the position in idash:changes; a new
 * client joins at it, or asks for what it missed and is caught up by the same
 * thread, so nothing falls between.  Whoever cannot be served without a gap is
 * told "reset" and fetches anew.
 */

#include "api_live_private.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "clock.h"
#include "log.h"

#define LIVE_BLOCK_MS   "200"
#define LIVE_COUNT      "500"
#define LIVE_SKIP_US    10000              /* between two looks for nobody */
#define LIVE_CATCH_UP   500                /* entries; more is a reset */


/* -- Redis ----------------------------------------------------------------- */

static redisReply *
live_range(struct api_live *l, const char *command, const char *from,
    const char *to, const char *count)
{
    const char  *argv[] = { command, l->config->changes_stream, from, to,
                            "COUNT", count };
    size_t       len[6];
    redisReply  *reply;

    for (int i = 0; i < 6; i++) {
        len[i] = strlen(argv[i]);
    }

    reply = redis_argv(l->redis, 6, argv, len);
    if (reply != NULL && (redis_reply_result(l->redis, reply) != RESULT_OK
                          || reply->type != REDIS_REPLY_ARRAY))
    {
        freeReplyObject(reply);
        reply = NULL;
    }

    return reply;
}


/* An entry is [id, [name, value ..]]. */
static bool
entry_id(const redisReply *entry, struct live_id *id)
{
    return entry->type == REDIS_REPLY_ARRAY && entry->elements == 2
           && entry->element[0]->type == REDIS_REPLY_STRING
           && live_id_parse((struct slice) { entry->element[0]->str,
                  entry->element[0]->len }, id);
}


/* Borrows the reply. */
static bool
entry_take(const redisReply *entry, struct live_entry *e)
{
    if (!entry_id(entry, &e->id)) {
        return false;
    }

    e->what = entry->element[1]->type != REDIS_REPLY_ARRAY ? LIVE_UNKNOWN
              : changes_decode(entry->element[1], &e->log) == RESULT_OK
                  ? LIVE_LOG
              : changes_job_decode(entry->element[1], &e->job) ? LIVE_JOB
                                                               : LIVE_UNKNOWN;

    if (e->what == LIVE_LOG) {
        e->log.error_fingerprint = e->log.error_code.n == 0
                                       ? 0 : logdoc_fingerprint(&e->log);
    }

    return true;
}


/* The id of the oldest (XRANGE - +) or newest (XREVRANGE + -) entry; 0-0 when
 * there is none. */
static bool
live_end(struct api_live *l, bool newest, struct live_id *id)
{
    redisReply  *reply;
    bool         ok = true;

    memset(id, 0, sizeof(*id));
    reply = newest ? live_range(l, "XREVRANGE", "+", "-", "1")
                   : live_range(l, "XRANGE", "-", "+", "1");
    if (reply == NULL) {
        return false;
    }

    if (reply->elements > 0) {
        ok = entry_id(reply->element[0], id);
    }

    freeReplyObject(reply);
    return ok;
}


static void
live_hand_on(struct api_live *l, const redisReply *entries)
{
    struct live_client  *cl;
    struct live_entry    e;

    (void) pthread_mutex_lock(&l->mutex);

    for (size_t i = 0; i < entries->elements; i++) {
        if (!entry_take(entries->element[i], &e)) {
            continue;
        }

        for (cl = l->clients; cl != NULL; cl = cl->next) {
            live_client_entry(l, cl, &e);
        }

        l->at = e.id;
    }

    (void) pthread_mutex_unlock(&l->mutex);
}


/*
 * Waits up to LIVE_BLOCK_MS for news.  With nobody to tell, one entry is
 * enough to know that there are some.  False: Redis is away.
 */
static bool
live_read(struct api_live *l, bool alone)
{
    char               at[48];
    const char        *argv[] = { "XREAD", "COUNT", alone ? "1" : LIVE_COUNT,
                                  "BLOCK",
                                  LIVE_BLOCK_MS, "STREAMS",
                                  l->config->changes_stream, at };
    size_t             len[8];
    redisReply        *reply;
    const redisReply  *stream;
    bool               ok;

    live_id_text(l->at, at);
    for (int i = 0; i < 8; i++) {
        len[i] = strlen(argv[i]);
    }

    reply = redis_argv(l->redis, 8, argv, len);
    if (reply == NULL) {
        return false;
    }

    ok = redis_reply_result(l->redis, reply) == RESULT_OK;

    if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 1) {
        stream = reply->element[0];
        if (stream->type == REDIS_REPLY_ARRAY && stream->elements == 2
            && stream->element[1]->type == REDIS_REPLY_ARRAY)
        {
            live_hand_on(l, stream->element[1]);
        }
    }

    freeReplyObject(reply);
    return ok;
}


/* Past all that nobody wants to hear; who has joined meanwhile hears it. */
static bool
live_skip(struct api_live *l)
{
    const struct timespec  pause = { 0, LIVE_SKIP_US * 1000 };
    struct live_id         newest;
    bool                   moved = false;

    if (!live_end(l, true, &newest)) {
        return false;
    }

    (void) pthread_mutex_lock(&l->mutex);

    if (l->nclients == 0 && live_id_compare(newest, l->at) > 0) {
        l->at = newest;
        moved = true;
    }

    (void) pthread_mutex_unlock(&l->mutex);

    if (moved) {
        (void) nanosleep(&pause, NULL);
    }

    return true;
}


/* After a connect: where are we, and did we miss something meanwhile? */
static bool
live_place(struct api_live *l)
{
    struct live_id  oldest, newest;

    if (!live_end(l, false, &oldest) || !live_end(l, true, &newest)) {
        return false;
    }

    (void) pthread_mutex_lock(&l->mutex);

    if (!l->placed) {
        l->at = newest;
        l->placed = true;

    } else if (live_id_compare(oldest, l->at) > 0
               || live_id_compare(newest, l->at) < 0)
    {
        /* trimmed past us, or another Redis that never had what we had */
        for (struct live_client *cl = l->clients; cl != NULL; cl = cl->next) {
            cl->reset = true;
        }
        l->at = newest;
    }

    (void) pthread_mutex_unlock(&l->mutex);
    return true;
}


/* -- clients --------------------------------------------------------------- */

/* What lies between the client's position and ours; false: Redis is away. */
static bool
client_catch_up(struct api_live *l, struct live_client *cl)
{
    struct live_id      oldest;
    struct live_entry   e;
    redisReply         *reply;
    char                from[56], to[48], count[24];

    if (live_id_compare(cl->at, l->at) >= 0) {
        cl->behind = false;
        return true;
    }

    from[0] = '(';
    live_id_text(cl->at, from + 1);
    live_id_text(l->at, to);
    (void) snprintf(count, sizeof(count), "%d", LIVE_CATCH_UP + 1);

    if (!live_end(l, false, &oldest)) {
        return false;
    }

    reply = live_range(l, "XRANGE", from, to, count);
    if (reply == NULL) {
        return false;
    }

    cl->behind = false;
    cl->reset = live_id_compare(oldest, cl->at) > 0
                || reply->elements > LIVE_CATCH_UP;

    for (size_t i = 0; i < reply->elements && !cl->reset; i++) {
        if (!entry_take(reply->element[i], &e) || e.what == LIVE_UNKNOWN) {
            cl->reset = true;              /* passed over, it were a gap */

        } else if (e.what == LIVE_JOB) {
            live_client_job(cl, e.id, &e.job);

        } else if (cl->logs && filter_match(&cl->filter, &e.log)) {
            live_client_log(cl, e.id, &e.log);
        }
    }

    cl->at = l->at;
    freeReplyObject(reply);
    return true;
}


static void
live_tick(struct api_live *l, bool up)
{
    struct live_client  **at, *cl;
    int64_t               now = clock_mono_us();

    (void) pthread_mutex_lock(&l->mutex);

    for (at = &l->clients; (cl = *at) != NULL; ) {
        if (cl->behind && up && l->placed) {
            up = client_catch_up(l, cl);
        }

        if (live_client_tick(l, cl, now)) {
            at = &cl->next;
            continue;
        }

        *at = cl->next;
        l->nclients--;
        live_client_free(cl);
    }

    (void) pthread_mutex_unlock(&l->mutex);
}


/* The client whose key is to be looked at next; no one but this thread takes
 * clients out, so it stays when the lock is given up. */
static struct live_client *
live_due(struct api_live *l, int64_t now)
{
    struct live_client  *cl;

    (void) pthread_mutex_lock(&l->mutex);

    for (cl = l->clients; cl != NULL; cl = cl->next) {
        if (!cl->refused && now >= cl->check_us) {
            cl->check_us = now + LIVE_CHECK_US;
            break;
        }
    }

    (void) pthread_mutex_unlock(&l->mutex);
    return cl;
}


/* A revoked key ends its streams as it ends its sessions.  One in a turn: a
 * store that is slow must not hold up the others' events for long. */
static void
live_check(struct api_live *l)
{
    struct live_client  *cl;

    cl = live_due(l, clock_mono_us());
    if (cl != NULL && auth_again(l->auth, &cl->caller) == RESULT_NOT_FOUND) {
        cl->refused = true;
    }
}


static bool
live_stopping(struct api_live *l)
{
    bool  stopping;

    (void) pthread_mutex_lock(&l->mutex);
    stopping = l->stopping;
    (void) pthread_mutex_unlock(&l->mutex);
    return stopping;
}


static void *
live_thread(void *arg)
{
    struct api_live        *l = arg;
    const struct timespec   pause = { 0, 200000000 };
    bool                    up = false, alone;

    while (!live_stopping(l)) {
        if (!up) {
            up = redis_context(l->redis) != NULL && live_place(l);
        }

        if (up) {
            alone = api_live_clients(l) == 0;
            up = live_read(l, alone) && (!alone || live_skip(l));
        }

        if (!up) {
            (void) nanosleep(&pause, NULL);
        }

        live_check(l);
        live_tick(l, up);
    }

    return NULL;
}


unsigned
api_live_clients(struct api_live *l)
{
    unsigned  n;

    (void) pthread_mutex_lock(&l->mutex);
    n = l->nclients;
    (void) pthread_mutex_unlock(&l->mutex);
    return n;
}


/* -- start and stop -------------------------------------------------------- */

enum result
api_live_create(const struct config *c, struct auth *auth,
    struct api_live **out)
{
    struct api_live  *l;
    enum result       result;
    sigset_t          all, old;

    *out = NULL;

    l = calloc(1, sizeof(*l));
    if (l == NULL) {
        return RESULT_MEMORY;
    }

    l->config = c;
    l->auth = auth;
    (void) pthread_mutex_init(&l->mutex, NULL);

    result = redis_create(c, &l->redis);
    if (result != RESULT_OK) {
        api_live_destroy(l);
        return result;
    }

    (void) sigfillset(&all);
    (void) pthread_sigmask(SIG_SETMASK, &all, &old);
    l->started = pthread_create(&l->thread, NULL, live_thread, l) == 0;
    (void) pthread_sigmask(SIG_SETMASK, &old, NULL);

    if (!l->started) {
        api_live_destroy(l);
        return RESULT_UNAVAILABLE;
    }

    *out = l;
    return RESULT_OK;
}


void
api_live_stop(struct api_live *l)
{
    struct live_client  *cl;

    if (l == NULL) {
        return;
    }

    (void) pthread_mutex_lock(&l->mutex);
    l->stopping = true;
    (void) pthread_mutex_unlock(&l->mutex);

    if (l->started) {
        (void) pthread_join(l->thread, NULL);
        l->started = false;
    }

    while ((cl = l->clients) != NULL) {
        l->clients = cl->next;
        (void) live_client_push(cl, "bye", l->at, SLICE_LIT("{}"));
        live_client_free(cl);
    }

    l->nclients = 0;
}


void
api_live_destroy(struct api_live *l)
{
    if (l == NULL) {
        return;
    }

    if (l->redis != NULL) {
        redis_destroy(l->redis);
    }

    (void) pthread_mutex_destroy(&l->mutex);
    free(l);
}
