/* Answers: problems of RFC 9457, JSON, ETags, pages. */

#include "api_http.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "clock.h"
#include "http_guard.h"
#include "json.h"
#include "log.h"

static const struct {
    unsigned     status;
    const char  *slug, *title;
}  problems[] = {
    { 400, "bad-request", "Bad request" },
    { 401, "unauthorized", "Unauthorized" },
    { 403, "forbidden", "Forbidden" },
    { 404, "not-found", "Not found" },
    { 405, "method-not-allowed", "Method not allowed" },
    { 409, "conflict", "Conflict" },
    { 412, "precondition-failed", "Changed since it was read" },
    { 413, "too-large", "Request body too large" },
    { 414, "uri-too-long", "Request target too long" },
    { 415, "unsupported-media-type", "Unsupported media type" },
    { 422, "unprocessable", "The content is not valid" },
    { 428, "precondition-required", "If-Match is required" },
    { 429, "too-many-requests", "Too many requests" },
    { 431, "headers-too-large", "Request headers too large" },
    { 500, "internal", "Internal error" },
    { 501, "not-implemented", "Not implemented" },
    { 503, "unavailable", "Unavailable" },
    { 505, "version", "HTTP version not supported" }
};


void
api_head_init(struct api_call *c, unsigned status)
{
    c->head.status = status;
    (void) http_head_add(&c->head, "Cache-Control", "no-store");
    (void) http_head_add(&c->head, "X-Content-Type-Options", "nosniff");
    (void) http_head_add(&c->head, "X-Request-Id", "%s", c->request_id);
}


bool
api_print_json(struct api_call *c, json_t *v)
{
    char  *text = v == NULL ? NULL : json_dumps(v, JSON_COMPACT);

    json_decref(v);

    if (text == NULL) {
        return api_problem_result(c, RESULT_MEMORY);
    }

    (void) buf_adds(&c->out, text);
    free(text);
    return true;
}


void
api_send(struct api_call *c, unsigned status, const char *type)
{
    char    *body;
    size_t   n;

    body = buf_take(&c->out, &n);
    if (body == NULL) {
        log_rate(LOG_ERROR, "api", "an answer of %s is over %d bytes",
            c->request_id, API_MAX_OUT);
        buf_init(&c->out, API_MAX_OUT);
        (void) api_problem(c, 500, "The answer is too large.");
        return;
    }

    if (c->on_send != NULL) {
        c->on_send(c, status, (struct slice) { body, n });
    }

    api_head_init(c, status);
    (void) http_head_add(&c->head, "Content-Type", "%s", type);
    http_answer(c->http, &c->head, body, n);
    c->answered = true;
}


/* The time of the answer stands near its start; it is no news. */
static size_t
as_of_end(const struct buf *b, size_t *start)
{
    size_t  near = b->n < 200 ? b->n : 200;
    char   *at = near == 0 ? NULL : memmem(b->p, near, "\"as_of\":\"", 9);

    *start = at == NULL ? 0 : (size_t) (at - b->p);
    return at == NULL ? 0 : *start + 9 + CLOCK_RFC3339;
}


static uint64_t
content_hash(const struct buf *b)
{
    uint64_t  h = 0xcbf29ce484222325ull;
    size_t    start, end = as_of_end(b, &start);

    for (size_t i = 0; i < b->n; i++) {
        if (i < start || i >= end) {
            h = (h ^ (unsigned char) b->p[i]) * 0x100000001b3ull;
        }
    }

    return h;
}


/* Weak comparison with each tag of If-None-Match. */
static bool
etag_known(struct slice header, const char *tag)
{
    size_t  n = strlen(tag);

    for (size_t i = 0; i + n <= header.n; i++) {
        if (memcmp(header.p + i, tag, n) == 0) {
            return true;
        }
    }

    return slice_eq(header, SLICE_LIT("*"));
}


void
api_etag(const struct buf *b, char tag[API_ETAG])
{
    (void) snprintf(tag, API_ETAG, "\"%016" PRIx64 "\"", content_hash(b));
}


void
api_send_cached(struct api_call *c, const char *type)
{
    char  tag[API_ETAG];

    api_etag(&c->out, tag);
    (void) http_head_add(&c->head, "ETag", "W/%s", tag);

    if (!c->out.failed
        && etag_known(http_header(c->http, "If-None-Match"), tag))
    {
        api_head_init(c, 304);
        http_answer(c->http, &c->head, NULL, 0);
        c->answered = true;
        return;
    }

    api_send(c, 200, type);
}


