/*
 * The request of a replay: the recorded call with what an editor changed.  Path
 * and host are not his to choose; a mask is never sent.
 */

#include "api_replay_ask.h"

#include <stdio.h>

#include "api_payload.h"
#include "clock.h"
#include "json.h"
#include "logdoc_json.h"
#include "replay.h"

#define REPLAY_MASK   "***"
#define REPLAY_PAIRS  128
#define REPLAY_VALUE  8192


/* -- may it go? ---------------------------------------------------------- */

const char *
replay_ask_refusal(const struct logdoc *d, bool edited)
{
    return d->kind != LOG_KIND_API
               ? "This is an outbound call: it is resent, not replayed."
           : d->http_status == 101
               ? "An upgraded connection cannot be made again."
           : !edited && (d->request.cut.n > 0
                         || (d->request.bytes > 0 && d->request.data.n == 0))
               ? "Its body was not kept whole: send one."
           : d->url.n == 0 || d->url.p[0] != '/'
               ? "Its path was not kept." : NULL;
}


/* -- pairs --------------------------------------------------------------- */

static bool
has_credential(const struct replay_ask *x, const char *list, struct slice name)
{
    const json_t  *pair;
    size_t         i;

    json_array_foreach(json_object_get(x->credentials, list), i, pair) {
        if (slice_eq_nocase(name, slice_of(
                json_string_value(json_array_get(pair, 0)))))
        {
            return true;
        }
    }

    return false;
}


static void
named(json_t *list, const char *kind, struct slice name)
{
    char  text[160];

    (void) snprintf(text, sizeof(text), "%s:%.*s", kind,
        (int) (name.n > 120 ? 120 : name.n), name.p == NULL ? "" : name.p);
    (void) json_array_append_new(list, json_string(text));
}


static bool
is_mask(struct slice value)
{
    return value.n >= 3 && memmem(value.p, value.n, REPLAY_MASK, 3) != NULL;
}


/* Into the request, unless a credential stands for it or it is masked. */
static void
pair_take(struct replay_ask *x, const char *list, json_t *to, struct slice name,
    struct slice value)
{
    const char  *kind = list[0] == 'h' ? "header" : "query";

    if (has_credential(x, list, name)) {
        return;
    }

    if (is_mask(value)) {
        named(x->left_out, kind, name);
        return;
    }

    (void) json_array_append_new(to, json_pack("[o,o]",
        json_stringn(name.n == 0 ? "" : name.p, name.n),
        json_stringn(value.n == 0 ? "" : value.p, value.n)));
}


static bool
is_token(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char  ch = (unsigned char) s.p[i];

        if (ch <= 0x20 || ch >= 0x7f || strchr("()<>@,;:\\\"/[]?={}", ch)) {
            return false;
        }
    }

    return s.n > 0 && s.n <= 256;
}


static bool
is_field_value(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char  ch = (unsigned char) s.p[i];

        if ((ch < 0x20 && ch != '\t') || ch == 0x7f) {
            return false;
        }
    }

    return s.n <= REPLAY_VALUE;
}


static void
pairs_given(struct replay_ask *x, const char *list, const json_t *pairs,
    json_t *to)
{
    const json_t  *pair;
    char           at[32];
    size_t         i;

    if (!json_is_array(pairs) || json_array_size(pairs) > REPLAY_PAIRS) {
        docs_error(&x->e, list, "type", "must be an array of at most %d pairs",
            REPLAY_PAIRS);
        return;
    }

    json_array_foreach((json_t *) pairs, i, pair) {
        const json_t  *n = json_array_get(pair, 0);
        const json_t  *v = json_array_get(pair, 1);
        struct slice   name = { json_string_value(n), json_string_length(n) };
        struct slice   value = { json_string_value(v), json_string_length(v) };

        (void) snprintf(at, sizeof(at), "%s/%zu", list, i);

        if (json_array_size(pair) != 2 || name.p == NULL || value.p == NULL) {
            docs_error(&x->e, at, "type", "must be a name and a value");

        } else if (list[0] == 'h' && !(is_token(name)
                                       && is_field_value(value)))
        {
            docs_error(&x->e, at, "header", "is no header field");

        } else if (list[0] != 'h' || !replay_header_dropped(name)) {
            pair_take(x, list, to, name, value);
        }
    }
}


