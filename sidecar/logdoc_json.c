/*
 * Prints logs.  Headers and query are arrays of pairs, since names repeat and
 * their order counts; nothing is parsed that is not shown.
 */

#include "logdoc_json.h"

#include <inttypes.h>

#include "json.h"
#include "redact.h"

#define QUERY_MAX_PAIRS  256
#define QUERY_MAX_TEXT   8192


static void
key_text(struct buf *b, const char *key, struct slice s)
{
    (void) buf_addf(b, ",\"%s\":", key);
    json_text(b, s);
}


/* "" is null. */
static void
key_text_or_null(struct buf *b, const char *key, struct slice s)
{
    if (s.n > 0) {
        key_text(b, key, s);
    } else {
        (void) buf_addf(b, ",\"%s\":null", key);
    }
}


static void
key_int(struct buf *b, const char *key, int64_t n)
{
    (void) buf_addf(b, ",\"%s\":", key);
    json_int(b, n);
}


static void
key_ms(struct buf *b, const char *key, int64_t us)
{
    (void) buf_addf(b, ",\"%s\":", key);
    json_ms(b, us);
}


static void
key_time(struct buf *b, const char *key, int64_t us)
{
    (void) buf_addf(b, ",\"%s\":", key);
    json_time(b, us);
}


static void
key_pairs(struct buf *b, const char *key, const struct log_pair *pairs,
    unsigned n)
{
    (void) buf_addf(b, ",\"%s\":{", key);

    for (unsigned i = 0; i < n; i++) {
        (void) buf_adds(b, i == 0 ? "" : ",");
        json_text(b, pairs[i].name);
        (void) buf_adds(b, ":");
        json_text(b, pairs[i].value);
    }

    (void) buf_adds(b, "}");
}


/* Cuts the next line off, without its end. */
static struct slice
line_next(struct slice *block)
{
    struct slice  line = *block;
    const char   *nl;

    nl = memchr(block->p, '\n', block->n);
    if (nl != NULL) {
        line.n = (size_t) (nl - block->p);
        block->p = nl + 1;
        block->n -= line.n + 1;
    } else {
        block->n = 0;
    }

    if (line.n > 0 && line.p[line.n - 1] == '\r') {
        line.n--;
    }

    return line;
}


static struct slice
slice_trim(struct slice s)
{
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t')) {
        s.p++;
        s.n--;
    }

    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t')) {
        s.n--;
    }

    return s;
}


bool
logdoc_header_next(struct slice *block, struct slice *name,
    struct slice *value)
{
    while (block->n > 0) {
        struct slice  line = line_next(block);
        const char   *colon;

        colon = line.n == 0 ? NULL : memchr(line.p, ':', line.n);
        if (colon == NULL || colon == line.p) {
            continue;
        }

        /* folded lines lie right behind: the value simply goes on */
        while (block->n > 0 && (block->p[0] == ' ' || block->p[0] == '\t')) {
            struct slice  more = line_next(block);

            line.n = (size_t) (more.p + more.n - line.p);
        }

        name->p = line.p;
        name->n = (size_t) (colon - line.p);
        value->p = colon + 1;
        value->n = line.n - name->n - 1;
        *value = slice_trim(*value);
        return true;
    }

    return false;
}


static void
headers_json(struct buf *b, struct slice block)
{
    struct slice  name, value;
    bool          first = true;

    (void) buf_adds(b, "\"headers\":[");

    while (logdoc_header_next(&block, &name, &value)) {
        (void) buf_adds(b, first ? "[" : ",[");
        json_text(b, name);
        (void) buf_adds(b, ",");
        json_text(b, value);
        (void) buf_adds(b, "]");
        first = false;
    }

    (void) buf_adds(b, "]");
}


static int
hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }

    c = (char) (c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}


/* Percent-decoded for display; what is not well-formed stays as it is. */
static void
query_text(struct buf *b, struct slice s)
{
    char    text[QUERY_MAX_TEXT];
    size_t  n = 0;

    for (size_t i = 0; i < s.n && n < sizeof(text); i++) {
        char  c = s.p[i];

        if (c == '+') {
            c = ' ';

        } else if (c == '%' && i + 2 < s.n && hex_value(s.p[i + 1]) >= 0
                   && hex_value(s.p[i + 2]) >= 0)
        {
            c = (char) (hex_value(s.p[i + 1]) << 4 | hex_value(s.p[i + 2]));
            i += 2;
        }

        text[n++] = c;
    }

    json_text(b, (struct slice) { text, n });
}


