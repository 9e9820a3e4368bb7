/*
 * The fields of an integration: one table (name, type, place, bounds, default,
 * sentence) that checks what comes in, fills the snapshot and prints the
 * reference.  What no single field can say stands in integration_send.c and
 * in the cross checks below.
 */

#include "integration.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "clock.h"
#include "hl7_map.h"
#include "http_outcome.h"
#include "jq_child.h"
#include "log.h"

enum field_type { F_TEXT, F_INT, F_BOOL, F_WORD, F_SECRET, F_JQ, F_URL,
                  F_SCHEDULE, F_PEM };

struct field {
    const char       *name;
    enum field_type   type;
    size_t            offset;
    int64_t           min, max;            /* of a number; length of a text */
    const char       *standard;            /* default as text; NULL: required */
    const char       *words;               /* F_WORD: "a|b", index is stored */
    const char       *help;
};

#define AT(member)  offsetof(struct integration, member)

static const struct field  fields[] = {
    { "name", F_TEXT, AT(name), 1, 200, NULL, NULL,
        "What people call it; the endpoint of its logs." },
    { "org_id", F_INT, AT(org_id), 0, INT64_MAX, NULL, NULL, "Its owner." },
    { "lab_id", F_INT, AT(lab_id), 0, INT64_MAX, NULL, NULL,
        "Whose events it receives." },
    { "action_id", F_INT, AT(action_id), 0, INT64_MAX, NULL, NULL,
        "Which events it receives." },
    { "developer_id", F_TEXT, AT(developer_id), 0, 64, "", NULL,
        "The partner behind the endpoint; disabled, it holds deliveries." },
    { "enabled", F_BOOL, AT(enabled), 0, 0, "true", NULL,
        "Off: deliveries are held, not lost." },
    { "transport", F_WORD, AT(transport), 0, 0, "http", "http|mllp",
        "How it is reached." },
    { "is_auto_retry", F_BOOL, AT(is_auto_retry), 0, 0, "true", NULL,
        "Off: one attempt." },
    { "is_logs_disabled", F_BOOL, AT(is_logs_disabled), 0, 0, "false", NULL,
        "On: delivered and counted, bodies are not kept." },
    { "filter", F_JQ, AT(filter), 0, JQ_MAX_PROGRAM, "", NULL,
        "jq over the event; false, null or nothing: not for this one." },
    { "transform", F_JQ, AT(transform), 0, JQ_MAX_PROGRAM, "", NULL,
        "jq over the event with one output, the payload; its numbers are doubles, "
        "long ids go as text.  Empty: as it came; mllp: the message of its action." },
    { "priority", F_INT, AT(priority), 0, 2, "1", NULL,
        "2 HIGH, 1 MODERATE, 0 LOW, where the event says nothing." },
    { "ordered", F_BOOL, AT(ordered), 0, 0, "false", NULL,
        "The next delivery begins only after the one before has ended." },
    { "order_key", F_TEXT, AT(order_key), 0, 200, "", NULL,
        "ordered: only among equal values of this reference (patient_id) or "
        "member of the event (.payload.patient.id)." },
    { "on_fail", F_WORD, AT(on_fail), 0, 0, "auto", "auto|skip|hold",
        "ordered: after a failure the next goes (skip) or all wait until it "
        "is sent again or cancelled (hold); auto: hold, mllp: skip." },
    { "is_batch", F_BOOL, AT(is_batch), 0, 0, "false", NULL,
        "http: several events are sent together as one JSON array." },
    { "batch_size", F_INT, AT(batch_size), 1, 1000, "100", NULL,
        "is_batch: so many events close a batch; 1 MB does too." },
    { "batch_window_ms", F_INT, AT(batch_window_ms), 0, 86400000, "5000",
        NULL, "is_batch: how long the first event waits for others." },
    { "schedule", F_SCHEDULE, AT(schedule_text), 0, 400, "", NULL,
        "Delays between attempts such as 5s,5m,2h; empty: the transport's." },
    { "concurrency", F_INT, AT(concurrency), 1, 256, "10", NULL,
        "Sends in flight at once; mllp: one." },
    { "rate_per_s", F_INT, AT(rate_per_s), 0, 100000, "0", NULL,
        "Sends a second by all dispatchers together; 0: no limit." },

    { "url", F_URL, AT(url), 0, 4096, "", NULL,
        "http: where to; https, or http with allow_http." },
    { "request_type", F_TEXT, AT(method), 0, 8, "POST", NULL,
        "http: GET, POST, PUT, PATCH or DELETE." },
    { "content_type", F_TEXT, AT(content_type), 0, 200, "application/json",
        NULL, "http: Content-Type of the payload." },
    { "allow_http", F_BOOL, AT(plain_allowed), 0, 0, "false", NULL,
        "http: take http:// too." },
    { "proxy", F_TEXT, AT(proxy), 0, 500, "", NULL,
        "http: a forward proxy, which must guard addresses itself." },
    { "auth", F_WORD, AT(auth), 0, 0, "none", "none|basic|bearer|oauth2",
        "http: how we sign in." },
    { "auth_user", F_TEXT, AT(user), 0, 500, "", NULL,
        "http: user of basic, client id of oauth2." },
    { "auth_secret", F_SECRET, AT(secret), 0, 4096, "", NULL,
        "http: password, bearer token or client secret; write-only." },
    { "token_url", F_URL, AT(token_url), 0, 4096, "", NULL,
        "http: token endpoint of oauth2 (client credentials)." },
    { "scope", F_TEXT, AT(scope), 0, 1000, "", NULL,
        "http: scope asked of oauth2." },
    { "client_cert", F_PEM, AT(cert_pem), 0, 65536, "", NULL,
        "PEM of our certificate for mutual TLS." },
    { "client_key", F_SECRET, AT(key_pem), 0, 32768, "", NULL,
        "PEM of its key; write-only." },
    { "ca_cert", F_PEM, AT(ca_pem), 0, 262144, "", NULL,
        "PEM of the CA that certifies the endpoint; empty: the system's." },
    { "connect_timeout_ms", F_INT, AT(connect_ms), 100, 30000, "5000", NULL,
        "How long connecting may take." },
    { "timeout_ms", F_INT, AT(total_ms), 1000, 30000, "15000", NULL,
        "http: how long an attempt may take in all." },

    { "host", F_TEXT, AT(host), 0, 253, "", NULL, "mllp: name or address." },
    { "port", F_INT, AT(port), 0, 65535, "0", NULL, "mllp: TCP port." },
    { "tls", F_BOOL, AT(tls), 0, 0, "false", NULL, "mllp: over TLS." },
    { "mllp_release_2", F_BOOL, AT(release_2), 0, 0, "false", NULL,
        "mllp: release 2, every frame is committed." },
    { "lenient_end", F_BOOL, AT(lenient_end), 0, 0, "false", NULL,
        "mllp: take FS LF as the end of a frame." },
    { "hl7_raw", F_BOOL, AT(hl7_raw), 0, 0, "false", NULL,
        "mllp: the payload is the text of a message; else it is built." },
    { "ack", F_WORD, AT(ack_want), 0, 0, "app", "app|commit|both|none",
        "mllp: which acknowledgement ends a delivery." },
    { "ack_profile", F_WORD, AT(ack_profile), 0, 0, "mirth", "mirth|standard",
        "mllp: AR is final (mirth) or tried again (standard)." },
    { "ack_check_id", F_WORD, AT(ack_check_id), 0, 0, "strict",
        "strict|warn|off", "mllp: must MSA-2 repeat our MSH-10?" },
    { "ack_duplicate", F_BOOL, AT(ack_duplicate), 0, 0, "true", NULL,
        "mllp: AE with 205 after a lost answer is a success." },
    { "charset", F_WORD, AT(charset), 0, 0, "UTF-8", "UTF-8|ISO-8859-1",
        "mllp: MSH-18." },
    { "hl7_version", F_TEXT, AT(hl7_version), 0, 10, "2.5.1", NULL,
        "mllp: MSH-12." },
    { "sending_application", F_TEXT, AT(sending_app), 0, 180, "IDASH", NULL,
        "mllp: MSH-3." },
    { "sending_facility", F_TEXT, AT(sending_facility), 0, 180, "", NULL,
        "mllp: MSH-4." },
    { "receiving_application", F_TEXT, AT(receiving_app), 0, 180, "", NULL,
        "mllp: MSH-5." },
    { "receiving_facility", F_TEXT, AT(receiving_facility), 0, 180, "", NULL,
        "mllp: MSH-6." },
    { "processing_id", F_TEXT, AT(processing_id), 0, 1, "P", NULL,
        "mllp: MSH-11, P or T." },
    { "ack_first_byte_ms", F_INT, AT(first_byte_ms), 100, 120000, "15000",
        NULL, "mllp: how long the first byte of the answer may take." },
    { "ack_timeout_ms", F_INT, AT(ack_ms), 100, 120000, "30000", NULL,
        "mllp: how long the whole answer may take." },
};

