/*
 * A blocking connection of one thread.  Replies are read here and not by
 * hiredis' own loop: its time-out counts each system call and its reader has no
 * bound, so a server that drips or lies could hold the thread or its memory.
 */

#include "redis.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "buf.h"
#include "clock.h"
#include "log.h"

#define REDIS_BACKOFF_US       50000       /* doubled, jittered, up to: */
#define REDIS_BACKOFF_MAX_US   5000000
#define REDIS_REFUSED_US       30000000    /* password, permission, type */
#define REDIS_READ             65536

struct redis {
    const struct config  *config;
    redisContext         *ctx;
    int64_t               next_us;         /* monotonic; no attempt before */
    unsigned              failures;
    bool                  was_up;
    char                  input[REDIS_READ];
};

/* what an error reply begins with, and what to do */
struct redis_error {
    const char   *word;
    enum result   result;
    bool          drop;                    /* another server may do better */
};

static const struct redis_error  redis_errors[] = {
    { "BUSYGROUP",   RESULT_CONFLICT,    false },
    { "BUSY",        RESULT_AGAIN,       false },
    { "NOGROUP",     RESULT_NOT_FOUND,   false },
    { "LOADING",     RESULT_UNAVAILABLE, true },
    { "READONLY",    RESULT_UNAVAILABLE, true },
    { "MASTERDOWN",  RESULT_UNAVAILABLE, true },
    { "CLUSTERDOWN", RESULT_UNAVAILABLE, true },
    { "TRYAGAIN",    RESULT_UNAVAILABLE, true },
    { "OOM",         RESULT_UNAVAILABLE, false },
    { "MISCONF",     RESULT_UNAVAILABLE, false },
    { "NOREPLICAS",  RESULT_UNAVAILABLE, false },
    { "NOAUTH",      RESULT_UNAVAILABLE, true },
    { "WRONGPASS",   RESULT_UNAVAILABLE, true },
    { NULL,          RESULT_INVALID,     false }
};


enum result
redis_create(const struct config *c, struct redis **out)
{
    struct redis  *r;

    r = calloc(1, sizeof(*r));
    if (r == NULL) {
        return RESULT_MEMORY;
    }

    r->config = c;
    r->was_up = true;                      /* the first failure is news */
    *out = r;
    return RESULT_OK;
}


void
redis_destroy(struct redis *r)
{
    if (r == NULL) {
        return;
    }

    if (r->ctx != NULL) {
        redisFree(r->ctx);
    }

    free(r);
}


/* Full jitter: anything from nothing to the doubled step. */
static void
redis_back_off(struct redis *r, int64_t least, int64_t most)
{
    uint64_t  random = 0;
    int64_t   step = REDIS_BACKOFF_US;

    for (unsigned i = 0; i < r->failures && step < most; i++) {
        step *= 2;
    }

    step = step > most ? most : step;

    if (getrandom(&random, sizeof(random), 0) != (ssize_t) sizeof(random)) {
        random = (uint64_t) clock_mono_us();
    }

    r->next_us = clock_mono_us() + least
                 + (int64_t) (random % (uint64_t) (step + 1));
    r->failures++;
}


static void
redis_close(struct redis *r)
{
    if (r->ctx != NULL) {
        redisFree(r->ctx);
        r->ctx = NULL;
    }
}


void
redis_fail(struct redis *r, const char *what)
{
    /* every thread has a connection of its own: one line for all of them */
    log_rate(LOG_WARN, "redis", "%s: %s%s", r->config->redis,
        r->was_up ? "" : "still away: ", what);

    r->was_up = false;
    redis_close(r);
    redis_back_off(r, 0, REDIS_BACKOFF_MAX_US);
}


/* A server that answers, and will say the same again at once. */
static void
redis_refuse(struct redis *r, const char *what)
{
    log_rate(LOG_ERROR, "redis", "%s: %s", r->config->redis, what);
    r->was_up = false;
    redis_close(r);
    redis_back_off(r, 1000000, REDIS_REFUSED_US);
}


