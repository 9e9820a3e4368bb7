/*
 * Webhooks over HTTP: one thread, one libcurl multi handle, many transfers.
 *
 * Guarantees: every submitted send is done exactly once; it ends within its
 * total deadline, tokens included, whatever the peers do; no address that the
 * guard forbids gets a packet; what is sent is what was signed.  No retry here,
 * no redirect followed, no answer kept beyond SEND_MAX_RESPONSE.
 */

#include "transport_http_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "logdoc.h"

#define POLL_MS  1000


static void transfer_begin(struct transport *t, struct send *s);


/* -- one transfer -------------------------------------------------------- */

static struct transfer *
transfer_take(struct transport *t)
{
    struct transfer  *x = t->free;

    if (x != NULL) {
        t->free = x->next;

    } else {
        x = calloc(1, sizeof(*x));
        if (x == NULL) {
            return NULL;
        }

        x->easy = curl_easy_init();
        if (x->easy == NULL) {
            free(x);
            return NULL;
        }

        buf_init(&x->head, MAX_RESPONSE_HEADERS);
        buf_init(&x->body, SEND_MAX_RESPONSE);
    }

    x->t = t;
    x->prev = NULL;
    x->next = t->active;

    if (t->active != NULL) {
        t->active->prev = x;
    }

    t->active = x;
    return x;
}


static void
transfer_give(struct transfer *x)
{
    struct transport  *t = x->t;

    if (x->prev != NULL) {
        x->prev->next = x->next;
    } else {
        t->active = x->next;
    }

    if (x->next != NULL) {
        x->next->prev = x->prev;
    }

    curl_slist_free_all(x->headers);
    curl_easy_reset(x->easy);
    buf_reset(&x->head);
    buf_reset(&x->body);

    x->headers = NULL;
    x->send = NULL;
    x->token = NULL;
    x->fetches = x->refused = x->literal = false;
    x->head_done = x->cut = x->bad_line = false;
    x->body_bytes = 0;

    x->next = t->free;
    t->free = x;
}


/* -- the end of a send --------------------------------------------------- */

static void
send_finish(struct transport *t, struct send *s, struct outcome o,
    const char *text)
{
    s->outcome = o;
    s->throttled = o.reason != NULL && strcmp(o.reason, "throttled") == 0;
    s->gone = o.reason != NULL && strcmp(o.reason, "gone") == 0;
    (void) snprintf(s->message, sizeof(s->message), "%s", text);

    if (s->duration_us == LOGDOC_NONE && s->started_us != LOGDOC_NONE) {
        s->duration_us = clock_wall_us() - s->started_us;
    }

    t->done(t->arg, s);
}


static void
send_fail(struct transport *t, struct send *s, enum outcome_kind kind,
    const char *reason, const char *text)
{
    send_finish(t, s, (struct outcome) { .kind = kind, .reason = reason },
        text);
}


/* -- tokens -------------------------------------------------------------- */

static void
waiting_add(struct http_token *token, struct send *s)
{
    s->next = token->waiting;
    token->waiting = s;
}


static void
token_fetch(struct transport *t, struct http_token *token, struct send *s)
{
    struct transfer  *x;
    const char       *why;
    bool              literal;

    if (http_url_check(s->http.token_url, s->http.plain_allowed,
            t->config.allow_ports, &literal, &why) != RESULT_OK)
    {
        send_fail(t, s, OUTCOME_REJECTED, "config", "the token URL is wrong");
        return;
    }

    x = transfer_take(t);
    if (x == NULL) {
        send_fail(t, s, OUTCOME_NOT_SENT, "internal", "out of memory");
        return;
    }

    x->send = s;
    x->token = token;
    x->fetches = true;
    x->literal = literal;

    if (!transfer_token(x) || curl_multi_add_handle(t->multi, x->easy) != 0) {
        transfer_give(x);
        send_fail(t, s, OUTCOME_NOT_SENT, "internal", "out of memory");
        return;
    }

    token->fetching = true;
}


/* The fetch ended: its own send and all that wait go on, or fail alike; when it
 * was its own send's time that ran out, the others have theirs. */
static void
token_done(struct transfer *x, CURLcode code)
{
    struct transport   *t = x->t;
    struct http_token  *token = x->token;
    struct http_facts   f = transfer_facts(x, code);
    struct send        *own = x->send, *list = own, *s;
    bool                good;

    good = f.status == 200
           && http_token_take(token,
                  (struct slice) { x->body.p, x->body.n }, clock_mono_us())
                  == RESULT_OK;

    list->next = token->waiting;
    token->waiting = NULL;
    token->fetching = false;
    transfer_give(x);

    while ((s = list) != NULL) {
        list = s->next;
        s->next = NULL;

        if (good || (code == CURLE_OPERATION_TIMEDOUT && s != own)) {
            transfer_begin(t, s);
        } else {
            send_fail(t, s, OUTCOME_RETRY, f.refused ? "address_refused"
                : "auth", "no token from the OAuth2 server");
        }
    }
}


