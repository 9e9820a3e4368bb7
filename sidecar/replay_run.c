/*
 * One call at a time.  A call is never made twice: the document says "sending"
 * before, and one that still says so after its time was interrupted.  The
 * credentials are opened here and live as long as the call.
 */

#include "replay_run.h"

#include <curl/curl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "clock.h"
#include "log.h"
#include "replay.h"

#define CALL_TURN_US     150000
#define CALL_MOST_MS     30000L
#define CALL_CONNECT_MS  5000L
#define CALL_MAX         16                /* found at once */
#define CALL_URL         (16 * 1024)
#define CALL_ARENA       (1024 * 1024)

struct replay_run {
    const struct config  *config;
    struct store         *store;
    const struct secret  *secret;
    pthread_t             thread;
    bool                  started;
    _Atomic bool          stop;
};

/* one call on its way */
struct call {
    struct replay_run   *run;
    struct retry_doc     doc;
    json_t              *ask, *credentials;
    struct curl_slist   *headers;
    struct buf           url;
    char                *body;
    long                 body_n;
    char                 error[CURL_ERROR_SIZE];
};


/* It ends well before its lease: else another process says that it was
 * interrupted. */
static long
call_timeout_ms(const struct config *c)
{
    long  ms = (long) (c->replay_lease_us / 1000 * 2 / 3);

    return ms < CALL_MOST_MS ? ms : CALL_MOST_MS;
}


static void
url_escape(struct buf *b, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char  c = (unsigned char) s[i];

        if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z')
            || (c >= 'A' && c <= 'Z') || (c != 0 && strchr("-_.~", c) != NULL))
        {
            (void) buf_add(b, s + i, 1);
        } else {
            (void) buf_addf(b, "%%%02X", c);
        }
    }
}


static void
url_args(struct buf *b, const json_t *pairs, bool *first)
{
    const json_t  *pair;
    size_t         i;

    json_array_foreach((json_t *) pairs, i, pair) {
        const json_t  *name = json_array_get(pair, 0);
        const json_t  *value = json_array_get(pair, 1);

        (void) buf_adds(b, *first ? "?" : "&");
        *first = false;
        url_escape(b, json_string_value(name), json_string_length(name));
        (void) buf_adds(b, "=");
        url_escape(b, json_string_value(value), json_string_length(value));
    }
}


static void
call_url(struct call *x)
{
    const char  *base = x->run->config->replay_base_url;
    const char  *raw = json_string_value(json_object_get(x->ask, "raw_query"));
    size_t       n = strlen(base);
    bool         first = true;

    n -= n > 0 && base[n - 1] == '/';
    buf_init(&x->url, CALL_URL);
    (void) buf_add(&x->url, base, n);
    (void) buf_adds(&x->url,
        json_string_value(json_object_get(x->ask, "path")));

    if (raw != NULL && raw[0] != '\0') {
        (void) buf_addf(&x->url, "?%s", raw);
        first = false;
    }

    url_args(&x->url, json_object_get(x->ask, "query"), &first);
    url_args(&x->url, json_object_get(x->credentials, "query"), &first);
    (void) buf_add(&x->url, "", 1);        /* the end */
}


static void
header_add(struct call *x, const char *name, const char *value)
{
    struct curl_slist  *more;
    struct buf          b;
    char               *text;

    buf_init(&b, CALL_URL);
    /* libcurl's way to say a header without a value */
    (void) buf_addf(&b, value[0] == '\0' ? "%s;" : "%s: %s", name, value);
    text = buf_take(&b, NULL);
    more = text == NULL ? NULL : curl_slist_append(x->headers, text);
    x->headers = more == NULL ? x->headers : more;

    if (text != NULL) {
        OPENSSL_cleanse(text, strlen(text));
    }

    free(text);
}


