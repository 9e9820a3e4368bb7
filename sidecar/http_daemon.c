/*
 * libmicrohttpd: two event threads take requests apart, a pool answers them.
 * A request is suspended while the pool has it, a stream while its next piece
 * is made, events while nothing happens.  A suspended connection is touched by
 * nobody but who resumes it, and MHD_stop_daemon aborts the process if one is
 * left: http_server_stop resumes them all first.
 */

#include "http_server.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "http_guard.h"
#include "http_listen.h"
#include "http_private.h"
#include "log.h"

#define SERVER_LOOPS         2
#define SERVER_QUEUE         512           /* requests that wait for a thread */
#define SERVER_IDLE_S        10
#define SERVER_BYE_US        1000000       /* for the last of event streams */
#define SERVER_MEMORY        (20 * 1024)   /* of a connection */
#define SERVER_READ_US       30000000      /* a whole request, at most */
#define SERVER_DISCARD       (4 * 1024 * 1024)

static void
server_log(void *arg, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0)));


static void
server_log(void *arg, const char *fmt, va_list ap)
{
    char  line[512];

    (void) arg;
    (void) vsnprintf(line, sizeof(line), fmt, ap);
    line[strcspn(line, "\n")] = '\0';
    log_rate(LOG_INFO, "http", "%s", line);
}


/* -- requests -------------------------------------------------------------- */

/* Called with the request line, before headers are read. */
static void *
request_begin(void *arg, const char *uri, struct MHD_Connection *conn)
{
    struct http_server   *s = arg;
    struct http_request  *r;

    r = calloc(1, sizeof(*r));
    if (r == NULL) {
        return NULL;
    }

    r->target = strdup(uri);
    if (r->target == NULL) {
        free(r);
        return NULL;
    }

    r->server = s;
    r->conn = conn;
    r->started_us = clock_mono_us();
    buf_init(&r->body, s->body_max);
    return r;
}


static void
request_end(void *arg, struct MHD_Connection *conn, void **con_cls,
    enum MHD_RequestTerminationCode code)
{
    struct http_request  *r = *con_cls;

    (void) arg;
    (void) conn;
    (void) code;

    if (r == NULL) {
        return;
    }

    if (r->response != NULL) {
        MHD_destroy_response(r->response);
    }

    buf_cleanup(&r->body);
    free(r->target);
    free(r->method);
    free(r);
    *con_cls = NULL;
}


static enum MHD_Result
request_header(void *arg, enum MHD_ValueKind kind, const char *name,
    size_t name_n, const char *value, size_t value_n)
{
    (void) kind;
    http_guard_header(arg, (struct slice) { name, name_n },
        (struct slice) { value, value_n });
    return MHD_YES;
}


static enum MHD_Result
request_send(struct http_request *r)
{
    enum MHD_Result  sent;

    /* a handler that forgot to answer closes the connection */
    if (r->response == NULL) {
        log_rate(LOG_ERROR, "http", "a request was left without an answer");
        return MHD_NO;
    }

    sent = MHD_queue_response(r->conn, r->status, r->response);
    MHD_destroy_response(r->response);
    r->response = NULL;
    return sent;
}


static enum MHD_Result
request_refuse(struct http_request *r, unsigned status)
{
    r->refused = status;
    r->state = REQUEST_GIVEN;
    r->server->handler(r, r->server->arg);
    return request_send(r);
}


static enum MHD_Result
request_start(struct http_request *r, const char *method, const char *version)
{
    struct http_guard  guard;
    unsigned           status;

    r->method = strdup(method);
    if (r->method == NULL) {
        return MHD_NO;
    }

    http_guard_init(&guard);
    (void) MHD_get_connection_values_n(r->conn, MHD_HEADER_KIND,
        request_header, &guard);

    status = http_guard_status(&guard, slice_of(version),
        slice_of(r->target), r->server->body_max);
    if (status != 0) {
        return request_refuse(r, status);
    }

    r->state = REQUEST_BODY;
    return MHD_YES;
}


/* What is over the cap is read and thrown away, so that the client hears 413,
 * but not for ever. */
static enum MHD_Result
request_body(struct http_request *r, const char *data, size_t *n)
{
    size_t  len = *n;

    *n = 0;

    if (clock_mono_us() - r->started_us > SERVER_READ_US) {
        return MHD_NO;
    }

    if (!r->body.failed && buf_add(&r->body, data, len) == RESULT_OK) {
        return MHD_YES;
    }

    r->discarded += len;
    return r->discarded <= SERVER_DISCARD ? MHD_YES : MHD_NO;
}


static void
request_run(void *arg)
{
    struct http_request  *r = arg;

    r->server->handler(r, r->server->arg);
    MHD_resume_connection(r->conn);
}


static enum MHD_Result
request_give(struct http_request *r)
{
    if (r->body.failed) {
        return request_refuse(r, 413);
    }

    r->state = REQUEST_GIVEN;
    MHD_suspend_connection(r->conn);

    if (!http_pool_add(r->server->pool, request_run, r)) {
        r->refused = 503;
        request_run(r);
    }

    return MHD_YES;
}


