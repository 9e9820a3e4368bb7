/*
 * What comes from outside, checked field by field and then across them, as the
 * document to store: defaults filled in, secrets sealed.
 */

#include "integration.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "http_outcome.h"
#include "integration_private.h"
#include "jq_child.h"

/* Kept beside the table's; all but headers are not for clients to write. */
static const char *const  kept[] = { "headers", "signing_secrets",
    "disabled_reason" };

void
check_fault(struct check *c, const char *name, const char *code,
    const char *fmt, ...)
{
    struct integration_fault  *f;
    va_list                    ap;

    if (c->n == c->max) {
        return;
    }

    f = &c->faults[c->n++];
    (void) snprintf(f->pointer, sizeof(f->pointer), "#/%s", name);
    (void) snprintf(f->code, sizeof(f->code), "%s", code);
    va_start(ap, fmt);
    (void) vsnprintf(f->detail, sizeof(f->detail), fmt, ap);
    va_end(ap);
}


static json_t *
standard_value(const struct field *f)
{
    switch (f->type) {
    case F_INT: return json_integer(strtoll(f->standard, NULL, 10));
    case F_BOOL: return json_boolean(f->standard[0] == 't');
    default: return json_string(f->standard);
    }
}


/* -- one value ----------------------------------------------------------- */

static void
check_int(struct check *c, const struct field *f, const json_t *v)
{
    if (!json_is_integer(v) || json_integer_value(v) < f->min
        || json_integer_value(v) > f->max)
    {
        check_fault(c, f->name, "range",
            "must be a whole number from %lld to %lld",
            (long long) f->min, (long long) f->max);
    }
}


bool
check_length(struct check *c, const struct field *f, const json_t *v)
{
    if (!json_is_string(v)) {
        check_fault(c, f->name, "type", "must be text");
        return false;
    }

    if ((int64_t) json_string_length(v) > f->max
        || (int64_t) json_string_length(v) < f->min
        || memchr(json_string_value(v), '\0', json_string_length(v)) != NULL)
    {
        check_fault(c, f->name, "length",
            "must have %lld to %lld bytes, no NUL",
            (long long) f->min, (long long) f->max);
        return false;
    }

    return true;
}


static void
check_jq(struct check *c, const struct field *f, const json_t *v)
{
    struct buf   message;
    char        *text;
    enum result  r;

    if (c->jq == NULL || json_string_length(v) == 0) {
        return;
    }

    buf_init(&message, JQ_MAX_OUTPUT);
    r = jq_child_run(c->jq, JQ_CHECK, json_slice(v), SLICE_NONE, &message);

    if (r != RESULT_OK && r != RESULT_UNAVAILABLE) {
        text = buf_take(&message, NULL);
        check_fault(c, f->name, "jq", "%.200s", text == NULL ? "" : text);
        free(text);
    }

    buf_cleanup(&message);
}


static void
check_url(struct check *c, const struct field *f, const char *url)
{
    const char  *why;
    bool         literal, plain;

    plain = json_is_true(json_object_get(c->in, "allow_http"));

    if (url[0] != '\0'
        && http_url_check(url, plain, c->config->outbound_ports, &literal,
               &why) != RESULT_OK)
    {
        check_fault(c, f->name, "url", "%s", why);
    }
}


/* "" or scheme://host..: printable, for it is written into requests. */
static void
check_proxy(struct check *c, const struct field *f, const char *proxy)
{
    static const char *const  schemes[] = { "http://", "https://",
        "socks5://", "socks5h://" };
    bool  known = proxy[0] == '\0';

    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        known = known || strncmp(proxy, schemes[i], strlen(schemes[i])) == 0;
    }

    for (const unsigned char *p = (const unsigned char *) proxy; *p; p++) {
        known = known && *p > ' ' && *p < 0x7f;
    }

    if (!known) {
        check_fault(c, f->name, "url",
            "must be http, https, socks5 or socks5h://host:port");
    }
}


static void
check_text(struct check *c, const struct field *f, const json_t *v)
{
    struct retry_schedule  schedule;
    const char            *why;

    if (!check_length(c, f, v)) {
        return;
    }

    if (f->type == F_JQ) {
        check_jq(c, f, v);

    } else if (f->type == F_SCHEDULE && json_string_length(v) > 0
               && retry_schedule_parse(json_slice(v), &schedule, &why)
                      != RESULT_OK)
    {
        check_fault(c, f->name, "schedule", "%s", why);

    } else if (f->type == F_PEM && json_string_length(v) > 0
               && strstr(json_string_value(v), "-----BEGIN") == NULL)
    {
        check_fault(c, f->name, "pem", "must be PEM: -----BEGIN ...");
    }
}


