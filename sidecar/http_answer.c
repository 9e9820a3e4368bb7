/*
 * The three kinds of answers.  Each stream and each client of events has a
 * mutex: who suspends holds it, so that nobody resumes before the suspension.
 */

#include "http_server.h"

#include <stdio.h>
#include <stdlib.h>

#include "http_private.h"
#include "log.h"

#define STREAM_BLOCK  (16 * 1024)
#define STREAM_MAX    (4 * 1024 * 1024)
#define EVENTS_BLOCK  1024
#define EVENTS_MAX    (64 * 1024)

struct http_stream {
    struct http_server           *server;
    struct MHD_Connection        *conn;
    const struct http_stream_ops *ops;
    void                         *arg;
    pthread_mutex_t               mutex;
    struct buf                    out;
    size_t                        at;      /* bytes of out already sent */
    bool                          done, failed;
};


bool
http_head_add(struct http_head *h, const char *name, const char *fmt, ...)
{
    va_list  ap;
    char    *value;
    int      n;

    if (h->n == HTTP_MAX_EXTRA) {
        return false;
    }

    value = h->extra[h->n].value;

    va_start(ap, fmt);
    n = vsnprintf(value, sizeof(h->extra[0].value), fmt, ap);
    va_end(ap);

    if (n < 0 || (size_t) n >= sizeof(h->extra[0].value)) {
        return false;
    }

    for (int i = 0; i < n; i++) {
        if ((unsigned char) value[i] < 0x20 || value[i] == 0x7f) {
            return false;
        }
    }

    h->extra[h->n++].name = name;
    return true;
}


static void
request_answer(struct http_request *r, const struct http_head *h,
    struct MHD_Response *response)
{
    if (response == NULL) {
        log_rate(LOG_ERROR, "http", "an answer was lost: out of memory");
        return;
    }

    for (unsigned i = 0; i < h->n; i++) {
        (void) MHD_add_response_header(response, h->extra[i].name,
            h->extra[i].value);
    }

    r->status = h->status;
    r->response = response;
}


void
http_answer(struct http_request *r, const struct http_head *h, char *body,
    size_t n)
{
    struct MHD_Response  *response;

    response = MHD_create_response_from_buffer(n, body,
        body == NULL ? MHD_RESPMEM_PERSISTENT : MHD_RESPMEM_MUST_FREE);
    if (response == NULL) {
        free(body);
    }

    request_answer(r, h, response);
}


/* -- streams --------------------------------------------------------------- */

static void
stream_free(void *arg)
{
    struct http_stream  *st = arg;

    st->ops->end(st->arg);
    buf_cleanup(&st->out);
    (void) pthread_mutex_destroy(&st->mutex);
    free(st);
}


/* In a pool thread; the connection is suspended. */
static void
stream_make(void *arg)
{
    struct http_stream  *st = arg;
    bool                 more;

    buf_reset(&st->out);
    st->at = 0;
    more = st->ops->more(st->arg, &st->out);

    (void) pthread_mutex_lock(&st->mutex);
    st->done = !more;
    st->failed = st->out.failed;
    MHD_resume_connection(st->conn);
    (void) pthread_mutex_unlock(&st->mutex);
}


static ssize_t
stream_read_locked(struct http_stream *st, char *to, size_t max)
{
    size_t  n = st->out.n - st->at;

    if (n > 0) {
        n = n < max ? n : max;
        memcpy(to, st->out.p + st->at, n);
        st->at += n;
        return (ssize_t) n;
    }

    if (st->done || st->failed) {
        return st->failed ? MHD_CONTENT_READER_END_WITH_ERROR
                          : MHD_CONTENT_READER_END_OF_STREAM;
    }

    if (!http_pool_add(st->server->pool, stream_make, st)) {
        return MHD_CONTENT_READER_END_WITH_ERROR;
    }

    MHD_suspend_connection(st->conn);
    return 0;
}


static ssize_t
stream_read(void *arg, uint64_t pos, char *to, size_t max)
{
    struct http_stream  *st = arg;
    ssize_t              n;

    (void) pos;

    /* the mutex keeps stream_make from resuming before the suspension */
    (void) pthread_mutex_lock(&st->mutex);
    n = stream_read_locked(st, to, max);
    (void) pthread_mutex_unlock(&st->mutex);
    return n;
}


void
http_answer_stream(struct http_request *r, const struct http_head *h,
    const struct http_stream_ops *ops, void *arg)
{
    struct MHD_Response  *response = NULL;
    struct http_stream   *st;

    st = calloc(1, sizeof(*st));
    if (st == NULL) {
        ops->end(arg);
        request_answer(r, h, NULL);
        return;
    }

    st->server = r->server;
    st->conn = r->conn;
    st->ops = ops;
    st->arg = arg;
    buf_init(&st->out, STREAM_MAX);
    (void) pthread_mutex_init(&st->mutex, NULL);

    response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN,
        STREAM_BLOCK, stream_read, st, stream_free);
    if (response == NULL) {
        stream_free(st);
    }

    request_answer(r, h, response);
}