enum result
redis_reply_result(struct redis *r, const redisReply *reply)
{
    const struct redis_error  *e;
    char                       text[256];

    if (reply->type != REDIS_REPLY_ERROR) {
        return RESULT_OK;
    }

    for (e = redis_errors; e->word != NULL; e++) {
        if (strncmp(reply->str, e->word, strlen(e->word)) == 0) {
            break;
        }
    }

    (void) snprintf(text, sizeof(text), "%.200s", reply->str);

    if (e->drop) {
        redis_fail(r, text);

    } else if (e->result == RESULT_UNAVAILABLE || e->word == NULL) {
        log_rate(LOG_ERROR, "redis", "%s: %s", r->config->redis, text);
    }

    return e->result;
}


static struct timeval
redis_timeval(int64_t us)
{
    struct timeval  tv;

    tv.tv_sec = (time_t) (us / 1000000);
    tv.tv_usec = (suseconds_t) (us % 1000000);
    return tv;
}


/* An IPv6 address stands in brackets: [::1]:6379. */
static redisContext *
redis_connect(const struct config *c)
{
    struct timeval  tv = redis_timeval(c->redis_timeout_us);
    char            host[256];
    const char     *colon, *from;
    int64_t         port;
    size_t          n;

    if (c->redis[0] == '/') {
        return redisConnectUnixWithTimeout(c->redis, tv);
    }

    colon = strrchr(c->redis, ':');
    from = c->redis;
    n = colon == NULL ? 0 : (size_t) (colon - c->redis);

    if (n >= 2 && from[0] == '[' && from[n - 1] == ']') {
        from++;
        n -= 2;
    }

    if (n == 0 || n >= sizeof(host)
        || slice_int(slice_of(colon + 1), &port) != RESULT_OK
        || port < 1 || port > 65535)
    {
        return NULL;
    }

    memcpy(host, from, n);
    host[n] = '\0';
    return redisConnectWithTimeout(host, (int) port, tv);
}


/* The first line of the file; the caller cleanses it. */
static bool
redis_password(const char *path, char *text, size_t len)
{
    FILE  *f;
    bool   ok;

    f = fopen(path, "re");
    if (f == NULL) {
        return false;
    }

    ok = fgets(text, (int) len, f) != NULL;
    (void) fclose(f);

    if (ok) {
        text[strcspn(text, "\r\n")] = '\0';
    }

    return ok && text[0] != '\0';
}


/* One command of the greeting: any error is a refusal. */
static bool
redis_greet(struct redis *r, int argc, const char **argv)
{
    redisReply  *reply;
    char         text[256];
    bool         loading;

    reply = redis_argv(r, argc, argv, NULL);
    if (reply == NULL) {
        return false;
    }

    if (reply->type == REDIS_REPLY_ERROR) {
        loading = strncmp(reply->str, "LOADING", 7) == 0;
        (void) snprintf(text, sizeof(text), "%s: %.180s", argv[0], reply->str);
        freeReplyObject(reply);

        if (loading) {
            redis_fail(r, text);

        } else {
            redis_refuse(r, text);
        }

        return false;
    }

    freeReplyObject(reply);
    return true;
}


static bool
redis_log_in(struct redis *r)
{
    const struct config  *c = r->config;
    const char           *argv[3];
    char                  password[512], db[24];
    int                   argc = 0;
    bool                  ok;

    if (c->redis_password_file != NULL) {
        if (!redis_password(c->redis_password_file, password,
                sizeof(password)))
        {
            redis_refuse(r, "redis_password_file has no password to read");
            return false;
        }

        argv[argc++] = "AUTH";
        if (c->redis_user != NULL) {
            argv[argc++] = c->redis_user;
        }

        argv[argc++] = password;
        ok = redis_greet(r, argc, argv);
        explicit_bzero(password, sizeof(password));

        if (!ok) {
            return false;
        }
    }

    (void) snprintf(db, sizeof(db), "%lld", (long long) c->redis_db);
    argv[0] = "SELECT";
    argv[1] = db;

    if (c->redis_db != 0 && !redis_greet(r, 2, argv)) {
        return false;
    }

    /* says NOAUTH or LOADING now, and not in the middle of work */
    argv[0] = "PING";
    return redis_greet(r, 1, argv);
}


