/*
 * Foreign bytes as the answers of a Redis.  In the module, through a socket
 * pair and the exchange of a batch: it ends, in bounded memory, and never with
 * more replies than were asked for.  In the sidecar, whole and byte by byte:
 * the same items, each within the bytes.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ngx_http_capture_redis.h"
#include "resp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


/* Every cut of the bytes gives the replies that the whole gives. */
static void
parse(const char *p, size_t n)
{
    struct capture_reply  reply;
    int                   used;

    while (n > 0) {
        used = capture_reply_parse(p, n, &reply);
        if (used <= 0) {
            return;
        }

        if ((size_t) used > n || (reply.p != NULL && reply.len > n)
            || capture_reply_parse(p, (size_t) used - 1, &reply) > 0)
        {
            abort();
        }

        (void) capture_reply_parse(p, (size_t) used, &reply);
        (void) capture_reply_class(&reply);
        p += used;
        n -= (size_t) used;
    }
}


static int
count(void *ctx, unsigned i, const struct capture_reply *reply)
{
    unsigned  *n = ctx;

    if (i != *n) {
        abort();
    }

    (*n)++;
    return capture_reply_class(reply) == CAPTURE_REPLY_BUSY;
}


static void
exchange(const uint8_t *data, size_t size)
{
    struct capture_redis_conf  conf;
    struct capture_redis     *r;
    _Atomic int64_t           limit = INT64_MAX;
    unsigned                  done, seen = 0;
    int                       pair[2];

    memset(&conf, 0, sizeof(conf));
    conf.addrs[0].path = "/nonexistent";
    conf.naddrs = 1;
    conf.timeout_ms = 50;

    r = capture_redis_create(&conf, -1, &limit);
    if (r == NULL
        || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
    {
        abort();
    }

    if (size > 65536) {
        size = 65536;
    }

    if (write(pair[1], data, size) != (ssize_t) size
        || shutdown(pair[1], SHUT_WR) != 0
        || capture_redis_attach(r, pair[0]) != 0)
    {
        abort();
    }

    done = capture_redis_exchange(r, "*1\r\n$4\r\nPING\r\n", 14, 8, count,
                                  &seen);
    if (done > 8 || seen != done) {
        abort();
    }

    (void) close(pair[1]);
    capture_redis_destroy(r);
}


static void
check_items(const struct resp *r)
{
    for (size_t i = 0; i < r->nitems; i++) {
        if (r->items[i].type != RESP_ARRAY
            && (r->items[i].at > r->at
                || r->items[i].n > r->at - r->items[i].at))
        {
            abort();
        }
    }

    if (r->at > r->bytes.n || r->nitems > r->at) {
        abort();
    }
}


static void
take_apart(const char *p, size_t n)
{
    struct resp  whole, cut;
    enum result  r, again = RESULT_AGAIN;

    n = n < 65536 ? n : 65536;
    resp_init(&whole, n);
    resp_init(&cut, n);

    (void) buf_add(&whole.bytes, p, n);
    r = resp_parse(&whole);
    check_items(&whole);

    for (size_t i = 0; i < n && again == RESULT_AGAIN; i++) {
        (void) buf_add(&cut.bytes, p + i, 1);
        again = resp_parse(&cut);
    }

    check_items(&cut);

    if (again != r || cut.nitems != whole.nitems || cut.at != whole.at
        || (whole.nitems > 0 && memcmp(cut.items, whole.items,
               whole.nitems * sizeof(whole.items[0])) != 0))
    {
        abort();
    }

    resp_cleanup(&whole);
    resp_cleanup(&cut);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    take_apart((const char *) data, size);
    parse((const char *) data, size);
    exchange(data, size);
    return 0;
}
