/*
 * One connection, several addresses.  Nothing here retries: the shipper says
 * when to connect and what to send again.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "ngx_http_capture_redis.h"

#include <errno.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <openssl/crypto.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "ngx_http_capture_ring.h"

#define CONNECT_MS  1000
#define ERROR_LEN   256
#define NAME_LEN    128

#define SILENCE_LOOK_US 10000

struct redis_addr {
    char  *host;                           /* NULL: unix socket */
    char  *path;
    int    port;
};

struct capture_redis {
    struct redis_addr  addrs[CAPTURE_MAX_REDIS];
    unsigned           naddrs, addr;
    char              *user, *password;
    int                db;
    unsigned           timeout_ms;

    redisContext      *context;
    int                wakefd;
    _Atomic int64_t   *limit_us;
    capture_silence_pt on_silence;
    void              *silence_ctx;

    char               run_id[CAPTURE_RUN_ID + 1];
    int                has_waitaof;
    char               error[ERROR_LEN];
    char               name[NAME_LEN];

    size_t             have;               /* bytes in the reply buffer */
    char               replies[CAPTURE_REPLY_BUFFER];
};


int64_t
capture_mono_us(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}


/* Replies */

/* A line "<sign>digits CR LF" at P; returns its bytes, 0 for more, -1. */
static int
parse_integer(const char *p, size_t n, int64_t *value)
{
    size_t   i;
    int      negative;
    int64_t  v;

    i = 0;
    v = 0;
    negative = n > 0 && p[0] == '-';
    i += (size_t) negative;

    for ( /* void */ ; i < n && p[i] >= '0' && p[i] <= '9'; i++) {
        if (v > (INT64_MAX - 9) / 10) {
            return -1;
        }

        v = v * 10 + (p[i] - '0');
    }

    if (i == n) {
        return 0;
    }

    if (i == (size_t) negative || p[i] != '\r') {
        return -1;
    }

    if (i + 1 == n) {
        return 0;
    }

    *value = negative ? -v : v;
    return p[i + 1] == '\n' ? (int) i + 2 : -1;
}


static int
parse_line(const char *p, size_t n, struct capture_reply *reply)
{
    const char  *cr;

    cr = memchr(p, '\r', n);
    if (cr == NULL || cr + 1 == p + n) {
        return 0;
    }

    if (cr[1] != '\n') {
        return -1;
    }

    reply->p = p;
    reply->len = (size_t) (cr - p);
    return (int) reply->len + 2;
}


static int
parse_bulk(const char *p, size_t n, struct capture_reply *reply)
{
    int64_t  len;
    int      head;

    head = parse_integer(p, n, &len);
    if (head <= 0) {
        return head;
    }

    if (len == -1) {
        reply->nil = 1;
        return head;
    }

    if (len < 0 || len > CAPTURE_REPLY_BUFFER) {
        return -1;
    }

    if (n - (size_t) head < (size_t) len + 2) {
        return 0;
    }

    if (p[head + len] != '\r' || p[head + len + 1] != '\n') {
        return -1;
    }

    reply->p = p + head;
    reply->len = (size_t) len;
    return head + (int) len + 2;
}


static int
parse_array(const char *p, size_t n, struct capture_reply *reply)
{
    int  used, len;

    used = parse_integer(p, n, &reply->number);
    if (used <= 0) {
        return used;
    }

    if (reply->number < 0 || reply->number > CAPTURE_REPLY_INTS) {
        return -1;
    }

    for (int64_t i = 0; i < reply->number; i++) {
        if ((size_t) used == n) {
            return 0;
        }

        if (p[used++] != ':') {
            return -1;
        }

        len = parse_integer(p + used, n - (size_t) used, &reply->ints[i]);
        if (len <= 0) {
            return len;
        }

        used += len;
    }

    return used;
}


int
capture_reply_parse(const char *p, size_t n, struct capture_reply *reply)
{
    int  used;

    memset(reply, 0, sizeof(*reply));

    if (n == 0) {
        return 0;
    }

    reply->type = *p++;
    n--;

    switch (reply->type) {

    case '+':
    case '-':
        used = parse_line(p, n, reply);
        break;

    case ':':
        used = parse_integer(p, n, &reply->number);
        break;

    case '$':
        used = parse_bulk(p, n, reply);
        break;

    case '*':
        used = parse_array(p, n, reply);
        break;

    default:
        used = -1;
        break;
    }

    return used > 0 ? used + 1 : used;
}


