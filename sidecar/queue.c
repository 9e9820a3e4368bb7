/*
 * Redis Streams behind a few verbs.  Every reply is checked for its shape: a
 * server that lies costs a connection, never memory.  The group is made when
 * it is missing, from 0, so that nothing written before is passed over.
 */

#include "queue.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "log.h"

#define QUEUE_BLOCK_MS  1000
#define QUEUE_GROUPS    64                 /* groups of one stream looked at */

struct queue {
    const struct config  *config;
    const char           *stream;
    struct redis         *redis;
    char                  consumer[256];
    const char          **argv;            /* of commands with many ids */
    size_t                room;
    struct resp           answer;          /* of the batch in hand */
    struct slice         *fields;          /* of all of its entries */
    size_t                fields_room;
};


enum result
queue_create(const struct config *c, struct redis *r, const char *stream,
    const char *consumer, struct queue **out)
{
    struct queue  *q;

    if (strlen(consumer) >= sizeof(q->consumer)) {
        return RESULT_TOO_BIG;
    }

    q = calloc(1, sizeof(*q));
    if (q == NULL) {
        return RESULT_MEMORY;
    }

    q->config = c;
    q->stream = stream;
    q->redis = r;
    memcpy(q->consumer, consumer, strlen(consumer) + 1);
    resp_init(&q->answer, REDIS_MAX_REPLY);
    *out = q;
    return RESULT_OK;
}


void
queue_destroy(struct queue *q)
{
    if (q != NULL) {
        queue_idle(q);
        free(q->argv);
        free(q);
    }
}


void
queue_idle(struct queue *q)
{
    resp_cleanup(&q->answer);
    free(q->fields);
    q->fields = NULL;
    q->fields_room = 0;
}


void
queue_batch_cleanup(struct queue_batch *b)
{
    free(b->entries);
    memset(b, 0, sizeof(*b));
}


/* Room for N arguments. */
static const char **
queue_argv(struct queue *q, size_t n)
{
    const char  **argv;

    if (n > q->room) {
        argv = realloc(q->argv, n * sizeof(*argv));
        if (argv == NULL) {
            return NULL;
        }

        q->argv = argv;
        q->room = n;
    }

    return q->argv;
}


/* The caller frees *out, which is set with RESULT_OK only. */
static enum result
queue_ask(struct queue *q, int argc, const char **argv, int64_t wait_us,
    size_t max, redisReply **out)
{
    redisReply   *reply = NULL;
    enum result   r;

    *out = NULL;

    if (redis_context(q->redis) == NULL
        || !redis_append(q->redis, argc, argv, NULL))
    {
        return RESULT_UNAVAILABLE;
    }

    r = redis_read(q->redis, wait_us, max, &reply);
    if (r != RESULT_OK) {
        return r;
    }

    r = redis_reply_result(q->redis, reply);

    if (r == RESULT_OK) {
        *out = reply;

    } else {
        freeReplyObject(reply);
    }

    return r;
}


/* The same for entries: the answer stays where it came, in q->answer. */
static enum result
queue_ask_entries(struct queue *q, int argc, const char **argv,
    int64_t wait_us, size_t max)
{
    enum result  r;

    if (redis_context(q->redis) == NULL
        || !redis_append(q->redis, argc, argv, NULL))
    {
        return RESULT_UNAVAILABLE;
    }

    r = redis_read_resp(q->redis, wait_us, max, &q->answer);

    if (r != RESULT_OK || q->answer.items[0].type != RESP_ERROR) {
        return r;
    }

    return redis_error_result(q->redis,
        resp_text(&q->answer, &q->answer.items[0]));
}


static enum result
queue_lie(struct queue *q, const char *command)
{
    char  text[96];

    (void) snprintf(text, sizeof(text), "the answer to %s is malformed",
        command);
    redis_fail(q->redis, text);
    return RESULT_UNAVAILABLE;
}


