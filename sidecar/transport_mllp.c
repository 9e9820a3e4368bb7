/*
 * HL7 over MLLP: one thread, one poll loop, one connection and one message
 * outstanding per destination.
 *
 * Guarantees: an acknowledgement is never taken for another message (anything
 * that waits on a reused connection closes it, so does every time-out); every
 * attempt ends within its deadlines; a silent peer delays no other.  No retry
 * here: what came back is an outcome.
 */

#include "transport.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "clock.h"
#include "logdoc.h"
#include "mllp.h"
#include "resolver.h"
#include "stream.h"

#define POLL_MS         1000
#define FORGET_US       (INT64_C(3600) * 1000000)
#define READ_SIZE       4096

enum line_state { LINE_IDLE, LINE_RESOLVE, LINE_CONNECT, LINE_SEND,
                  LINE_COMMIT, LINE_ACK };

struct line {                              /* one destination */
    struct line            *next;
    struct transport       *t;
    char                   *key;
    enum line_state         state;
    struct stream          *stream;
    struct lookup          *lookup;
    const struct addrinfo  *address;
    struct send            *current, *queue, **tail;
    struct mllp_reader      reader;
    struct buf              out;
    size_t                  sent;
    size_t                  rest;          /* bytes read behind an answer */
    int64_t                 deadline_us;   /* of this state, monotonic */
    int64_t                 ack_us;        /* of the whole acknowledgement */
    int64_t                 started_us, used_us;
    bool                    committed;     /* a CA came */
    bool                    mismatch;      /* an ACK to another id came */
};

struct transport {
    struct transport_config  config;
    transport_done           done;
    void                    *arg;
    pthread_t                thread;
    int                      wake;

    pthread_mutex_t          lock;         /* of the three below */
    struct send             *queue, **tail;
    bool                     stopping;

    struct line             *lines;        /* the thread's own */
    struct pollfd           *fds;
    size_t                   nfds;
};

static void line_begin(struct line *l);
static void line_write(struct line *l);


/* -- the end of an attempt ----------------------------------------------- */

static void
send_finish(struct transport *t, struct send *s, enum outcome_kind kind,
    const char *reason, const char *text)
{
    s->outcome.kind = kind;
    s->outcome.reason = reason;
    (void) snprintf(s->message, sizeof(s->message), "%s", text);
    t->done(t->arg, s);
}


static void
line_close(struct line *l)
{
    stream_close(l->stream);
    lookup_free(l->lookup);
    l->stream = NULL;
    l->lookup = NULL;
    l->address = NULL;
}


static void
line_next(struct line *l)
{
    l->current = l->queue;
    l->state = LINE_IDLE;

    if (l->current == NULL) {
        return;
    }

    l->queue = l->current->next;
    l->current->next = NULL;

    if (l->queue == NULL) {
        l->tail = &l->queue;
    }

    line_begin(l);
}


static void
line_finish(struct line *l, enum outcome_kind kind, const char *reason,
    const char *text)
{
    struct send  *s = l->current;

    /* what came behind the answer must not answer the next message */
    if (l->rest > 0) {
        line_close(l);
        l->rest = 0;
    }

    l->used_us = clock_mono_us();
    s->duration_us = l->used_us - l->started_us;
    l->current = NULL;
    send_finish(l->t, s, kind, reason, text);
    line_next(l);
}


/* The connection can no longer be trusted to answer the next message. */
static void
line_fail(struct line *l, const char *reason, const char *text)
{
    char  copy[256];

    (void) snprintf(copy, sizeof(copy), "%s", text);
    line_close(l);

    if (l->committed) {
        line_finish(l, OUTCOME_COMMITTED, NULL,
            "committed there, the application's answer is missing");

    } else if (l->mismatch) {
        line_finish(l, OUTCOME_RETRY, "ACK_MISMATCH",
            "only answers to other messages came");

    } else {
        line_finish(l, OUTCOME_RETRY, reason, copy);
    }
}


/* -- connecting ---------------------------------------------------------- */

static void
line_deadline(struct line *l, unsigned ms)
{
    l->deadline_us = clock_mono_us() + (int64_t) ms * 1000;
}


/* All addresses are judged before any is tried: one spoils the name. */
static bool
addresses_permitted(struct line *l, const struct addrinfo *list,
    const char **why)
{
    for (const struct addrinfo *a = list; a != NULL; a = a->ai_next) {
        if (!netguard_permits(l->t->config.guard, a->ai_addr, a->ai_addrlen,
                why))
        {
            return false;
        }
    }

    return true;
}


