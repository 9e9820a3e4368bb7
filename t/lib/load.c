/*
 * The producer of the storm tests: POSTs at a fixed rate, open loop, and keeps
 * for each request what the judge needs: sequence, the id that nginx gave it
 * (header X-Capture-Id), SHA-256 of the body that was sent, status, latency
 * from the moment when it was due.
 *
 *     load -a 127.0.0.1:8080 [-p path] [-r rate] [-n count] [-t seconds]
 *          [-c connections] [-b min:max body bytes] [-s seed] [-o file] [-k] [-g]
 *
 * -k: a new connection each.  -g: GET, without a body.  A line of the file: "seq id sha256 status us";
 * status 0 and id "-": no whole answer came.  A request that was written to a
 * kept connection and got not one byte back is sent again on a new one, as
 * clients do; it counts in "retried".  SIGTERM: no new request, then the end.
 * The summary on stdout is one JSON object.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/sha.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define BODY_MAX   (4 * 1024 * 1024)
#define HEAD_MAX   1024
#define ANSWER_MAX 16384
#define GIVE_UP_US (30 * 1000000LL)

struct conn {
    int       fd;                          /* -1: closed */
    bool      connecting, busy, reused, retried;
    uint64_t  seq;
    int64_t   due_us, sent_us;
    char     *out;
    size_t    out_len, out_done;
    char      sha[SHA256_DIGEST_LENGTH * 2 + 1];
    char      in[ANSWER_MAX + 1];
    size_t    in_len;                      /* of the head, while it comes */
    bool      head_done;
    int       status;
    long long body_left;                   /* -1: until the close */
    bool      close_after;
    char      id[40];
};

struct load {
    union {
        struct sockaddr      any;
        struct sockaddr_in   in;
        struct sockaddr_un   un;
    } addr;
    socklen_t     addr_len;
    const char   *path;
    double        rate;
    uint64_t      count;
    double        seconds;
    unsigned      nconns;
    size_t        body_min, body_max;
    bool          no_keep, get;
    uint64_t      random;
    FILE         *log;

    int           epoll;
    struct conn  *conns;
    int64_t       start_us;
    uint64_t      started, finished, failed, unfinished, retried;
    uint32_t     *latency;                 /* microseconds, for quantiles */
    size_t        nlatency, latency_size;
};

static volatile sig_atomic_t  load_stop;


static void
load_on_signal(int signo)
{
    (void) signo;
    load_stop = 1;
}


static int64_t
load_now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}


/* xorshift64*: any seed but 0 */
static uint64_t
load_random(struct load *l)
{
    l->random ^= l->random >> 12;
    l->random ^= l->random << 25;
    l->random ^= l->random >> 27;
    return l->random * 0x2545f4914f6cdd1dull;
}


static void
load_die(const char *what)
{
    perror(what);
    exit(2);
}


/* JSON text of SIZE bytes, at least what holds the sequence. */
static size_t
load_body(struct load *l, uint64_t seq, char *p, size_t size)
{
    static const char  hex[] = "0123456789abcdef";
    size_t             n;
    uint64_t           bits;
    int                left;

    n = (size_t) sprintf(p, "{\"n\":%" PRIu64 ",\"pad\":\"", seq);
    bits = 0;
    left = 0;

    while (n + 2 < size) {
        if (left == 0) {
            bits = load_random(l);
            left = 16;
        }

        p[n++] = hex[bits & 15];
        bits >>= 4;
        left--;
    }

    p[n++] = '"';
    p[n++] = '}';
    return n;
}


static void
load_compose(struct load *l, struct conn *c)
{
    unsigned char  digest[SHA256_DIGEST_LENGTH];
    static char    body[BODY_MAX + HEAD_MAX];
    size_t         size, n;
    int            head;

    size = l->body_min;
    if (l->body_max > l->body_min) {
        size += load_random(l) % (l->body_max - l->body_min + 1);
    }

    n = l->get ? 0 : load_body(l, c->seq, body, size);
    SHA256((unsigned char *) body, n, digest);
    for (size_t i = 0; i < sizeof(digest); i++) {
        sprintf(c->sha + i * 2, "%02x", digest[i]);
    }

    head = snprintf(c->out, HEAD_MAX, "%s %s?n=%" PRIu64 " HTTP/1.1\r\n"
        "Host: load.test\r\nContent-Type: application/json\r\n"
        "X-Load-Sha256: %s\r\nContent-Length: %zu\r\n%s\r\n",
        l->get ? "GET" : "POST", l->path, c->seq, c->sha, n,
        l->no_keep ? "Connection: close\r\n" : "");

    memcpy(c->out + head, body, n);
    c->out_len = (size_t) head + n;
}