static void
headers_recorded(struct replay_ask *x, json_t *to)
{
    struct slice  block = x->log->request.headers, name, value;

    while (logdoc_header_next(&block, &name, &value)) {
        if (!replay_header_dropped(name) && is_token(name)
            && is_field_value(value))
        {
            pair_take(x, "headers", to, name, value);
        }
    }
}


static void
query_recorded(struct replay_ask *x, struct slice query, json_t *to)
{
    while (query.n > 0) {
        const char    *amp = memchr(query.p, '&', query.n), *eq;
        struct slice   pair = query, value = SLICE_LIT("");

        pair.n = amp == NULL ? query.n : (size_t) (amp - query.p);
        query.p += pair.n + (amp != NULL);
        query.n -= pair.n + (amp != NULL);
        eq = pair.n == 0 ? NULL : memchr(pair.p, '=', pair.n);

        if (eq != NULL) {
            value = (struct slice) { eq + 1,
                pair.n - (size_t) (eq + 1 - pair.p) };
            pair.n = (size_t) (eq - pair.p);
        }

        if (pair.n > 0) {
            struct slice  name = api_decode(x->arena, pair, true);
            struct slice  text = api_decode(x->arena, value, true);

            pair_take(x, "query", to, name.p == NULL ? pair : name,
                text.p == NULL ? value : text);
        }
    }
}


static void
credentials_named(struct replay_ask *x, const char *list, const char *kind)
{
    const json_t  *pair;
    size_t         i;

    json_array_foreach(json_object_get(x->credentials, list), i, pair) {
        named(x->filled, kind, slice_of(
            json_string_value(json_array_get(pair, 0))));
    }
}


/* -- the request --------------------------------------------------------- */

static void
ask_method(struct replay_ask *x)
{
    static const char *const  methods[] = { "GET", "HEAD", "POST", "PUT",
                                            "PATCH", "DELETE", "OPTIONS",
                                            NULL };
    const json_t             *v = json_object_get(x->edit, "method");
    char                      recorded[16];
    const char               *method = json_string_value(v);

    (void) snprintf(recorded, sizeof(recorded), "%.*s",
        SLICE_ARG(x->log->method));
    method = v == NULL ? recorded : method == NULL ? "" : method;

    for (size_t i = 0; methods[i] != NULL; i++) {
        if (strcmp(methods[i], method) == 0) {
            (void) json_object_set_new(x->ask, "method", json_string(method));
            return;
        }
    }

    docs_error(&x->e, "method", "value", "must be GET, HEAD, POST, PUT, PATCH, "
        "DELETE or OPTIONS");
}


static void
ask_pairs(struct replay_ask *x)
{
    const char    *mark = memchr(x->log->url.p, '?', x->log->url.n);
    const json_t  *headers = json_object_get(x->edit, "headers");
    const json_t  *query = json_object_get(x->edit, "query");
    json_t        *h = json_array(), *q = json_array();
    struct slice   path = x->log->url, rest = SLICE_NONE;

    if (mark != NULL) {
        path.n = (size_t) (mark - path.p);
        rest = (struct slice) { mark + 1, x->log->url.n - path.n - 1 };
    }

    (void) json_object_set_new(x->ask, "path", json_stringn(path.p, path.n));

    if (headers != NULL) {
        pairs_given(x, "headers", headers, h);
    } else {
        headers_recorded(x, h);
    }

    if (query != NULL) {
        pairs_given(x, "query", query, q);
    } else {
        query_recorded(x, rest, q);
    }

    /* unedited and whole it goes byte for byte */
    if (query == NULL && rest.n > 0 && !is_mask(rest)
        && json_object_get(x->credentials, "query") == NULL)
    {
        (void) json_object_set_new(x->ask, "raw_query",
            json_stringn(rest.p, rest.n));
        (void) json_array_clear(q);
    }

    (void) json_object_set_new(x->ask, "headers", h);
    (void) json_object_set_new(x->ask, "query", q);
    credentials_named(x, "headers", "header");
    credentials_named(x, "query", "query");
}