#define NFIELDS  (sizeof(fields) / sizeof(fields[0]))

/* Kept beside the table's: not for clients to write. */
static const char *const  kept[] = { "headers", "signing_secrets",
    "disabled_reason" };

struct check {
    const json_t              *in, *old;
    json_t                    *out;
    struct slice               id;
    const struct secret       *secret;
    struct jq_child           *jq;
    const char                *ports;
    struct integration_fault  *faults;
    size_t                     max, n;
};


static void
fault(struct check *c, const char *name, const char *code, const char *fmt,
    ...) __attribute__((format(printf, 4, 5)));

static void
fault(struct check *c, const char *name, const char *code, const char *fmt,
    ...)
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


/* The index of a word in "a|b|c", or -1. */
static int
word_index(const char *words, struct slice word)
{
    const char  *p = words;
    size_t       n;

    for (int i = 0; ; i++) {
        n = strcspn(p, "|");
        if (slice_eq((struct slice) { p, n }, word)) {
            return i;
        }

        if (p[n] == '\0') {
            return -1;
        }

        p += n + 1;
    }
}


static struct slice
json_slice(const json_t *v)
{
    return (struct slice) { json_string_value(v), json_string_length(v) };
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
        fault(c, f->name, "range", "must be a whole number from %lld to %lld",
            (long long) f->min, (long long) f->max);
    }
}


