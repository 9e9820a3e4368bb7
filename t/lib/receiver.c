/*
 * A receiver of webhooks for tests and benchmarks: one thread, epoll, many
 * connections.  What it does follows from the first segment of the path:
 *
 *     /ok        200 at once            /fail   500
 *     /twice     503 for the first two requests of a webhook-id, then 200
 *     /slow      200 after two seconds  /hang   no answer at all
 *     /gone      410                    /n500   200, but 500 of every second
 *
 * -o FILE: a line "ms path id bytes status first" for each request, where
 * first are the first 200 bytes of the body with white space as '_'.
 * -l PORT, 0: the kernel chooses; the port is the first line on stdout.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_FDS    16384
#define MAX_IN     (2 * 1024 * 1024)
#define ID_SLOTS   (1u << 20)
#define SLOW_MS    2000

struct conn {
    int      fd;
    char    *in;
    size_t   n, size;
    int64_t  answer_ms;                    /* a slow answer is due, or 0 */
};

static struct conn  *conns[MAX_FDS];
static uint64_t     *ids;                  /* hash << 8 | how often */
static FILE         *out;
static int           highest;


static int64_t
now_ms(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}


static void
conn_close(struct conn *c)
{
    conns[c->fd] = NULL;
    close(c->fd);
    free(c->in);
    free(c);
}


/* How often this id came, this time included. */
static unsigned
times_seen(const char *id, size_t n)
{
    uint64_t  h = UINT64_C(14695981039346656037);
    size_t    at;

    for (size_t i = 0; i < n; i++) {
        h = (h ^ (unsigned char) id[i]) * UINT64_C(1099511628211);
    }

    h = h << 8 | 0;
    at = (size_t) (h >> 20) & (ID_SLOTS - 1);

    while (ids[at] != 0 && (ids[at] & ~UINT64_C(255)) != h) {
        at = (at + 1) & (ID_SLOTS - 1);
    }

    if ((ids[at] & 255) < 255) {
        ids[at] = h | ((ids[at] & 255) + 1);
    }

    return (unsigned) (ids[at] & 255);
}


static const char *
header(const char *head, const char *end, const char *name, size_t *n)
{
    size_t  len = strlen(name);

    for (const char *p = head; p < end; p++) {
        if (p[0] == '\n' && (size_t) (end - p) > len + 2
            && strncasecmp(p + 1, name, len) == 0 && p[len + 1] == ':')
        {
            p += len + 2;
            p += *p == ' ';
            *n = strcspn(p, "\r\n");
            return p;
        }
    }

    *n = 0;
    return "";
}


static int
status_of(const char *path, const char *id, size_t nid)
{
    static unsigned  count;

    if (strncmp(path, "/fail", 5) == 0) {
        return 500;
    }

    if (strncmp(path, "/gone", 5) == 0) {
        return 410;
    }

    if (strncmp(path, "/twice", 6) == 0) {
        return times_seen(id, nid) <= 2 ? 503 : 200;
    }

    if (strncmp(path, "/n500", 5) == 0) {
        return ++count % 2 == 0 ? 500 : 200;
    }

    return strncmp(path, "/hang", 5) == 0 ? 0 : 200;
}


static void
answer(struct conn *c, int status)
{
    char  text[160];
    int   n;

    n = snprintf(text, sizeof(text), "HTTP/1.1 %d x\r\nContent-Type: "
        "application/json\r\nContent-Length: 11\r\n\r\n{\"ok\":true}", status);
    (void) !write(c->fd, text, (size_t) n);
}


static void
note(const char *path, size_t npath, const char *id, size_t nid,
    const char *body, size_t nbody, int status)
{
    size_t  shown = nbody < 200 ? nbody : 200;

    if (out == NULL) {
        return;
    }

    fprintf(out, "%lld %.*s %.*s %zu %d ", (long long) now_ms(), (int) npath,
        path, nid == 0 ? 1 : (int) nid, nid == 0 ? "-" : id, nbody, status);

    for (size_t i = 0; i < shown; i++) {
        putc((unsigned char) body[i] <= ' ' ? '_' : body[i], out);
    }

    putc('\n', out);
}