static void
query_json(struct buf *b, struct slice url)
{
    const char    *mark;
    struct slice   rest;
    bool           first = true;

    (void) buf_adds(b, ",\"query\":[");

    mark = url.n == 0 ? NULL : memchr(url.p, '?', url.n);
    rest.p = mark == NULL ? NULL : mark + 1;
    rest.n = mark == NULL ? 0 : url.n - (size_t) (mark + 1 - url.p);

    for (int i = 0; rest.n > 0 && i < QUERY_MAX_PAIRS; i++) {
        struct slice   pair = rest, value = SLICE_NONE;
        const char    *amp = memchr(rest.p, '&', rest.n);
        const char    *eq;

        pair.n = amp == NULL ? rest.n : (size_t) (amp - rest.p);
        rest.p += pair.n + (amp != NULL);
        rest.n -= pair.n + (amp != NULL);

        if (pair.n == 0) {
            continue;
        }

        eq = memchr(pair.p, '=', pair.n);
        if (eq != NULL) {
            value.p = eq + 1;
            value.n = pair.n - (size_t) (eq + 1 - pair.p);
            pair.n = (size_t) (eq - pair.p);
        }

        (void) buf_adds(b, first ? "[" : ",[");
        query_text(b, pair);
        (void) buf_adds(b, ",");
        query_text(b, value);
        (void) buf_adds(b, "]");
        first = false;
    }

    (void) buf_adds(b, "]");
}


/* Only what looks like a document is taken for JSON: "123" of a text/plain body
 * stays text. */
static bool
body_is_json(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '{' || s.p[i] == '[') {
            return json_valid(s);
        }

        if (s.p[i] != ' ' && s.p[i] != '\t' && s.p[i] != '\r'
            && s.p[i] != '\n')
        {
            return false;
        }
    }

    return false;
}


const char *
logdoc_json_body(struct buf *b, const struct log_body *body)
{
    struct slice  s = body->data;

    if (body_is_json(s)) {
        (void) buf_add(b, s.p, s.n);
        return "json";
    }

    if (slice_utf8(s)) {
        json_text(b, s);
        return "text";
    }

    json_base64(b, s);
    return "base64";
}


static void
body_json(struct buf *b, const struct log_body *body, enum logdoc_view view)
{
    if (view == LOGDOC_ROW) {
        (void) buf_adds(b, "\"bytes\":");

    } else {
        headers_json(b, body->headers);
        (void) buf_adds(b, ",\"body\":");

        if (body->data.n == 0) {
            (void) buf_adds(b, "null,\"encoding\":null");

        } else if (view == LOGDOC_MASKED) {
            (void) buf_adds(b, "null,\"encoding\":null,\"masked\":true");

        } else {
            const char  *encoding = logdoc_json_body(b, body);

            (void) buf_addf(b, ",\"encoding\":\"%s\"", encoding);
        }

        (void) buf_addf(b, ",\"kept_bytes\":%zu,\"bytes\":", body->data.n);
    }

    json_int(b, body->bytes);
    key_text_or_null(b, "cut", body->cut);
}


static void
error_json(struct buf *b, struct slice code, struct slice message,
    uint64_t fingerprint)
{
    if (code.n == 0 && message.n == 0 && fingerprint == 0) {
        (void) buf_adds(b, ",\"error\":null");
        return;
    }

    (void) buf_adds(b, ",\"error\":{\"code\":");
    json_text(b, code);
    key_text_or_null(b, "message", message);

    if (fingerprint != 0) {
        (void) buf_addf(b, ",\"fingerprint\":\"%016" PRIx64 "\"", fingerprint);
    }

    (void) buf_adds(b, "}");
}


static void
flags_json(struct buf *b, uint32_t flags)
{
    bool  first = true;

    (void) buf_adds(b, ",\"flags\":[");

    for (unsigned i = 0; i < LOG_FLAG_COUNT; i++) {
        if (flags & 1u << i) {
            (void) buf_addf(b, "%s\"%s\"", first ? "" : ",", log_flag_text(i));
            first = false;
        }
    }

    (void) buf_adds(b, "]");
}


static void
owners_json(struct buf *b, const struct logdoc *d)
{
    key_int(b, "action_id", d->action_id);
    key_int(b, "action_category_id", d->action_category_id);
    key_text_or_null(b, "developer_id", d->developer_id);
    key_text_or_null(b, "integration_id", d->integration_id);
    key_int(b, "lab_id", d->lab_id);
    key_int(b, "org_id", d->org_id);
    key_pairs(b, "refs", d->refs, d->nrefs);
    key_pairs(b, "fields", d->fields, d->nfields);
    key_text_or_null(b, "endpoint", d->endpoint);
    key_text_or_null(b, "method", d->method);
    key_text_or_null(b, "scheme", d->scheme);
    key_text_or_null(b, "host", d->host);
    key_text_or_null(b, "url", d->url);
    key_text_or_null(b, "protocol", d->protocol);
    key_text_or_null(b, "route", d->route);
}