static bool
check_length(struct check *c, const struct field *f, const json_t *v)
{
    if (!json_is_string(v)) {
        fault(c, f->name, "type", "must be text");
        return false;
    }

    if ((int64_t) json_string_length(v) > f->max
        || (int64_t) json_string_length(v) < f->min
        || memchr(json_string_value(v), '\0', json_string_length(v)) != NULL)
    {
        fault(c, f->name, "length", "must have %lld to %lld bytes, no NUL",
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
        fault(c, f->name, "jq", "%.200s", text == NULL ? "" : text);
        free(text);
    }

    buf_cleanup(&message);
}


static void
check_url(struct check *c, const struct field *f, const json_t *v)
{
    const char  *why;
    bool         literal, plain;

    plain = json_is_true(json_object_get(c->in, "allow_http"));

    if (json_string_length(v) > 0
        && http_url_check(json_string_value(v), plain, c->ports, &literal,
               &why) != RESULT_OK)
    {
        fault(c, f->name, "url", "%s", why);
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

    } else if (f->type == F_URL) {
        check_url(c, f, v);

    } else if (f->type == F_SCHEDULE && json_string_length(v) > 0
               && retry_schedule_parse(json_slice(v), &schedule, &why)
                      != RESULT_OK)
    {
        fault(c, f->name, "schedule", "%s", why);

    } else if (f->type == F_PEM && json_string_length(v) > 0
               && strstr(json_string_value(v), "-----BEGIN") == NULL)
    {
        fault(c, f->name, "pem", "must be PEM: -----BEGIN ...");
    }
}


static void
secret_place(struct slice id, const char *name, char place[160])
{
    (void) snprintf(place, 160, "labIntegration/%.*s/%s", SLICE_ARG(id), name);
}


/* What is given is what is there: the same write twice changes nothing. */
static bool
secret_stays(struct check *c, const struct field *f, const char *place,
    struct slice given)
{
    const json_t  *v = json_object_get(c->old, f->name);
    struct buf     plain;
    bool           same;

    if (json_string_length(v) == 0) {
        return false;
    }

    buf_init(&plain, 256 * 1024);
    same = seal_open(c->secret, slice_of(place), json_slice(v), &plain)
               == RESULT_OK
           && plain.n == given.n && CRYPTO_memcmp(plain.p, given.p, given.n)
                                        == 0;

    if (plain.p != NULL) {
        OPENSSL_cleanse(plain.p, plain.n);
    }

    buf_cleanup(&plain);

    if (same) {
        (void) json_object_set_new(c->out, f->name, json_deep_copy(v));
    }

    return same;
}


/* Seals what is new; what was there stays when nothing is given. */
static void
take_secret(struct check *c, const struct field *f, const json_t *v)
{
    struct buf   sealed;
    char         place[160];
    char        *text;

    if (v == NULL || json_is_object(v)) {
        v = json_object_get(c->old, f->name);
        (void) json_object_set_new(c->out, f->name,
            v == NULL ? json_string("") : json_deep_copy(v));
        return;
    }

    if (!check_length(c, f, v)) {
        return;
    }

    if (json_string_length(v) == 0) {
        (void) json_object_set_new(c->out, f->name, json_string(""));
        return;
    }

    secret_place(c->id, f->name, place);

    if (secret_stays(c, f, place, json_slice(v))) {
        return;
    }

    buf_init(&sealed, 256 * 1024);

    if (seal_close(c->secret, slice_of(place), json_slice(v), &sealed)
        != RESULT_OK || (text = buf_take(&sealed, NULL)) == NULL)
    {
        fault(c, f->name, "seal", "cannot be sealed now");

    } else {
        (void) json_object_set_new(c->out, f->name, json_string(text));
        free(text);
    }

    buf_cleanup(&sealed);
}


static void
take_field(struct check *c, const struct field *f)
{
    const json_t  *v = json_object_get(c->in, f->name);

    if (f->type == F_SECRET) {
        take_secret(c, f, v);
        return;
    }

    if (v == NULL) {
        if (f->standard == NULL) {
            fault(c, f->name, "required", "is required");
        } else {
            (void) json_object_set_new(c->out, f->name, standard_value(f));
        }

        return;
    }

    if (f->type == F_INT) {
        check_int(c, f, v);

    } else if (f->type == F_BOOL) {
        if (!json_is_boolean(v)) {
            fault(c, f->name, "type", "must be true or false");
        }

    } else if (f->type == F_WORD) {
        if (!json_is_string(v) || word_index(f->words, json_slice(v)) == -1) {
            fault(c, f->name, "word", "must be one of %s", f->words);
        }

    } else {
        check_text(c, f, v);
    }

    (void) json_object_set(c->out, f->name, (json_t *) v);
}


/* -- headers and cross checks -------------------------------------------- */

static void
take_headers(struct check *c)
{
    const json_t  *list = json_object_get(c->in, "headers"), *pair;
    const char    *why;
    size_t         i;

    if (list == NULL) {
        (void) json_object_set_new(c->out, "headers", json_array());
        return;
    }

    if (!json_is_array(list) || json_array_size(list) > SEND_MAX_HEADERS) {
        fault(c, "headers", "type", "must be a list of at most %d pairs "
            "[\"Name\",\"value\"]", SEND_MAX_HEADERS);
        return;
    }

    json_array_foreach((json_t *) list, i, pair) {
        char  name[32];

        (void) snprintf(name, sizeof(name), "headers/%zu", i);

        if (json_array_size(pair) != 2
            || !json_is_string(json_array_get(pair, 0))
            || !json_is_string(json_array_get(pair, 1)))
        {
            fault(c, name, "type", "must be [\"Name\",\"value\"]");

        } else if (http_header_check(json_slice(json_array_get(pair, 0)),
                       json_slice(json_array_get(pair, 1)), &why)
                   != RESULT_OK)
        {
            fault(c, name, "header", "%s", why);
        }
    }

    (void) json_object_set(c->out, "headers", (json_t *) list);
}


static const char *
out_text(const struct check *c, const char *name)
{
    const char  *text = json_string_value(json_object_get(c->out, name));

    return text == NULL ? "" : text;
}


/* "" or scheme://host..: printable, for it is written into requests. */
static bool
proxy_is_fit(const char *proxy)
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

    return known;
}