/* True when the send waits for a token now. */
static bool
token_needed(struct transport *t, struct send *s, struct http_token **out)
{
    struct http_token  *token;
    int64_t             now = clock_mono_us();

    token = http_token_of(&t->tokens, s);
    *out = token;

    if (token == NULL) {
        send_fail(t, s, OUTCOME_NOT_SENT, "internal", "out of memory");
        return true;
    }

    token->used_us = now;

    if (token->fetching) {
        waiting_add(token, s);
        return true;
    }

    if (!http_token_fresh(token, now)) {
        token_fetch(t, token, s);
        return true;
    }

    return false;
}


/* -- begin and end ------------------------------------------------------- */

static void
transfer_begin(struct transport *t, struct send *s)
{
    struct http_token  *token = NULL;
    struct transfer    *x;
    const char         *why = NULL;
    bool                literal, bad;

    if (s->begun_us == 0) {
        s->begun_us = clock_mono_us();
        s->started_us = clock_wall_us();
    }

    if (send_left_ms(s) < 1) {
        send_fail(t, s, OUTCOME_RETRY, "timeout",
            "its time was over before there was a token");
        return;
    }

    if (s->body.n > SEND_MAX_BODY) {
        send_fail(t, s, OUTCOME_REJECTED, "config",
            "the body is longer than 1 MB");
        return;
    }

    if (http_url_check(s->http.url, s->http.plain_allowed,
            t->config.allow_ports, &literal, &why) != RESULT_OK)
    {
        send_fail(t, s, OUTCOME_REJECTED, "config", why);
        return;
    }

    if (s->http.auth == SEND_AUTH_OAUTH2 && token_needed(t, s, &token)) {
        return;
    }

    x = transfer_take(t);
    if (x == NULL) {
        send_fail(t, s, OUTCOME_NOT_SENT, "internal", "out of memory");
        return;
    }

    x->send = s;
    x->token = token;
    x->serial = token == NULL ? 0 : token->serial;
    x->literal = literal;

    if (!transfer_webhook(x) || curl_multi_add_handle(t->multi, x->easy) != 0) {
        bad = x->bad_line;
        transfer_give(x);

        if (bad) {
            send_fail(t, s, OUTCOME_REJECTED, "config",
                "a header would be more than one line");
        } else {
            send_fail(t, s, OUTCOME_NOT_SENT, "internal", "out of memory");
        }
    }
}


static void
transfer_end(struct transfer *x, CURLcode code)
{
    struct transport   *t = x->t;
    struct send        *s = x->send;
    struct http_facts   f;
    struct outcome      o;
    const char         *text;

    (void) curl_multi_remove_handle(t->multi, x->easy);

    if (x->fetches) {
        token_done(x, code);
        return;
    }

    f = transfer_facts(x, code);

    /* once, with a new token, within the same attempt; another that was
     * refused with the same one may have brought it already */
    if (x->token != NULL && f.status == 401 && !s->renewed) {
        if (x->serial == x->token->serial) {
            http_token_spoil(x->token);
        }

        transfer_give(x);
        s->renewed = true;
        transfer_begin(t, s);
        return;
    }

    o = http_outcome(&f, &text);
    transfer_keep(x, &f);
    transfer_give(x);
    send_finish(t, s, o, text);
}


static void
ended_transfers(struct transport *t)
{
    struct transfer  *x;
    CURLMsg          *m;
    int               left;

    while ((m = curl_multi_info_read(t->multi, &left)) != NULL) {
        if (m->msg == CURLMSG_DONE) {
            x = NULL;
            (void) curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE,
                (char **) &x);
            transfer_end(x, m->data.result);
        }
    }
}


/* -- the thread ---------------------------------------------------------- */

static bool
take_queue(struct transport *t, struct send **list)
{
    bool  stopping;

    pthread_mutex_lock(&t->lock);
    *list = t->queue;
    t->queue = NULL;
    t->tail = &t->queue;
    stopping = t->stopping;
    pthread_mutex_unlock(&t->lock);

    return stopping;
}


static bool
is_queued(struct transport *t)
{
    bool  queued;

    pthread_mutex_lock(&t->lock);
    queued = t->queue != NULL;
    pthread_mutex_unlock(&t->lock);

    return queued;
}


/* What is cut off here may have been received: no attempt is charged, the
 * same message id goes out again. */