redisContext *
redis_context(struct redis *r)
{
    char  text[192];

    if (r->ctx != NULL) {
        return r->ctx;
    }

    if (clock_mono_us() < r->next_us) {
        return NULL;
    }

    r->ctx = redis_connect(r->config);

    if (r->ctx == NULL || r->ctx->err != 0) {
        (void) snprintf(text, sizeof(text), "cannot connect: %.150s",
            r->ctx == NULL ? "no such address" : r->ctx->errstr);
        redis_fail(r, text);
        return NULL;
    }

    /* writes block; reads are polled by a deadline of ours */
    if (redisSetTimeout(r->ctx, redis_timeval(r->config->redis_timeout_us))
        != REDIS_OK)
    {
        redis_fail(r, "cannot set a time-out");
        return NULL;
    }

    if (!redis_log_in(r)) {
        return NULL;
    }

    if (!r->was_up) {
        log_write(LOG_NOTICE, "redis", "%s: is back", r->config->redis);
    }

    r->was_up = true;
    r->failures = 0;
    return r->ctx;
}


bool
redis_append(struct redis *r, int argc, const char **argv, const size_t *len)
{
    if (r->ctx == NULL) {
        return false;
    }

    if (redisAppendCommandArgv(r->ctx, argc, argv, len) != REDIS_OK) {
        redis_fail(r, "command cannot be queued");
        return false;
    }

    return true;
}


static enum result
redis_flush(struct redis *r, int64_t deadline)
{
    int  done = 0;

    while (!done) {
        if (redisBufferWrite(r->ctx, &done) != REDIS_OK) {
            redis_fail(r, "cannot be written to");
            return RESULT_UNAVAILABLE;
        }

        if (!done && clock_mono_us() > deadline) {
            redis_fail(r, "takes no commands");
            return RESULT_UNAVAILABLE;
        }
    }

    return RESULT_OK;
}


/* Waits for bytes and feeds them to the parser. */
static enum result
redis_feed(struct redis *r, int64_t deadline, size_t *total, size_t max)
{
    struct pollfd  pfd = { .fd = r->ctx->fd, .events = POLLIN };
    int64_t        left;
    ssize_t        n;
    int            rc;

    left = deadline - clock_mono_us();
    rc = left <= 0 ? 0 : poll(&pfd, 1, (int) (left / 1000) + 1);

    if (rc < 0 && errno == EINTR) {
        return RESULT_OK;
    }

    if (rc <= 0) {
        redis_fail(r, "gave no answer in time");
        return RESULT_UNAVAILABLE;
    }

    n = read(r->ctx->fd, r->input, sizeof(r->input));

    if (n <= 0) {
        if (n < 0 && (errno == EINTR || errno == EAGAIN)) {
            return RESULT_OK;
        }

        redis_fail(r, n == 0 ? "closed the connection" : strerror(errno));
        return RESULT_UNAVAILABLE;
    }

    *total += (size_t) n;

    if (*total > max) {
        redis_close(r);                    /* no fault of the server */
        return RESULT_TOO_BIG;
    }

    if (redisReaderFeed(r->ctx->reader, r->input, (size_t) n) != REDIS_OK) {
        redis_fail(r, "answer cannot be parsed");
        return RESULT_UNAVAILABLE;
    }

    return RESULT_OK;
}