static void
load_watch(struct load *l, struct conn *c, uint32_t events)
{
    struct epoll_event  ev = { .events = events, .data.ptr = c };

    if (epoll_ctl(l->epoll, EPOLL_CTL_MOD, c->fd, &ev) != 0) {
        load_die("epoll_ctl");
    }
}


static void
load_close(struct conn *c)
{
    if (c->fd >= 0) {
        close(c->fd);
    }

    c->fd = -1;
    c->reused = false;
    c->connecting = false;
}


/* False: refused at once, or no descriptor. */
static bool
load_connect(struct load *l, struct conn *c)
{
    struct epoll_event  ev = { .events = EPOLLOUT, .data.ptr = c };
    int                 one = 1;

    c->fd = socket(l->addr.any.sa_family,
        SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) {
        return false;
    }

    (void) setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));

    if (connect(c->fd, &l->addr.any, l->addr_len) != 0
        && errno != EINPROGRESS)
    {
        load_close(c);
        return false;
    }

    if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, c->fd, &ev) != 0) {
        load_die("epoll_ctl");
    }

    c->connecting = true;
    c->reused = false;
    return true;
}


static void
load_keep_latency(struct load *l, int64_t us)
{
    if (l->nlatency == l->latency_size) {
        l->latency_size = l->latency_size * 2 + 65536;
        l->latency = realloc(l->latency,
            l->latency_size * sizeof(*l->latency));
        if (l->latency == NULL) {
            load_die("realloc");
        }
    }

    l->latency[l->nlatency++] = us > UINT32_MAX ? UINT32_MAX : (uint32_t) us;
}


/* The request is over, well or not; what it was goes to the file. */
static void
load_done(struct load *l, struct conn *c, int status)
{
    int64_t  us;

    us = load_now() - c->due_us;
    c->busy = false;

    if (status == 0) {
        l->unfinished++;

    } else {
        l->finished++;
        l->failed += status >= 500;
        load_keep_latency(l, us);
    }

    if (l->log != NULL) {
        fprintf(l->log, "%" PRIu64 " %s %s %d %" PRId64 "\n", c->seq,
            status != 0 && c->id[0] != '\0' ? c->id : "-", c->sha, status, us);
    }
}


static void
load_begin(struct load *l, struct conn *c)
{
    c->busy = true;
    c->out_done = 0;
    c->in_len = 0;
    c->head_done = false;
    c->id[0] = '\0';
    c->sent_us = load_now();

    if (c->fd < 0 && !load_connect(l, c)) {
        load_done(l, c, 0);
        return;
    }

    if (!c->connecting) {
        load_watch(l, c, EPOLLIN | EPOLLOUT);
    }
}


/* The peer closed or an error came in the midst of a request. */
static void
load_broken(struct load *l, struct conn *c)
{
    bool  again;

    again = c->reused && c->in_len == 0 && !c->head_done && !c->retried;
    load_close(c);

    if (!c->busy) {
        return;
    }

    if (again) {
        c->retried = true;
        l->retried++;
        load_begin(l, c);
        return;
    }

    load_done(l, c, 0);
}


static const char *
load_header(const char *head, const char *name)
{
    const char  *p;

    for (p = strstr(head, "\r\n"); p != NULL; p = strstr(p, "\r\n")) {
        p += 2;
        if (strncasecmp(p, name, strlen(name)) == 0) {
            return p + strlen(name) + strspn(p + strlen(name), " ");
        }
    }

    return NULL;
}


/* True when the head is there; the rest of what was read is body. */
static bool
load_head(struct conn *c)
{
    const char  *end, *p;
    size_t       rest, n;

    c->in[c->in_len] = '\0';
    end = strstr(c->in, "\r\n\r\n");
    if (end == NULL) {
        return false;
    }

    rest = c->in_len - (size_t) (end + 4 - c->in);
    c->in[end + 2 - c->in] = '\0';
    c->status = atoi(c->in + sizeof("HTTP/1.1 ") - 1);

    p = load_header(c->in, "Content-Length:");
    c->body_left = p != NULL ? atoll(p) - (long long) rest : -1;

    p = load_header(c->in, "Connection:");
    c->close_after = p != NULL && strncasecmp(p, "close", 5) == 0;

    p = load_header(c->in, "X-Capture-Id:");
    n = p != NULL ? strcspn(p, "\r\n ") : 0;
    n = n < sizeof(c->id) - 1 ? n : sizeof(c->id) - 1;
    memcpy(c->id, p != NULL ? p : "", n);
    c->id[n] = '\0';

    c->head_done = true;
    return true;
}


static void
load_answered(struct load *l, struct conn *c)
{
    load_done(l, c, c->status);
    c->retried = false;

    if (c->close_after || l->no_keep) {
        load_close(c);
        return;
    }

    c->reused = true;
    load_watch(l, c, EPOLLIN);
}