static void
messages_json(struct buf *b, const struct logdoc *d, enum logdoc_view view)
{
    (void) buf_adds(b, ",\"request\":{");
    body_json(b, &d->request, view);
    if (view != LOGDOC_ROW) {
        query_json(b, d->url);
    }

    (void) buf_adds(b, "},\"response\":{");
    body_json(b, &d->response, view);
    key_int(b, "status", d->http_status);
    key_int(b, "sent_bytes", d->sent_bytes);
    (void) buf_addf(b, ",\"complete\":%s}", d->complete ? "true" : "false");
}


static void
timing_json(struct buf *b, const struct logdoc *d, enum logdoc_view view)
{
    (void) buf_adds(b, ",\"timing\":{\"started_at\":");
    json_time(b, d->started_us);
    key_ms(b, "duration_ms", d->duration_us);
    key_ms(b, "connect_ms", d->connect_us);
    key_ms(b, "first_byte_ms", d->first_byte_us);
    (void) buf_adds(b, "}");

    if (view == LOGDOC_ROW) {
        return;
    }

    (void) buf_adds(b, ",\"upstream\":{\"addr\":");
    json_text(b, d->upstream_addr);
    key_text(b, "status", d->upstream_status);
    key_text(b, "connect_us", d->upstream_connect);
    key_text(b, "header_us", d->upstream_header);
    key_text(b, "response_us", d->upstream_response);
    (void) buf_adds(b, "}");
}


static void
links_json(struct buf *b, const struct logdoc *d)
{
    key_text_or_null(b, "event_id", d->event_id);
    key_text_or_null(b, "batch_id", d->batch_id);
    key_text_or_null(b, "replay_of", d->replay_of);
    key_text_or_null(b, "resend_of", d->resend_of);
    key_text_or_null(b, "message_id", d->message_id);
    key_text_or_null(b, "trace_id", d->trace_id);
}


/* What goes to an address of its own keeps the whole of it in its log; what
 * came in was masked by the module. */
static bool
url_may_tell(const struct logdoc *d)
{
    return d->kind == LOG_KIND_WEBHOOK && d->url.n > 0
           && (memchr(d->url.p, '=', d->url.n) != NULL
               || memchr(d->url.p, '@', d->url.n) != NULL);
}


static void
log_print(struct buf *b, const struct logdoc *d, enum logdoc_view view)
{
    char  id[UUID_TEXT + 1];

    uuid_text(d->id, id);
    (void) buf_addf(b, "{\"_id\":\"%s\",\"kind\":\"%s\",\"status\":\"%s\"", id,
        log_kind_text(d->kind), log_status_text(d->status));

    flags_json(b, d->flags);
    owners_json(b, d);
    messages_json(b, d, view);
    timing_json(b, d, view);
    key_int(b, "attempts", d->attempts);
    key_time(b, "next_attempt_at", d->next_attempt_us);
    error_json(b, d->error_code, d->error_message, d->error_fingerprint);
    links_json(b, d);

    (void) buf_adds(b, ",\"client\":{\"ip\":");
    json_text(b, d->client_ip);
    key_int(b, "port", d->client_port);
    (void) buf_adds(b, "}");
    key_time(b, "expires_at", d->expires_us);
    (void) buf_adds(b, "}");
}


static void
log_print_masked(struct buf *b, const struct logdoc *d, enum logdoc_view view)
{
    struct logdoc  shown = *d;
    struct redact  r;
    struct buf     url;

    redact_init(&r, NULL, NULL);
    buf_init(&url, 64 * 1024);

    if (redact_url(&r, d->url, &url)) {
        shown.url = (struct slice) { url.p, url.n };
    }

    log_print(b, &shown, view);
    buf_cleanup(&url);
}


void
logdoc_json(struct buf *b, const struct logdoc *d, enum logdoc_view view)
{
    if (url_may_tell(d)) {
        log_print_masked(b, d, view);
    } else {
        log_print(b, d, view);
    }
}


void
logdoc_json_attempt(struct buf *b, const struct log_attempt *a,
    enum logdoc_view view)
{
    char  id[UUID_TEXT + 1];

    uuid_text(a->log_id, id);
    (void) buf_addf(b, "{\"_id\":\"%s-%" PRId64 "\","
        "\"integration_directory_id\":\"%s\",\"number\":%" PRId64, id,
        a->number, id, a->number);
    key_text(b, "outcome", a->outcome);
    error_json(b, a->error_code, a->error_message, 0);

    (void) buf_adds(b, ",\"request\":{");
    body_json(b, &a->request, view);
    (void) buf_adds(b, "},\"response\":{");
    body_json(b, &a->response, view);
    key_int(b, "status", a->http_status);

    (void) buf_adds(b, "},\"timing\":{\"started_at\":");
    json_time(b, a->started_us);
    key_ms(b, "duration_ms", a->duration_us);
    key_ms(b, "connect_ms", a->connect_us);
    key_ms(b, "first_byte_ms", a->first_byte_us);
    (void) buf_adds(b, "}");
    key_time(b, "next_attempt_at", a->next_attempt_us);
    (void) buf_adds(b, "}");
}