static enum result
queue_make_group(struct queue *q)
{
    const char   *argv[] = { "XGROUP", "CREATE", q->stream,
                             q->config->capture_group, "0", "MKSTREAM" };
    redisReply   *reply;
    enum result   r;

    r = queue_ask(q, 6, argv, 0, REDIS_MAX_REPLY, &reply);

    if (r == RESULT_OK) {
        freeReplyObject(reply);
        log_write(LOG_NOTICE, "queue", "made group %s of %s, from its first "
            "entry", q->config->capture_group, q->stream);
    }

    return r == RESULT_CONFLICT ? RESULT_OK : r;
}


/* With the group made when it was missing. */
static enum result
queue_command(struct queue *q, int argc, const char **argv, int64_t wait_us,
    size_t max, redisReply **out)
{
    enum result  r;

    r = queue_ask(q, argc, argv, wait_us, max, out);

    if (r == RESULT_NOT_FOUND) {
        r = queue_make_group(q);
        r = r == RESULT_OK ? queue_ask(q, argc, argv, wait_us, max, out) : r;
    }

    return r == RESULT_NOT_FOUND ? RESULT_UNAVAILABLE : r;
}


static enum result
queue_command_entries(struct queue *q, int argc, const char **argv,
    int64_t wait_us, size_t max)
{
    enum result  r;

    r = queue_ask_entries(q, argc, argv, wait_us, max);

    if (r == RESULT_NOT_FOUND) {
        r = queue_make_group(q);
        r = r == RESULT_OK ? queue_ask_entries(q, argc, argv, wait_us, max)
                           : r;
    }

    return r == RESULT_NOT_FOUND ? RESULT_UNAVAILABLE : r;
}


static bool
queue_is_array(const redisReply *r, size_t least)
{
    return r != NULL && r->type == REDIS_REPLY_ARRAY && r->elements >= least;
}


static bool
queue_is_text(const redisReply *r)
{
    return r != NULL
           && (r->type == REDIS_REPLY_STRING || r->type == REDIS_REPLY_STATUS);
}


static bool
queue_id(const redisReply *r, char id[QUEUE_ID])
{
    if (!queue_is_text(r) || (size_t) r->len >= QUEUE_ID
        || strlen(r->str) != (size_t) r->len)
    {
        return false;
    }

    memcpy(id, r->str, (size_t) r->len + 1);
    return true;
}


/* What is next in the answer; NULL: nothing, or something else. */
static const struct resp_item *
queue_next(struct queue *q, size_t *at, enum resp_type type)
{
    const struct resp_item  *i = &q->answer.items[*at];

    if (*at == q->answer.nitems || i->type != type) {
        return NULL;
    }

    (*at)++;
    return i;
}


/* The same for an array of N. */
static bool
queue_next_array(struct queue *q, size_t *at, uint32_t n)
{
    const struct resp_item  *i = queue_next(q, at, RESP_ARRAY);

    return i != NULL && i->n == n;
}


/* Names and values behind those of the entries before. */
static bool
queue_fields(struct queue *q, size_t *at, struct slice *to,
    struct queue_entry *e)
{
    const struct resp_item  *i, *array = queue_next(q, at, RESP_ARRAY);

    if (array == NULL) {
        return queue_next(q, at, RESP_NIL) != NULL;
    }

    e->fields = to;
    e->nfields = array->n;

    for (size_t k = 0; k < e->nfields; k++) {
        i = queue_next(q, at, RESP_STRING);
        if (i == NULL) {
            return false;
        }

        to[k] = resp_text(&q->answer, i);
        e->bytes += i->n;
    }

    return true;
}


/* [id, [name, value ..]] or [id, nil] */
static bool
queue_entry(struct queue *q, size_t *at, struct slice *to,
    struct queue_entry *e)
{
    const struct resp_item  *i;
    struct slice             id;

