/*
 * Secrets in what people type, over the rules and the finder of the module:
 * both halves hide the same things.  Pure.
 */

#include "redact.h"

#include <string.h>

#define MAX_NAMES  CAPTURE_MAX_RULES


/* DEFAULTS and the words of MORE; 0: too many. */
static unsigned
names_split(const char *const *defaults, const char *more,
    struct capture_name *out)
{
    static const char  parts[] = ", \t\r\n";
    unsigned           n = 0;
    size_t             len;

    for ( /* void */ ; *defaults != NULL; defaults++) {
        out[n++] = (struct capture_name) { *defaults, strlen(*defaults) };
    }

    for (more = more == NULL ? "" : more; *more != '\0'; more += len) {
        more += strspn(more, parts);
        len = strcspn(more, parts);

        if (len > 0 && n == MAX_NAMES) {
            return 0;
        }

        if (len > 0) {
            out[n++] = (struct capture_name) { more, len };
        }
    }

    return n;
}


/* The bytes that the rules took in BLOB; 0: they do not fit. */
static size_t
rules_write(const char *headers, const char *args, uint8_t *blob)
{
    struct capture_name  h[MAX_NAMES], a[MAX_NAMES];
    unsigned             nh, na;
    size_t               n;

    nh = names_split(capture_default_headers, headers, h);
    na = names_split(capture_default_args, args, a);
    n = nh == 0 || na == 0 ? 0
        : capture_rules_build(h, nh, a, na, blob, REDACT_RULES);

    return n > REDACT_RULES ? 0 : n;
}


void
redact_init(struct redact *r, const char *headers, const char *args)
{
    size_t  n = rules_write(headers, args, r->blob);

    (void) capture_rules_parse(&r->rules, r->blob, n);
}


bool
redact_fits(const char *headers, const char *args)
{
    uint8_t  blob[REDACT_RULES];

    return rules_write(headers, args, blob) > 0;
}


bool
redact_header(const struct redact *r, struct slice name)
{
    struct capture_spans  spans;
    struct buf            line;

    buf_init(&line, 64 * 1024);
    (void) buf_addf(&line, "%.*s: x\r\n", SLICE_ARG(name));
    capture_redact_headers(&r->rules, line.failed ? "" : line.p, line.n,
        &spans);
    buf_cleanup(&line);

    return spans.n > 0;
}


bool
redact_url(const struct redact *r, struct slice url, struct buf *out)
{
    struct capture_spans  spans;
    size_t                at = 0;

    if (url.n == 0) {
        return false;
    }

    capture_redact_uri(&r->rules, url.p, url.n, &spans);

    for (unsigned i = 0; i < spans.n; i++) {
        (void) buf_add(out, url.p + at, spans.at[i].off - at);
        (void) buf_adds(out, REDACT_MASK);
        at = spans.at[i].off + spans.at[i].len;
    }

    if (spans.n > 0) {
        (void) buf_add(out, url.p + at, url.n - at);
    }

    return spans.n > 0;
}


/* What stands in front of a secret at OFF: "token=" of an argument, "" of what
 * is in front of the host. */
static struct slice
name_before(struct slice url, size_t off)
{
    size_t  at = off;

    while (at > 0 && strchr("?&;#/@", url.p[at - 1]) == NULL) {
        at--;
    }

    return (struct slice) { url.p + at, off - at };
}


/* The secret of URL that stands behind NAME for the NTH time. */
static struct slice
secret_named(const struct redact *r, struct slice url, struct slice name,
    unsigned nth)
{
    struct capture_spans  spans;

    spans.n = 0;

    if (url.n > 0) {
        capture_redact_uri(&r->rules, url.p, url.n, &spans);
    }

    for (unsigned i = 0; i < spans.n; i++) {
        if (slice_eq_nocase(name_before(url, spans.at[i].off), name)
            && nth-- == 0)
        {
            return (struct slice) { url.p + spans.at[i].off,
                spans.at[i].len };
        }
    }

    return SLICE_NONE;
}


/* How many secrets behind NAME are before the one at index N. */
static unsigned
nth_of(struct slice url, const struct capture_spans *spans, unsigned n,
    struct slice name)
{
    unsigned  before = 0;

    for (unsigned i = 0; i < n; i++) {
        before += slice_eq_nocase(name_before(url, spans->at[i].off), name);
    }

    return before;
}


enum result
redact_restore(const struct redact *r, struct slice url,
    struct slice before, struct buf *out)
{
    struct capture_spans  spans;
    struct slice          span, name;
    size_t                at = 0;

    spans.n = 0;

    if (url.n > 0) {
        capture_redact_uri(&r->rules, url.p, url.n, &spans);
    }

    for (unsigned i = 0; i < spans.n; i++) {
        span = (struct slice) { url.p + spans.at[i].off, spans.at[i].len };

        if (slice_eq(span, SLICE_LIT(REDACT_MASK))) {
            name = name_before(url, spans.at[i].off);
            span = secret_named(r, before, name,
                nth_of(url, &spans, i, name));
        }

        if (span.p == NULL) {
            return RESULT_NOT_FOUND;
        }

        (void) buf_add(out, url.p + at, spans.at[i].off - at);
        (void) buf_add(out, span.p, span.n);
        at = spans.at[i].off + spans.at[i].len;
    }

    (void) buf_add(out, url.p + at, url.n - at);
    return out->failed ? RESULT_TOO_BIG : RESULT_OK;
}