static void
check_http(struct check *c)
{
    static const char *const  methods[] = { "GET", "POST", "PUT", "PATCH",
        "DELETE" };
    const char  *auth = out_text(c, "auth"), *why;
    bool         known = false;

    for (size_t i = 0; i < 5; i++) {
        known = known || strcmp(out_text(c, "request_type"), methods[i]) == 0;
    }

    if (!known) {
        fault(c, "request_type", "word",
            "must be one of GET|POST|PUT|PATCH|DELETE");
    }

    if (out_text(c, "url")[0] == '\0') {
        fault(c, "url", "required", "is required when transport is http");
    }

    if (http_header_check(SLICE_LIT("Content-Type"),
            slice_of(out_text(c, "content_type")), &why) != RESULT_OK)
    {
        fault(c, "content_type", "header", "%s", why);
    }

    if (!proxy_is_fit(out_text(c, "proxy"))) {
        fault(c, "proxy", "url",
            "must be http, https, socks5 or socks5h://host:port");
    }

    if (strcmp(auth, "none") != 0 && out_text(c, "auth_secret")[0] == '\0') {
        fault(c, "auth_secret", "required", "is required when auth is %s",
            auth);
    }

    if ((strcmp(auth, "basic") == 0 || strcmp(auth, "oauth2") == 0)
        && out_text(c, "auth_user")[0] == '\0')
    {
        fault(c, "auth_user", "required", "is required when auth is %s", auth);
    }

    if (strcmp(auth, "oauth2") == 0 && out_text(c, "token_url")[0] == '\0') {
        fault(c, "token_url", "required", "is required when auth is oauth2");
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
        fault(c, "auth_secret", "header", "%s", why);
    }
}