static void
headers_add(struct call *x, const json_t *pairs)
{
    const json_t  *pair;
    size_t         i;

    json_array_foreach((json_t *) pairs, i, pair) {
        const char  *name = json_string_value(json_array_get(pair, 0));
        const char  *value = json_string_value(json_array_get(pair, 1));

        if (name != NULL && value != NULL
            && !replay_header_dropped(slice_of(name)))
        {
            header_add(x, name, value);
        }
    }
}


static void
call_headers(struct call *x)
{
    const char  *id = json_string_value(json_object_get(x->doc.v, "id"));
    const char  *of = json_string_value(
        json_object_get(x->doc.v, "replay_of"));
    char         token[REPLAY_TOKEN];

    headers_add(x, json_object_get(x->ask, "headers"));
    headers_add(x, json_object_get(x->credentials, "headers"));
    replay_sign(x->run->secret, id, of, clock_wall_us(), token);
    header_add(x, REPLAY_HEADER, token);
    x->headers = curl_slist_append(x->headers, "Expect:");

    if (x->body == NULL) {
        x->headers = curl_slist_append(x->headers, "Content-Type:");
    }
}


static bool
call_body(struct call *x)
{
    const json_t  *v = json_object_get(x->ask, "body");
    const char    *text = json_string_value(v);
    size_t         n = json_string_length(v);
    int            len;

    if (text == NULL) {
        return true;
    }

    x->body = malloc(n + 1);
    len = x->body == NULL ? -1 : n == 0 ? 0 : EVP_DecodeBlock(
        (unsigned char *) x->body, (const unsigned char *) text, (int) n);

    if (len > 0) {
        len -= (text[n - 1] == '=') + (text[n - 2] == '=');
    }

    x->body_n = len;
    return len >= 0;
}


static size_t
swallow(char *p, size_t size, size_t n, void *arg)
{
    (void) p;
    (void) arg;
    return size * n;
}


static int
call_stops(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    struct call  *x = arg;

    (void) a;
    (void) b;
    (void) c;
    (void) d;
    return atomic_load(&x->run->stop);
}


static CURLcode
call_make(struct call *x, long *status)
{
    const char  *method = json_string_value(
        json_object_get(x->ask, "method"));
    CURL        *h = curl_easy_init();
    CURLcode     code;

    if (h == NULL || x->url.failed || x->headers == NULL) {
        curl_easy_cleanup(h);
        return CURLE_OUT_OF_MEMORY;
    }

    (void) curl_easy_setopt(h, CURLOPT_URL, x->url.p);
    (void) curl_easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https");
    (void) curl_easy_setopt(h, CURLOPT_PROXY, "");
    (void) curl_easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
    (void) curl_easy_setopt(h, CURLOPT_PATH_AS_IS, 1L);
    (void) curl_easy_setopt(h, CURLOPT_FOLLOWLOCATION, 0L);
    (void) curl_easy_setopt(h, CURLOPT_TIMEOUT_MS,
        call_timeout_ms(x->run->config));
    (void) curl_easy_setopt(h, CURLOPT_CONNECTTIMEOUT_MS, CALL_CONNECT_MS);
    (void) curl_easy_setopt(h, CURLOPT_HTTPHEADER, x->headers);
    (void) curl_easy_setopt(h, CURLOPT_WRITEFUNCTION, swallow);
    (void) curl_easy_setopt(h, CURLOPT_ERRORBUFFER, x->error);
    (void) curl_easy_setopt(h, CURLOPT_XFERINFOFUNCTION, call_stops);
    (void) curl_easy_setopt(h, CURLOPT_XFERINFODATA, x);
    (void) curl_easy_setopt(h, CURLOPT_NOPROGRESS, 0L);

    if (x->body != NULL) {
        (void) curl_easy_setopt(h, CURLOPT_POSTFIELDSIZE, x->body_n);
        (void) curl_easy_setopt(h, CURLOPT_POSTFIELDS, x->body);
    }

    if (strcmp(method, "HEAD") == 0) {
        (void) curl_easy_setopt(h, CURLOPT_NOBODY, 1L);
    }

    (void) curl_easy_setopt(h, CURLOPT_CUSTOMREQUEST, method);
    code = curl_easy_perform(h);
    (void) curl_easy_getinfo(h, CURLINFO_RESPONSE_CODE, status);
    curl_easy_cleanup(h);
    return *status > 0 ? CURLE_OK : code;
}


