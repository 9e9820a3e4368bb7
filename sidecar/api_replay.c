/*
 * What is sent again is the recorded call with what the editor changed.  Path
 * and host are not his to choose; a mask is never sent: what it stood for comes
 * from the developer's credentials, or is left out and named.
 */

#include "api_replay.h"

#include <stdio.h>
#include <stdlib.h>

#include "api_idempotency.h"
#include "api_audit.h"
#include "api_payload.h"
#include "clock.h"
#include "json.h"
#include "logdoc_json.h"
#include "replay.h"

#define REPLAY_MASK   "***"
#define REPLAY_PAIRS  128
#define REPLAY_VALUE  8192
#define AUDIT_TYPE    "integration_directory"

struct replaying {
    struct api_call     *c;
    struct logdoc        log;
    json_t              *body;             /* as sent to us */
    json_t              *credentials;      /* or NULL */
    json_t              *ask;              /* what is to be sent */
    json_t              *left_out, *filled;
    struct docs_errors   e;
};


/* -- may it go? ---------------------------------------------------------- */

static bool
may_replay(struct replaying *x)
{
    const struct logdoc  *d = &x->log;
    const char           *base = x->c->env->config->replay_base_url;
    bool                  edited = json_object_get(x->body, "body") != NULL;

    if (base == NULL || base[0] == '\0') {
        return api_problem_type(x->c, 409, "replay-off", "Replay is not "
            "configured: replay_base_url names nginx' address.");
    }

    if (d->kind != LOG_KIND_API) {
        return api_problem(x->c, 409, "This is an outbound call: it is resent, "
            "not replayed.");
    }

    if (d->http_status == 101) {
        return api_problem(x->c, 409, "An upgraded connection cannot be made "
            "again.");
    }

    if (!edited && (d->request.cut.n > 0
                    || (d->request.bytes > 0 && d->request.data.n == 0)))
    {
        return api_problem(x->c, 409, "Its body was not kept whole: send one.");
    }

    if (d->url.n == 0 || d->url.p[0] != '/') {
        return api_problem(x->c, 409, "Its path was not kept.");
    }

    return true;
}


/* The editor has seen the log as it is. */
static bool
base_is_current(struct replaying *x)
{
    struct api_call  *c = x->c;
    const char       *base = json_string_value(
        json_object_get(x->body, "base_etag"));
    char              tag[API_ETAG];

    if (base == NULL) {
        docs_error(&x->e, "base_etag", "required", "send the ETag of the log");
        return true;
    }

    buf_reset(&c->out);
    logdoc_json(&c->out, &x->log, c->caller.rights & AUTH_UNMASK
        ? LOGDOC_FULL : LOGDOC_MASKED);
    api_etag(&c->out, tag);
    buf_reset(&c->out);
    base += strncmp(base, "W/", 2) == 0 ? 2 : 0;

    return strcmp(base, tag) == 0 || api_problem(c, 412, "The log is not as "
        "it was when it was read: read it again.");
}


/* -- pairs --------------------------------------------------------------- */

static bool
has_credential(const struct replaying *x, const char *list, struct slice name)
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
pair_take(struct replaying *x, const char *list, json_t *to, struct slice name,
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
pairs_given(struct replaying *x, const char *list, const json_t *pairs,
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
        const json_t  *n = json_array_get(pair, 0), *v = json_array_get(pair, 1);
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
headers_recorded(struct replaying *x, json_t *to)
{
    struct slice  block = x->log.request.headers, name, value;

    while (logdoc_header_next(&block, &name, &value)) {
        if (!replay_header_dropped(name) && is_token(name)
            && is_field_value(value))
        {
            pair_take(x, "headers", to, name, value);
        }
    }
}


static void
query_recorded(struct replaying *x, struct slice query, json_t *to)
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
            struct slice  name = api_decode(&x->c->arena, pair, true);
            struct slice  text = api_decode(&x->c->arena, value, true);

            pair_take(x, "query", to, name.p == NULL ? pair : name,
                text.p == NULL ? value : text);
        }
    }
}