static bool
host_is_literal(const char *host)
{
    struct addrinfo   hints = { .ai_flags = AI_NUMERICHOST };
    struct addrinfo  *list = NULL;
    int               error = getaddrinfo(host, NULL, &hints, &list);

    if (list != NULL) {
        freeaddrinfo(list);
    }

    return error == 0;
}


/* Opens the next address of the list; fails the attempt at its end. */
static void
line_open(struct line *l, const char *why)
{
    const struct send_mllp  *m = &l->current->mllp;
    struct stream_tls        tls = { m->host, m->cert_pem, m->key_pem,
        m->ca_pem };
    const struct addrinfo   *a;
    enum result              r;

    while ((a = l->address) != NULL) {
        l->address = a->ai_next;
        r = stream_open(a->ai_addr, a->ai_addrlen, m->tls ? &tls : NULL,
            &l->stream, &why);

        if (r == RESULT_OK) {
            l->state = LINE_CONNECT;
            line_deadline(l, m->connect_ms);
            return;
        }

        if (r == RESULT_INVALID) {
            line_close(l);
            line_finish(l, OUTCOME_RETRY, "OWN_CERT", why);
            return;
        }
    }

    line_fail(l, "CONNECT", why);
}


static void
line_resolved(struct line *l)
{
    const struct addrinfo  *list;
    const char             *why = "the host's name has no address";
    enum result             r = lookup_result(l->lookup, &list);

    if (r == RESULT_AGAIN) {
        return;
    }

    if (r != RESULT_OK) {
        line_fail(l, "CONNECT", why);
        return;
    }

    if (!addresses_permitted(l, list, &why)) {
        bool  literal = host_is_literal(l->current->mllp.host);

        line_close(l);
        line_finish(l, literal ? OUTCOME_REJECTED : OUTCOME_RETRY,
            "address_refused", why);
        return;
    }

    l->address = list;
    line_open(l, "no address could be reached");
}


static void
line_resolve(struct line *l)
{
    const struct send_mllp  *m = &l->current->mllp;

    if (lookup_start(m->host, m->port, l->t->wake, &l->lookup) != RESULT_OK) {
        line_finish(l, OUTCOME_NOT_SENT, "internal",
            "too many look-ups of names at once");
        return;
    }

    l->state = LINE_RESOLVE;
    line_deadline(l, m->connect_ms);
}


static void
line_send_begin(struct line *l)
{
    const struct send_mllp  *m = &l->current->mllp;

    mllp_reader_reset(&l->reader);
    l->reader.lenient_end = m->lenient_end;
    l->state = LINE_SEND;
    line_deadline(l, m->ack_ms);
    l->ack_us = l->deadline_us;
    l->current->connect_us = clock_mono_us() - l->started_us;
    line_write(l);
}


/* A byte that waits here is a late answer: never this message's. */
static bool
stream_is_quiet(struct stream *s)
{
    char    byte;
    size_t  n;

    return stream_read(s, &byte, 1, &n) == RESULT_AGAIN;
}


static void
line_begin(struct line *l)
{
    struct send  *s = l->current;

    s->started_us = clock_wall_us();
    l->started_us = clock_mono_us();
    l->committed = l->mismatch = false;
    l->sent = 0;
    buf_reset(&l->out);

    if (mllp_frame(&l->out, s->body) != RESULT_OK) {
        line_finish(l, OUTCOME_REJECTED, "config", l->out.failed
            ? "the message is longer than 1 MB"
            : "the message is empty or holds bytes that end a frame");
        return;
    }

    if (l->stream != NULL && !stream_is_quiet(l->stream)) {
        line_close(l);
    }

    if (l->stream != NULL) {
        line_send_begin(l);
    } else {
        line_close(l);
        line_resolve(l);
    }
}


/* -- sending and waiting ------------------------------------------------- */

static void
line_sent(struct line *l)
{
    const struct send_mllp  *m = &l->current->mllp;

    line_deadline(l, m->first_byte_ms);

    if (l->deadline_us > l->ack_us) {
        l->deadline_us = l->ack_us;
    }

    if (m->release == MLLP_RELEASE_2) {
        l->state = LINE_COMMIT;

    } else if (m->rules.want == HL7_WANT_NONE) {
        l->current->unconfirmed = true;
        line_finish(l, OUTCOME_DELIVERED, NULL, "sent, no answer is wanted");

    } else {
        l->state = LINE_ACK;
    }
}


