/*
 * Foreign bytes as URI, header block and value, under fixed rules and under
 * rules made of them: spans in order, lengths true, and no secret left.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ngx_http_capture_redact.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef void (*redact_pt)(const struct capture_rules *r, const char *p,
    size_t len, struct capture_spans *spans);


static char *
masked(redact_pt redact, const struct capture_rules *rules, const char *p,
    size_t len, size_t *out_len)
{
    struct capture_spans  spans;
    size_t                at = 0;
    char                 *out;

    redact(rules, p, len, &spans);

    for (unsigned i = 0; i < spans.n; i++) {
        if (spans.at[i].off < at || spans.at[i].len == 0
            || spans.at[i].off + (size_t) spans.at[i].len > len)
        {
            abort();
        }
        at = spans.at[i].off + (size_t) spans.at[i].len;
    }

    *out_len = capture_spans_length(&spans, len);
    out = malloc(*out_len + 1);
    if (out == NULL || capture_spans_copy(&spans, p, len, out)
                       != out + *out_len)
    {
        abort();
    }

    return out;
}


static void
once(redact_pt redact, const struct capture_rules *rules, const char *p,
    size_t len)
{
    size_t  n;

    free(masked(redact, rules, p, len, &n));
}


/* Whatever stands before it, an argument after & is hidden. */
static void
canary(const struct capture_rules *rules, const char *p, size_t len)
{
    static const char  secret[] = "&token=CANARY";
    char              *text, *out;
    size_t             n;

    text = malloc(len + sizeof(secret) + 2);
    if (text == NULL) {
        abort();
    }

    text[0] = '?';
    memcpy(text + 1, p, len);
    memcpy(text + 1 + len, secret, sizeof(secret) - 1);
    out = masked(capture_redact_uri, rules, text, len + sizeof(secret), &n);

    if (memmem(p, len, "CANARY", 6) == NULL
        && memmem(out, n, "CANARY", 6) != NULL)
    {
        abort();
    }

    free(out);
    free(text);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct capture_name  headers[] = { { "cookie", 6 } };
    static const struct capture_name  args[] = { { "token", 5 } };
    struct capture_rules              rules;
    uint8_t                           blob[256];
    size_t                            n;

    n = capture_rules_build(headers, 1, args, 1, blob, sizeof(blob));
    if (n == 0 || capture_rules_parse(&rules, blob, n) != 0) {
        abort();
    }

    once(capture_redact_uri, &rules, (const char *) data, size);
    once(capture_redact_headers, &rules, (const char *) data, size);
    once(capture_redact_value, &rules, (const char *) data, size);
    canary(&rules, (const char *) data, size);

    (void) capture_rules_parse(&rules, data, size);
    once(capture_redact_uri, &rules, "/a?b=c&token=d", 14);
    once(capture_redact_headers, &rules, "A: b\r\nCookie: c\r\n", 17);
    return 0;
}
