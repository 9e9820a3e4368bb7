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
redis_error_result(struct redis *r, struct slice error)
{
    const struct redis_error  *e;
    char                       text[256];

    (void) snprintf(text, sizeof(text), "%.*s",
        (int) (error.n < 200 ? error.n : 200), error.p);

    for (e = redis_errors; e->word != NULL; e++) {
        if (strncmp(text, e->word, strlen(e->word)) == 0) {
            break;
        }
    }

    if (e->drop) {
        redis_fail(r, text);

    } else if (e->result == RESULT_UNAVAILABLE || e->word == NULL) {
        log_rate(LOG_ERROR, "redis", "%s: %s", r->config->redis, text);
    }

    return e->result;
}


enum result
redis_reply_result(struct redis *r, const redisReply *reply)
{
    return reply->type != REDIS_REPLY_ERROR
               ? RESULT_OK
               : redis_error_result(r,
                     (struct slice) { reply->str, (size_t) reply->len });
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


/* Until there are bytes; AGAIN: woken by something else. */
static enum result
redis_wait(struct redis *r, int64_t deadline)
{
    struct pollfd  pfd = { .fd = r->ctx->fd, .events = POLLIN };
    int64_t        left;
    int            rc;

    left = deadline - clock_mono_us();
    rc = left <= 0 ? 0 : poll(&pfd, 1, (int) (left / 1000) + 1);

    if (rc < 0 && errno == EINTR) {
        return RESULT_AGAIN;
    }

    if (rc <= 0) {
        redis_fail(r, "gave no answer in time");
        return RESULT_UNAVAILABLE;
    }

    return RESULT_OK;
}


/* REDIS_READ bytes at most, by one call that does not wait for long. */
static enum result
redis_receive(struct redis *r, int64_t deadline, char *p, size_t *got)
{
    ssize_t      n;
    enum result  result;

    result = redis_wait(r, deadline);
    if (result != RESULT_OK) {
        return result;
    }

    n = read(r->ctx->fd, p, REDIS_READ);

    if (n <= 0) {
        if (n < 0 && (errno == EINTR || errno == EAGAIN)) {
            return RESULT_AGAIN;
        }

        redis_fail(r, n == 0 ? "closed the connection" : strerror(errno));
        return RESULT_UNAVAILABLE;
    }

    *got = (size_t) n;
    return RESULT_OK;
}


/* Waits for bytes and feeds them to the parser. */
static enum result
redis_feed(struct redis *r, int64_t deadline, size_t *total, size_t max)
{
    size_t       n;
    enum result  result;

    result = redis_receive(r, deadline, r->input, &n);
    if (result != RESULT_OK) {
        return result == RESULT_AGAIN ? RESULT_OK : result;
    }

    *total += n;

    if (*total > max) {
        redis_close(r);                    /* no fault of the server */
        return RESULT_TOO_BIG;
    }

    if (redisReaderFeed(r->ctx->reader, r->input, n) != REDIS_OK) {
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


/* Waits for bytes and takes them apart: AGAIN until the answer is whole. */
static enum result
redis_fill(struct redis *r, int64_t deadline, struct resp *into, size_t max)
{
    char         *room;
    size_t        n;
    enum result   result;

    room = buf_room(&into->bytes, REDIS_READ);
    if (room == NULL) {
        redis_close(r);
        return RESULT_MEMORY;
    }

    result = redis_receive(r, deadline, room, &n);
    if (result != RESULT_OK) {
        return result;
    }

    into->bytes.n += n;

    if (into->bytes.n > max) {
        redis_close(r);                    /* no fault of the server */
        return RESULT_TOO_BIG;
    }

    result = resp_parse(into);

    /* one was asked, so nothing can stand behind it */
    if (result == RESULT_INVALID
        || (result == RESULT_OK && into->at != into->bytes.n))
    {
        redis_fail(r, "answer is no RESP");
        return RESULT_UNAVAILABLE;
    }

    if (result == RESULT_MEMORY) {
        redis_close(r);
    }

    return result;
}


enum result
redis_read_resp(struct redis *r, int64_t wait_us, size_t max,
    struct resp *into)
{
    int64_t      deadline;
    enum result  result;

    if (r->ctx == NULL) {
        return RESULT_UNAVAILABLE;
    }

    if (r->ctx->reader->pos < r->ctx->reader->len) {
        redis_fail(r, "answers what was not asked");
        return RESULT_UNAVAILABLE;
    }

    resp_reset(into, max + REDIS_READ);
    deadline = clock_mono_us() + r->config->redis_timeout_us + wait_us;
    result = redis_flush(r, deadline);

    if (result != RESULT_OK) {
        return result;
    }

    do {
        result = redis_fill(r, deadline, into, max);
    } while (result == RESULT_AGAIN);

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
