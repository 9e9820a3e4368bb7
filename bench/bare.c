/*
 * A bare hiredis loop: the records that wait in a stream, sent again to another
 * one as they are, pipelined, and nothing else.  What the shipper is held
 * against.
 *
 *   bare SOCKET STREAM ROUNDS PIPELINE      the least us of CPU time a record
 */

#include <hiredis/hiredis.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BARE_ARGS  512

struct command {
    int           argc;
    const char   *argv[BARE_ARGS];
    size_t        argvlen[BARE_ARGS];
};


static int64_t
cpu_ns(void)
{
    struct timespec  t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t) t.tv_sec * 1000000000 + t.tv_nsec;
}


static void
die(const char *what)
{
    fprintf(stderr, "bare: %s\n", what);
    exit(1);
}


static void
command_add(struct command *c, const char *p, size_t n)
{
    if (c->argc == BARE_ARGS) {
        die("too many fields");
    }

    c->argv[c->argc] = p;
    c->argvlen[c->argc++] = n;
}


/* XADD of an entry that XRANGE gave: [id, [name, value, ..]]. */
static void
command_make(struct command *c, const redisReply *entry)
{
    const redisReply  *fields = entry->element[1];

    c->argc = 0;
    command_add(c, "XADD", 4);
    command_add(c, "bare", 4);
    command_add(c, "*", 1);

    for (size_t i = 0; i < fields->elements; i++) {
        command_add(c, fields->element[i]->str,
            (size_t) fields->element[i]->len);
    }
}


static redisReply *
ask(redisContext *r, const char *what, const char *stream)
{
    redisReply  *reply;

    reply = redisCommand(r, what, stream);
    if (reply == NULL || reply->type == REDIS_REPLY_ERROR) {
        die(reply == NULL ? r->errstr : reply->str);
    }

    return reply;
}


/* Nanoseconds of one round. */
static int64_t
round_run(redisContext *r, struct command *c, size_t n, size_t pipeline)
{
    redisReply  *reply;
    int64_t      begun = cpu_ns();

    for (size_t at = 0; at < n; at += pipeline) {
        size_t  some = n - at < pipeline ? n - at : pipeline;

        for (size_t i = 0; i < some; i++) {
            (void) redisAppendCommandArgv(r, c[at + i].argc, c[at + i].argv,
                c[at + i].argvlen);
        }

        for (size_t i = 0; i < some; i++) {
            if (redisGetReply(r, (void **) &reply) != REDIS_OK
                || reply->type == REDIS_REPLY_ERROR)
            {
                die("XADD failed");
            }

            freeReplyObject(reply);
        }
    }

    return cpu_ns() - begun;
}


int
main(int argc, char **argv)
{
    struct command  *commands;
    redisContext    *r;
    redisReply      *all;
    int64_t          least = INT64_MAX, ns;
    size_t           pipeline = argc == 5 ? strtoul(argv[4], NULL, 10) : 0;

    if (pipeline == 0) {
        fprintf(stderr, "usage: bare SOCKET STREAM ROUNDS PIPELINE\n");
        return 2;
    }

    r = redisConnectUnix(argv[1]);
    if (r == NULL || r->err) {
        die("no Redis");
    }

    all = ask(r, "XRANGE %s - +", argv[2]);
    commands = calloc(all->elements + 1, sizeof(*commands));
    if (commands == NULL || all->elements == 0) {
        die("no records");
    }

    for (size_t i = 0; i < all->elements; i++) {
        command_make(&commands[i], all->element[i]);
    }

    for (int i = 0; i < atoi(argv[3]); i++) {
        ns = round_run(r, commands, all->elements, pipeline);
        least = ns < least ? ns : least;
        freeReplyObject(ask(r, "DEL %s", "bare"));
    }

    printf("%.3f\n", (double) least / 1e3 / (double) all->elements);
    free(commands);
    freeReplyObject(all);
    redisFree(r);
    return 0;
}