/* -- events ---------------------------------------------------------------- */

static void
events_list_remove(struct http_events *e)
{
    (void) pthread_mutex_lock(&e->server->mutex);

    if (e->prev != NULL) {
        *e->prev = e->next;
        if (e->next != NULL) {
            e->next->prev = e->prev;
        }
        e->prev = NULL;
    }

    (void) pthread_mutex_unlock(&e->server->mutex);
}


static void
events_list_add(struct http_events *e)
{
    struct http_server  *s = e->server;

    (void) pthread_mutex_lock(&s->mutex);
    e->next = s->events;
    e->prev = &s->events;
    if (e->next != NULL) {
        e->next->prev = &e->next;
    }
    s->events = e;
    e->closing = s->stopping;
    (void) pthread_mutex_unlock(&s->mutex);
}


static void
events_unref(struct http_events *e)
{
    bool  last;

    (void) pthread_mutex_lock(&e->mutex);
    last = --e->refs == 0;
    (void) pthread_mutex_unlock(&e->mutex);

    if (last) {
        buf_cleanup(&e->queue);
        (void) pthread_mutex_destroy(&e->mutex);
        free(e);
    }
}


static void
events_wake_locked(struct http_events *e)
{
    if (e->suspended) {
        e->suspended = false;
        MHD_resume_connection(e->conn);
    }
}


/* The response is gone, and with it the connection. */
static void
events_free(void *arg)
{
    struct http_events  *e = arg;

    events_list_remove(e);
    (void) pthread_mutex_lock(&e->mutex);
    e->gone = true;
    (void) pthread_mutex_unlock(&e->mutex);
    events_unref(e);
}


static ssize_t
events_read(void *arg, uint64_t pos, char *to, size_t max)
{
    struct http_events  *e = arg;
    size_t               n;
    ssize_t              result;

    (void) pos;
    (void) pthread_mutex_lock(&e->mutex);

    if (e->queue.n > 0) {
        n = e->queue.n < max ? e->queue.n : max;
        memcpy(to, e->queue.p, n);
        e->queue.n -= n;
        memmove(e->queue.p, e->queue.p + n, e->queue.n);
        result = (ssize_t) n;

    } else if (e->closing) {
        result = MHD_CONTENT_READER_END_OF_STREAM;

    } else {
        /* an idle client keeps no queue */
        buf_cleanup(&e->queue);
        e->suspended = true;
        MHD_suspend_connection(e->conn);
        result = 0;
    }

    (void) pthread_mutex_unlock(&e->mutex);
    return result;
}


struct http_events *
http_answer_events(struct http_request *r, const struct http_head *h)
{
    struct MHD_Response  *response;
    struct http_events   *e;

    e = calloc(1, sizeof(*e));
    if (e == NULL) {
        request_answer(r, h, NULL);
        return NULL;
    }

    e->server = r->server;
    e->conn = r->conn;
    e->refs = 2;
    buf_init(&e->queue, EVENTS_MAX);
    (void) pthread_mutex_init(&e->mutex, NULL);

    response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN,
        EVENTS_BLOCK, events_read, e, events_free);
    request_answer(r, h, response);

    if (response == NULL) {
        e->refs = 1;
        events_unref(e);
        return NULL;
    }

    events_list_add(e);
    return e;
}


bool
http_events_push(struct http_events *e, struct slice bytes)
{
    bool  taken;

    (void) pthread_mutex_lock(&e->mutex);

    taken = !e->gone && !e->closing && e->queue.n + bytes.n <= EVENTS_MAX
            && buf_add(&e->queue, bytes.p, bytes.n) == RESULT_OK;
    if (taken) {
        events_wake_locked(e);
    }

    (void) pthread_mutex_unlock(&e->mutex);
    return taken;
}


bool
http_events_gone(struct http_events *e)
{
    bool  gone;

    (void) pthread_mutex_lock(&e->mutex);
    gone = e->gone;
    (void) pthread_mutex_unlock(&e->mutex);
    return gone;
}


void
http_events_end(struct http_events *e)
{
    (void) pthread_mutex_lock(&e->mutex);
    e->closing = true;
    events_wake_locked(e);
    (void) pthread_mutex_unlock(&e->mutex);
}


void
http_events_close(struct http_events *e)
{
    http_events_end(e);
    events_unref(e);
}
