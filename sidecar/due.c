/*
 * Due times in sorted sets.  Scores are milliseconds, members ids in text:
 * equal scores come by id, which is by age.
 */

#include "due.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "logdoc.h"

#define FAIR_EVERY  8                      /* calls: the oldest of all first */
#define MAX_REPLY   (4 * 1024 * 1024)

static const char *const  keys[DUE_PRIORITIES] = {
    "idash:due:0", "idash:due:1", "idash:due:2"
};


static unsigned
priority_index(int64_t priority)
{
    return priority < 0 ? 0 : priority >= DUE_PRIORITIES ? DUE_PRIORITIES - 1
                                                         : (unsigned) priority;
}


/* Reads N replies; the first failure is the result, all are read. */
static enum result
read_replies(struct redis *r, size_t n)
{
    redisReply   *reply;
    enum result   result = RESULT_OK, one;

    for (size_t i = 0; i < n; i++) {
        one = redis_read(r, 0, MAX_REPLY, &reply);
        if (one != RESULT_OK) {
            return one;
        }

        one = redis_reply_result(r, reply);
        freeReplyObject(reply);
        result = result == RESULT_OK ? one : result;
    }

    return result;
}


enum result
due_add(struct redis *r, const struct due_item *items, size_t n, bool nx)
{
    char         id[UUID_TEXT + 1], score[24];
    const char  *argv[5];
    int          argc;

    if (redis_context(r) == NULL) {
        return RESULT_UNAVAILABLE;
    }

    for (size_t i = 0; i < n; i++) {
        uuid_text(items[i].id, id);
        (void) snprintf(score, sizeof(score), "%lld",
            (long long) (items[i].due_us / 1000));

        argc = 0;
        argv[argc++] = "ZADD";
        argv[argc++] = keys[priority_index(items[i].priority)];

        if (nx) {
            argv[argc++] = "NX";
        }

        argv[argc++] = score;
        argv[argc++] = id;

        if (!redis_append(r, argc, argv, NULL)) {
            return RESULT_UNAVAILABLE;
        }
    }

    return read_replies(r, n);
}


enum result
due_remove(struct redis *r, const struct due_item *items, size_t n)
{
    char         id[UUID_TEXT + 1];
    const char  *argv[3];

    if (redis_context(r) == NULL) {
        return RESULT_UNAVAILABLE;
    }

    for (size_t i = 0; i < n; i++) {
        uuid_text(items[i].id, id);
        argv[0] = "ZREM";
        argv[1] = keys[priority_index(items[i].priority)];
        argv[2] = id;

        if (!redis_append(r, 3, argv, NULL)) {
            return RESULT_UNAVAILABLE;
        }
    }

    return read_replies(r, n);
}


/* Members and scores of one set; what is no id of ours is left out. */
static size_t
take_items(const redisReply *reply, int64_t priority, struct due_item *out,
    size_t max)
{
    const redisReply  *member, *score;
    size_t             n = 0;

    for (size_t i = 0; i + 1 < reply->elements && n < max; i += 2) {
        member = reply->element[i];
        score = reply->element[i + 1];

        if (member->type != REDIS_REPLY_STRING
            || score->type != REDIS_REPLY_STRING
            || uuid_parse((struct slice) { member->str, member->len },
                   out[n].id) != RESULT_OK)
        {
            continue;
        }

        out[n].due_us = (int64_t) (strtod(score->str, NULL) * 1000);
        out[n].priority = priority;
        n++;
    }

    return n;
}


static bool
append_range(struct redis *r, unsigned priority, const char *until,
    const char *limit)
{
    const char  *argv[] = { "ZRANGEBYSCORE", keys[priority], "-inf", until,
        "WITHSCORES", "LIMIT", "0", limit };

    return redis_append(r, 8, argv, NULL);
}


/* The sets from HIGH to LOW, each up to the limit, in one round trip. */
static enum result
read_ranges(struct redis *r, const char *until, const char *limit,
    struct due_item *out[DUE_PRIORITIES], size_t max, size_t n[DUE_PRIORITIES])
{
    redisReply   *reply;
    enum result   result;

    if (redis_context(r) == NULL) {
        return RESULT_UNAVAILABLE;
    }

    for (unsigned p = DUE_PRIORITIES; p-- > 0; /* void */) {
        if (!append_range(r, p, until, limit)) {
            return RESULT_UNAVAILABLE;
        }
    }

