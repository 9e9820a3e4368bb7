/* Asks capture_status of each nginx; one asks at a time, others wait for it. */

#include "nginx_status.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

#include "buf.h"
#include "clock.h"

#define FRESH_US    INT64_C(2000000)
#define LATELY_US   INT64_C(3600000000)
#define ANSWER_MAX  (64 * 1024)
#define ASK_MS      1000L
#define ALL_US      INT64_C(2000000)       /* then the rest is not asked */

struct source {
    char     url[512];
    int64_t  dropped;                      /* as last seen; -1: never asked */
    int64_t  grew_us;                      /* when it was more; 0: never */
};

struct nginx_status {
    pthread_mutex_t  lock;
    struct source    sources[NGINX_STATUS_MAX];
    unsigned         n;
    json_t          *last;
    int64_t          asked_us;             /* monotonic; 0: never */
    bool             down;
};


enum result
nginx_status_create(const struct config *c, struct nginx_status **out)
{
    struct nginx_status  *n;
    const char           *p = c->capture_status;
    size_t                len;

    *out = NULL;

    if (p == NULL || p[0] == '\0') {
        return RESULT_OK;
    }

    n = calloc(1, sizeof(*n));
    if (n == NULL) {
        return RESULT_MEMORY;
    }

    (void) pthread_mutex_init(&n->lock, NULL);

    while (*p != '\0' && n->n < NGINX_STATUS_MAX) {
        p += strspn(p, ", ");
        len = strcspn(p, ", ");

        if (len > 0 && len < sizeof(n->sources[0].url)) {
            memcpy(n->sources[n->n].url, p, len);
            n->sources[n->n++].dropped = -1;
        }

        p += len;
    }

    *out = n;
    return RESULT_OK;
}


void
nginx_status_destroy(struct nginx_status *n)
{
    if (n == NULL) {
        return;
    }

    json_decref(n->last);
    (void) pthread_mutex_destroy(&n->lock);
    free(n);
}


static size_t
keep(char *p, size_t size, size_t n, void *arg)
{
    struct buf  *b = arg;

    (void) buf_add(b, p, size * n);
    return b->failed ? 0 : size * n;
}


/* The answer's bytes; WHY is "" when there are. */
static void
fetch(const char *url, struct buf *b, char why[CURL_ERROR_SIZE])
{
    CURL      *h = curl_easy_init();
    CURLcode   code;
    long       status = 0;

    why[0] = '\0';

    if (h == NULL) {
        (void) snprintf(why, CURL_ERROR_SIZE, "out of memory");
        return;
    }

    (void) curl_easy_setopt(h, CURLOPT_URL, url);
    (void) curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https");
    (void) curl_easy_setopt(h, CURLOPT_PROXY, "");
    (void) curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
    (void) curl_easy_setopt(h, CURLOPT_FOLLOWLOCATION, 0L);
    (void) curl_easy_setopt(h, CURLOPT_TIMEOUT_MS, ASK_MS);
    (void) curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, keep);
    (void) curl_easy_setopt(h, CURLOPT_WRITEDATA, b);
    (void) curl_easy_setopt(h, CURLOPT_ERRORBUFFER, why);
    code = curl_easy_perform(h);
    (void) curl_easy_getinfo(h, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_cleanup(h);

    if (code != CURLE_OK) {
        if (why[0] == '\0') {
            (void) snprintf(why, CURL_ERROR_SIZE, "%s",
                curl_easy_strerror(code));
        }

    } else if (status != 200) {
        (void) snprintf(why, CURL_ERROR_SIZE, "answered %ld", status);
    }
}


/* Only numbers pass: "captured" .., and "drops" by reason. */
static json_t *
numbers(const json_t *from, int depth)
{
    json_t      *to, *v;
    const char  *name;

    if (!json_is_object(from)) {
        return NULL;
    }

    to = json_object();

    json_object_foreach((json_t *) from, name, v) {
        if (json_is_integer(v)) {
            (void) json_object_set(to, name, v);
        } else if (depth > 0 && json_is_object(v)) {
            (void) json_object_set_new(to, name, numbers(v, depth - 1));
        }
    }

    return to;
}


static json_t *
source_ask(struct source *s, bool late, bool *down)
{
    struct buf   b;
    char         why[CURL_ERROR_SIZE];
    json_t      *root, *counters = NULL;
    int64_t      dropped;

    buf_init(&b, ANSWER_MAX);

    if (late) {
        (void) snprintf(why, sizeof(why), "was not asked: the ones before did "
            "not answer in time");
    } else {
        fetch(s->url, &b, why);
    }

    if (why[0] == '\0') {
        root = json_loadb(b.p, b.n, 0, NULL);
        counters = numbers(root, 1);
        json_decref(root);

        if (counters == NULL) {
            (void) snprintf(why, sizeof(why), "is not what capture_status "
                "answers");
        }
    }

    buf_cleanup(&b);
    *down |= counters == NULL;

    if (counters != NULL) {
        dropped = json_integer_value(json_object_get(counters, "dropped"));

        /* the first look tells what was, not that it is now */
        if (s->dropped >= 0 && dropped > s->dropped) {
            s->grew_us = clock_mono_us();
        }

        s->dropped = dropped;
    }

    return json_pack("{s:s,s:b,s:s?,s:o}", "url", s->url, "up",
        counters != NULL, "error", why[0] == '\0' ? NULL : why, "counters",
        counters == NULL ? json_null() : counters);
}


json_t *
nginx_status_json(struct nginx_status *n, bool *down, bool *dropped)
{
    json_t   *v;
    int64_t   now = clock_mono_us();

    *down = *dropped = false;

    if (n == NULL) {
        return json_array();
    }

    pthread_mutex_lock(&n->lock);

    if (n->last == NULL || now - n->asked_us > FRESH_US) {
        json_decref(n->last);
        n->last = json_array();
        n->down = false;

        for (unsigned i = 0; i < n->n; i++) {
            (void) json_array_append_new(n->last,
                source_ask(&n->sources[i], clock_mono_us() - now > ALL_US,
                    &n->down));
        }

        n->asked_us = clock_mono_us();
    }

    for (unsigned i = 0; i < n->n; i++) {
        *dropped |= n->sources[i].grew_us > 0
                    && n->asked_us - n->sources[i].grew_us < LATELY_US;
    }

    *down = n->down;
    v = json_deep_copy(n->last);
    pthread_mutex_unlock(&n->lock);
    return v;
}
