/*
 * HL7 over MLLP, to the same peer over the same number of connections, each
 * with one message outstanding: the transport, and a bare loop that frames,
 * sends, reads to the end of the ACK's frame and does nothing else.
 *
 *   mllp peer                        prints its port, acknowledges with AA
 *   mllp bare|ours PORT N CONNECTIONS      prints N/s, us of CPU each
 */

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "transport.h"

#define LINES_MAX  1024
#define ROOM       8192

#define MESSAGE                                                               \
    "MSH|^~\\&|IDASH|LAB11|HIS|H|20260315120000||ADT^A04^ADT_A01|ID1|P|2.5.1\r" \
    "EVN|A04|20260315120000\r"                                                \
    "PID|1||P-1^^^LAB||DOE^JANE||19800101|F|||1 MAIN ST^^TOWN^^12345\r"       \
    "PV1|1|O\r"
#define FRAME      "\x0b" MESSAGE "\x1c\r"

struct line {
    size_t  n;                             /* bytes in IN */
    char    in[ROOM];
};

static struct line    lines[LINES_MAX];
static struct pollfd  fds[LINES_MAX];


static void
die(const char *what)
{
    fprintf(stderr, "mllp: %s: %s\n", what, strerror(errno));
    exit(1);
}


static double
seconds(clockid_t clock)
{
    struct timespec  t;

    (void) clock_gettime(clock, &t);
    return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}


static void
write_all(int fd, const char *p, size_t n)
{
    ssize_t  some;

    for ( ; n > 0; p += some, n -= (size_t) some) {
        some = write(fd, p, n);
        if (some < 1) {
            die("write");
        }
    }
}


/* The first frame in L up to its end, 0: not whole.  Nothing comes behind it:
 * one message is outstanding. */
static size_t
line_read(struct line *l, int fd)
{
    ssize_t  some = read(fd, l->in + l->n, ROOM - l->n);
    size_t   n;

    if (some < 1) {
        return SIZE_MAX;
    }

    l->n += (size_t) some;

    if (l->n < 2 || memcmp(l->in + l->n - 2, "\x1c\r", 2) != 0) {
        return 0;
    }

    n = l->n;
    l->n = 0;
    return n;
}


/* -- the peer ------------------------------------------------------------ */

/* MSH-10 is what MSA-2 says. */
static void
acknowledge(int fd, const char *message, size_t n)
{
    const char  *id = message, *end = message + n;
    char         out[512];
    int          some;

    for (int bars = 0; id < end && bars < 9; id++) {
        bars += *id == '|';
    }

    some = snprintf(out, sizeof(out), "\x0bMSH|^~\\&|HIS|H|IDASH|LAB11|"
        "20260315120000||ACK|1|P|2.5.1\rMSA|AA|%.*s\r\x1c\r",
        (int) strcspn(id, "|"), id);
    write_all(fd, out, (size_t) some);
}


static void
peer_serve(size_t i, size_t *n)
{
    size_t  got = line_read(&lines[i], fds[i].fd);

    if (got == SIZE_MAX) {
        (void) close(fds[i].fd);
        fds[i] = fds[--*n];
        lines[i] = lines[*n];

    } else if (got > 0) {
        lines[i].in[got - 1] = '\0';
        acknowledge(fds[i].fd, lines[i].in, got);
    }
}


static void __attribute__((noreturn))
peer(void)
{
    struct sockaddr_in  a = { .sin_family = AF_INET };
    socklen_t           len = sizeof(a);
    size_t              n = 1;

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    fds[0].fd = socket(AF_INET, SOCK_STREAM, 0);
    fds[0].events = POLLIN;

    if (bind(fds[0].fd, (struct sockaddr *) &a, len) != 0
        || listen(fds[0].fd, LINES_MAX) != 0
        || getsockname(fds[0].fd, (struct sockaddr *) &a, &len) != 0)
    {
        die("listen");
    }

    printf("%d\n", ntohs(a.sin_port));
    (void) fflush(stdout);

    for ( ;; ) {
        if (poll(fds, n, -1) < 1) {
            continue;
        }

        for (size_t i = n; i-- > 1; ) {
            if (fds[i].revents != 0) {
                peer_serve(i, &n);
            }
        }

        if (fds[0].revents != 0 && n < LINES_MAX) {
            lines[n].n = 0;
            fds[n].events = POLLIN;
            fds[n].revents = 0;
            fds[n].fd = accept(fds[0].fd, NULL, NULL);
            n += fds[n].fd >= 0;
        }
    }
}


/* -- the bare loop ------------------------------------------------------- */