    if (!queue_next_array(q, at, 2)) {
        return false;
    }

    i = queue_next(q, at, RESP_STRING);
    id = i == NULL ? SLICE_NONE : resp_text(&q->answer, i);

    if (id.n == 0 || id.n >= QUEUE_ID || memchr(id.p, '\0', id.n) != NULL) {
        return false;
    }

    memcpy(e->id, id.p, id.n);
    return queue_fields(q, at, to, e);
}


/* Room for the fields of every entry: each is an item. */
static bool
queue_fields_fit(struct queue *q)
{
    struct slice  *fields;
    size_t         n = q->answer.nitems;

    if (n > q->fields_room) {
        fields = realloc(q->fields, n * sizeof(*fields));
        if (fields == NULL) {
            return false;
        }

        q->fields = fields;
        q->fields_room = n;
    }

    return true;
}


/* The entries of the array that is next. */
static enum result
queue_entries(struct queue *q, size_t at, struct queue_batch *out)
{
    const struct resp_item  *array = queue_next(q, &at, RESP_ARRAY);
    struct queue_entry      *e;
    size_t                   nfields = 0;

    if (array == NULL) {
        return queue_lie(q, "a read of entries");
    }

    /* what it claims was counted: the answer is whole */
    out->entries = calloc((size_t) array->n + 1, sizeof(*out->entries));

    if (out->entries == NULL || !queue_fields_fit(q)) {
        queue_batch_cleanup(out);
        return RESULT_MEMORY;
    }

    for (size_t i = 0; i < array->n; i++) {
        e = &out->entries[out->n];

        if (queue_next(q, &at, RESP_NIL) != NULL) {
            continue;                      /* Redis 6: claimed, but deleted */
        }

        if (!queue_entry(q, &at, q->fields + nfields, e)) {
            queue_batch_cleanup(out);
            return queue_lie(q, "a read of entries");
        }

        nfields += e->nfields;
        out->bytes += e->bytes;
        out->n++;
    }

    return RESULT_OK;
}


enum result
queue_read(struct queue *q, unsigned count, size_t max,
    struct queue_batch *out)
{
    char          number[16], block[16];
    const char   *argv[] = { "XREADGROUP", "GROUP", q->config->capture_group,
                             q->consumer, "COUNT", number, "BLOCK", block,
                             "STREAMS", q->stream, ">" };
    size_t        at = 0;
    enum result   r;

    memset(out, 0, sizeof(*out));
    (void) snprintf(number, sizeof(number), "%u", count);
    (void) snprintf(block, sizeof(block), "%d", QUEUE_BLOCK_MS);

    r = queue_command_entries(q, 11, argv, QUEUE_BLOCK_MS * 1000, max);
    if (r != RESULT_OK) {
        return r;
    }

    if (queue_next(q, &at, RESP_NIL) != NULL) {
        return RESULT_AGAIN;
    }

    /* [[stream, [entry ..]]] */
    if (!queue_next_array(q, &at, 1) || !queue_next_array(q, &at, 2)
        || queue_next(q, &at, RESP_STRING) == NULL)
    {
        return queue_lie(q, "XREADGROUP");
    }

    r = queue_entries(q, at, out);

    if (r == RESULT_OK && out->n == 0) {
        queue_batch_cleanup(out);
        return RESULT_AGAIN;
    }

    return r;
}


/* [id, consumer, idle, deliveries] */
static bool
queue_pending_row(const redisReply *row, struct queue_pending *p)
{
    if (!queue_is_array(row, 4) || !queue_id(row->element[0], p->id)
        || row->element[3]->type != REDIS_REPLY_INTEGER)
    {
        return false;
    }

    p->deliveries = row->element[3]->integer;
    return true;
}


enum result
queue_list(struct queue *q, const char *after, int64_t min_idle_us,
    struct queue_pending *out, size_t *n)
{
    char          start[QUEUE_ID + 1], idle[24], count[16];
    const char   *argv[9];
    int           argc = 0;
    redisReply   *reply;
    enum result   r;

