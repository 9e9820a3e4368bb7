/* What http_server.c and http_answer.c share, and nobody else. */

#ifndef HTTP_PRIVATE_H
#define HTTP_PRIVATE_H

#include <microhttpd.h>
#include <pthread.h>

#include "http_pool.h"
#include "http_server.h"

struct http_server {
    struct MHD_Daemon    *daemon;
    struct http_pool     *pool;
    http_handler_pt       handler;
    void                 *arg;
    size_t                body_max;
    char                 *path;            /* of a unix socket, to unlink */
    unsigned              port;
    int                   fd;

    pthread_mutex_t       mutex;           /* of the list */
    struct http_events   *events;
    bool                  stopping;
};

enum request_state { REQUEST_NEW, REQUEST_BODY, REQUEST_GIVEN };

struct http_request {
    struct http_server     *server;
    struct MHD_Connection  *conn;
    enum request_state      state;
    unsigned                refused;
    int64_t                 started_us;
    char                   *target, *method;
    struct buf              body;
    size_t                  discarded;

    unsigned                status;
    struct MHD_Response    *response;      /* made, not yet queued */
};

struct http_events {
    struct http_server     *server;
    struct MHD_Connection  *conn;
    struct http_events     *next, **prev;  /* in server's list */
    pthread_mutex_t         mutex;
    struct buf              queue;
    unsigned                refs;
    bool                    suspended, closing, gone;
};

/* Ends the answer; the caller holds the server's mutex or a reference. */
void http_events_end(struct http_events *e);

#endif /* HTTP_PRIVATE_H */