enum capture_reply_class
capture_reply_class(const struct capture_reply *reply)
{
    static const struct {
        const char                *word;
        enum capture_reply_class   class;
    } words[] = {
        { "BUSY ", CAPTURE_REPLY_BUSY },
        { "OOM ", CAPTURE_REPLY_FULL },
        { "MISCONF ", CAPTURE_REPLY_FULL },
        { "NOREPLICAS ", CAPTURE_REPLY_FULL },
        { "READONLY ", CAPTURE_REPLY_MOVE },
        { "LOADING ", CAPTURE_REPLY_MOVE },
        { "MASTERDOWN ", CAPTURE_REPLY_MOVE },
        { "CLUSTERDOWN ", CAPTURE_REPLY_MOVE },
        { "TRYAGAIN ", CAPTURE_REPLY_MOVE },
        { "NOAUTH ", CAPTURE_REPLY_DENIED },
        { "WRONGPASS ", CAPTURE_REPLY_DENIED },
        { "NOPERM ", CAPTURE_REPLY_DENIED },
        { "WRONGTYPE ", CAPTURE_REPLY_DENIED },
        { "MOVED ", CAPTURE_REPLY_DENIED },
        { "ERR unknown command", CAPTURE_REPLY_DENIED }
    };
    size_t  len;

    if (reply->type != '-') {
        return CAPTURE_REPLY_OK;
    }

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        len = strlen(words[i].word);
        if (reply->len >= len && memcmp(reply->p, words[i].word, len) == 0) {
            return words[i].class;
        }
    }

    return CAPTURE_REPLY_BAD;
}


/* The connection's life */

static int
copy_string(char **to, const char *from)
{
    *to = from == NULL ? NULL : strdup(from);
    return from == NULL || *to != NULL ? 0 : -1;
}


struct capture_redis *
capture_redis_create(const struct capture_redis_conf *conf, int wakefd,
    _Atomic int64_t *limit_us)
{
    struct capture_redis  *r;

    r = calloc(1, sizeof(*r));
    if (r == NULL) {
        return NULL;
    }

    r->wakefd = wakefd;
    r->limit_us = limit_us;
    r->db = conf->db;
    r->timeout_ms = conf->timeout_ms;

    if (copy_string(&r->user, conf->user) != 0
        || copy_string(&r->password, conf->password) != 0)
    {
        goto failed;
    }

    for (unsigned i = 0; i < conf->naddrs && i < CAPTURE_MAX_REDIS; i++) {
        r->addrs[i].port = conf->addrs[i].port;
        r->naddrs = i + 1;

        if (copy_string(&r->addrs[i].host, conf->addrs[i].host) != 0
            || copy_string(&r->addrs[i].path, conf->addrs[i].path) != 0)
        {
            goto failed;
        }
    }

    if (r->naddrs == 0) {
        goto failed;
    }

    return r;

failed:

    capture_redis_destroy(r);
    return NULL;
}


void
capture_redis_destroy(struct capture_redis *r)
{
    if (r == NULL) {
        return;
    }

    capture_redis_close(r, 0);

    for (unsigned i = 0; i < r->naddrs; i++) {
        free(r->addrs[i].host);
        free(r->addrs[i].path);
    }

    if (r->password != NULL) {
        OPENSSL_cleanse(r->password, strlen(r->password));
        free(r->password);
    }

    free(r->user);
    free(r);
}


void
capture_redis_close(struct capture_redis *r, int next)
{
    if (r->context != NULL) {
        redisFree(r->context);
        r->context = NULL;
    }

    r->have = 0;
    if (next) {
        r->addr = (r->addr + 1) % r->naddrs;
    }
}


int
capture_redis_attach(struct capture_redis *r, int fd)
{
    capture_redis_close(r, 0);
    r->context = redisConnectFd(fd);
    return r->context == NULL ? -1 : 0;
}


int
capture_redis_fd(struct capture_redis *r)
{
    return r->context == NULL ? -1 : r->context->fd;
}


const char *
capture_redis_run_id(struct capture_redis *r)
{
    return r->run_id;
}


int
capture_redis_has_waitaof(struct capture_redis *r)
{
    return r->has_waitaof;
}


const char *
capture_redis_error(struct capture_redis *r)
{
    return r->error;
}


const char *
capture_redis_name(struct capture_redis *r)
{
    return r->name;
}


/* Exchange */

void
capture_redis_on_silence(struct capture_redis *r, capture_silence_pt cb,
    void *ctx)
{
    r->on_silence = cb;
    r->silence_ctx = ctx;
}


static int
exchange_failed(struct capture_redis *r, const char *what)
{
    (void) snprintf(r->error, sizeof(r->error), "%s", what);
    return -1;
}