enum result
redis_read(struct redis *r, int64_t wait_us, size_t max, redisReply **out)
{
    int64_t      deadline;
    size_t       total = 0;
    void        *reply = NULL;
    enum result  result;

    *out = NULL;

    if (r->ctx == NULL) {
        return RESULT_UNAVAILABLE;
    }

    deadline = clock_mono_us() + r->config->redis_timeout_us + wait_us;
    result = redis_flush(r, deadline);

    while (result == RESULT_OK) {
        if (redisReaderGetReply(r->ctx->reader, &reply) != REDIS_OK) {
            redis_fail(r, "answer is no RESP");
            return RESULT_UNAVAILABLE;
        }

        if (reply != NULL) {
            *out = reply;
            return RESULT_OK;
        }

        result = redis_feed(r, deadline, &total, max);
    }

    return result;
}


/* A large reply has a hundred thousand elements: malloc is half of its cost. */

static redisReply *
arena_reply(const redisReadTask *task, size_t more)
{
    redisReply  *r, *parent;

    r = arena_alloc(task->privdata, sizeof(*r) + more);
    if (r == NULL) {
        return NULL;
    }

    memset(r, 0, sizeof(*r));
    r->type = task->type;

    if (task->parent != NULL) {
        parent = task->parent->obj;
        parent->element[task->idx] = r;
    }

    return r;
}


static void *
arena_reply_string(const redisReadTask *task, char *p, size_t n)
{
    redisReply  *r;

    if (n > SIZE_MAX / 2) {
        return NULL;
    }

    r = arena_reply(task, n + 1);
    if (r != NULL) {
        r->str = (char *) (r + 1);
        r->len = n;
        memcpy(r->str, p, n);
        r->str[n] = '\0';
    }

    return r;
}


#if (HIREDIS_MAJOR >= 1)
typedef size_t  arena_reply_count;
#else
typedef int     arena_reply_count;
#endif

static void *
arena_reply_array(const redisReadTask *task, arena_reply_count elements)
{
    size_t       n = (size_t) elements;
    redisReply  *r;

    if (n > SIZE_MAX / 2 / sizeof(r->element[0])) {
        return NULL;
    }

    r = arena_reply(task, n * sizeof(r->element[0]));
    if (r != NULL) {
        r->element = (redisReply **) (void *) (r + 1);
        r->elements = n;
        memset(r->element, 0, n * sizeof(r->element[0]));
    }

    return r;
}


static void *
arena_reply_integer(const redisReadTask *task, long long value)
{
    redisReply  *r = arena_reply(task, 0);

    if (r != NULL) {
        r->integer = value;
    }

    return r;
}


static void *
arena_reply_nil(const redisReadTask *task)
{
    redisReply  *r = arena_reply(task, 0);

    if (r != NULL) {
        r->type = REDIS_REPLY_NIL;         /* of an array, too: *-1 */
    }

    return r;
}


static void
arena_reply_free(void *reply)
{
    (void) reply;                          /* with its arena */
}


static redisReplyObjectFunctions  arena_reply_functions = {
    .createString = arena_reply_string,
    .createArray = arena_reply_array,
    .createInteger = arena_reply_integer,
    .createNil = arena_reply_nil,
    .freeObject = arena_reply_free,
};


enum result
redis_read_arena(struct redis *r, int64_t wait_us, size_t max,
    struct arena *a, redisReply **out)
{
    redisReplyObjectFunctions  *usual;
    enum result                 result;

    *out = NULL;

    if (r->ctx == NULL) {
        return RESULT_UNAVAILABLE;
    }

    usual = r->ctx->reader->fn;
    r->ctx->reader->fn = &arena_reply_functions;
    r->ctx->reader->privdata = a;

    result = redis_read(r, wait_us, max, out);

    if (r->ctx != NULL) {
        r->ctx->reader->fn = usual;
        r->ctx->reader->privdata = NULL;
    }

    return result;
}


redisReply *
redis_argv(struct redis *r, int argc, const char **argv, const size_t *len)
{
    redisReply  *reply = NULL;

    if (!redis_append(r, argc, argv, len)
        || redis_read(r, 0, REDIS_MAX_REPLY, &reply) != RESULT_OK)
    {
        return NULL;
    }

    return reply;
}