static void
take_field(struct check *c, const struct field *f)
{
    const json_t  *v = json_object_get(c->in, f->name);

    if (f->type == F_SECRET) {
        check_secret(c, f, v);
        return;
    }

    if (v == NULL) {
        if (f->standard == NULL) {
            check_fault(c, f->name, "required", "is required");
        } else {
            (void) json_object_set_new(c->out, f->name, standard_value(f));
        }

        return;
    }

    if (f->type == F_URL || f->type == F_PROXY) {
        check_masked_url(c, f, v, f->type == F_URL ? check_url : check_proxy);
        return;
    }

    if (f->type == F_INT) {
        check_int(c, f, v);

    } else if (f->type == F_BOOL) {
        if (!json_is_boolean(v)) {
            check_fault(c, f->name, "type", "must be true or false");
        }

    } else if (f->type == F_WORD) {
        if (!json_is_string(v)
            || integration_word(f->words, json_slice(v)) == -1)
        {
            check_fault(c, f->name, "word", "must be one of %s", f->words);
        }

    } else {
        check_text(c, f, v);
    }

    (void) json_object_set(c->out, f->name, (json_t *) v);
}


/* -- cross checks -------------------------------------------------------- */

static const char *
out_text(const struct check *c, const char *name)
{
    const char  *text = json_string_value(json_object_get(c->out, name));

    return text == NULL ? "" : text;
}


static void
check_http(struct check *c)
{
    const char  *auth = out_text(c, "auth"), *why;

    if (!http_method_is_known(out_text(c, "request_type"))) {
        check_fault(c, "request_type", "word", "must be " HTTP_METHODS);
    }

    if (out_text(c, "url")[0] == '\0') {
        check_fault(c, "url", "required", "is required when transport is http");
    }

    if (http_header_check(SLICE_LIT("Content-Type"),
            slice_of(out_text(c, "content_type")), &why) != RESULT_OK)
    {
        check_fault(c, "content_type", "header", "%s", why);
    }

    if (strcmp(auth, "none") != 0 && out_text(c, "auth_secret")[0] == '\0') {
        check_fault(c, "auth_secret", "required", "is required when auth is %s",
            auth);
    }

    if (strcmp(auth, "none") != 0 && strcmp(auth, "bearer") != 0
        && out_text(c, "auth_user")[0] == '\0')
    {
        check_fault(c, "auth_user", "required", "is required when auth is %s",
            auth);

    } else if (strcmp(auth, "header") == 0
        && http_header_check(slice_of(out_text(c, "auth_user")),
               SLICE_LIT("x"), &why) != RESULT_OK)
    {
        check_fault(c, "auth_user", "header", "%s", why);
    }

    if (strcmp(auth, "oauth2") == 0 && out_text(c, "token_url")[0] == '\0') {
        check_fault(c, "token_url", "required",
            "is required when auth is oauth2");
    }
}


/*
 * It may go into a header as it is, so it must not end one: today, or when a
 * later change makes a bearer token of the secret that stays.
 */
static void
check_bearer(struct check *c)
{
    const json_t  *v = json_object_get(c->in, "auth_secret");
    const char    *why;

    if (json_is_string(v)
        && http_header_check(SLICE_LIT("Authorization"), json_slice(v), &why)
               != RESULT_OK)
    {
        check_fault(c, "auth_secret", "header", "%s", why);
    }
}


static void
check_mllp(struct check *c)
{
    const char  *p = out_text(c, "processing_id");

    if (out_text(c, "host")[0] == '\0') {
        check_fault(c, "host", "required",
            "is required when transport is mllp");
    }

    if (json_integer_value(json_object_get(c->out, "port")) == 0) {
        check_fault(c, "port", "required",
            "is required when transport is mllp");
    }

    if (strcmp(p, "P") != 0 && strcmp(p, "T") != 0 && strcmp(p, "D") != 0) {
        check_fault(c, "processing_id", "word", "must be one of P|T|D");
    }
}


static bool
out_true(const struct check *c, const char *name)
{
    return json_is_true(json_object_get(c->out, name));
}


