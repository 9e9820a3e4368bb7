/*
 * A blocking Redis connection of one thread: connects when first used, AUTH and
 * SELECT, time-outs, classes of errors.  Wraps hiredis, which no other file but
 * queue.c and live.c touches.
 */

#ifndef REDIS_H
#define REDIS_H

#include <stdbool.h>

#include <hiredis/hiredis.h>

#include "buf.h"
#include "config.h"
#include "resp.h"
#include "result.h"

struct redis;

must_check enum result redis_create(const struct config *c, struct redis **out);
void redis_destroy(struct redis *r);

/*
 * The connected context, or NULL when Redis is away (jittered back-off inside:
 * a call while backing off returns NULL at once).  Do not keep it.
 */
redisContext *redis_context(struct redis *r);

/* After a NULL reply or a broken protocol: closes, so that the next call of
 * redis_context connects anew. */
void redis_fail(struct redis *r, const char *what);

/*
 * Class of an error reply: AGAIN (BUSY), UNAVAILABLE (LOADING, READONLY, OOM,
 * MISCONF, ..; the connection is dropped where that helps), NOT_FOUND
 * (NOGROUP), INVALID (the command itself is wrong).  OK for any other reply.
 */
enum result redis_reply_result(struct redis *r, const redisReply *reply);

/* The same of the text of one that is no redisReply. */
enum result redis_error_result(struct redis *r, struct slice error);

/* A reply may be that long together; more closes the connection. */
#define REDIS_MAX_REPLY  (64 * 1024 * 1024)

/*
 * Queues a command for the next redis_read; false after redis_fail.
 */
bool redis_append(struct redis *r, int argc, const char **argv,
    const size_t *len);

/*
 * Sends what is queued and reads one reply within config.redis_timeout plus
 * WAIT_US, by a deadline over all of it.  UNAVAILABLE, TOO_BIG (over MAX
 * bytes): the connection is closed and every reply due with it is unknown.
 */
must_check enum result redis_read(struct redis *r, int64_t wait_us, size_t max,
    redisReply **out);

/*
 * The same for the answer to one command, taken apart where it lies, in *into,
 * which the caller made by resp_init.  An error reply is an item of it.
 */
must_check enum result redis_read_resp(struct redis *r, int64_t wait_us,
    size_t max, struct resp *into);

/* One command by argv, its reply freed by the caller; NULL after redis_fail. */
redisReply *redis_argv(struct redis *r, int argc, const char **argv,
    const size_t *len);

#endif /* REDIS_H */