    *n = 0;
    (void) snprintf(start, sizeof(start), "%s%s", *after == '\0' ? "-" : "(",
        after);
    (void) snprintf(idle, sizeof(idle), "%lld",
        (long long) (min_idle_us / 1000));
    (void) snprintf(count, sizeof(count), "%d", QUEUE_PAGE);

    argv[argc++] = "XPENDING";
    argv[argc++] = q->stream;
    argv[argc++] = q->config->capture_group;

    if (min_idle_us > 0) {
        argv[argc++] = "IDLE";
        argv[argc++] = idle;
    }

    argv[argc++] = start;
    argv[argc++] = "+";
    argv[argc++] = count;

    if (min_idle_us == 0) {
        argv[argc++] = q->consumer;
    }

    r = queue_command(q, argc, argv, 0, REDIS_MAX_REPLY, &reply);
    if (r != RESULT_OK) {
        return r;
    }

    if (!queue_is_array(reply, 0) || reply->elements > QUEUE_PAGE) {
        freeReplyObject(reply);
        return queue_lie(q, "XPENDING");
    }

    for (size_t i = 0; i < reply->elements; i++) {
        if (!queue_pending_row(reply->element[i], &out[i])) {
            freeReplyObject(reply);
            return queue_lie(q, "XPENDING");
        }
    }

    *n = reply->elements;
    freeReplyObject(reply);
    return RESULT_OK;
}


/* Both lists ascend; entries that were taken meanwhile are missing in OUT. */
static void
queue_count_deliveries(const struct queue_pending *list, size_t n,
    struct queue_batch *out)
{
    size_t  at = 0;

    for (size_t i = 0; i < out->n; i++) {
        for (size_t j = 0; j < n; j++, at++) {
            at = at == n ? 0 : at;
            if (strcmp(list[at].id, out->entries[i].id) == 0) {
                out->entries[i].deliveries = list[at].deliveries;
                break;
            }
        }
    }
}


enum result
queue_claim(struct queue *q, const struct queue_pending *list, size_t n,
    int64_t min_idle_us, size_t max, struct queue_batch *out)
{
    char          idle[24];
    const char  **argv;
    enum result   r;

    memset(out, 0, sizeof(*out));
    argv = queue_argv(q, n + 5);
    if (argv == NULL) {
        return RESULT_MEMORY;
    }

    (void) snprintf(idle, sizeof(idle), "%lld",
        (long long) (min_idle_us / 1000));
    argv[0] = "XCLAIM";
    argv[1] = q->stream;
    argv[2] = q->config->capture_group;
    argv[3] = q->consumer;
    argv[4] = idle;

    for (size_t i = 0; i < n; i++) {
        argv[5 + i] = list[i].id;
    }

    r = queue_command_entries(q, (int) n + 5, argv, 0, max);
    r = r == RESULT_OK ? queue_entries(q, 0, out) : r;

    if (r == RESULT_OK) {
        queue_count_deliveries(list, n, out);
    }

    return r;
}


/* One XCLAIM for each run of equal counts: nearly always one in all. */
enum result
queue_keep(struct queue *q, const struct queue_entry *e, size_t n)
{
    char          count[24];
    const char  **argv;
    redisReply   *reply;
    size_t        run;
    int           argc;
    enum result   r;

    argv = queue_argv(q, n + 8);
    if (argv == NULL) {
        return RESULT_MEMORY;
    }

    for (size_t i = 0; i < n; i += run) {
        argc = 0;
        argv[argc++] = "XCLAIM";
        argv[argc++] = q->stream;
        argv[argc++] = q->config->capture_group;
        argv[argc++] = q->consumer;
        argv[argc++] = "0";

        for (run = 0; i + run < n
             && e[i + run].deliveries == e[i].deliveries; run++)
        {
            argv[argc++] = e[i + run].id;
        }

        (void) snprintf(count, sizeof(count), "%lld",
            (long long) e[i].deliveries);
        argv[argc++] = "RETRYCOUNT";
        argv[argc++] = count;
        argv[argc++] = "JUSTID";

        r = queue_ask(q, argc, argv, 0, REDIS_MAX_REPLY, &reply);
        if (r != RESULT_OK) {
            return r;
        }

        freeReplyObject(reply);
    }

    return RESULT_OK;
}


