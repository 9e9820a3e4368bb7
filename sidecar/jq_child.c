/* The parent's side of integrationd-jq: start, ask, wait, kill. */

#include "jq_child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"

#define START_MS    5000                   /* to be up and compile */

struct jq_child {
    char      *path;
    unsigned   run_ms;
    pid_t      pid;                        /* 0: none */
    int        fd;
};


static char *
jq_beside_us(void)
{
    char     path[4096];
    ssize_t  n = readlink("/proc/self/exe", path, sizeof(path) - 8);

    if (n <= 0) {
        return strdup("integrationd-jq");
    }

    path[n] = '\0';

    for (char *slash = path + n; slash > path; slash--) {
        if (*slash == '/') {
            slash[1] = '\0';
            break;
        }
    }

    (void) strncat(path, "integrationd-jq", sizeof(path) - strlen(path) - 1);
    return strdup(path);
}


enum result
jq_child_create(const char *path, unsigned run_ms, struct jq_child **out)
{
    struct jq_child  *c;

    c = calloc(1, sizeof(*c));
    if (c == NULL) {
        return RESULT_MEMORY;
    }

    c->path = path != NULL ? strdup(path) : jq_beside_us();
    c->run_ms = run_ms;
    c->fd = -1;

    if (c->path == NULL) {
        free(c);
        return RESULT_MEMORY;
    }

    *out = c;
    return RESULT_OK;
}


/* Ends the child; true when it had died of itself (abort: out of memory). */
static bool
child_end(struct jq_child *c)
{
    int   status = 0;
    bool  aborted;

    if (c->pid == 0) {
        return false;
    }

    (void) close(c->fd);
    c->fd = -1;

    aborted = waitpid(c->pid, &status, WNOHANG) == c->pid;

    if (!aborted) {
        (void) kill(c->pid, SIGKILL);
        while (waitpid(c->pid, &status, 0) == -1 && errno == EINTR) {
            /* it is dying */
        }
    }

    c->pid = 0;
    return aborted;
}


void
jq_child_destroy(struct jq_child *c)
{
    if (c != NULL) {
        (void) child_end(c);
        free(c->path);
        free(c);
    }
}


static enum result
child_start(struct jq_child *c)
{
    posix_spawn_file_actions_t  actions;
    posix_spawnattr_t           attr;
    char       *argv[] = { c->path, NULL };
    char       *envp[] = { NULL };
    sigset_t    none, defaults;
    int         pair[2], error;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == -1) {
        log_rate(LOG_ERROR, "jq", "socketpair: %s", strerror(errno));
        return RESULT_UNAVAILABLE;
    }

    (void) sigemptyset(&none);
    (void) sigfillset(&defaults);
    (void) posix_spawn_file_actions_init(&actions);
    (void) posix_spawn_file_actions_adddup2(&actions, pair[1], STDIN_FILENO);
    (void) posix_spawn_file_actions_adddup2(&actions, pair[1], STDOUT_FILENO);
    (void) posix_spawnattr_init(&attr);
    (void) posix_spawnattr_setsigmask(&attr, &none);
    (void) posix_spawnattr_setsigdefault(&attr, &defaults);
    (void) posix_spawnattr_setflags(&attr,
        POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);

    error = posix_spawn(&c->pid, c->path, &actions, &attr, argv, envp);

    (void) posix_spawnattr_destroy(&attr);
    (void) posix_spawn_file_actions_destroy(&actions);
    (void) close(pair[1]);

    if (error != 0) {
        log_rate(LOG_ERROR, "jq", "cannot start %s: %s", c->path,
            strerror(error));
        (void) close(pair[0]);
        c->pid = 0;
        return RESULT_UNAVAILABLE;
    }

    (void) fcntl(pair[0], F_SETFL, O_NONBLOCK);
    c->fd = pair[0];
    return RESULT_OK;
}


static enum result
wait_for(struct jq_child *c, short events, int64_t until_us)
{
    struct pollfd  p = { c->fd, events, 0 };
    int64_t        left;
    int            n;

    do {
        left = until_us - clock_mono_us();
        n = left <= 0 ? 0 : poll(&p, 1, (int) (left / 1000) + 1);
    } while (n == -1 && errno == EINTR);

    return n > 0 ? RESULT_OK : RESULT_TIMEOUT;
}


static enum result
send_all(struct jq_child *c, const void *data, size_t n, int64_t until_us)
{
    const char   *p = data;
    ssize_t       put;
    enum result   r;

    while (n > 0) {
        put = send(c->fd, p, n, MSG_NOSIGNAL);

        if (put > 0) {
            p += put;
            n -= (size_t) put;
            continue;
        }

        if (errno != EAGAIN && errno != EINTR) {
            return RESULT_MEMORY;
        }

        r = wait_for(c, POLLOUT, until_us);
        if (r != RESULT_OK) {
            return r;
        }
    }

    return RESULT_OK;
}