static void
line_write(struct line *l)
{
    struct slice  rest;
    size_t        n;
    enum result   r;

    while (l->sent < l->out.n) {
        rest = (struct slice) { l->out.p + l->sent, l->out.n - l->sent };
        r = stream_write(l->stream, rest, &n);

        if (r == RESULT_AGAIN) {
            return;
        }

        if (r != RESULT_OK) {
            line_fail(l, "NO_ACK", "the connection broke while sending");
            return;
        }

        l->sent += n;
    }

    line_sent(l);
}


/* Release 2: their answer is a frame, and every frame is committed. */
static bool
commit_answer(struct line *l)
{
    static const char  frame[] = { 0x0b, MLLP_ACK, 0x1c, 0x0d };
    size_t             n;

    return stream_write(l->stream, (struct slice) { frame, sizeof(frame) },
               &n) == RESULT_OK && n == sizeof(frame);
}


static void
line_judge(struct line *l, struct slice ack)
{
    struct send         *s = l->current;
    struct hl7_verdict   v;

    s->response_body = arena_copy(&s->arena, ack);
    s->response_bytes = (int64_t) ack.n;

    if (s->mllp.release == MLLP_RELEASE_2 && !commit_answer(l)) {
        line_close(l);
    }

    v = hl7_judge(ack, s->mllp.control_id, &s->mllp.rules);

    if (v.read_on) {
        l->committed = l->committed || v.committed;
        l->mismatch = l->mismatch || !v.committed;
        l->deadline_us = l->ack_us;

        if (l->stream == NULL) {
            line_fail(l, "NO_ACK", "the connection broke before the answer");
        }

        return;
    }

    s->duplicate = v.duplicate;
    s->id_differs = v.id_differs;
    s->outcome = v.outcome;

    if (v.outcome.reason != NULL && strcmp(v.outcome.reason, "BAD_ACK") == 0) {
        line_close(l);
    }

    line_finish(l, v.outcome.kind, v.outcome.reason,
        v.outcome.kind == OUTCOME_DELIVERED ? "acknowledged"
                                            : "a negative acknowledgement");
}


static void
line_frame(struct line *l, struct slice payload)
{
    bool  commit = payload.n == 1
                   && (payload.p[0] == MLLP_ACK || payload.p[0] == MLLP_NAK);

    if (!commit) {
        l->state = LINE_ACK;
        line_judge(l, payload);
        return;
    }

    if (l->state != LINE_COMMIT) {
        line_fail(l, "BAD_ACK", "a commit frame where an answer belongs");

    } else if (payload.p[0] == MLLP_NAK) {
        line_close(l);
        line_finish(l, OUTCOME_RETRY, "COMMIT_NAK",
            "the receiver could not store the message");

    } else if (l->current->mllp.rules.want == HL7_WANT_NONE) {
        l->current->unconfirmed = true;
        line_finish(l, OUTCOME_DELIVERED, NULL, "committed");

    } else {
        l->state = LINE_ACK;
        l->deadline_us = l->ack_us;
    }
}


static void
line_bad_frame(struct line *l, const char *why)
{
    struct send  *s = l->current;

    s->response_body = arena_copy(&s->arena,
        (struct slice) { l->reader.payload.p, l->reader.payload.n });
    s->outcome.tries_cap = 3;
    line_fail(l, "BAD_ACK", why);
}


/* Feeds what was read; true while the same attempt goes on. */
static bool
line_feed(struct line *l, struct slice in)
{
    struct send  *s = l->current;
    struct slice  payload;
    const char   *why;
    size_t        used;
    enum result   r;

    while (in.n > 0) {
        r = mllp_feed(&l->reader, in, &used, &why);

        if (r == RESULT_INVALID) {
            line_bad_frame(l, why);
            return false;
        }

        if (r == RESULT_AGAIN) {
            return true;
        }

        in = (struct slice) { in.p + used, in.n - used };

        /* the frame leaves the reader: judging may begin the next message */
        payload = arena_copy(&s->arena, (struct slice) { l->reader.payload.p,
            l->reader.payload.n });
        mllp_reader_reset(&l->reader);

        if (payload.p == NULL) {
            line_fail(l, "BAD_ACK", "too many answers");
            return false;
        }

        l->rest = in.n;
        line_frame(l, payload);

        if (l->current != s) {
            return false;
        }
    }

    l->rest = 0;
    return true;
}


static void
line_read(struct line *l)
{
    char         chunk[READ_SIZE];
    size_t       n;
    enum result  r;

    for ( ;; ) {
        r = stream_read(l->stream, chunk, sizeof(chunk), &n);

        if (r == RESULT_AGAIN) {
            return;
        }

        if (r != RESULT_OK) {
            line_fail(l, "NO_ACK", r == RESULT_NOT_FOUND
                ? "the connection ended before the answer"
                : "the connection broke before the answer");
            return;
        }

        if (l->current->first_byte_us == LOGDOC_NONE) {
            l->current->first_byte_us = clock_mono_us() - l->started_us;
            l->deadline_us = l->ack_us;
        }

        if (!line_feed(l, (struct slice) { chunk, n }) || l->stream == NULL) {
            return;
        }
    }
}