static void
load_read(struct load *l, struct conn *c)
{
    char     skip[65536];
    ssize_t  n;

    for ( ;; ) {
        if (c->busy && !c->head_done) {
            if (c->in_len == ANSWER_MAX) {
                load_broken(l, c);
                return;
            }
            n = recv(c->fd, c->in + c->in_len, ANSWER_MAX - c->in_len, 0);

        } else {
            n = recv(c->fd, skip, sizeof(skip), 0);
        }

        if (n < 0 && errno == EAGAIN) {
            return;
        }

        if (n <= 0) {
            if (n == 0 && c->busy && c->head_done && c->body_left < 0) {
                c->close_after = true;
                load_answered(l, c);
                return;
            }
            load_broken(l, c);
            return;
        }

        if (!c->busy) {
            load_close(c);                 /* bytes that nobody asked for */
            return;
        }

        if (!c->head_done) {
            c->in_len += (size_t) n;
            if (!load_head(c)) {
                continue;
            }

        } else if (c->body_left >= 0) {
            c->body_left -= n;
        }

        if (c->body_left == 0) {
            load_answered(l, c);
            return;
        }
    }
}


static void
load_write(struct load *l, struct conn *c)
{
    ssize_t  n;

    c->connecting = false;

    while (c->busy && c->out_done < c->out_len) {
        n = send(c->fd, c->out + c->out_done, c->out_len - c->out_done,
            MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            load_watch(l, c, EPOLLIN | EPOLLOUT);
            return;
        }

        if (n < 0) {
            /* the answer may be there already: a 413, a 503 */
            load_watch(l, c, EPOLLIN);
            load_read(l, c);
            if (c->fd >= 0 && c->busy) {
                load_broken(l, c);
            }
            return;
        }

        c->out_done += (size_t) n;
    }

    load_watch(l, c, EPOLLIN);
}


/* Hands what is due to idle connections; the rest waits and grows late. */
static bool
load_feed(struct load *l)
{
    int64_t   now;
    uint64_t  due;
    unsigned  i;
    bool      open;

    now = load_now();
    open = !load_stop && l->started < l->count
        && (double) (now - l->start_us) < l->seconds * 1e6;
    due = l->rate > 0
        ? (uint64_t) ((double) (now - l->start_us) * l->rate / 1e6) + 1
        : UINT64_MAX;
    due = due < l->count ? due : l->count;

    for (i = 0; i < l->nconns && open && l->started < due; i++) {
        struct conn  *c = &l->conns[i];

        if (c->busy) {
            continue;
        }

        c->seq = l->started++;
        c->retried = false;
        c->due_us = l->rate > 0
            ? l->start_us + (int64_t) ((double) c->seq * 1e6 / l->rate) : now;
        load_compose(l, c);
        load_begin(l, c);
    }

    return open;
}


static bool
load_busy(struct load *l)
{
    int64_t   now;
    unsigned  i;
    bool      busy;

    now = load_now();
    busy = false;

    for (i = 0; i < l->nconns; i++) {
        if (!l->conns[i].busy) {
            continue;
        }

        if (now - l->conns[i].sent_us > GIVE_UP_US) {
            load_close(&l->conns[i]);
            load_done(l, &l->conns[i], 0);
            continue;
        }

        busy = true;
    }

    return busy;
}


static void
load_run(struct load *l)
{
    struct epoll_event  events[256];
    struct conn        *c;
    int64_t             flushed;
    int                 n, i;

    l->start_us = load_now();
    flushed = l->start_us;

    while (load_feed(l) || load_busy(l)) {
        n = epoll_wait(l->epoll, events, 256, 1);
        for (i = 0; i < n; i++) {
            c = events[i].data.ptr;
            if (c->fd >= 0 && (events[i].events & EPOLLOUT)) {
                load_write(l, c);
            }
            if (c->fd >= 0 && (events[i].events & (EPOLLIN | EPOLLHUP
                | EPOLLERR)))
            {
                load_read(l, c);
            }
        }

        if (l->log != NULL && load_now() - flushed > 200000) {
            fflush(l->log);
            flushed = load_now();
        }
    }
}


static int
load_compare(const void *a, const void *b)
{
    uint32_t  x = *(const uint32_t *) a, y = *(const uint32_t *) b;

    return (x > y) - (x < y);
}


static uint32_t
load_quantile(const struct load *l, double q)
{
    size_t  i;

    if (l->nlatency == 0) {
        return 0;
    }

    i = (size_t) (q * (double) l->nlatency);
    return l->latency[i < l->nlatency ? i : l->nlatency - 1];
}