static int
exchange_wait(struct capture_redis *r, int64_t deadline, int sending)
{
    struct pollfd  fds[2];
    uint64_t       count;
    int64_t        now, start, limit, left;
    int            n;

    start = capture_mono_us();
    fds[0].fd = r->context->fd;
    fds[0].events = (short) (sending ? POLLIN | POLLOUT : POLLIN);
    fds[1].fd = r->wakefd;
    fds[1].events = POLLIN;

    for ( ;; ) {
        now = capture_mono_us();
        limit = atomic_load(r->limit_us);
        left = (limit < deadline ? limit : deadline) - now;

        if (left <= 0) {
            return exchange_failed(r, "no answer in time");
        }

        if (r->on_silence != NULL) {
            if (r->on_silence(r->silence_ctx, now - start)) {
                return exchange_failed(r, "no answer while the ring fills");
            }

            left = left < SILENCE_LOOK_US ? left : SILENCE_LOOK_US;
        }

        n = poll(fds, 2, (int) ((left + 999) / 1000));
        if (n == -1 && errno != EINTR) {
            return exchange_failed(r, strerror(errno));
        }

        if (n > 0 && fds[1].revents != 0
            && read(r->wakefd, &count, sizeof(count)) == -1
            && errno != EAGAIN)
        {
            return exchange_failed(r, strerror(errno));
        }

        if (n > 0 && fds[0].revents != 0) {
            return fds[0].revents;
        }
    }
}


static int
exchange_send(struct capture_redis *r, const char **p, size_t *len)
{
    ssize_t  n;

    while (*len > 0) {
        n = send(r->context->fd, *p, *len, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n == -1) {
            return errno == EAGAIN || errno == EINTR
                   ? 0 : exchange_failed(r, strerror(errno));
        }

        *p += n;
        *len -= (size_t) n;
    }

    return 0;
}


static int
exchange_receive(struct capture_redis *r)
{
    ssize_t  n;

    if (r->have == sizeof(r->replies)) {
        return exchange_failed(r, "a reply is longer than 64 KB");
    }

    n = recv(r->context->fd, r->replies + r->have,
             sizeof(r->replies) - r->have, MSG_DONTWAIT);

    if (n == 0) {
        return exchange_failed(r, "it closed the connection");
    }

    if (n == -1) {
        return errno == EAGAIN || errno == EINTR
               ? 0 : exchange_failed(r, strerror(errno));
    }

    r->have += (size_t) n;
    return 0;
}


/* Hands over what is complete; returns the replies done, -1 on nonsense. */
static int
exchange_replies(struct capture_redis *r, unsigned *done, unsigned n,
    capture_reply_pt cb, void *ctx)
{
    struct capture_reply  reply;
    size_t                at;
    int                   used;

    at = 0;

    while (at < r->have) {
        if (*done == n) {
            return exchange_failed(r, "a reply that nobody asked for");
        }

        used = capture_reply_parse(r->replies + at, r->have - at, &reply);
        if (used == 0) {
            break;
        }

        if (used < 0) {
            return exchange_failed(r, "this is no answer of Redis");
        }

        at += (size_t) used;

        if (cb(ctx, (*done)++, &reply) != 0) {
            return exchange_failed(r, "it answers XADD with something else");
        }
    }

    r->have -= at;
    memmove(r->replies, r->replies + at, r->have);
    return 0;
}


unsigned
capture_redis_exchange(struct capture_redis *r, const char *p, size_t len,
    unsigned n, capture_reply_pt cb, void *ctx)
{
    int64_t   deadline;
    unsigned  done;
    int       events;

    done = 0;
    if (r->context == NULL) {
        return 0;
    }

    deadline = capture_mono_us() + (int64_t) r->timeout_ms * 1000;

    while (done < n) {
        if (exchange_send(r, &p, &len) != 0) {
            goto failed;
        }

        events = exchange_wait(r, deadline, len > 0);
        if (events == -1) {
            goto failed;
        }

        if ((events & ~POLLOUT) != 0
            && (exchange_receive(r) != 0
                || exchange_replies(r, &done, n, cb, ctx) != 0))
        {
            goto failed;
        }
    }

    return done;

failed:

    capture_redis_close(r, 1);
    return done;
}


/* Connecting */

struct handshake {
    struct capture_redis  *r;
    unsigned               n;
    char                   steps[3];       /* A, S, I: what was asked */
    int                    failed;
};


static void
info_value(const struct capture_reply *reply, const char *key, char *out,
    size_t size)
{
    const char  *p, *end;
    size_t       n;

    p = memmem(reply->p, reply->len, key, strlen(key));
    if (p == NULL) {
        return;
    }

    p += strlen(key);
    end = reply->p + reply->len;

    for (n = 0; n < size - 1 && p < end && *p > ' ' && *p < 127; n++) {
        out[n] = *p++;
    }

    out[n] = '\0';
}


static void
handshake_info(struct capture_redis *r, const struct capture_reply *reply)
{
    char      version[16] = "";
    char     *end;
    long      major;

    if (reply->type != '$' || reply->nil) {
        return;
    }

    info_value(reply, "\nrun_id:", r->run_id, sizeof(r->run_id));
    info_value(reply, "\nredis_version:", version, sizeof(version));

    major = strtol(version, &end, 10);
    r->has_waitaof = major > 7
                     || (major == 7 && *end == '.'
                         && strtol(end + 1, NULL, 10) >= 2);
}