static void
ask_body(struct replay_ask *x)
{
    const json_t  *v = json_object_get(x->edit, "body");
    struct slice   data = x->log->request.data;
    struct buf     b;

    if (v != NULL) {
        data = json_is_null(v) ? SLICE_NONE
            : api_payload(x->arena, x->edit, x->log->request.data, &x->e);
    }

    if (is_mask(x->log->request.data) && is_mask(data)) {
        docs_error(&x->e, "body", "masked", "holds " REPLAY_MASK
            " where the record was masked");
    }

    if (data.n == 0) {
        return;
    }

    buf_init(&b, API_MAX_OUT);
    json_base64(&b, data);

    if (!b.failed && b.n >= 2) {           /* without its quotes */
        (void) json_object_set_new(x->ask, "body",
            json_stringn(b.p + 1, b.n - 2));
    }

    buf_cleanup(&b);
}


/* -- the whole ----------------------------------------------------------- */

bool
replay_ask_make(struct replay_ask *x)
{
    x->ask = json_object();
    x->left_out = json_array();
    x->filled = json_array();

    if (x->ask == NULL || x->left_out == NULL || x->filled == NULL) {
        return false;
    }

    ask_method(x);
    ask_pairs(x);
    ask_body(x);
    return true;
}


void
replay_ask_cleanup(struct replay_ask *x)
{
    json_decref(x->credentials);
    json_decref(x->left_out);
    json_decref(x->filled);
    json_decref(x->ask);
}


json_t *
replay_ask_plan(const struct replay_ask *x, const char *base)
{
    char           id[UUID_TEXT + 1];
    const json_t  *body = json_object_get(x->ask, "body");
    size_t         n = json_string_length(body), bytes = n / 4 * 3;
    const char    *end = n == 0 ? NULL : json_string_value(body) + n;
    json_t        *v, *request = json_copy(x->ask);

    /* what base64 pads is no byte of the body */
    bytes -= n == 0 ? 0 : (size_t) ((end[-1] == '=') + (end[-2] == '='));
    uuid_text(x->log->id, id);
    (void) json_object_del(request, "body");
    (void) json_object_set_new(request, "bytes",
        json_integer((json_int_t) bytes));

    v = json_pack("{s:s,s:s,s:o,s:O,s:O}", "log_id", id, "to", base,
        "request", request, "left_out", x->left_out, "filled", x->filled);
    return v;
}


static json_t *
kept_print(const struct replay_ask *x, const char *id)
{
    char     of[UUID_TEXT + 1];
    json_t  *v;

    uuid_text(x->log->id, of);
    v = json_pack("{s:s,s:s,s:s,s:n,s:n,s:n,s:O,s:O,s:O}", "id", id,
        "replay_of", of, "state", "queued", "http_status", "log_id", "error",
        "left_out", x->left_out, "filled", x->filled, "_ask", x->ask);

    if (v != NULL) {
        retry_time(v, "created_at", clock_wall_us());
        (void) json_object_set_new(v, "_labs",
            x->log->lab_id == LOGDOC_NONE ? json_null()
            : json_pack("[I]", (json_int_t) x->log->lab_id));

        if (x->log->developer_id.n > 0) {
            (void) json_object_set_new(v, "_developer", json_stringn(
                x->log->developer_id.p, x->log->developer_id.n));
        }
    }

    return v;
}


enum result
replay_ask_keep(const struct replay_ask *x, struct store *s,
    const uint8_t planned[UUID_BYTES], struct retry_doc *d)
{
    char         id[UUID_TEXT + 1];
    enum result  r;

    uuid_text(planned, id);
    retry_doc_id(d, "replay", id, -1);
    d->org_id = x->log->org_id;
    d->v = kept_print(x, id);
    r = d->v == NULL ? RESULT_MEMORY : retry_doc_put(s, d);

    if (r == RESULT_CONFLICT) {            /* kept before a crash */
        r = retry_doc_get(s, d);
    }

    return r != RESULT_OK ? r : replay_mark(s, id);
}
