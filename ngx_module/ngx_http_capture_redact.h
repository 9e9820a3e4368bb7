/*
 * Redaction: which bytes of a request line, a header block or a free value are
 * secret.  A rule set is made once by the configuration as a flat blob, lies in
 * the ring beside the frames (an adopter knows no old configuration) and is
 * read by the shipper.  Finding is apart from copying: the finder lists spans,
 * so that the length of the masked text is known before a byte is written.
 *
 * A value is replaced whole by CAPTURE_MASK; an empty one is left.  When in
 * doubt more is masked, never less: a list that overflows ends in one span to
 * the end of the text.
 */

#ifndef NGX_HTTP_CAPTURE_REDACT_H
#define NGX_HTTP_CAPTURE_REDACT_H

#include <stddef.h>
#include <stdint.h>

#define CAPTURE_MASK          "***"
#define CAPTURE_MASK_LEN      3
#define CAPTURE_MAX_RULE      128          /* bytes of one name in a rule set */
#define CAPTURE_MAX_RULES     256          /* names in one list */
#define CAPTURE_MAX_SPANS     64

/* What is masked when nobody says more; NULL ends. */
extern const char *const  capture_default_headers[];
extern const char *const  capture_default_args[];

struct capture_name {
    const char  *p;
    size_t       len;
};

/*
 * Builds the blob of two lists: HEADERS by name (case ignored, - and _ alike),
 * ARGS by name of query arguments (case ignored, percent decoded; a[name] and
 * name[] match too).  Both lists are all that is masked: the defaults of the
 * directives are the caller's.  Returns the bytes that the blob needs and
 * writes it when they are at most SIZE (BLOB may be NULL with SIZE 0); 0 when a
 * name is empty or longer than CAPTURE_MAX_RULE, or a list than
 * CAPTURE_MAX_RULES.
 */
size_t capture_rules_build(const struct capture_name *headers,
    unsigned nheaders, const struct capture_name *args, unsigned nargs,
    void *blob, size_t size);

/*
 * A parsed rule set; points into the blob, which must outlive it.  Parse
 * returns 0, or -1 when the blob is not one: then everything is masked.
 */
struct capture_rule_list {
    const uint8_t  *names;                 /* u16 length, bytes, .. */
    unsigned        n;
    uint64_t        lengths;               /* bit n: a name of n mod 64 bytes */
};

struct capture_rules {
    struct capture_rule_list  headers, args;
    int                       all;         /* unreadable: mask everything */
};

int capture_rules_parse(struct capture_rules *rules, const void *blob,
    size_t len);

/* Sorted, disjoint spans of secret bytes in a text of LEN bytes. */
struct capture_spans {
    unsigned  n;
    size_t    masked;                      /* bytes in the spans */
    struct {
        uint32_t  off, len;
    } at[CAPTURE_MAX_SPANS];
};

/* Texts are at most 4 GB; spans are set anew. */
void capture_redact_uri(const struct capture_rules *rules, const char *p,
    size_t len, struct capture_spans *spans);

/* A value that may be or hold an argument list: a capture_ref or _field. */
void capture_redact_value(const struct capture_rules *rules, const char *p,
    size_t len, struct capture_spans *spans);

/* "Name: value\r\n".. ; folded lines belong to the line above. */
void capture_redact_headers(const struct capture_rules *rules, const char *p,
    size_t len, struct capture_spans *spans);

/* Bytes of the masked text of LEN bytes. */
static inline size_t
capture_spans_length(const struct capture_spans *spans, size_t len)
{
    return len - spans->masked + (size_t) spans->n * CAPTURE_MASK_LEN;
}

/* Writes the masked text; returns the end of what was written. */
char *capture_spans_copy(const struct capture_spans *spans, const char *p,
    size_t len, char *out);

/*
 * One header line from *P on: name without, value without spaces around; moves
 * *P behind the line and what is folded under it.  Returns 0 at END.  A line
 * without a colon has name_len 0 and is all value.
 */
struct capture_line {
    const char  *name, *value;
    size_t       name_len, value_len;
};

int capture_line_next(const char **p, const char *end,
    struct capture_line *line);

#endif /* NGX_HTTP_CAPTURE_REDACT_H */