/* False: the connection is closed. */
static bool
serve(struct conn *c)
{
    const char  *head_end, *path, *id, *len;
    size_t       nhead, npath, nid, nlen, nbody;
    int          status;

    while (c->n > 0) {
        c->in[c->n] = '\0';
        head_end = memmem(c->in, c->n, "\r\n\r\n", 4);

        if (head_end == NULL) {
            return c->n < 65536;
        }

        nhead = (size_t) (head_end - c->in) + 4;
        len = header(c->in, head_end, "content-length", &nlen);
        nbody = nlen == 0 ? 0 : (size_t) strtoul(len, NULL, 10);

        if (nbody > MAX_IN || c->n < nhead + nbody) {
            return nbody <= MAX_IN;
        }

        path = memchr(c->in, ' ', nhead);
        path = path == NULL ? c->in : path + 1;
        npath = strcspn(path, " \r\n");
        id = header(c->in, head_end, "webhook-id", &nid);
        status = status_of(path, id, nid);
        note(path, npath, id, nid, c->in + nhead, nbody, status);

        if (strncmp(path, "/slow", 5) == 0) {
            c->answer_ms = now_ms() + SLOW_MS;

        } else if (status != 0) {
            answer(c, status);
        }

        memmove(c->in, c->in + nhead + nbody, c->n - nhead - nbody);
        c->n -= nhead + nbody;
    }

    return true;
}


static void
on_data(struct conn *c)
{
    ssize_t  got;

    for ( ;; ) {
        if (c->size - c->n < 65536) {
            char  *p = realloc(c->in, c->size * 2 + 131072);

            if (p == NULL || c->size > 2 * MAX_IN) {
                free(p == NULL ? NULL : p);
                c->in = NULL;
                conn_close(c);
                return;
            }

            c->in = p;
            c->size = c->size * 2 + 131071;
        }

        got = read(c->fd, c->in + c->n, c->size - c->n);

        if (got < 0 && errno == EAGAIN) {
            return;
        }

        if (got <= 0) {
            conn_close(c);
            return;
        }

        c->n += (size_t) got;

        if (!serve(c)) {
            conn_close(c);
            return;
        }
    }
}


static void
on_connect(int ep, int listener)
{
    struct epoll_event  e = { .events = EPOLLIN };
    int                 fd, one = 1;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        if (fd >= MAX_FDS || (conns[fd] = calloc(1, sizeof(**conns))) == NULL)
        {
            close(fd);
            continue;
        }

        conns[fd]->fd = fd;
        highest = fd > highest ? fd : highest;
        (void) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        e.data.fd = fd;
        (void) epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
    }
}


static void
answer_slow(void)
{
    int64_t  now = now_ms();

    for (int fd = 0; fd <= highest; fd++) {
        if (conns[fd] != NULL && conns[fd]->answer_ms != 0
            && conns[fd]->answer_ms <= now)
        {
            conns[fd]->answer_ms = 0;
            answer(conns[fd], 200);
        }
    }
}


static int
listen_at(int port)
{
    struct sockaddr_in  a = { .sin_family = AF_INET,
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
        .sin_port = htons((uint16_t) port) };
    socklen_t           len = sizeof(a);
    int                 fd, one = 1;

    fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    (void) setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));

    if (fd < 0 || bind(fd, (struct sockaddr *) &a, sizeof(a)) != 0
        || listen(fd, 1024) != 0
        || getsockname(fd, (struct sockaddr *) &a, &len) != 0)
    {
        perror("receiver");
        exit(1);
    }

    printf("%d\n", ntohs(a.sin_port));
    fflush(stdout);
    return fd;
}


int
main(int argc, char **argv)
{
    struct epoll_event  e = { .events = EPOLLIN }, got[256];
    int                 ep, listener, n, option, port = 0;

    while ((option = getopt(argc, argv, "l:o:")) != -1) {
        if (option == 'l') {
            port = atoi(optarg);
        } else if (option == 'o') {
            out = fopen(optarg, "a");
        }
    }

    signal(SIGPIPE, SIG_IGN);
    ids = calloc(ID_SLOTS, sizeof(*ids));
    listener = listen_at(port);
    ep = epoll_create1(EPOLL_CLOEXEC);
    e.data.fd = listener;

    if (ids == NULL || ep < 0
        || epoll_ctl(ep, EPOLL_CTL_ADD, listener, &e) != 0)
    {
        return 1;
    }

    for ( ;; ) {
        n = epoll_wait(ep, got, 256, 100);

        for (int i = 0; i < n; i++) {
            if (got[i].data.fd == listener) {
                on_connect(ep, listener);
            } else if (conns[got[i].data.fd] != NULL) {
                on_data(conns[got[i].data.fd]);
            }
        }

        answer_slow();

        if (out != NULL) {
            fflush(out);
        }
    }
}