static void
load_report(struct load *l)
{
    if (l->nlatency > 0) {
        qsort(l->latency, l->nlatency, sizeof(*l->latency), load_compare);
    }

    printf("{\"started\":%" PRIu64 ",\"finished\":%" PRIu64 ",\"failed\":%"
        PRIu64 ",\"unfinished\":%" PRIu64 ",\"retried\":%" PRIu64
        ",\"seconds\":%.3f,\"p50_us\":%u,\"p99_us\":%u,\"p999_us\":%u,"
        "\"max_us\":%u}\n",
        l->started, l->finished, l->failed, l->unfinished, l->retried,
        (double) (load_now() - l->start_us) / 1e6, load_quantile(l, 0.5),
        load_quantile(l, 0.99), load_quantile(l, 0.999),
        load_quantile(l, 1));
}


static void
load_address(struct load *l, char *text)
{
    char  *colon;

    if (strncmp(text, "unix:", 5) == 0) {
        text += 5;
    }

    if (text[0] == '/') {
        l->addr.un.sun_family = AF_UNIX;
        if (strlen(text) >= sizeof(l->addr.un.sun_path)) {
            fprintf(stderr, "load: the path of the socket is too long\n");
            exit(2);
        }
        memcpy(l->addr.un.sun_path, text, strlen(text) + 1);
        l->addr_len = sizeof(l->addr.un);
        return;
    }

    colon = strrchr(text, ':');
    if (colon != NULL) {
        *colon = '\0';
    }

    l->addr.in.sin_family = AF_INET;
    l->addr_len = sizeof(l->addr.in);
    if (colon == NULL
        || inet_pton(AF_INET, text, &l->addr.in.sin_addr) != 1)
    {
        fprintf(stderr, "load: -a takes 127.0.0.1:port or /path\n");
        exit(2);
    }
    l->addr.in.sin_port = htons((uint16_t) atoi(colon + 1));
}


static void
load_options(struct load *l, int argc, char **argv)
{
    char  *colon;
    int    opt;

    while ((opt = getopt(argc, argv, "a:p:r:n:t:c:b:s:o:kg")) != -1) {
        switch (opt) {
        case 'a':
            load_address(l, optarg);
            break;
        case 'p':
            l->path = optarg;
            break;
        case 'r':
            l->rate = atof(optarg);
            break;
        case 'n':
            l->count = strtoull(optarg, NULL, 10);
            break;
        case 't':
            l->seconds = atof(optarg);
            break;
        case 'c':
            l->nconns = (unsigned) atoi(optarg);
            break;
        case 'b':
            l->body_min = strtoull(optarg, &colon, 10);
            l->body_max = *colon == ':' ? strtoull(colon + 1, NULL, 10)
                                        : l->body_min;
            break;
        case 's':
            l->random = strtoull(optarg, NULL, 10) * 2 + 1;
            break;
        case 'o':
            l->log = fopen(optarg, "w");
            if (l->log == NULL) {
                load_die(optarg);
            }
            break;
        case 'k':
            l->no_keep = true;
            break;
        case 'g':
            l->get = true;
            break;
        default:
            exit(2);
        }
    }

    if (l->addr_len == 0 || l->nconns == 0 || l->body_max > BODY_MAX
        || l->body_min > l->body_max || strlen(l->path) > HEAD_MAX / 2)
    {
        fprintf(stderr, "load: see the head of load.c for its options\n");
        exit(2);
    }
}


int
main(int argc, char **argv)
{
    struct load  l = {
        .path = "/", .rate = 0, .count = UINT64_MAX, .seconds = 1e9,
        .nconns = 16, .body_min = 64, .body_max = 2048, .random = 1,
    };

    load_options(&l, argc, argv);
    signal(SIGTERM, load_on_signal);
    signal(SIGINT, load_on_signal);
    signal(SIGPIPE, SIG_IGN);

    l.epoll = epoll_create1(EPOLL_CLOEXEC);
    l.conns = calloc(l.nconns, sizeof(*l.conns));
    if (l.epoll < 0 || l.conns == NULL) {
        load_die("load");
    }

    for (unsigned i = 0; i < l.nconns; i++) {
        l.conns[i].fd = -1;
        l.conns[i].out = malloc(HEAD_MAX + l.body_max + HEAD_MAX);
        if (l.conns[i].out == NULL) {
            load_die("load");
        }
    }

    load_run(&l);
    load_report(&l);

    for (unsigned i = 0; i < l.nconns; i++) {
        load_close(&l.conns[i]);
        free(l.conns[i].out);
    }

    free(l.conns);
    free(l.latency);
    if (l.log != NULL && fclose(l.log) != 0) {
        load_die("load");
    }
    return 0;
}
