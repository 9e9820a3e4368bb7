/*
 * logs: rows of the store by the filters of REST, oldest first, then what
 * comes, heard from idash:changes as every live client does.
 */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "changes.h"
#include "cli_open.h"
#include "clock.h"
#include "filter.h"
#include "redis.h"

#define LOGS_MAX       10000
#define LOGS_ARENA     (64 * 1024 * 1024)
#define LOGS_DEADLINE  30000000
#define LOGS_BATCH     "200"


/* "status=FAIL"; a name may hold brackets: ref[bill_id]=7 */
int
cli_filter(struct cli *c, const char *command, struct filter *f)
{
    static const struct scope  all = { .platform = true };
    const char                *equal, *why = NULL;
    struct slice               name;
    enum result                r;

    filter_init(f, &all);

    for (int i = 0; i < c->nargs; i++) {
        equal = strchr(c->args[i], '=');

        if (equal == NULL) {
            return cli_complain(CLI_USAGE, "%s: \"%s\" is no filter; write "
                "name=value", command, c->args[i]);
        }

        name = (struct slice) { c->args[i], (size_t) (equal - c->args[i]) };
        r = filter_add(f, name, slice_of(equal + 1), &why);

        if (r != RESULT_OK) {
            return cli_complain(CLI_USAGE, "%s: %s: %s", command, c->args[i],
                r == RESULT_NOT_FOUND ? "there is no such filter"
                : why == NULL ? result_text(r) : why);
        }
    }

    return CLI_OK;
}


static json_t *
logs_text(struct slice s)
{
    return s.n == 0 ? json_null() : json_stringn(s.p, s.n);
}


static json_t *
logs_number(int64_t n)
{
    return n == LOGDOC_NONE ? json_null() : json_integer(n);
}


static json_t *
logs_ms(int64_t us)
{
    return us == LOGDOC_NONE ? json_null() : json_real((double) us / 1000);
}


static void
logs_print_json(const struct logdoc *d, const char *id, const char *at)
{
    json_t  *o;
    char    *text;

    o = json_pack("{s:s,s:s,s:s,s:s,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o}",
        "_id", id, "started_at", at, "kind", log_kind_text(d->kind),
        "status", log_status_text(d->status), "http", logs_number(
            d->http_status), "duration_ms", logs_ms(d->duration_us),
        "endpoint", logs_text(d->endpoint), "action_id", logs_number(
            d->action_id), "lab_id", logs_number(d->lab_id),
        "org_id", logs_number(d->org_id), "developer_id",
        logs_text(d->developer_id), "error", logs_text(d->error_code));
    text = o == NULL ? NULL : json_dumps(o, JSON_COMPACT
                                            | JSON_REAL_PRECISION(12));
    (void) printf("%s\n", text == NULL ? "{}" : text);
    free(text);
    json_decref(o);
}


static void
logs_print(const struct cli *c, const struct logdoc *d)
{
    char  id[UUID_TEXT + 1], at[CLOCK_RFC3339 + 1], http[24] = "-";

    uuid_text(d->id, id);
    clock_text(d->started_us, at);

    if (cli_value(c, "json") != NULL) {
        logs_print_json(d, id, at);
        return;
    }

    if (d->http_status != LOGDOC_NONE) {
        (void) snprintf(http, sizeof(http), "%lld",
            (long long) d->http_status);
    }

    (void) printf("%s  %s  %-7s  %-9s  %3s  %8.1f ms  %.*s", at, id,
        log_kind_text(d->kind), log_status_text(d->status), http,
        d->duration_us == LOGDOC_NONE ? 0.0 : (double) d->duration_us / 1000,
        SLICE_ARG(d->endpoint));

    if (d->lab_id != LOGDOC_NONE) {
        (void) printf("  lab %lld", (long long) d->lab_id);
    }

    (void) printf("%s%.*s\n", d->error_code.n > 0 ? "  " : "",
        SLICE_ARG(d->error_code));
}


static int
logs_past(struct cli *c, const struct filter *f, unsigned limit)
{
    struct store_page  page;
    struct store_rows  rows;
    struct arena       a;
    enum result        r;

    memset(&page, 0, sizeof(page));
    page.limit = limit;
    page.deadline_us = clock_mono_us() + LOGS_DEADLINE;

    arena_init(&a, LOGS_ARENA);
    r = store_logs_find(c->store, f, &page, &a, &rows);

    if (r != RESULT_OK) {
        arena_cleanup(&a);
        return cli_complain(CLI_FAILED, "logs: %s", result_text(r));
    }

    for (size_t i = rows.n; i > 0; i--) {
        logs_print(c, &rows.rows[i - 1]);
    }

    if (rows.partial) {
        (void) cli_complain(CLI_OK, "logs: not all was searched; give from= "
            "and to=");
    }

    arena_cleanup(&a);
    return CLI_OK;
}