static enum result
end_put(struct replay_run *run, const char *id, long status,
    const char *code, const char *message)
{
    struct retry_doc  d = { .v = NULL };
    enum result       r;

    retry_doc_id(&d, "replay", id, -1);
    r = retry_doc_get(run->store, &d);

    if (r == RESULT_OK) {
        (void) json_object_del(d.v, "_ask");
        (void) json_object_del(d.v, "_until_us");
        (void) json_object_set_new(d.v, "state",
            json_string(code == NULL ? "sent" : "failed"));
        (void) json_object_set_new(d.v, "http_status",
            status > 0 ? json_integer(status) : json_null());
        (void) json_object_set_new(d.v, "error", code == NULL
            ? json_null() : json_pack("{s:s,s:s}", "code", code,
                "message", message));
        r = retry_doc_put(run->store, &d);
    }

    retry_doc_cleanup(&d);
    return r;
}


/* What came of it, which nobody else knows: until it is kept, or we stop and
 * whoever finds it can only call it interrupted.  False: not kept. */
static bool
call_end(struct replay_run *run, const char *id, long status,
    const char *code, const char *message)
{
    const struct timespec  pause = { 0, CALL_TURN_US * 1000 };
    enum result            r;

    while ((r = end_put(run, id, status, code, message)) != RESULT_OK) {
        log_rate(LOG_WARN, "replay", "the end of %s cannot be kept: %s", id,
            result_text(r));

        if (r != RESULT_UNAVAILABLE && r != RESULT_TIMEOUT
            && r != RESULT_CONFLICT && r != RESULT_MEMORY)
        {
            break;                         /* nor later: it is gone or broken */
        }

        if (atomic_load(&run->stop)) {
            return false;
        }

        (void) nanosleep(&pause, NULL);
    }

    return true;
}


/* Its credentials live no longer than the call. */
static void
call_forget(struct call *x)
{
    if (x->url.p != NULL) {
        OPENSSL_cleanse(x->url.p, x->url.n);
    }

    curl_slist_free_all(x->headers);
    json_decref(x->credentials);
    buf_cleanup(&x->url);
    free(x->body);
}


/* False: what came of it was not kept. */
static bool
call_send(struct replay_run *run, struct call *x, const char *id)
{
    const char  *developer = json_string_value(
        json_object_get(x->doc.v, "_developer"));
    long         status = 0;
    CURLcode     code;

    x->ask = json_object_get(x->doc.v, "_ask");
    x->credentials = developer == NULL ? NULL
        : replay_credentials(run->store, run->secret, developer);
    call_url(x);
    code = call_body(x) ? CURLE_OK : CURLE_OUT_OF_MEMORY;
    call_headers(x);
    code = code != CURLE_OK ? code : call_make(x, &status);

    call_forget(x);

    return code == CURLE_OK ? call_end(run, id, status, NULL, NULL)
           : call_end(run, id, status, code == CURLE_ABORTED_BY_CALLBACK
                 ? "interrupted" : code == CURLE_COULDNT_CONNECT ? "connect"
                 : code == CURLE_OPERATION_TIMEDOUT ? "timeout" : "broken",
                 x->error[0] != '\0' ? x->error : curl_easy_strerror(code));
}