/* -- the loop ------------------------------------------------------------ */

static void
line_expired(struct line *l)
{
    switch (l->state) {

    case LINE_RESOLVE:
        line_fail(l, "CONNECT", "the look-up of the name takes too long");
        break;

    case LINE_CONNECT:
        stream_close(l->stream);
        l->stream = NULL;
        line_open(l, "no connection in time");
        break;

    default:
        line_fail(l, "ACK_TIMEOUT", "no answer in time: is the channel "
            "stopped, its response set to None, or its database away?");
        break;
    }
}


static void
line_step(struct line *l, bool ready)
{
    const char   *why = "the connection failed";
    enum result   r;

    if (l->state == LINE_IDLE) {
        /* the peer may close; anything it says now is late */
        if (ready && l->stream != NULL && !stream_is_quiet(l->stream)) {
            line_close(l);
        }

        return;
    }

    if (l->state == LINE_RESOLVE) {
        line_resolved(l);

    } else if (l->state == LINE_CONNECT && ready) {
        r = stream_connect(l->stream, &why);

        if (r == RESULT_OK) {
            line_send_begin(l);
        } else if (r != RESULT_AGAIN) {
            char  text[200];

            (void) snprintf(text, sizeof(text), "%s", why);
            stream_close(l->stream);
            l->stream = NULL;
            line_open(l, text);
        }
    }

    if (l->state == LINE_SEND) {
        line_write(l);

    } else if ((l->state == LINE_COMMIT || l->state == LINE_ACK) && ready) {
        line_read(l);
    }

    if (l->state != LINE_IDLE && clock_mono_us() >= l->deadline_us) {
        line_expired(l);
    }
}


static struct line *
line_of(struct transport *t, const struct send *s)
{
    struct line  *l;

    for (l = t->lines; l != NULL; l = l->next) {
        if (slice_eq(slice_of(l->key), s->destination)) {
            return l;
        }
    }

    l = calloc(1, sizeof(*l));
    if (l == NULL) {
        return NULL;
    }

    l->key = strndup(s->destination.p, s->destination.n);
    if (l->key == NULL) {
        free(l);
        return NULL;
    }

    l->t = t;
    l->tail = &l->queue;
    mllp_reader_init(&l->reader, false);
    buf_init(&l->out, SEND_MAX_BODY + 3);
    l->next = t->lines;
    t->lines = l;
    return l;
}


static void
line_free(struct line *l)
{
    line_close(l);
    mllp_reader_cleanup(&l->reader);
    buf_cleanup(&l->out);
    free(l->key);
    free(l);
}


static void
lines_forget(struct transport *t)
{
    struct line  **link, *l;
    int64_t        now = clock_mono_us();

    for (link = &t->lines; (l = *link) != NULL; /* void */) {
        if (l->state == LINE_IDLE && now - l->used_us > FORGET_US) {
            *link = l->next;
            line_free(l);

        } else {
            link = &l->next;
        }
    }
}


static void
take_send(struct transport *t, struct send *s)
{
    struct line  *l = line_of(t, s);

    if (l == NULL) {
        send_finish(t, s, OUTCOME_NOT_SENT, "internal", "out of memory");
        return;
    }

    *l->tail = s;
    l->tail = &s->next;
    l->used_us = clock_mono_us();

    if (l->current == NULL) {
        line_next(l);
    }
}


static bool
take_queue(struct transport *t)
{
    struct send  *list, *s;
    bool          stopping;

    pthread_mutex_lock(&t->lock);
    list = t->queue;
    t->queue = NULL;
    t->tail = &t->queue;
    stopping = t->stopping;
    pthread_mutex_unlock(&t->lock);

    while ((s = list) != NULL) {
        list = s->next;
        s->next = NULL;

        if (stopping) {
            send_finish(t, s, OUTCOME_NOT_SENT, "shutdown", "we are stopping");
        } else {
            take_send(t, s);
        }
    }

    return stopping;
}


