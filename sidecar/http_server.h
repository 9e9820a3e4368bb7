/*
 * An HTTP/1.1 server on a unix socket or loopback, behind nginx: libmicrohttpd
 * in about ten functions.  It knows sizes and framing, no routes.
 *
 * The handler runs in a pool thread and may block; it answers each request
 * once.  When http_refused is not 0 it runs in the event loop, must not block,
 * and answers with that status.
 */

#ifndef HTTP_SERVER_H
#define HTTP_SERVER_H

#include "buf.h"

#define HTTP_MAX_EXTRA       16            /* headers of an answer */

struct http_server;
struct http_request;

typedef void (*http_handler_pt)(struct http_request *r, void *arg);

struct http_options {
    const char       *listen;              /* /path.sock or 127.0.0.1:8080 */
    unsigned          mode;                /* of the socket, 0660 */
    unsigned          threads;             /* of the pool */
    unsigned          connections;
    size_t            body_max;            /* 413 above */
    http_handler_pt   handler;
    void             *arg;
};

/* ERR says what is wrong with the address. */
must_check enum result http_server_start(const struct http_options *o,
    struct http_server **out, char *err, size_t errlen);

/* The port that 127.0.0.1:0 became; 0 for a unix socket. */
unsigned http_server_port(const struct http_server *s);

/* Requests in the pool finish, streams and events end, then all is freed. */
void http_server_stop(struct http_server *s);

/* -- what was asked; slices live until the answer ------------------------- */

struct slice http_method(const struct http_request *r);
/* Path and query as they stood in the request line. */
struct slice http_target(const struct http_request *r);
/* The first header of that name, p NULL when there is none. */
struct slice http_header(const struct http_request *r, const char *name);
struct slice http_body(const struct http_request *r);
/* 0, or the status that framing, size or load demands. */
unsigned http_refused(const struct http_request *r);

/* -- the answer: one of three, once --------------------------------------- */

struct http_head {
    unsigned  status;
    unsigned  n;
    struct {
        const char  *name;
        char         value[512];
    }         extra[HTTP_MAX_EXTRA];
};

/* Appends a header; a value that does not fit or holds a control character is
 * left out and false returned. */
bool http_head_add(struct http_head *h, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* BODY is malloc'd and taken; NULL with N 0 is empty. */
void http_answer(struct http_request *r, const struct http_head *h, char *body,
    size_t n);

/*
 * A long answer made piece by piece: MORE appends to OUT in a pool thread and
 * returns false when that was the last piece.  END frees ARG, also when the
 * client left.
 */
struct http_stream_ops {
    bool  (*more)(void *arg, struct buf *out);
    void  (*end)(void *arg);
};

void http_answer_stream(struct http_request *r, const struct http_head *h,
    const struct http_stream_ops *ops, void *arg);

/*
 * An answer that never ends by itself.  The caller owns one reference of what
 * is returned (NULL: out of memory; the request was answered with 503).
 */
struct http_events;

must_check struct http_events *http_answer_events(struct http_request *r,
    const struct http_head *h);

/* From any thread.  False: the client is gone or too slow (64 KB wait). */
must_check bool http_events_push(struct http_events *e, struct slice bytes);
bool http_events_gone(struct http_events *e);
/* Ends the answer after what waits, and gives the reference back. */
void http_events_close(struct http_events *e);

#endif /* HTTP_SERVER_H */
