/*
 * A blocking Redis connection of one thread: connects when first used, AUTH and
 * SELECT, time-outs, classes of errors.  Wraps hiredis, which no other file but
 * queue.c and live.c touches.
 */

#ifndef REDIS_H
#define REDIS_H

#include <hiredis/hiredis.h>

#include "config.h"
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
 * MISCONF, ..; the connection is dropped where that helps), NOT_FOUND (NOGROUP),
 * INVALID (the command itself is wrong).  OK for any other reply.
 */
enum result redis_reply_result(struct redis *r, const redisReply *reply);

/* One command by argv, its reply freed by the caller; NULL after redis_fail. */
redisReply *redis_argv(struct redis *r, int argc, const char **argv,
    const size_t *len);

#endif /* REDIS_H */