/* Gives back what waits; true while something is still under way. */
static bool
stop_lines(struct transport *t, bool now)
{
    struct line  *l;
    struct send  *s;
    bool          busy = false;

    for (l = t->lines; l != NULL; l = l->next) {
        while ((s = l->queue) != NULL) {
            l->queue = s->next;
            send_finish(t, s, OUTCOME_NOT_SENT, "shutdown", "we are stopping");
        }

        l->tail = &l->queue;

        if (now && l->current != NULL) {
            line_close(l);
            line_finish(l, OUTCOME_NOT_SENT, "shutdown", "we are stopping");
        }

        busy = busy || l->current != NULL;
    }

    return busy;
}


static bool
poll_grow(struct transport *t, size_t n)
{
    struct pollfd  *fds;

    if (n <= t->nfds) {
        return true;
    }

    fds = realloc(t->fds, n * 2 * sizeof(*fds));
    if (fds == NULL) {
        return false;
    }

    t->fds = fds;
    t->nfds = n * 2;
    return true;
}


static void
poll_lines(struct transport *t, int timeout_ms)
{
    struct line  *l;
    uint64_t      count;
    int64_t       now = clock_mono_us(), left;
    size_t        n = 1, i = 1;

    for (l = t->lines; l != NULL; l = l->next) {
        n++;
    }

    if (!poll_grow(t, n)) {
        (void) poll(NULL, 0, 10);
        return;
    }

    t->fds[0] = (struct pollfd) { t->wake, POLLIN, 0 };

    for (l = t->lines; l != NULL; l = l->next, i++) {
        t->fds[i] = (struct pollfd) { -1, 0, 0 };

        if (l->stream != NULL) {
            t->fds[i].fd = stream_fd(l->stream);
            t->fds[i].events = l->state == LINE_IDLE ? POLLIN
                                                     : stream_events(l->stream);
        }

        if (l->state != LINE_IDLE) {
            left = (l->deadline_us - now) / 1000 + 1;
            timeout_ms = left < 0 ? 0 : left < timeout_ms ? (int) left
                                                          : timeout_ms;
        }
    }

    (void) poll(t->fds, n, timeout_ms);

    if (t->fds[0].revents != 0) {
        (void) !read(t->wake, &count, sizeof(count));
    }

    for (l = t->lines, i = 1; l != NULL; l = l->next, i++) {
        line_step(l, t->fds[i].revents != 0);
    }
}


static void *
transport_run(void *arg)
{
    struct transport  *t = arg;
    int64_t            stop_us = 0;
    bool               stopping;

    for ( ;; ) {
        stopping = take_queue(t);

        if (stopping) {
            stop_us = stop_us != 0 ? stop_us
                : clock_mono_us() + (int64_t) t->config.stop_ms * 1000;

            if (!stop_lines(t, clock_mono_us() >= stop_us)) {
                return NULL;
            }
        }

        lines_forget(t);
        poll_lines(t, stopping ? 50 : POLL_MS);
    }
}


static void
transport_free(struct transport *t)
{
    struct line  *l;

    while ((l = t->lines) != NULL) {
        t->lines = l->next;
        line_free(l);
    }

    if (t->wake != -1) {
        (void) close(t->wake);
    }

    (void) pthread_mutex_destroy(&t->lock);
    free(t->fds);
    free(t);
}


static enum result
mllp_start(const struct transport_config *c, transport_done done, void *arg,
    struct transport **out)
{
    struct transport  *t;

    t = calloc(1, sizeof(*t));
    if (t == NULL) {
        return RESULT_MEMORY;
    }

    t->config = *c;
    t->done = done;
    t->arg = arg;
    t->tail = &t->queue;
    t->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    (void) pthread_mutex_init(&t->lock, NULL);

    if (t->wake == -1
        || pthread_create(&t->thread, NULL, transport_run, t) != 0)
    {
        transport_free(t);
        return RESULT_UNAVAILABLE;
    }

    *out = t;
    return RESULT_OK;
}


static void
mllp_wake(struct transport *t)
{
    uint64_t  one = 1;

    (void) !write(t->wake, &one, sizeof(one));
}


static void
mllp_submit(struct transport *t, struct send *s)
{
    s->next = NULL;

    pthread_mutex_lock(&t->lock);
    *t->tail = s;
    t->tail = &s->next;
    pthread_mutex_unlock(&t->lock);

    mllp_wake(t);
}


static void
mllp_stop(struct transport *t)
{
    if (t == NULL) {
        return;
    }

    pthread_mutex_lock(&t->lock);
    t->stopping = true;
    pthread_mutex_unlock(&t->lock);

    mllp_wake(t);
    (void) pthread_join(t->thread, NULL);
    transport_free(t);
}


const struct transport_ops  transport_mllp = {
    .name = "mllp",
    .start = mllp_start,
    .submit = mllp_submit,
    .stop = mllp_stop,
};