/* "", a name, or names that each have a dot in front; lane.c reads it. */
static bool
order_key_is_fit(const char *key)
{
    static const char  names[] = "abcdefghijklmnopqrstuvwxyz"
        "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    bool    path = key[0] == '.';
    size_t  n;

    while (key[0] != '\0') {
        key += path;
        n = strspn(key, names);

        if (n == 0 || n > 64 || key[n] != (path && key[n] != '\0' ? '.'
                                                                  : '\0'))
        {
            return false;
        }

        key += n;
    }

    return true;
}


static void
check_lane(struct check *c)
{
    const char  *key = out_text(c, "order_key");

    if (!order_key_is_fit(key)) {
        check_fault(c, "order_key", "path", "must be the name of a reference "
            "as patient_id, or a path into the event such as "
            ".payload.patient.id");
    }

    if (!out_true(c, "is_batch")) {
        return;
    }

    if (strcmp(out_text(c, "transport"), "mllp") == 0
        || strcmp(out_text(c, "request_type"), "GET") == 0)
    {
        check_fault(c, "is_batch", "transport",
            "a batch is a body: transport http, not GET");
    }

    if (key[0] != '\0') {
        check_fault(c, "order_key", "is_batch",
            "a batch mixes keys: leave one of the two out");
    }
}


/* Why it is off is said as long as it stays off: a 410's waiting logs are
 * cancelled by that. */
static void
keep_reason(struct check *c)
{
    const json_t  *reason = json_object_get(c->old, "disabled_reason");

    if (reason != NULL && json_is_false(json_object_get(c->out, "enabled"))
        && json_is_false(json_object_get(c->old, "enabled")))
    {
        (void) json_object_set_new(c->out, "disabled_reason",
            json_deep_copy(reason));
    }
}


static void
check_unknown(struct check *c)
{
    const char  *name;
    json_t      *v;
    bool         known;

    json_object_foreach((json_t *) c->in, name, v) {
        known = false;

        for (size_t i = 0; i < INTEGRATION_FIELDS && !known; i++) {
            known = strcmp(name, integration_fields[i].name) == 0;
        }

        for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
            known = known || strcmp(name, kept[i]) == 0;
        }

        if (!known) {
            char  shown[64];

            (void) snprintf(shown, sizeof(shown), "%.60s", name);
            check_fault(c, shown, "unknown", "is no field of an integration");
        }
    }
}


enum result
integration_check(const json_t *in, const json_t *old, struct slice id,
    const struct secret *secret, struct jq_child *jq,
    const struct config *config, json_t **out,
    struct integration_fault *faults, size_t max, size_t *n)
{
    struct check   c = { .in = in, .old = old, .id = id, .secret = secret,
        .jq = jq, .config = config, .faults = faults, .max = max };
    const json_t  *secrets = json_object_get(old, "signing_secrets");

    *n = 0;
    *out = NULL;

    if (!json_is_object(in)) {
        check_fault(&c, "", "type", "must be an object");
        *n = c.n;
        return RESULT_INVALID;
    }

    c.out = json_object();
    if (c.out == NULL) {
        return RESULT_MEMORY;
    }

    redact_init(&c.redact, config->redact_headers, config->redact_args);

    if (c.redact.rules.all) {
        check_fault(&c, "headers", "config", "cannot be kept: redact_headers "
            "or redact_args of the configuration is too long");
    }

    check_unknown(&c);

    for (size_t i = 0; i < INTEGRATION_FIELDS; i++) {
        take_field(&c, &integration_fields[i]);
    }

    check_headers(&c);
    (void) json_object_set_new(c.out, "signing_secrets",
        secrets == NULL ? json_array() : json_deep_copy(secrets));

    if (strcmp(out_text(&c, "transport"), "mllp") == 0) {
        check_mllp(&c);
    } else {
        check_http(&c);
        check_bearer(&c);
    }

    check_lane(&c);
    keep_reason(&c);

    if ((out_text(&c, "client_cert")[0] == '\0')
        != (out_text(&c, "client_key")[0] == '\0'))
    {
        check_fault(&c, "client_key", "required",
            "client_cert and client_key belong together");
    }

    *n = c.n;

    if (c.n > 0) {
        json_decref(c.out);
        return RESULT_INVALID;
    }

    *out = c.out;
    return RESULT_OK;
}
