/* Reason, edited body, the log that is meant, the audit entry. */

#include "api_payload.h"

#include <openssl/evp.h>
#include <stdlib.h>

#include "json.h"
#include "transport.h"


bool
api_body_optional(struct api_call *c, json_t **out)
{
    *out = NULL;
    return http_body(c->http).n == 0 || api_body(c, out);
}


void
api_members(const json_t *body, const char *const *allowed,
    struct docs_errors *e)
{
    const char   *name;
    json_t       *v;
    size_t        i;

    json_object_foreach((json_t *) body, name, v) {
        for (i = 0; allowed[i] != NULL && strcmp(allowed[i], name) != 0; i++) {
            /* void */
        }

        if (allowed[i] == NULL) {
            docs_error(e, name, "unknown", "is no member of this");
        }
    }
}


struct slice
api_reason(const json_t *body, bool required, struct docs_errors *e)
{
    const json_t  *v = json_object_get(body, "reason");
    struct slice   s = { json_string_value(v), json_string_length(v) };

    if (s.n == 0 && (required || (v != NULL && !json_is_null(v)
                                  && !json_is_string(v))))
    {
        docs_error(e, "reason", "required", "say why, for the audit log");
    }

    if (s.n > API_MAX_REASON) {
        docs_error(e, "reason", "length", "must be at most %d bytes",
            API_MAX_REASON);
    }

    return s;
}


bool
api_ask(struct api_call *c, const char *const *allowed, json_t **body,
    struct slice *reason)
{
    struct docs_errors  e = { .n = 0 };

    *body = NULL;

    if (http_body(c->http).n > 0 && !api_body(c, body)) {
        return false;
    }

    api_members(*body, allowed, &e);
    *reason = api_reason(*body, false, &e);
    return api_faultless(c, &e);
}


static struct slice
unbase64(struct arena *a, struct slice text)
{
    unsigned char  *to;
    int             n = -1;

    to = text.n == 0 || text.n % 4 != 0 || text.n > 2 * SEND_MAX_BODY ? NULL
        : arena_alloc(a, text.n);

    if (to != NULL) {
        n = EVP_DecodeBlock(to, (const unsigned char *) text.p, (int) text.n);
    }

    if (n < 0) {
        return SLICE_NONE;
    }

    /* EVP counts the padding's bytes too */
    n -= (text.p[text.n - 1] == '=') + (text.p[text.n - 2] == '=');
    return (struct slice) { (char *) to, (size_t) n };
}


static struct slice
printed(struct arena *a, const json_t *v)
{
    char         *text = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);
    struct slice  s = arena_copy(a, slice_of(text));

    free(text);
    return s;
}


static bool
begins(struct slice s, const char *with)
{
    size_t  n = strlen(with);

    return s.n >= n && memcmp(s.p, with, n) == 0;
}


static void
check_syntax(struct slice s, struct slice like, struct docs_errors *e)
{
    if (s.n > SEND_MAX_BODY) {
        docs_error(e, "body", "length", "must be at most 1 MB");

    } else if (begins(like, "MSH")) {
        if (!begins(s, "MSH")) {
            docs_error(e, "body", "syntax", "must be an HL7 message: MSH..");
        }

    } else if (like.n > 0 && json_valid(like) && !json_valid(s)) {
        docs_error(e, "body", "syntax", "must be JSON, as the original is");
    }
}


struct slice
api_payload(struct arena *a, const json_t *body, struct slice like,
    struct docs_errors *e)
{
    const json_t  *v = json_object_get(body, "body");
    const json_t  *how = json_object_get(body, "encoding");
    const char    *encoding = how == NULL ? "json" : json_string_value(how);
    struct slice   s = { json_string_value(v), json_string_length(v) };

    if (v == NULL) {
        return SLICE_NONE;
    }

    if (encoding == NULL || (strcmp(encoding, "json") != 0
            && strcmp(encoding, "text") != 0
            && strcmp(encoding, "base64") != 0))
    {
        docs_error(e, "encoding", "value", "must be json, text or base64");
        return SLICE_NONE;
    }

    if (strcmp(encoding, "json") == 0) {
        s = printed(a, v);

    } else if (!json_is_string(v)) {
        docs_error(e, "body", "type", "must be a text in this encoding");
        return SLICE_NONE;

    } else {
        s = encoding[0] == 't' ? arena_copy(a, s) : unbase64(a, s);
    }

    if (s.p == NULL) {
        docs_error(e, "body", "syntax", "cannot be read in this encoding");
        return SLICE_NONE;
    }

    check_syntax(s, like, e);
    return s;
}


bool
api_faultless(struct api_call *c, const struct docs_errors *e)
{
    return e->n == 0 || api_problem_fields(c, e->list, e->n);
}


bool
api_log_read(struct api_call *c, struct logdoc *d)
{
    struct scope  scope;
    uint8_t       id[UUID_BYTES];
    enum result   r;

    auth_scope(&c->caller, &scope);
    logdoc_init(d);
    r = uuid_parse(c->ids[0], id) != RESULT_OK ? RESULT_NOT_FOUND
        : store_log_get(c->env->store, &scope, id, &c->arena, d);

    return r == RESULT_OK || api_problem_result(c, r);
}