enum result
queue_ack(struct queue *q, const struct queue_entry *e, size_t n)
{
    const char  **argv;
    redisReply   *reply;
    enum result   r;

    argv = queue_argv(q, n + 3);
    if (argv == NULL) {
        return RESULT_MEMORY;
    }

    argv[0] = "XACK";
    argv[1] = q->stream;
    argv[2] = q->config->capture_group;

    for (size_t i = 0; i < n; i++) {
        argv[3 + i] = e[i].id;
    }

    r = queue_ask(q, (int) n + 3, argv, 0, REDIS_MAX_REPLY, &reply);

    if (r == RESULT_OK) {
        freeReplyObject(reply);
    }

    return r == RESULT_NOT_FOUND ? RESULT_OK : r;
}


struct queue_point {                       /* an entry's id as numbers */
    uint64_t  ms, seq;
};


static bool
queue_parse_point(const char *text, struct queue_point *p)
{
    int  end = 0;

    return sscanf(text, "%20lu-%20lu%n", &p->ms, &p->seq, &end) == 2
           && text[end] == '\0';
}


static bool
queue_before(struct queue_point a, struct queue_point b)
{
    return a.ms < b.ms || (a.ms == b.ms && a.seq < b.seq);
}


/* The value of NAME in a flat array of names and values, NULL if not there. */
static const redisReply *
queue_member(const redisReply *r, const char *name)
{
    for (size_t i = 0; queue_is_array(r, 2) && i + 1 < r->elements; i += 2) {
        if (queue_is_text(r->element[i])
            && strcmp(r->element[i]->str, name) == 0)
        {
            return r->element[i + 1];
        }
    }

    return NULL;
}


/* The lowest entry that GROUP still needs. */
static enum result
queue_lowest(struct queue *q, const redisReply *group, struct queue_point *out)
{
    const redisReply  *name = queue_member(group, "name");
    const redisReply  *last = queue_member(group, "last-delivered-id");
    const redisReply  *pending = queue_member(group, "pending");
    const char        *argv[3];
    redisReply        *reply;
    bool               ok;
    enum result        r;

    if (!queue_is_text(name) || !queue_is_text(last) || pending == NULL
        || !queue_parse_point(last->str, out))
    {
        return queue_lie(q, "XINFO GROUPS");
    }

    out->seq++;                            /* the first not yet delivered */

    if (pending->integer == 0) {
        return RESULT_OK;
    }

    argv[0] = "XPENDING";
    argv[1] = q->stream;
    argv[2] = name->str;
    r = queue_ask(q, 3, argv, 0, REDIS_MAX_REPLY, &reply);

    if (r != RESULT_OK) {
        return r;
    }

    /* [count, lowest, highest, ..]; nothing pending by now is no lie */
    ok = queue_is_array(reply, 3)
         && (!queue_is_text(reply->element[1])
             || queue_parse_point(reply->element[1]->str, out));
    freeReplyObject(reply);
    return ok ? RESULT_OK : queue_lie(q, "XPENDING");
}


static enum result
queue_trim_below(struct queue *q, struct queue_point p)
{
    char          id[QUEUE_ID];
    const char   *argv[] = { "XTRIM", q->stream, "MINID", "=",
                             id };
    redisReply   *reply;
    enum result   r;

    (void) snprintf(id, sizeof(id), "%lu-%lu", p.ms, p.seq);
    r = queue_ask(q, 5, argv, 0, REDIS_MAX_REPLY, &reply);

    if (r == RESULT_OK) {
        freeReplyObject(reply);
    }

    return r;
}


