/*
 * The shipper's connection to Redis.  hiredis connects (it knows names, unix
 * sockets and time-outs of connect) and formats; sending and reading are here,
 * since a batch needs one deadline over all of its system calls, a way to be
 * hurried, and a reader that a hostile peer cannot make grow.
 */

#ifndef NGX_HTTP_CAPTURE_REDIS_H
#define NGX_HTTP_CAPTURE_REDIS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define CAPTURE_MAX_REDIS     8
#define CAPTURE_REPLY_BUFFER  (64 * 1024)  /* a longer reply hangs up */
#define CAPTURE_REPLY_INTS    4            /* of an array: integers only */

struct capture_reply {
    char         type;                     /* + - : $ * */
    int          nil;
    const char  *p;                        /* text of + - $, borrowed */
    size_t       len;
    int64_t      number;                   /* of :, or the count of * */
    int64_t      ints[CAPTURE_REPLY_INTS];
};

/*
 * One reply of RESP2 at P.  Returns its bytes, 0 when more are needed, -1 when
 * this is no reply that a shipper may get.
 */
int capture_reply_parse(const char *p, size_t n, struct capture_reply *reply);

/* What an error reply means to the shipper. */
enum capture_reply_class {
    CAPTURE_REPLY_OK,
    CAPTURE_REPLY_BUSY,                    /* again in 100 ms */
    CAPTURE_REPLY_FULL,                    /* OOM MISCONF NOREPLICAS: spool */
    CAPTURE_REPLY_MOVE,                    /* READONLY LOADING: next address */
    CAPTURE_REPLY_DENIED,                  /* password, ACL, type: alarm */
    CAPTURE_REPLY_BAD                      /* ERR ..: maybe this record alone */
};

enum capture_reply_class capture_reply_class(const struct capture_reply *reply);

struct capture_redis_addr {
    const char  *host;                     /* NULL: unix socket */
    int          port;
    const char  *path;
};

struct capture_redis_conf {
    struct capture_redis_addr  addrs[CAPTURE_MAX_REDIS];
    unsigned     naddrs;
    const char  *user, *password;          /* NULL: none */
    int          db;
    unsigned     timeout_ms;
};

struct capture_redis;

/* Copies CONF.  WAKEFD ends waits so that LIMIT_US is read again. */
struct capture_redis *capture_redis_create(
    const struct capture_redis_conf *conf, int wakefd,
    _Atomic int64_t *limit_us);
void capture_redis_destroy(struct capture_redis *r);

/*
 * Asked about every 10 ms while an exchange waits, with the microseconds since
 * it last heard anything.  Not 0: the exchange ends as if the time was up.
 */
typedef int (*capture_silence_pt)(void *ctx, int64_t silent_us);
void capture_redis_on_silence(struct capture_redis *r, capture_silence_pt cb,
    void *ctx);

/*
 * Connects to the address after the last one that failed: AUTH, SELECT, INFO.
 * Returns 0, or -1 with a sentence in capture_redis_error.  At most about a
 * second for the connect, TIMEOUT for the rest; names may take longer.
 */
int capture_redis_connect(struct capture_redis *r);

/* Takes a connected socket instead: for tests.  -1 without memory. */
int capture_redis_attach(struct capture_redis *r, int fd);

/* Closes; NEXT: try another address next time. */
void capture_redis_close(struct capture_redis *r, int next);

int capture_redis_fd(struct capture_redis *r);            /* -1: closed */
const char *capture_redis_run_id(struct capture_redis *r);   /* "" unknown */
int capture_redis_has_waitaof(struct capture_redis *r);
const char *capture_redis_error(struct capture_redis *r);
const char *capture_redis_name(struct capture_redis *r);  /* of the address */

/*
 * Sends LEN bytes of N commands and hands each reply to CB, in order; a CB that
 * returns not 0 ends it.  Returns the replies handled; fewer than N means that
 * the connection was closed (error set, the rest unknown).
 */
typedef int (*capture_reply_pt)(void *ctx, unsigned i,
    const struct capture_reply *reply);

unsigned capture_redis_exchange(struct capture_redis *r, const char *p,
    size_t len, unsigned n, capture_reply_pt cb, void *ctx);

/* CLOCK_MONOTONIC in microseconds. */
int64_t capture_mono_us(void);

#endif /* NGX_HTTP_CAPTURE_REDIS_H */
