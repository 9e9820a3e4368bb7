/*
 * Due times in sorted sets.  Scores are milliseconds, members ids in text:
 * equal scores come by id, which is by age.
 */

#include "due.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "logdoc.h"

#define FAIR_EVERY  8                      /* calls: the oldest of all */
#define MAX_REPLY   (4 * 1024 * 1024)
#define WAKE        "idash:due:wake"
#define LISTEN_MS   "500"
#define LISTEN_US   INT64_C(500000)

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


/*
 * KEYS: the sets from HIGH to LOW.  ARGV: now, until, how many, and 1 for the
 * oldest of all.  Answers the next score that is left ('' none), then index of
 * the set, score and member of each one taken.
 */
static const char  take_script[] =
    "local max=tonumber(ARGV[3]) local all={} "
    "for i=1,#KEYS do "
    "if #all>=max and ARGV[4]~='1' then break end "
    "local r=redis.call('ZRANGEBYSCORE',KEYS[i],'-inf',ARGV[1],'WITHSCORES',"
    "'LIMIT',0,ARGV[4]=='1' and max or max-#all) "
    "for j=1,#r,2 do all[#all+1]={i,tonumber(r[j+1]),r[j]} end end "
    "if ARGV[4]=='1' then table.sort(all,function(a,b) "
    "if a[2]~=b[2] then return a[2]<b[2] end return a[3]<b[3] end) end "
    "local out={''} local add={} "
    "for k=1,math.min(max,#all) do local x=all[k] "
    "add[x[1]]=add[x[1]] or {} local t=add[x[1]] "
    "t[#t+1]=ARGV[2] t[#t+1]=x[3] "
    "out[#out+1]=x[1] out[#out+1]=string.format('%.0f',x[2]) "
    "out[#out+1]=x[3] end "
    "for i,t in pairs(add) do for k=1,#t,200 do "
    "redis.call('ZADD',KEYS[i],'XX',unpack(t,k,math.min(k+199,#t))) end end "
    "for i=1,#KEYS do local r=redis.call('ZRANGE',KEYS[i],0,0,'WITHSCORES') "
    "if r[2] and (out[1]=='' or tonumber(r[2])<tonumber(out[1])) then "
    "out[1]=r[2] end end "
    "return out";


/* What is no id of ours is left out. */
static size_t
take_items(const redisReply *reply, struct due_item *out, size_t max)
{
    const redisReply *const  *e = (const redisReply *const *) reply->element;
    size_t                    n = 0;

    for (size_t i = 1; i + 2 < reply->elements && n < max; i += 3) {
        if (e[i]->type == REDIS_REPLY_INTEGER
            && e[i + 1]->type == REDIS_REPLY_STRING
            && e[i + 2]->type == REDIS_REPLY_STRING
            && uuid_parse((struct slice) { e[i + 2]->str, e[i + 2]->len },
                   out[n].id) == RESULT_OK)
        {
            out[n].due_us = (int64_t) (strtod(e[i + 1]->str, NULL) * 1000);
            out[n].priority = DUE_PRIORITIES - e[i]->integer;
            n++;
        }
    }

    return n;
}


enum result
due_take(struct redis *r, int64_t now_us, int64_t until_us, unsigned *calls,
    struct due_item *out, size_t max, size_t *n, int64_t *next_us)
{
    char          now[24], until[24], limit[24];
    const char   *argv[] = { "EVAL", take_script, "3", keys[2], keys[1],
        keys[0], now, until, limit, "0" };
    redisReply   *reply;
    enum result   result;

    *n = 0;
    *next_us = LOGDOC_NONE;

    if (redis_context(r) == NULL) {
        return RESULT_UNAVAILABLE;
    }

    (void) snprintf(now, sizeof(now), "%lld", (long long) (now_us / 1000));
    (void) snprintf(until, sizeof(until), "%lld",
        (long long) (until_us / 1000));
    (void) snprintf(limit, sizeof(limit), "%zu", max);
    argv[9] = ++*calls % FAIR_EVERY == 0 ? "1" : "0";

    if (!redis_append(r, 10, argv, NULL)) {
        return RESULT_UNAVAILABLE;
    }

    result = redis_read(r, 0, MAX_REPLY, &reply);
    if (result != RESULT_OK) {
        return result;
    }

    result = redis_reply_result(r, reply);

    if (result == RESULT_OK && reply->type == REDIS_REPLY_ARRAY
        && reply->elements > 0)
    {
        *n = take_items(reply, out, max);

        if (reply->element[0]->type == REDIS_REPLY_STRING
            && reply->element[0]->len > 0)
        {
            *next_us = (int64_t) (strtod(reply->element[0]->str, NULL)
                                  * 1000);
        }
    }

    freeReplyObject(reply);
    return result;
}


enum result
due_tell(struct redis *r)
{
    const char  *argv[] = { "XADD", WAKE, "MAXLEN", "1", "*", "due", "1" };

    if (redis_context(r) == NULL || !redis_append(r, 7, argv, NULL)) {
        return RESULT_UNAVAILABLE;
    }

    return read_replies(r, 1);
}


/* [[key, [[id, fields] ..]]]: the id of the last entry, or NULL. */
static const redisReply *
last_entry(const redisReply *reply)
{
    const redisReply  *e = reply;

    /* key and entries, entries, the last, its id */
    static const int   path[] = { 0, 1, -1, 0 };

    for (size_t i = 0; i < sizeof(path) / sizeof(path[0]); i++) {
        if (e->type != REDIS_REPLY_ARRAY || e->elements == 0
            || path[i] >= (int) e->elements)
        {
            return NULL;
        }

        e = e->element[path[i] < 0 ? e->elements - 1 : (size_t) path[i]];
    }

    return e->type == REDIS_REPLY_STRING && e->len < DUE_MARK ? e : NULL;
}


enum result
due_listen(struct redis *r, char after[DUE_MARK], bool *told)
{
    const char        *argv[] = { "XREAD", "COUNT", "1", "BLOCK", LISTEN_MS,
        "STREAMS", WAKE, after };
    const redisReply  *id;
    redisReply        *reply;
    enum result        result;

    *told = false;

    if (redis_context(r) == NULL || !redis_append(r, 8, argv, NULL)) {
        return RESULT_UNAVAILABLE;
    }

    result = redis_read(r, LISTEN_US, MAX_REPLY, &reply);
    if (result != RESULT_OK) {
        return result;
    }

    result = redis_reply_result(r, reply);
    id = result == RESULT_OK ? last_entry(reply) : NULL;

    if (id != NULL) {
        (void) snprintf(after, DUE_MARK, "%s", id->str);
        *told = true;
    }

    freeReplyObject(reply);
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