/* True when its mark can go. */
static bool
call_run(struct replay_run *run, const char *id)
{
    struct call   x = { .run = run };
    const char   *state;
    int64_t       until;
    enum result   r;
    bool          over;

    retry_doc_id(&x.doc, "replay", id, -1);
    r = retry_doc_get(run->store, &x.doc);
    state = json_string_value(json_object_get(x.doc.v, "state"));
    until = json_integer_value(json_object_get(x.doc.v, "_until_us"));
    over = r == RESULT_NOT_FOUND;

    if (r == RESULT_OK && strcmp(state, "queued") == 0) {
        (void) json_object_set_new(x.doc.v, "state", json_string("sending"));
        (void) json_object_set_new(x.doc.v, "_until_us",
            json_integer(clock_wall_us() + run->config->replay_lease_us));

        /* of two that see it one goes on */
        if (retry_doc_put(run->store, &x.doc) == RESULT_OK) {
            over = call_send(run, &x, id);
        }

    } else if (r == RESULT_OK && strcmp(state, "sending") == 0) {
        if (until < clock_wall_us()) {
            over = call_end(run, id, 0, "interrupted", "the sidecar stopped "
                "while the call was made; it may have arrived");
        }

    } else if (r == RESULT_OK) {
        over = true;
    }

    retry_doc_cleanup(&x.doc);
    return over;
}


static void
calls_find(struct replay_run *run)
{
    char               id[CALL_MAX][UUID_TEXT + 1], doc[RETRY_DOC_ID];
    struct store_doc  *docs;
    struct arena       a;
    size_t             n = 0, found = 0;

    arena_init(&a, CALL_ARENA);

    if (store_doc_list(run->store, STORE_RETRY_JOB, LOGDOC_NONE,
            SLICE_LIT("call:"), false, CALL_MAX, &a, &docs, &n) != RESULT_OK)
    {
        n = 0;
    }

    for (size_t i = 0; i < n && docs[i].id.n == 5 + UUID_TEXT
         && memcmp(docs[i].id.p, "call:", 5) == 0; i++)
    {
        memcpy(id[found], docs[i].id.p + 5, UUID_TEXT);
        id[found++][UUID_TEXT] = '\0';
    }

    arena_cleanup(&a);

    for (size_t i = 0; i < found && !atomic_load(&run->stop); i++) {
        if (call_run(run, id[i])) {
            (void) snprintf(doc, sizeof(doc), "call:%.36s", id[i]);

            if (store_doc_delete(run->store, STORE_RETRY_JOB, slice_of(doc),
                    -1) == RESULT_UNAVAILABLE)
            {
                return;                    /* found again */
            }
        }
    }
}


static void *
replay_thread(void *arg)
{
    const struct timespec  pause = { 0, CALL_TURN_US * 1000 };
    struct replay_run     *run = arg;

    while (!atomic_load(&run->stop)) {
        calls_find(run);
        (void) nanosleep(&pause, NULL);
    }

    return NULL;
}


enum result
replay_run_start(const struct config *c, struct store *s,
    const struct secret *secret, struct replay_run **out)
{
    struct replay_run  *run;
    sigset_t            all, old;

    *out = NULL;

    if (c->replay_base_url == NULL || c->replay_base_url[0] == '\0') {
        return RESULT_OK;
    }

    run = calloc(1, sizeof(*run));
    if (run == NULL) {
        return RESULT_MEMORY;
    }

    run->config = c;
    run->store = s;
    run->secret = secret;

    (void) sigfillset(&all);
    (void) pthread_sigmask(SIG_SETMASK, &all, &old);
    run->started = pthread_create(&run->thread, NULL, replay_thread, run) == 0;
    (void) pthread_sigmask(SIG_SETMASK, &old, NULL);

    if (!run->started) {
        free(run);
        return RESULT_UNAVAILABLE;
    }

    *out = run;
    return RESULT_OK;
}


void
replay_run_stop(struct replay_run *run)
{
    if (run != NULL) {
        atomic_store(&run->stop, true);
        (void) pthread_join(run->thread, NULL);
        free(run);
    }
}