/* What all groups need, by one XINFO; a group that appears now starts at what
 * is left, as any group would that starts a moment later. */
static enum result
queue_scan_groups(struct queue *q, const redisReply *groups,
    struct queue_point *lowest, int64_t *lag, int64_t *pending)
{
    const redisReply    *name, *v;
    struct queue_point   p;
    enum result          r;

    for (size_t i = 0; i < groups->elements; i++) {
        r = queue_lowest(q, groups->element[i], &p);
        if (r != RESULT_OK) {
            return r;
        }

        *lowest = i == 0 || queue_before(p, *lowest) ? p : *lowest;
        name = queue_member(groups->element[i], "name");

        if (strcmp(name->str, q->config->capture_group) == 0) {
            v = queue_member(groups->element[i], "lag");
            *lag = v != NULL && v->type == REDIS_REPLY_INTEGER ? v->integer
                                                               : -1;
            v = queue_member(groups->element[i], "pending");
            *pending = v->integer;
        }
    }

    return RESULT_OK;
}


enum result
queue_trim(struct queue *q, int64_t *lag, int64_t *pending)
{
    const char          *argv[] = { "XINFO", "GROUPS",
                                    q->stream };
    struct queue_point   lowest = { 0, 0 };
    redisReply          *reply;
    bool                 all;
    enum result          r;

    *lag = -1;
    *pending = -1;

    r = queue_ask(q, 3, argv, 0, REDIS_MAX_REPLY, &reply);
    if (r != RESULT_OK) {
        return r;                          /* no stream yet */
    }

    if (!queue_is_array(reply, 0)) {
        freeReplyObject(reply);
        return queue_lie(q, "XINFO GROUPS");
    }

    /* with more groups than are looked at, nothing may go */
    all = reply->elements > 0 && reply->elements <= QUEUE_GROUPS;
    r = all ? queue_scan_groups(q, reply, &lowest, lag, pending) : RESULT_OK;
    freeReplyObject(reply);

    return r == RESULT_OK && all ? queue_trim_below(q, lowest) : r;
}


static enum result
queue_delete_consumer(struct queue *q, const char *name)
{
    const char   *argv[] = { "XGROUP", "DELCONSUMER",
                             q->stream,
                             q->config->capture_group, name };
    redisReply   *reply;
    enum result   r;

    r = queue_ask(q, 5, argv, 0, REDIS_MAX_REPLY, &reply);

    if (r == RESULT_OK) {
        freeReplyObject(reply);
        log_write(LOG_INFO, "queue", "forgot consumer %s, long gone", name);
    }

    return r;
}


enum result
queue_forget(struct queue *q, int64_t idle_us)
{
    const char        *argv[] = { "XINFO", "CONSUMERS",
                                  q->stream,
                                  q->config->capture_group };
    const redisReply  *name, *pending, *idle;
    redisReply        *reply;
    enum result        r;

    r = queue_ask(q, 4, argv, 0, REDIS_MAX_REPLY, &reply);
    if (r != RESULT_OK) {
        return r;
    }

    for (size_t i = 0; queue_is_array(reply, 1) && i < reply->elements
         && r == RESULT_OK; i++)
    {
        name = queue_member(reply->element[i], "name");
        pending = queue_member(reply->element[i], "pending");
        idle = queue_member(reply->element[i], "idle");

        if (queue_is_text(name) && strcmp(name->str, q->consumer) != 0
            && pending != NULL && pending->type == REDIS_REPLY_INTEGER
            && pending->integer == 0
            && idle != NULL && idle->integer > idle_us / 1000)
        {
            r = queue_delete_consumer(q, name->str);
        }
    }

    freeReplyObject(reply);
    return r;
}