/* One [id, [name, value ..]]; AFTER becomes its id. */
static void
logs_change(const struct cli *c, const struct filter *f,
    const redisReply *entry, char after[64])
{
    struct logdoc  d;

    if (entry->type != REDIS_REPLY_ARRAY || entry->elements != 2
        || entry->element[0]->type != REDIS_REPLY_STRING)
    {
        return;
    }

    (void) snprintf(after, 64, "%s", entry->element[0]->str);

    if (changes_decode(entry->element[1], &d) == RESULT_OK
        && filter_match(f, &d))
    {
        logs_print(c, &d);
    }
}


static const redisReply *
logs_entries(const redisReply *reply)
{
    const redisReply  *stream;

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 1) {
        return NULL;
    }

    stream = reply->element[0];

    return stream->type == REDIS_REPLY_ARRAY && stream->elements == 2
           && stream->element[1]->type == REDIS_REPLY_ARRAY
           ? stream->element[1] : NULL;
}


/* The id of the newest change, so that none after it is missed. */
static enum result
logs_newest(const struct cli *c, struct redis *redis, char after[64])
{
    const char        *argv[] = { "XREVRANGE", c->config->changes_stream, "+",
                                  "-", "COUNT", "1" };
    const redisReply  *entry;
    redisReply        *reply;

    if (redis_context(redis) == NULL) {
        return RESULT_UNAVAILABLE;
    }

    reply = redis_argv(redis, 6, argv, NULL);
    if (reply == NULL) {
        return RESULT_UNAVAILABLE;
    }

    (void) snprintf(after, 64, "0");
    entry = reply->type == REDIS_REPLY_ARRAY && reply->elements == 1
            ? reply->element[0] : NULL;

    if (entry != NULL && entry->type == REDIS_REPLY_ARRAY
        && entry->elements == 2
        && entry->element[0]->type == REDIS_REPLY_STRING)
    {
        (void) snprintf(after, 64, "%s", entry->element[0]->str);
    }

    freeReplyObject(reply);
    return RESULT_OK;
}


static int
logs_follow(const struct cli *c, const struct filter *f, struct redis *redis,
    char after[64])
{
    const char        *argv[] = { "XREAD", "COUNT", LOGS_BATCH, "BLOCK", "1000",
                                  "STREAMS", c->config->changes_stream,
                                  after };
    const redisReply  *entries;
    redisReply        *reply;

    while (!ferror(stdout)) {
        if (redis_context(redis) == NULL
            || !redis_append(redis, 8, argv, NULL)
            || redis_read(redis, 1000000, REDIS_MAX_REPLY, &reply)
               != RESULT_OK)
        {
            (void) usleep(100000);
            continue;
        }

        entries = logs_entries(reply);

        for (size_t i = 0; entries != NULL && i < entries->elements; i++) {
            logs_change(c, f, entries->element[i], after);
        }

        if (redis_reply_result(redis, reply) != RESULT_OK) {
            (void) usleep(1000000);
        }

        freeReplyObject(reply);
        (void) fflush(stdout);
    }

    return CLI_OK;                         /* the reader of a pipe has left */
}


int
cli_logs(struct cli *c)
{
    struct filter   f;
    struct redis   *redis = NULL;
    char            after[64] = "0";
    int64_t         limit;
    bool            follow = cli_value(c, "follow") != NULL;
    int             status;

    status = cli_load_config(c);
    status = status == CLI_OK ? cli_number(c, "limit", 50, 1, LOGS_MAX, &limit)
                              : status;
    status = status == CLI_OK ? cli_filter(c, "logs", &f) : status;
    status = status == CLI_OK ? cli_open_store(c, true) : status;

    /* where to go on is taken before what is there is read: none falls
     * between, and what is in both is printed twice */
    if (status == CLI_OK && follow
        && (redis_create(c->config, &redis) != RESULT_OK
            || logs_newest(c, redis, after) != RESULT_OK))
    {
        status = cli_complain(CLI_FAILED, "logs: --follow needs Redis, and %s "
            "does not answer", c->config->redis);
    }

    status = status == CLI_OK ? logs_past(c, &f, (unsigned) limit) : status;

    if (status == CLI_OK && follow) {
        (void) signal(SIGPIPE, SIG_IGN);
        (void) fflush(stdout);
        status = logs_follow(c, &f, redis, after);
    }

    redis_destroy(redis);
    return status;
}