static enum result
read_all(struct jq_child *c, void *data, size_t n, int64_t until_us)
{
    char         *p = data;
    ssize_t       got;
    enum result   r;

    while (n > 0) {
        got = recv(c->fd, p, n, 0);

        if (got > 0) {
            p += got;
            n -= (size_t) got;
            continue;
        }

        /* the end of the child: abort() when memory ran out */
        if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
            return RESULT_MEMORY;
        }

        r = wait_for(c, POLLIN, until_us);
        if (r != RESULT_OK) {
            return r;
        }
    }

    return RESULT_OK;
}


static enum result
child_send(struct jq_child *c, enum jq_mode mode, struct slice program,
    struct slice input, int64_t until_us)
{
    struct jq_job  job = { mode, (uint32_t) program.n, (uint32_t) input.n };
    enum result    r;

    r = send_all(c, &job, sizeof(job), until_us);
    r = r != RESULT_OK ? r : send_all(c, program.p, program.n, until_us);
    return r != RESULT_OK ? r : send_all(c, input.p, input.n, until_us);
}


static enum result
child_answer(struct jq_child *c, struct buf *out, enum jq_status *status)
{
    struct jq_answer  head;
    int64_t           until;
    char              byte, *room;
    enum result       r;

    r = read_all(c, &byte, 1, clock_mono_us() + START_MS * 1000);
    if (r != RESULT_OK) {
        return r;
    }

    /* the program's own time begins now */
    until = clock_mono_us() + (int64_t) c->run_ms * 1000;

    r = read_all(c, &head, sizeof(head), until);
    if (r != RESULT_OK) {
        return r;
    }

    room = head.len > JQ_MAX_OUTPUT ? NULL : buf_room(out, head.len);
    if (room == NULL) {
        return RESULT_TOO_BIG;
    }

    r = read_all(c, room, head.len, until);
    out->n += r == RESULT_OK ? head.len : 0;
    *status = (enum jq_status) head.status;
    return r;
}


static enum result
run_once(struct jq_child *c, enum jq_mode mode, struct slice program,
    struct slice input, struct buf *out, enum jq_status *status)
{
    enum result  r;

    r = c->pid != 0 ? RESULT_OK : child_start(c);
    if (r != RESULT_OK) {
        return r;
    }

    r = child_send(c, mode, program, input,
        clock_mono_us() + START_MS * 1000);

    return r != RESULT_OK ? r : child_answer(c, out, status);
}


static enum result
ended(struct jq_child *c, enum result r, struct buf *out)
{
    (void) child_end(c);
    buf_reset(out);

    switch (r) {

    case RESULT_TIMEOUT:
        (void) buf_addf(out, "the program ran longer than %u ms", c->run_ms);
        break;

    case RESULT_MEMORY:
        (void) buf_adds(out, "the program used more than 256 MB of memory");
        break;

    default:
        (void) buf_adds(out, "the output is longer than 1 MB");
        break;
    }

    return r;
}


enum result
jq_child_run(struct jq_child *c, enum jq_mode mode, struct slice program,
    struct slice input, struct buf *out)
{
    static const enum result  results[] = {
        [JQ_OK] = RESULT_OK, [JQ_BAD_PROGRAM] = RESULT_INVALID,
        [JQ_BAD_INPUT] = RESULT_INVALID, [JQ_FAILED] = RESULT_INVALID,
        [JQ_OUTPUTS] = RESULT_INVALID, [JQ_LARGE] = RESULT_TOO_BIG,
    };
    enum jq_status  status = JQ_OK;
    bool            fresh = c->pid == 0;
    enum result     r;

    buf_reset(out);

    if (program.n > JQ_MAX_PROGRAM || input.n > JQ_MAX_INPUT) {
        (void) buf_adds(out, program.n > JQ_MAX_PROGRAM
            ? "the program is longer than 64 KB"
            : "the input is longer than 2 MB");
        return RESULT_TOO_BIG;
    }

    if ((program.n > 0 && memchr(program.p, '\0', program.n) != NULL)
        || !slice_utf8(program) || !slice_utf8(input))
    {
        (void) buf_adds(out, "program and input must be UTF-8 without NUL");
        return RESULT_INVALID;
    }

    r = run_once(c, mode, program, input, out, &status);

    /* a child that another job's memory had worn out gets one successor */
    if (r == RESULT_MEMORY && !fresh) {
        (void) child_end(c);
        buf_reset(out);
        r = run_once(c, mode, program, input, out, &status);
    }

    if (r == RESULT_UNAVAILABLE) {
        return r;
    }

    return r == RESULT_OK && (unsigned) status <= JQ_LARGE
        ? results[status]
        : ended(c, r == RESULT_OK ? RESULT_TOO_BIG : r, out);
}