static int
handshake_reply(void *ctx, unsigned i, const struct capture_reply *reply)
{
    struct handshake      *h = ctx;
    struct capture_redis  *r = h->r;

    if (h->steps[i] == 'I') {
        /* an ACL may forbid INFO: then every reconnect counts as another */
        handshake_info(r, reply);
        return 0;
    }

    if (reply->type != '+' && !h->failed) {
        h->failed = 1;
        (void) snprintf(r->error, sizeof(r->error), "%s: %.*s",
                        h->steps[i] == 'A' ? "AUTH was refused"
                                           : "SELECT was refused",
                        (int) (reply->len > 100 ? 100 : reply->len),
                        reply->p == NULL ? "" : reply->p);
    }

    return 0;
}


static int
command_add(struct capture_redis *r, struct handshake *h, char step, int argc,
    const char **argv)
{
    char  *target;
    int    len;

    len = redisFormatCommandArgv(&target, argc, argv, NULL);
    if (len < 0) {
        return -1;
    }

    /* the reply buffer is empty now: it is the place for the few bytes */
    if ((size_t) len > sizeof(r->replies) - r->have) {
        OPENSSL_cleanse(target, (size_t) len);
        redisFreeCommand(target);
        return -1;
    }

    memcpy(r->replies + r->have, target, (size_t) len);
    r->have += (size_t) len;
    h->steps[h->n++] = step;

    OPENSSL_cleanse(target, (size_t) len);
    redisFreeCommand(target);
    return 0;
}


static int
handshake_build(struct capture_redis *r, struct handshake *h)
{
    const char  *argv[3];
    char         db[16];
    int          argc;

    r->have = 0;

    if (r->password != NULL) {
        argc = 0;
        argv[argc++] = "AUTH";
        if (r->user != NULL) {
            argv[argc++] = r->user;
        }
        argv[argc++] = r->password;

        if (command_add(r, h, 'A', argc, argv) != 0) {
            return -1;
        }
    }

    if (r->db != 0) {
        (void) snprintf(db, sizeof(db), "%d", r->db);
        argv[0] = "SELECT";
        argv[1] = db;

        if (command_add(r, h, 'S', 2, argv) != 0) {
            return -1;
        }
    }

    argv[0] = "INFO";
    argv[1] = "server";
    return command_add(r, h, 'I', 2, argv);
}


static int
handshake(struct capture_redis *r)
{
    struct handshake   h;
    size_t             len;
    char              *commands;
    unsigned           done;

    memset(&h, 0, sizeof(h));
    h.r = r;
    r->run_id[0] = '\0';
    r->has_waitaof = 0;

    if (handshake_build(r, &h) != 0) {
        (void) exchange_failed(r, "no memory");
        return -1;
    }

    len = r->have;
    r->have = 0;
    commands = malloc(len);
    if (commands == NULL) {
        (void) exchange_failed(r, "no memory");
        return -1;
    }

    memcpy(commands, r->replies, len);
    OPENSSL_cleanse(r->replies, len);

    done = capture_redis_exchange(r, commands, len, h.n, handshake_reply, &h);

    OPENSSL_cleanse(commands, len);
    free(commands);

    return done == h.n && !h.failed ? 0 : -1;
}


static void
name_address(struct capture_redis *r, const struct redis_addr *addr)
{
    if (addr->host == NULL) {
        (void) snprintf(r->name, sizeof(r->name), "unix:%s", addr->path);

    } else {
        (void) snprintf(r->name, sizeof(r->name), "%s:%d", addr->host,
                        addr->port);
    }
}


int
capture_redis_connect(struct capture_redis *r)
{
    struct redis_addr  *addr;
    struct timeval      tv = { CONNECT_MS / 1000, CONNECT_MS % 1000 * 1000 };

    capture_redis_close(r, 0);

    addr = &r->addrs[r->addr];
    name_address(r, addr);

    r->context = addr->host == NULL
                 ? redisConnectUnixWithTimeout(addr->path, tv)
                 : redisConnectWithTimeout(addr->host, addr->port, tv);

    if (r->context == NULL || r->context->err != 0) {
        (void) exchange_failed(r, r->context == NULL ? "no memory"
                                                     : r->context->errstr);
        capture_redis_close(r, 1);
        return -1;
    }

    (void) fcntl(r->context->fd, F_SETFD, FD_CLOEXEC);
    if (addr->host != NULL) {
        (void) redisEnableKeepAlive(r->context);
    }

    if (handshake(r) != 0) {
        if (r->context != NULL) {
            capture_redis_close(r, 1);
        }
        return -1;
    }

    return 0;
}