static int
line_connect(unsigned port)
{
    struct sockaddr_in  a = { .sin_family = AF_INET,
        .sin_port = htons((uint16_t) port) };
    int                 fd = socket(AF_INET, SOCK_STREAM, 0);

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    if (fd < 0 || connect(fd, (struct sockaddr *) &a, sizeof(a)) != 0) {
        die("connect");
    }

    return fd;
}


static void
bare(unsigned port, size_t n, size_t connections)
{
    size_t  started = 0, ended = 0, got;

    for (size_t i = 0; i < connections; i++) {
        fds[i].fd = line_connect(port);
        fds[i].events = POLLIN;
        write_all(fds[i].fd, FRAME, sizeof(FRAME) - 1);
        started++;
    }

    while (ended < n) {
        (void) poll(fds, connections, -1);

        for (size_t i = 0; i < connections; i++) {
            got = fds[i].revents == 0 ? 0 : line_read(&lines[i], fds[i].fd);

            if (got == SIZE_MAX) {
                die("the peer closed");
            }

            ended += got > 0;

            if (got > 0 && started < n) {
                write_all(fds[i].fd, FRAME, sizeof(FRAME) - 1);
                started++;
            }
        }
    }
}


/* -- the transport ------------------------------------------------------- */

static struct transport  *transport;
static _Atomic size_t     left, failed;    /* to be submitted; not delivered */
static sem_t              idle;            /* a destination has no more */
static unsigned           their_port;


static void
submit(struct slice destination)
{
    struct send  *s = send_create();

    if (s == NULL) {
        die("send");
    }

    s->destination = arena_copy(&s->arena, destination);
    s->body = SLICE_LIT(MESSAGE);
    s->mllp.host = "127.0.0.1";
    s->mllp.port = their_port;
    s->mllp.control_id = "ID1";
    s->mllp.connect_ms = s->mllp.first_byte_ms = s->mllp.ack_ms = 30000;
    transport_mllp.submit(transport, s);
}


static bool
take_one(void)
{
    size_t  n = atomic_load(&left);

    while (n > 0 && !atomic_compare_exchange_weak(&left, &n, n - 1)) {
        /* N is what it was found to be */
    }

    return n > 0;
}


static void
on_done(void *arg, struct send *s)
{
    (void) arg;

    if (s->outcome.kind != OUTCOME_DELIVERED) {
        atomic_fetch_add(&failed, 1);
        fprintf(stderr, "mllp: %s\n", s->message);
    }

    if (take_one()) {
        submit(s->destination);
    } else {
        (void) sem_post(&idle);
    }

    send_destroy(s);
}


static void
ours(unsigned port, size_t n, size_t connections)
{
    static struct netguard   guard;
    struct transport_config  c = { .guard = &guard, .stop_ms = 100 };
    struct slice             at;
    char                     name[32];

    their_port = port;
    (void) sem_init(&idle, 0, 0);

    if (netguard_allow(&guard, "127.0.0.0/8", &at) != RESULT_OK
        || transport_mllp.start(&c, on_done, NULL, &transport) != RESULT_OK)
    {
        die("start");
    }

    atomic_store(&left, n - connections);

    for (size_t i = 0; i < connections; i++) {
        (void) snprintf(name, sizeof(name), "line-%zu", i);
        submit(slice_of(name));
    }

    for (size_t i = 0; i < connections; i++) {
        while (sem_wait(&idle) != 0) {
            /* a signal */
        }
    }

    transport_mllp.stop(transport);
}


int
main(int argc, char **argv)
{
    bool      is_ours = argc == 5 && strcmp(argv[1], "ours") == 0;
    double    from = seconds(CLOCK_MONOTONIC), cpu;
    size_t    n, connections;

    (void) signal(SIGPIPE, SIG_IGN);

    if (argc == 2 && strcmp(argv[1], "peer") == 0) {
        peer();
    }

    n = argc == 5 ? strtoul(argv[3], NULL, 10) : 0;
    connections = argc == 5 ? strtoul(argv[4], NULL, 10) : 0;

    if (connections < 1 || connections > LINES_MAX || n < connections
        || (!is_ours && strcmp(argv[1], "bare") != 0))
    {
        fprintf(stderr, "mllp: peer | bare|ours PORT N CONNECTIONS\n");
        return 2;
    }

    (is_ours ? ours : bare)((unsigned) atoi(argv[2]), n, connections);
    from = seconds(CLOCK_MONOTONIC) - from;
    cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
    printf("%.0f %.2f\n", (double) n / from, cpu * 1e6 / (double) n);
    return failed > 0;
}