void
api_send_empty(struct api_call *c)
{
    api_head_init(c, 204);
    http_answer(c->http, &c->head, NULL, 0);
    c->answered = true;
}


/* The path that was asked for, without the query. */
static struct slice
problem_instance(const struct api_call *c)
{
    struct slice  target = http_target(c->http);
    const char   *mark = target.n == 0 ? NULL : memchr(target.p, '?', target.n);

    if (mark != NULL) {
        target.n = (size_t) (mark - target.p);
    }

    target.n = target.n > 200 ? 200 : target.n;
    return target;
}


/* The members up to "errors"; what was printed so far is forgotten. */
static void
problem_begin(struct api_call *c, unsigned status, const char *slug,
    const char *detail)
{
    const char  *title = "Error";

    for (size_t i = 0; i < sizeof(problems) / sizeof(problems[0]); i++) {
        if (problems[i].status == status) {
            title = problems[i].title;
            slug = slug == NULL ? problems[i].slug : slug;
        }
    }

    buf_cleanup(&c->out);
    (void) buf_addf(&c->out, "{\"type\":\"/docs/problems#%s\",\"title\":\"%s\","
        "\"status\":%u,\"detail\":", slug == NULL ? "error" : slug, title,
        status);
    json_text(&c->out, slice_of(detail));
    (void) buf_adds(&c->out, ",\"instance\":");
    json_text(&c->out, problem_instance(c));
    (void) buf_addf(&c->out, ",\"request_id\":\"%s\",\"errors\":[",
        c->request_id);
}


static bool
problem_end(struct api_call *c, unsigned status)
{
    (void) buf_adds(&c->out, "]}");

    if (status == 401) {
        (void) http_head_add(&c->head, "WWW-Authenticate",
            "Bearer realm=\"idash\"");
    }

    if (status == 429 || status == 503) {
        (void) http_head_add(&c->head, "Retry-After", "%d",
            status == 429 ? 60 : 5);
    }

    api_send(c, status, "application/problem+json");
    return false;
}


bool
api_problem(struct api_call *c, unsigned status, const char *fmt, ...)
{
    char     detail[300];
    va_list  ap;

    va_start(ap, fmt);
    (void) vsnprintf(detail, sizeof(detail), fmt, ap);
    va_end(ap);

    problem_begin(c, status, NULL, detail);
    return problem_end(c, status);
}


bool
api_problem_type(struct api_call *c, unsigned status, const char *slug,
    const char *fmt, ...)
{
    char     detail[300];
    va_list  ap;

    va_start(ap, fmt);
    (void) vsnprintf(detail, sizeof(detail), fmt, ap);
    va_end(ap);

    problem_begin(c, status, slug, detail);
    return problem_end(c, status);
}


bool
api_problem_param(struct api_call *c, struct slice name, const char *code,
    const char *detail)
{
    char  text[300];

    if (name.n > 100) {
        name.n = 100;
    }

    (void) snprintf(text, sizeof(text), "Parameter %.*s: %s", SLICE_ARG(name),
        detail);
    problem_begin(c, 400, strncmp(code, "cursor", 6) == 0
        ? code : "invalid-parameter", text);

    (void) buf_adds(&c->out, "{\"parameter\":");
    json_text(&c->out, name);
    (void) buf_addf(&c->out, ",\"code\":\"%s\",\"detail\":", code);
    json_text(&c->out, slice_of(detail));
    (void) buf_adds(&c->out, "}");
    return problem_end(c, 400);
}


bool
api_problem_fields(struct api_call *c, const struct api_error *errors,
    size_t n)
{
    problem_begin(c, 422, NULL, n == 1 ? "One field is not valid."
                                       : "Some fields are not valid.");

    for (size_t i = 0; i < n; i++) {
        (void) buf_addf(&c->out, "%s{\"pointer\":", i == 0 ? "" : ",");
        json_text(&c->out, slice_of(errors[i].pointer));
        (void) buf_addf(&c->out, ",\"code\":\"%s\",\"detail\":",
            errors[i].code);
        json_text(&c->out, slice_of(errors[i].detail));
        (void) buf_adds(&c->out, "}");
    }

    return problem_end(c, 422);
}


bool
api_problem_result(struct api_call *c, enum result r)
{
    switch (r) {
    case RESULT_NOT_FOUND:
        return api_problem(c, 404, "There is no such thing, or it is not "
            "yours.");
    case RESULT_CONFLICT:
        return api_problem(c, 409, "It is there already.");
    case RESULT_UNAVAILABLE:
    case RESULT_TIMEOUT:
    case RESULT_AGAIN:
        return api_problem(c, 503, "The store does not answer.");
    default:
        log_rate(LOG_ERROR, "api", "%s %.*s: %s", c->request_id,
            SLICE_ARG(c->path), result_text(r));
        return api_problem(c, 500, "The request could not be answered.");
    }
}