static void
credentials_named(struct replaying *x, const char *list, const char *kind)
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
ask_method(struct replaying *x)
{
    static const char *const  methods[] = { "GET", "HEAD", "POST", "PUT",
                                            "PATCH", "DELETE", "OPTIONS",
                                            NULL };
    const json_t             *v = json_object_get(x->body, "method");
    char                      recorded[16];
    const char               *method = json_string_value(v);

    (void) snprintf(recorded, sizeof(recorded), "%.*s",
        SLICE_ARG(x->log.method));
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
ask_pairs(struct replaying *x)
{
    const char    *mark = memchr(x->log.url.p, '?', x->log.url.n);
    const json_t  *headers = json_object_get(x->body, "headers");
    const json_t  *query = json_object_get(x->body, "query");
    json_t        *h = json_array(), *q = json_array();
    struct slice   path = x->log.url, rest = SLICE_NONE;

    if (mark != NULL) {
        path.n = (size_t) (mark - path.p);
        rest = (struct slice) { mark + 1, x->log.url.n - path.n - 1 };
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
ask_body(struct replaying *x)
{
    const json_t  *v = json_object_get(x->body, "body");
    struct slice   data = x->log.request.data;
    struct buf     b;

    if (v != NULL) {
        data = json_is_null(v) ? SLICE_NONE
            : api_payload(x->c, x->body, x->log.request.data, &x->e);
    }

    if (is_mask(x->log.request.data) && is_mask(data)) {
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


static json_t *
replay_print(struct replaying *x, const char *id)
{
    struct scope  scope;
    json_t       *v;

    auth_scope(&x->c->caller, &scope);
    v = json_pack("{s:s,s:s%,s:s,s:n,s:n,s:n,s:O,s:O,s:O}", "id", id,
        "replay_of", x->c->ids[0].p, x->c->ids[0].n, "state", "queued",
        "http_status", "log_id", "error", "left_out", x->left_out, "filled",
        x->filled, "_ask", x->ask);

    if (v != NULL) {
        retry_time(v, "created_at", clock_wall_us());
        (void) json_object_set_new(v, "_labs",
            x->log.lab_id == LOGDOC_NONE ? json_null()
            : json_pack("[I]", (json_int_t) x->log.lab_id));

        if (x->log.developer_id.n > 0) {
            (void) json_object_set_new(v, "_developer", json_stringn(
                x->log.developer_id.p, x->log.developer_id.n));
        }
    }

    return v;
}


static void
replay_answer(struct api_call *c, const struct retry_doc *d, unsigned status)
{
    json_t  *v = retry_doc_public(d->v);
    char    *text = v == NULL ? NULL : json_dumps(v, JSON_COMPACT);

    json_decref(v);

    if (text == NULL) {
        (void) api_problem_result(c, RESULT_MEMORY);
        return;
    }

    (void) buf_adds(&c->out, text);
    free(text);
    api_send(c, status, API_JSON);
}


static void
replay_keep(struct replaying *x)
{
    struct retry_doc  d = { .v = NULL };
    uint8_t           planned[UUID_BYTES];
    char              id[UUID_TEXT + 1];
    enum result       r;

    api_idempotency_id(x->c, planned);
    uuid_text(planned, id);
    retry_doc_id(&d, "replay", id, -1);
    d.org_id = x->log.org_id;
    d.v = replay_print(x, id);
    r = retry_doc_put(x->c->env->store, &d);

    if (r == RESULT_CONFLICT) {            /* kept before a crash */
        r = retry_doc_get(x->c->env->store, &d);
    }

    r = r != RESULT_OK ? r : replay_mark(x->c->env->store, id);

    if (r != RESULT_OK) {
        (void) api_problem_result(x->c, r);
    } else {
        (void) http_head_add(&x->c->head, "Location", API_BASE "/replays/%s",
            id);
        replay_answer(x->c, &d, 202);
    }

    retry_doc_cleanup(&d);
}


void
api_logs_replay(struct api_call *c)
{
    static const char *const  members[] = {
        "method", "query", "headers", "body", "encoding", "reason",
        "base_etag", NULL
    };
    struct replaying         *x = arena_alloc(&c->arena, sizeof(*x));
    struct slice              developer, reason;

    if (x == NULL) {
        (void) api_problem_result(c, RESULT_MEMORY);
        return;
    }

    memset(x, 0, sizeof(*x));
    x->c = c;

    if (!api_params_end(c) || !api_body(c, &x->body)
        || !api_log_read(c, &x->log) || !may_replay(x)
        || !base_is_current(x))
    {
        json_decref(x->body);
        return;
    }

    x->ask = json_object();
    x->left_out = json_array();
    x->filled = json_array();
    developer = arena_copy(&c->arena, x->log.developer_id);

    if (developer.n > 0) {
        x->credentials = replay_credentials(c->env->store, c->env->secret,
            developer.p);
    }

    api_members(x->body, members, &x->e);
    reason = api_reason(x->body, true, &x->e);
    ask_method(x);
    ask_pairs(x);
    ask_body(x);

    if (api_faultless(c, &x->e)
        && api_audit(c, "log.replay", AUDIT_TYPE, c->ids[0], x->log.org_id,
               reason, ""))
    {
        replay_keep(x);
    }

    json_decref(x->credentials);
    json_decref(x->left_out);
    json_decref(x->filled);
    json_decref(x->ask);
    json_decref(x->body);
}


void
api_replay_get(struct api_call *c)
{
    struct retry_doc  d = { .v = NULL };
    struct scope      scope;
    uint8_t           id[UUID_BYTES];
    char              text[UUID_TEXT + 1], log[UUID_TEXT + 1];
    enum result       r;

    if (!api_params_end(c)) {
        return;
    }

    auth_scope(&c->caller, &scope);
    r = uuid_parse(c->ids[0], id) != RESULT_OK ? RESULT_NOT_FOUND : RESULT_OK;

    if (r == RESULT_OK) {
        uuid_text(id, text);
        retry_doc_id(&d, "replay", text, -1);
        r = retry_doc_get(c->env->store, &d);
        r = r == RESULT_OK && !retry_visible(&d, &scope) ? RESULT_NOT_FOUND
                                                         : r;
    }

    if (r != RESULT_OK) {
        (void) api_problem_result(c, r);
    } else {
        if (replay_log(c->env->store, text, log)) {
            (void) json_object_set_new(d.v, "log_id", json_string(log));
        }

        replay_answer(c, &d, 200);
    }

    retry_doc_cleanup(&d);
}