static void
check_mllp(struct check *c)
{
    const char  *p = out_text(c, "processing_id");

    if (out_text(c, "host")[0] == '\0') {
        fault(c, "host", "required", "is required when transport is mllp");
    }

    if (json_integer_value(json_object_get(c->out, "port")) == 0) {
        fault(c, "port", "required", "is required when transport is mllp");
    }

    if (strcmp(p, "P") != 0 && strcmp(p, "T") != 0 && strcmp(p, "D") != 0) {
        fault(c, "processing_id", "word", "must be one of P|T|D");
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
        fault(c, "order_key", "path", "must be the name of a reference such "
            "as patient_id, or a path into the event such as "
            ".payload.patient.id");
    }

    if (!out_true(c, "is_batch")) {
        return;
    }

    if (strcmp(out_text(c, "transport"), "mllp") == 0
        || strcmp(out_text(c, "request_type"), "GET") == 0)
    {
        fault(c, "is_batch", "transport",
            "a batch is a body: transport http, not GET");
    }

    if (key[0] != '\0') {
        fault(c, "order_key", "is_batch",
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

        for (size_t i = 0; i < NFIELDS && !known; i++) {
            known = strcmp(name, fields[i].name) == 0;
        }

        for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
            known = known || strcmp(name, kept[i]) == 0;
        }

        if (!known) {
            char  shown[64];

            (void) snprintf(shown, sizeof(shown), "%.60s", name);
            fault(c, shown, "unknown", "is no field of an integration");
        }
    }
}