static void
abandon(struct transport *t)
{
    struct http_token  *token;
    struct transfer    *x;
    struct send        *s;

    while ((x = t->active) != NULL) {
        s = x->send;
        (void) curl_multi_remove_handle(t->multi, x->easy);
        transfer_give(x);
        send_fail(t, s, OUTCOME_NOT_SENT, "shutdown", "we are stopping");
    }

    for (token = t->tokens.first; token != NULL; token = token->next) {
        while ((s = token->waiting) != NULL) {
            token->waiting = s->next;
            s->next = NULL;
            send_fail(t, s, OUTCOME_NOT_SENT, "shutdown", "we are stopping");
        }
    }
}


/* Until nothing is queued, not even by what ends at once; true when we stop. */
static bool
begin_queued(struct transport *t)
{
    struct send  *list, *s;
    bool          stopping;

    while (stopping = take_queue(t, &list), list != NULL) {
        while ((s = list) != NULL) {
            list = s->next;
            s->next = NULL;

            if (stopping) {
                send_fail(t, s, OUTCOME_NOT_SENT, "shutdown",
                    "we are stopping");
            } else {
                transfer_begin(t, s);
            }
        }
    }

    return stopping;
}


static void *
transport_run(void *arg)
{
    struct transport  *t = arg;
    int64_t            stop_us = 0;
    int                running;
    bool               stopping;

    for ( ;; ) {
        stopping = begin_queued(t);
        (void) curl_multi_perform(t->multi, &running);
        ended_transfers(t);
        http_tokens_sweep(&t->tokens, clock_mono_us());

        if (stopping) {
            stop_us = stop_us != 0 ? stop_us
                : clock_mono_us() + (int64_t) t->config.stop_ms * 1000;

            if ((t->active == NULL && !is_queued(t))
                || clock_mono_us() >= stop_us)
            {
                break;
            }
        }

        if (!is_queued(t)) {
            (void) curl_multi_poll(t->multi, NULL, 0, stopping ? 50 : POLL_MS,
                NULL);
        }
    }

    abandon(t);
    return NULL;
}


static void
transport_free(struct transport *t)
{
    struct transfer  *x;

    while ((x = t->free) != NULL) {
        t->free = x->next;
        curl_easy_cleanup(x->easy);
        buf_cleanup(&x->head);
        buf_cleanup(&x->body);
        free(x);
    }

    http_tokens_cleanup(&t->tokens);

    if (t->multi != NULL) {
        (void) curl_multi_cleanup(t->multi);
    }

    (void) pthread_mutex_destroy(&t->lock);
    free(t);
}


static enum result
http_start(const struct transport_config *c, transport_done done, void *arg,
    struct transport **out)
{
    struct transport  *t;

    /* counted inside libcurl; the process calls it before any thread too */
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        return RESULT_INTERNAL;
    }

    t = calloc(1, sizeof(*t));
    if (t == NULL) {
        return RESULT_MEMORY;
    }

    t->config = *c;
    t->done = done;
    t->arg = arg;
    t->tail = &t->queue;
    (void) pthread_mutex_init(&t->lock, NULL);
    t->multi = curl_multi_init();

    if (t->multi == NULL) {
        transport_free(t);
        return RESULT_MEMORY;
    }

    (void) curl_multi_setopt(t->multi, CURLMOPT_MAXCONNECTS,
        (long) c->max_connections);
    (void) curl_multi_setopt(t->multi, CURLMOPT_PIPELINING,
        CURLPIPE_MULTIPLEX);

    if (pthread_create(&t->thread, NULL, transport_run, t) != 0) {
        transport_free(t);
        return RESULT_UNAVAILABLE;
    }

    *out = t;
    return RESULT_OK;
}


/* Who finds the queue empty wakes the thread; what its own callbacks submit it
 * takes before it sleeps. */
static void
http_submit(struct transport *t, struct send *s)
{
    bool  first;

    s->next = NULL;

    pthread_mutex_lock(&t->lock);
    first = t->queue == NULL;
    *t->tail = s;
    t->tail = &s->next;
    pthread_mutex_unlock(&t->lock);

    if (first && !pthread_equal(pthread_self(), t->thread)) {
        (void) curl_multi_wakeup(t->multi);
    }
}


static void
http_stop(struct transport *t)
{
    if (t == NULL) {
        return;
    }

    pthread_mutex_lock(&t->lock);
    t->stopping = true;
    pthread_mutex_unlock(&t->lock);

    (void) curl_multi_wakeup(t->multi);
    (void) pthread_join(t->thread, NULL);
    transport_free(t);
    curl_global_cleanup();
}


const struct transport_ops  transport_http = {
    .name = "http",
    .start = http_start,
    .submit = http_submit,
    .stop = http_stop,
};