static enum MHD_Result
request_step(void *arg, struct MHD_Connection *conn, const char *url,
    const char *method, const char *version, const char *data, size_t *n,
    void **con_cls)
{
    struct http_request  *r = *con_cls;

    (void) arg;
    (void) conn;
    (void) url;

    if (r == NULL) {
        return MHD_NO;
    }

    if (r->state == REQUEST_NEW) {
        return request_start(r, method, version);
    }

    if (*n > 0) {
        return request_body(r, data, n);
    }

    return r->state == REQUEST_BODY ? request_give(r) : request_send(r);
}


struct slice
http_method(const struct http_request *r)
{
    return slice_of(r->method);
}


struct slice
http_target(const struct http_request *r)
{
    return slice_of(r->target);
}


struct slice
http_header(const struct http_request *r, const char *name)
{
    const char  *value;
    size_t       n;

    if (MHD_lookup_connection_value_n(r->conn, MHD_HEADER_KIND, name,
            strlen(name), &value, &n) != MHD_YES)
    {
        return SLICE_NONE;
    }

    return (struct slice) { value == NULL ? "" : value, n };
}


struct slice
http_body(const struct http_request *r)
{
    return (struct slice) { r->body.p, r->body.n };
}


unsigned
http_refused(const struct http_request *r)
{
    return r->refused;
}


/* -- start and stop -------------------------------------------------------- */

static enum result
server_daemon(struct http_server *s, const struct http_options *o)
{
    s->daemon = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD
            | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, 0, NULL, NULL,
        request_step, s,
        /* first, so that the messages of the others come through it */
        MHD_OPTION_EXTERNAL_LOGGER, server_log, NULL,
        MHD_OPTION_LISTEN_SOCKET, s->fd,
        MHD_OPTION_THREAD_POOL_SIZE, (unsigned) SERVER_LOOPS,
        MHD_OPTION_CONNECTION_LIMIT, o->connections,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned) SERVER_IDLE_S,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t) SERVER_MEMORY,
        MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_URI_LOG_CALLBACK, request_begin, s,
        MHD_OPTION_NOTIFY_COMPLETED, request_end, s,
        MHD_OPTION_END);

    return s->daemon == NULL ? RESULT_UNAVAILABLE : RESULT_OK;
}


static void
server_free(struct http_server *s)
{
    http_pool_destroy(s->pool);

    if (s->fd >= 0) {
        (void) close(s->fd);
    }

    if (s->path != NULL) {
        (void) unlink(s->path);
        free(s->path);
    }

    (void) pthread_mutex_destroy(&s->mutex);
    free(s);
}


enum result
http_server_start(const struct http_options *o, struct http_server **out,
    char *err, size_t errlen)
{
    struct http_server  *s;
    enum result          result;

    *out = NULL;

    s = calloc(1, sizeof(*s));
    if (s == NULL) {
        return RESULT_MEMORY;
    }

    s->handler = o->handler;
    s->arg = o->arg;
    s->body_max = o->body_max;
    (void) pthread_mutex_init(&s->mutex, NULL);

    result = http_listen(o->listen, o->mode, &s->fd, &s->port, err, errlen);
    if (result != RESULT_OK) {
        goto out;
    }

    if (s->port == 0) {
        s->path = strdup(strncmp(o->listen, "unix:", 5) == 0 ? o->listen + 5
                                                             : o->listen);
    }

    result = http_pool_create(o->threads, SERVER_QUEUE, &s->pool);
    if (result == RESULT_OK) {
        result = server_daemon(s, o);
    }

    if (result != RESULT_OK) {
        (void) snprintf(err, errlen, "listen %s: cannot start threads: %s",
            o->listen, result_text(result));
    }

out:

    if (result != RESULT_OK) {
        if (s->pool != NULL) {
            http_pool_stop(s->pool);
        }
        server_free(s);
        return result;
    }

    *out = s;
    return RESULT_OK;
}


unsigned
http_server_port(const struct http_server *s)
{
    return s->port;
}


/* Ended streams are written out, unless their clients do not read. */
static void
wait_for_events(struct http_server *s)
{
    struct timespec  nap = { 0, 5000000 };
    bool             some = true;

    for (int64_t end = clock_mono_us() + SERVER_BYE_US;
         some && clock_mono_us() < end; )
    {
        (void) pthread_mutex_lock(&s->mutex);
        some = s->events != NULL;
        (void) pthread_mutex_unlock(&s->mutex);

        if (some) {
            (void) nanosleep(&nap, NULL);
        }
    }
}



void
http_server_stop(struct http_server *s)
{
    if (s == NULL) {
        return;
    }

    (void) MHD_quiesce_daemon(s->daemon);

    /* from here on new streams fail and new events end at once */
    http_pool_stop(s->pool);

    (void) pthread_mutex_lock(&s->mutex);
    s->stopping = true;
    for (struct http_events *e = s->events; e != NULL; e = e->next) {
        http_events_end(e);
    }
    (void) pthread_mutex_unlock(&s->mutex);

    wait_for_events(s);
    MHD_stop_daemon(s->daemon);
    server_free(s);
}