    for (unsigned p = DUE_PRIORITIES; p-- > 0; /* void */) {
        result = redis_read(r, 0, MAX_REPLY, &reply);
        if (result != RESULT_OK) {
            return result;
        }

        result = redis_reply_result(r, reply);
        n[p] = result == RESULT_OK ? take_items(reply, p, out[p], max) : 0;
        freeReplyObject(reply);

        if (result != RESULT_OK) {
            redis_fail(r, "a due queue could not be read");
            return result;
        }
    }

    return RESULT_OK;
}


/* The oldest of all goes first, so that LOW is never starved. */
static void
put_oldest_first(struct due_item *items, size_t n)
{
    struct due_item  oldest;
    size_t           at = 0;

    for (size_t i = 1; i < n; i++) {
        if (items[i].due_us < items[at].due_us) {
            at = i;
        }
    }

    if (at > 0) {
        oldest = items[at];
        memmove(items + 1, items, at * sizeof(*items));
        items[0] = oldest;
    }
}


enum result
due_peek(struct redis *r, int64_t now_us, unsigned *calls,
    struct due_item *out, size_t max, size_t *n)
{
    struct due_item  *all, *range[DUE_PRIORITIES];
    size_t            count[DUE_PRIORITIES], total = 0;
    char              until[24], limit[16];
    enum result       result;

    *n = 0;

    all = malloc(DUE_PRIORITIES * max * sizeof(*all));
    if (all == NULL) {
        return RESULT_MEMORY;
    }

    for (unsigned p = 0; p < DUE_PRIORITIES; p++) {
        range[p] = all + (DUE_PRIORITIES - 1 - p) * max;
    }

    (void) snprintf(until, sizeof(until), "%lld", (long long) (now_us / 1000));
    (void) snprintf(limit, sizeof(limit), "%zu", max);
    result = read_ranges(r, until, limit, range, max, count);

    if (result == RESULT_OK) {
        for (unsigned p = DUE_PRIORITIES; p-- > 0; /* void */) {
            memmove(all + total, range[p], count[p] * sizeof(*all));
            total += count[p];
        }

        if (++*calls % FAIR_EVERY == 0) {
            put_oldest_first(all, total);
        }

        *n = total < max ? total : max;
        memcpy(out, all, *n * sizeof(*all));
    }

    free(all);
    return result;
}


enum result
due_next(struct redis *r, int64_t *due_us)
{
    struct due_item   first[DUE_PRIORITIES];
    struct due_item  *range[DUE_PRIORITIES];
    size_t            count[DUE_PRIORITIES];
    enum result       result;

    *due_us = LOGDOC_NONE;

    for (unsigned p = 0; p < DUE_PRIORITIES; p++) {
        range[p] = &first[p];
    }

    result = read_ranges(r, "+inf", "1", range, 1, count);

    for (unsigned p = 0; p < DUE_PRIORITIES && result == RESULT_OK; p++) {
        if (count[p] == 1
            && (*due_us == LOGDOC_NONE || first[p].due_us < *due_us))
        {
            *due_us = first[p].due_us;
        }
    }

    return result;
}


static enum result
read_count(struct redis *r, int64_t *count)
{
    redisReply   *reply;
    enum result   result = redis_read(r, 0, MAX_REPLY, &reply);

    if (result != RESULT_OK) {
        return result;
    }

    result = redis_reply_result(r, reply);
    *count = reply->type == REDIS_REPLY_INTEGER ? reply->integer : 0;
    freeReplyObject(reply);
    return result;
}


enum result
due_count(struct redis *r, int64_t count[DUE_PRIORITIES], int64_t now_us,
    int64_t *overdue)
{
    const char   *argv[4];
    char          until[24];
    int64_t       late;
    enum result   result = RESULT_OK;

    (void) snprintf(until, sizeof(until), "%lld", (long long) (now_us / 1000));
    *overdue = 0;

    if (redis_context(r) == NULL) {
        return RESULT_UNAVAILABLE;
    }

    for (unsigned p = 0; p < DUE_PRIORITIES; p++) {
        argv[0] = "ZCARD";
        argv[1] = keys[p];

        if (!redis_append(r, 2, argv, NULL)) {
            return RESULT_UNAVAILABLE;
        }

        argv[0] = "ZCOUNT";
        argv[2] = "-inf";
        argv[3] = until;

        if (!redis_append(r, 4, argv, NULL)) {
            return RESULT_UNAVAILABLE;
        }
    }

    for (unsigned p = 0; p < DUE_PRIORITIES && result == RESULT_OK; p++) {
        result = read_count(r, &count[p]);
        result = result == RESULT_OK ? read_count(r, &late) : result;
        *overdue += result == RESULT_OK ? late : 0;
    }

    return result;
}