/* The request's own parameters but the cursor, for Link. */
static void
link_query(struct api_call *c, struct buf *b)
{
    struct slice  target = http_target(c->http);
    const char   *mark = memchr(target.p, '?', target.n);
    struct slice  rest = SLICE_NONE;

    if (mark != NULL) {
        rest.p = mark + 1;
        rest.n = target.n - (size_t) (rest.p - target.p);
    }

    while (rest.n > 0) {
        const char    *amp = memchr(rest.p, '&', rest.n);
        struct slice   pair = rest;

        pair.n = amp == NULL ? rest.n : (size_t) (amp - rest.p);
        rest.p += pair.n + (amp != NULL);
        rest.n -= pair.n + (amp != NULL);

        if (pair.n > 0
            && !(pair.n >= 7 && memcmp(pair.p, "cursor=", 7) == 0))
        {
            (void) buf_addf(b, "%.*s&", SLICE_ARG(pair));
        }
    }
}


/* A Link that would be longer than a header may be is left out: the cursor
 * stands in the body. */
static void
page_link(struct api_call *c, const char *rel, const char *cursor)
{
    struct buf   b;
    char        *query;

    buf_init(&b, HTTP_MAX_TARGET);
    link_query(c, &b);
    query = buf_take(&b, NULL);

    if (query != NULL && strpbrk(query, "<>\"") == NULL) {
        (void) http_head_add(&c->head, "Link",
            "<" API_BASE "%.*s?%scursor=%s>; rel=\"%s\"", SLICE_ARG(c->path),
            query, cursor, rel);
    }

    free(query);
}


static void
page_cursor(struct api_call *c, const char *rel, const struct cursor *cursor)
{
    char  text[CURSOR_TEXT];

    (void) buf_addf(&c->out, "\"%s\":", rel);

    if (cursor == NULL) {
        (void) buf_adds(&c->out, "null,");
        return;
    }

    cursor_print(c->env->secret, cursor, text);
    (void) buf_addf(&c->out, "\"%s\",", text);
    page_link(c, rel, text);
}


void
api_page(struct api_call *c, const struct cursor *next,
    const struct cursor *prev, bool has_more)
{
    (void) buf_adds(&c->out, "\"page\":{");
    page_cursor(c, "next", next);
    page_cursor(c, "prev", prev);
    (void) buf_addf(&c->out, "\"has_more\":%s}", has_more ? "true" : "false");
}


bool
api_if_match(struct api_call *c, int64_t *version)
{
    struct slice  h = http_header(c->http, "If-Match");

    if (h.p == NULL) {
        return api_problem(c, 428, "Send If-Match with the ETag that was "
            "read, so that no other change is lost.");
    }

    if (slice_eq(h, SLICE_LIT("*"))) {
        *version = -1;
        return true;
    }

    if (h.n < 3 || h.p[0] != '"' || h.p[h.n - 1] != '"'
        || slice_int((struct slice) { h.p + 1, h.n - 2 }, version) != RESULT_OK
        || *version < 1)
    {
        return api_problem(c, 412, "If-Match names no version of this "
            "document.");
    }

    return true;
}


static bool
is_json_type(struct slice type)
{
    size_t  n = sizeof(API_JSON) - 1;

    return type.n >= n && slice_eq_nocase((struct slice) { type.p, n },
        SLICE_LIT(API_JSON)) && (type.n == n || type.p[n] == ';'
                                 || type.p[n] == ' ');
}


bool
api_body(struct api_call *c, json_t **out)
{
    struct slice  body = http_body(c->http);
    json_error_t  error;

    *out = NULL;

    if (!is_json_type(http_header(c->http, "Content-Type"))) {
        return api_problem(c, 415, "Send Content-Type: " API_JSON ".");
    }

    /* own check first: jansson's depth limit is 2048 */
    if (!json_valid(body)) {
        return api_problem(c, 400, "The body is not JSON, or deeper than %d "
            "levels.", JSON_MAX_DEPTH);
    }

    *out = json_loadb(body.p, body.n, JSON_REJECT_DUPLICATES, &error);
    if (*out == NULL) {
        return api_problem(c, 400, "The body: %s, line %d.", error.text,
            error.line);
    }

    if (!json_is_object(*out)) {
        json_decref(*out);
        *out = NULL;
        return api_problem(c, 400, "The body must be a JSON object.");
    }

    return true;
}