enum result
integration_check(const json_t *in, const json_t *old, struct slice id,
    const struct secret *secret, struct jq_child *jq, const char *allow_ports,
    json_t **out, struct integration_fault *faults, size_t max, size_t *n)
{
    struct check   c = { .in = in, .old = old, .id = id, .secret = secret,
        .jq = jq, .ports = allow_ports, .faults = faults, .max = max };
    const json_t  *secrets = json_object_get(old, "signing_secrets");

    *n = 0;
    *out = NULL;

    if (!json_is_object(in)) {
        fault(&c, "", "type", "must be an object");
        *n = c.n;
        return RESULT_INVALID;
    }

    c.out = json_object();
    if (c.out == NULL) {
        return RESULT_MEMORY;
    }

    check_unknown(&c);

    for (size_t i = 0; i < NFIELDS; i++) {
        take_field(&c, &fields[i]);
    }

    take_headers(&c);
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
        fault(&c, "client_key", "required",
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


/* -- what clients see ---------------------------------------------------- */

json_t *
integration_public(const json_t *stored)
{
    json_t        *out = json_deep_copy(stored), *list, *item;
    const json_t  *v;
    size_t         i;

    if (out == NULL) {
        return NULL;
    }

    for (i = 0; i < NFIELDS; i++) {
        if (fields[i].type == F_SECRET) {
            v = json_object_get(out, fields[i].name);
            (void) json_object_set_new(out, fields[i].name,
                json_pack("{s:b}", "set", json_string_length(v) > 0));
        }
    }

    list = json_object_get(out, "signing_secrets");

    json_array_foreach(list, i, item) {
        (void) json_object_del(item, "sealed");
    }

    return out;
}


/* Every sentence of the table is a YAML scalar in quotes. */
static void
print_quoted(const char *key, const char *text)
{
    (void) printf("          %s: \"", key);

    for ( ; *text != '\0'; text++) {
        (void) printf(*text == '"' || *text == '\\' ? "\\%c" : "%c", *text);
    }

    (void) printf("\"\n");
}


static void
print_number(const struct field *f)
{
    (void) printf("          type: integer\n          minimum: %lld\n",
        (long long) f->min);

    if (f->max != INT64_MAX) {
        (void) printf("          maximum: %lld\n", (long long) f->max);
    }

    if (f->standard != NULL) {
        (void) printf("          default: %s\n", f->standard);
    }
}


static void
print_word(const struct field *f)
{
    (void) printf("          enum: [");

    for (const char *p = f->words; ; p++) {
        size_t  n = strcspn(p, "|");

        (void) printf("\"%.*s\"", (int) n, p);
        p += n;

        if (*p == '\0') {
            break;
        }

        (void) printf(", ");
    }

    (void) printf("]\n          default: \"%s\"\n", f->standard);
}


static void
print_text(const struct field *f)
{
    (void) printf("          type: string\n");

    if (f->min > 0) {
        (void) printf("          minLength: %lld\n", (long long) f->min);
    }

    (void) printf("          maxLength: %lld\n", (long long) f->max);

    if (f->standard != NULL && f->standard[0] != '\0') {
        (void) printf("          default: \"%s\"\n", f->standard);
    }
}


void
integration_print_openapi(void)
{
    for (size_t i = 0; i < NFIELDS; i++) {
        const struct field  *f = &fields[i];

        (void) printf("        %s:\n", f->name);
        print_quoted("description", f->help);

        switch (f->type) {
        case F_INT:
            print_number(f);
            break;
        case F_BOOL:
            (void) printf("          type: boolean\n          default: %s\n",
                f->standard);
            break;
        case F_WORD:
            print_word(f);
            break;
        case F_SECRET:
            (void) printf("          oneOf:\n"
                "            - { type: string, maxLength: %lld }\n"
                "            - { $ref: \"#/components/schemas/SecretSet\" }\n",
                (long long) f->max);
            break;
        default:
            print_text(f);
            break;
        }
    }
}


/* -- the snapshot -------------------------------------------------------- */

static bool
load_field(struct integration *i, const struct field *f, const json_t *v)
{
    char          *at = (char *) i + f->offset;
    struct slice   text;
    int            word;

    switch (f->type) {

    case F_INT:
        memcpy(at, &(int64_t) { json_is_integer(v) ? json_integer_value(v)
            : f->standard != NULL ? strtoll(f->standard, NULL, 10)
                                  : LOGDOC_NONE }, sizeof(int64_t));
        return true;

    case F_BOOL:
        *(bool *) at = json_is_boolean(v) ? json_is_true(v)
                                          : f->standard[0] == 't';
        return true;

    case F_WORD:
        word = word_index(f->words, json_is_string(v) ? json_slice(v)
                                        : slice_of(f->standard));
        memcpy(at, &(int) { word < 0 ? 0 : word }, sizeof(int));
        return true;

    default:
        text = arena_copy(&i->arena, json_is_string(v) ? json_slice(v)
            : slice_of(f->standard == NULL ? "" : f->standard));
        memcpy(at, &text, sizeof(text));
        return text.p != NULL;
    }
}


static bool
load_headers(struct integration *i, const json_t *list)
{
    const json_t  *pair;
    size_t         n;

    json_array_foreach((json_t *) list, n, pair) {
        struct integration_header  *h;

        if (i->nheaders == SEND_MAX_HEADERS) {
            break;
        }

        h = &i->headers[i->nheaders++];
        h->name = arena_copy(&i->arena, json_slice(json_array_get(pair, 0)));
        h->value = arena_copy(&i->arena, json_slice(json_array_get(pair, 1)));

        if (h->name.p == NULL || h->value.p == NULL) {
            return false;
        }
    }

    return true;
}


static bool
load_secrets(struct integration *i, const json_t *list)
{
    const json_t  *item;
    const char    *until;
    size_t         n;

    json_array_foreach((json_t *) list, n, item) {
        if (i->nsecrets == SIGN_MAX_KEYS) {
            break;
        }

        until = json_string_value(json_object_get(item, "until"));
        i->secret_until_us[i->nsecrets] = LOGDOC_NONE;

        if (until != NULL
            && clock_parse(until, &i->secret_until_us[i->nsecrets])
                   != RESULT_OK)
        {
            i->secret_until_us[i->nsecrets] = 0;
        }

        i->secrets[i->nsecrets] = arena_copy(&i->arena,
            json_slice(json_object_get(item, "sealed")));

        if (i->secrets[i->nsecrets++].p == NULL) {
            return false;
        }
    }

    return true;
}


static void
load_schedule(struct integration *i)
{
    struct retry_schedule  own;
    const char            *why;

    i->schedule = i->transport == INTEGRATION_MLLP ? retry_hl7 : retry_webhook;
    own = i->schedule;
    own.endless = false;

    if (i->schedule_text.n > 0
        && retry_schedule_parse(i->schedule_text, &own, &why) == RESULT_OK)
    {
        i->schedule = own;
    }

    if (i->transport == INTEGRATION_MLLP) {
        i->concurrency = 1;
        i->ordered = true;
        i->is_batch = false;
    }

    i->holds = i->ordered && (i->on_fail == ON_FAIL_HOLD
                              || (i->on_fail == ON_FAIL_AUTO
                                  && i->transport == INTEGRATION_HTTP));
}


struct slice
integration_program(const struct integration *i, struct slice transform,
    const json_t *event)
{
    const json_t  *payload = json_object_get(event, "payload");
    bool           message = json_is_array(json_object_get(payload,
        "segments"));

    return transform.n == 0 && i->transport == INTEGRATION_MLLP && !i->hl7_raw
        && !message ? hl7_map() : transform;
}



enum result
integration_load(const struct store_doc *d, struct integration **out)
{
    struct integration  *i;
    json_t              *body;
    bool                 ok;

    i = calloc(1, sizeof(*i));
    if (i == NULL) {
        return RESULT_MEMORY;
    }

    arena_init(&i->arena, 2 * 1024 * 1024);
    body = json_loadb(d->body.p, d->body.n, 0, NULL);
    i->version = d->version;
    i->id = arena_copy(&i->arena, d->id);
    ok = i->id.p != NULL && json_is_object(body);

    for (size_t n = 0; n < NFIELDS && ok; n++) {
        ok = load_field(i, &fields[n], json_object_get(body, fields[n].name));
    }

    i->gone = !i->enabled && slice_eq(json_slice(json_object_get(body,
        "disabled_reason")), SLICE_LIT("gone"));
    ok = ok && load_headers(i, json_object_get(body, "headers"))
         && load_secrets(i, json_object_get(body, "signing_secrets"));
    json_decref(body);

    if (!ok) {
        integration_free(i);
        return RESULT_INVALID;
    }

    load_schedule(i);
    *out = i;
    return RESULT_OK;
}


void
integration_free(struct integration *i)
{
    if (i != NULL) {
        arena_cleanup(&i->arena);
        free(i);
    }
}


/* -- changes by ourselves ------------------------------------------------ */

enum result
integration_rotate(json_t *stored, struct slice id,
    const struct secret *secret, int64_t overlap_us, char plain[64])
{
    json_t      *list = json_object_get(stored, "signing_secrets"), *item;
    struct buf   sealed;
    char         place[160], now[CLOCK_RFC3339 + 1], until[CLOCK_RFC3339 + 1];
    char        *text;
    size_t       i;
    enum result  r;

    buf_init(&sealed, 4096);
    secret_place(id, "signing_secret", place);
    clock_text(clock_wall_us(), now);
    clock_text(clock_wall_us() + overlap_us, until);

    r = sign_key_make(plain);
    r = r != RESULT_OK ? r : seal_close(secret, slice_of(place),
        slice_of(plain), &sealed);
    text = r == RESULT_OK ? buf_take(&sealed, NULL) : NULL;

    if (text == NULL) {
        return r == RESULT_OK ? RESULT_MEMORY : r;
    }

    json_array_foreach(list, i, item) {
        if (json_is_null(json_object_get(item, "until"))) {
            (void) json_object_set_new(item, "until", json_string(until));
        }
    }

    (void) json_array_insert_new(list, 0, json_pack("{s:s,s:s,s:n}", "sealed",
        text, "created_at", now, "until"));

    while (json_array_size(list) > SIGN_MAX_KEYS) {
        (void) json_array_remove(list, SIGN_MAX_KEYS);
    }

    free(text);
    return RESULT_OK;
}


enum result
integration_disable(struct store *s, struct slice id, const char *reason)
{
    struct store_doc  d;
    struct arena      a;
    json_t           *body;
    char             *text = NULL;
    int64_t           version;
    enum result       r;

    arena_init(&a, 4 * 1024 * 1024);

    for (int i = 0; i < 3; i++) {
        arena_reset(&a);
        r = store_doc_get(s, STORE_INTEGRATION, id, &a, &d);

        if (r != RESULT_OK) {
            break;
        }

        body = json_loadb(d.body.p, d.body.n, 0, NULL);

        if (json_is_false(json_object_get(body, "enabled"))) {
            json_decref(body);
            break;
        }

        (void) json_object_set_new(body, "enabled", json_false());
        (void) json_object_set_new(body, "disabled_reason",
            json_string(reason));
        text = json_dumps(body, JSON_COMPACT);
        json_decref(body);

        if (text == NULL) {
            r = RESULT_MEMORY;
            break;
        }

        d.body = slice_of(text);
        d.updated_us = clock_wall_us();
        r = store_doc_put(s, STORE_INTEGRATION, &d, d.version, &version);
        free(text);

        /* somebody else changed it meanwhile: again on what is there now */
        if (r != RESULT_CONFLICT) {
            break;
        }
    }

    arena_cleanup(&a);
    return r;
}
