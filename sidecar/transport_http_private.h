/*
 * What the files of transport_http*.c share: one transfer, and the thread's
 * state.  All of it is the thread's own, but what the lock is for.
 */

#ifndef TRANSPORT_HTTP_PRIVATE_H
#define TRANSPORT_HTTP_PRIVATE_H

#include <curl/curl.h>
#include <pthread.h>

#include "http_outcome.h"
#include "http_token.h"
#include "transport.h"

#define MAX_RESPONSE_HEADERS  (16 * 1024)

struct transfer {
    struct transfer    *next, *prev;       /* in flight; free: next only */
    struct transport   *t;
    CURL               *easy;
    struct send        *send;
    struct http_token  *token;             /* OAuth2: needed or fetched */
    unsigned            serial;            /* of the bearer that it carries */
    bool                fetches;           /* it asks for the token itself */
    struct curl_slist  *headers;
    struct buf          head, body;
    int64_t             body_bytes;
    bool                refused, literal, head_done, cut, bad_line;
};

struct transport {
    struct transport_config  config;
    transport_done           done;
    void                    *arg;
    CURLM                   *multi;
    pthread_t                thread;

    pthread_mutex_t          lock;         /* of the three below */
    struct send             *queue, **tail;
    bool                     stopping;

    /* the thread's own */
    struct transfer         *active, *free;
    struct http_tokens       tokens;
};

/* Below 1: nothing is left of its time. */
long send_left_ms(const struct send *s);

/* Sets all options of a webhook, or of the request for its token; false: out of
 * memory, or x->bad_line. */
must_check bool transfer_webhook(struct transfer *x);
must_check bool transfer_token(struct transfer *x);

/* What comes back goes to x->head and x->body, and only from addresses that the
 * guard permits. */
void transfer_listen(struct transfer *x);

struct http_facts transfer_facts(struct transfer *x, CURLcode code);

/* Copies what came back into the send's own arena. */
void transfer_keep(struct transfer *x, const struct http_facts *f);

#endif /* TRANSPORT_HTTP_PRIVATE_H */
