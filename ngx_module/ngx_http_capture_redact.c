/*
 * Redaction: rule sets as blobs, and the finding of secret spans.  Pure: no
 * allocation, no input or output.  Names are compared folded: lower case, and
 * - . and space as _, since servers fold them so when they read arguments and
 * headers.  Arguments are looked for wherever one could start (after ? & ; #,
 * also percent-encoded inside another argument), user names and passwords in
 * front of the host of an absolute URL as well.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "ngx_http_capture_redact.h"

#include <string.h>

#define RULES_MAGIC   0x31525043u          /* "CPR1" */

const char *const  capture_default_headers[] = {
    "Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie",
    "X-Api-Key", NULL
};

const char *const  capture_default_args[] = {
    "access_token", "token", "api_key", "apikey", "password", NULL
};

struct rules_head {                        /* then headers, then arguments */
    uint32_t  magic;
    uint16_t  nheaders, nargs;
    uint32_t  headers_len, args_len;
};


static uint8_t
fold(uint8_t c)
{
    if (c >= 'A' && c <= 'Z') {
        return c | 0x20;
    }

    return c == '-' || c == '.' || c == ' ' || c == '\t' ? '_' : c;
}


/* Rule sets */

static size_t
names_length(const struct capture_name *names, unsigned n)
{
    size_t  total;

    total = 0;

    for (unsigned i = 0; i < n; i++) {
        if (names[i].len == 0 || names[i].len > CAPTURE_MAX_RULE) {
            return SIZE_MAX;
        }

        total += sizeof(uint16_t) + names[i].len;
    }

    return total;
}


static uint8_t *
names_write(uint8_t *out, const struct capture_name *names, unsigned n)
{
    uint16_t  len;

    for (unsigned i = 0; i < n; i++) {
        len = (uint16_t) names[i].len;
        memcpy(out, &len, sizeof(len));
        out += sizeof(len);

        for (unsigned k = 0; k < len; k++) {
            *out++ = fold((uint8_t) names[i].p[k]);
        }
    }

    return out;
}


size_t
capture_rules_build(const struct capture_name *headers, unsigned nheaders,
    const struct capture_name *args, unsigned nargs, void *blob, size_t size)
{
    struct rules_head  head;
    size_t             headers_len, args_len, need;
    uint8_t           *out;

    if (nheaders > CAPTURE_MAX_RULES || nargs > CAPTURE_MAX_RULES) {
        return 0;
    }

    headers_len = names_length(headers, nheaders);
    args_len = names_length(args, nargs);
    if (headers_len == SIZE_MAX || args_len == SIZE_MAX) {
        return 0;
    }

    need = sizeof(head) + headers_len + args_len;
    if (need > size) {
        return need;
    }

    head.magic = RULES_MAGIC;
    head.nheaders = (uint16_t) nheaders;
    head.nargs = (uint16_t) nargs;
    head.headers_len = (uint32_t) headers_len;
    head.args_len = (uint32_t) args_len;

    out = blob;
    memcpy(out, &head, sizeof(head));
    out = names_write(out + sizeof(head), headers, nheaders);
    (void) names_write(out, args, nargs);

    return need;
}


static int
list_parse(struct capture_rule_list *list, const uint8_t *p, size_t len,
    unsigned n)
{
    uint16_t  name;
    size_t    at;

    list->names = p;
    list->n = n;
    list->lengths = 0;

    at = 0;

    for (unsigned i = 0; i < n; i++) {
        if (len - at < sizeof(name)) {
            return -1;
        }

        memcpy(&name, p + at, sizeof(name));
        at += sizeof(name);

        if (name == 0 || name > CAPTURE_MAX_RULE || name > len - at) {
            return -1;
        }

        list->lengths |= (uint64_t) 1 << (name & 63);
        at += name;
    }

    return at == len ? 0 : -1;
}


int
capture_rules_parse(struct capture_rules *rules, const void *blob, size_t len)
{
    const uint8_t     *p = blob;
    struct rules_head  head;

    memset(rules, 0, sizeof(*rules));
    rules->all = 1;

    if (blob == NULL || len < sizeof(head)) {
        return -1;
    }

    memcpy(&head, p, sizeof(head));
    p += sizeof(head);
    len -= sizeof(head);

    if (head.magic != RULES_MAGIC || head.nheaders > CAPTURE_MAX_RULES
        || head.nargs > CAPTURE_MAX_RULES || head.headers_len > len
        || head.args_len != len - head.headers_len
        || list_parse(&rules->headers, p, head.headers_len, head.nheaders)
           != 0
        || list_parse(&rules->args, p + head.headers_len, head.args_len,
                      head.nargs) != 0)
    {
        return -1;
    }

    rules->all = 0;
    return 0;
}


/* NAME is folded. */
static int
list_has(const struct capture_rule_list *list, const uint8_t *name, size_t len)
{
    const uint8_t  *p;
    uint16_t        n;

    if ((list->lengths & (uint64_t) 1 << (len & 63)) == 0) {
        return 0;
    }

    p = list->names;

    for (unsigned i = 0; i < list->n; i++) {
        memcpy(&n, p, sizeof(n));
        p += sizeof(n);

        if (n == len && memcmp(p, name, len) == 0) {
            return 1;
        }

        p += n;
    }

    return 0;
}


/* Spans */

struct finder {
    const struct capture_rules  *rules;
    struct capture_spans        *spans;
    const char                  *text;     /* offsets count from here */
    const char                  *end;
};


static int
spans_full(const struct finder *f)
{
    return f->spans->n == CAPTURE_MAX_SPANS;
}


static void
span_add(struct finder *f, const char *from, const char *to)
{
    struct capture_spans  *s = f->spans;

    if (from >= to || spans_full(f)) {
        return;
    }

    /* the last one hides the rest, but the end of a header block */
    if (s->n == CAPTURE_MAX_SPANS - 1) {
        to = f->end;
        if (to - from > 2 && to[-2] == '\r' && to[-1] == '\n') {
            to -= 2;
        }
    }

    s->at[s->n].off = (uint32_t) (from - f->text);
    s->at[s->n].len = (uint32_t) (to - from);
    s->masked += (size_t) (to - from);
    s->n++;
}


/* A character as a server would decode it, and its width in the text. */

static int
hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }

    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}


static uint8_t
decode(const char *p, const char *end, unsigned *width)
{
    int  high, low;

    *width = 1;

    if (*p == '+') {
        return ' ';
    }

    if (*p == '%' && end - p > 2) {
        high = hex_digit(p[1]);
        low = hex_digit(p[2]);
        if (high >= 0 && low >= 0) {
            *width = 3;
            return (uint8_t) (high << 4 | low);
        }
    }

    return (uint8_t) *p;
}


/* A name as it grows, folded; one that overflows is none of ours. */
struct word {
    size_t   n;
    uint8_t  p[CAPTURE_MAX_RULE + 1];
};


static void
word_add(struct word *w, uint8_t c)
{
    /* servers drop spaces in front */
    if (w->n == 0 && (c == ' ' || c == '\t')) {
        return;
    }

    if (w->n < sizeof(w->p)) {
        w->p[w->n++] = fold(c);
    }
}


static int
word_listed(const struct capture_rule_list *list, const struct word *w)
{
    size_t  n;

    /* trailing spaces were folded */
    for (n = w->n; n > 0; n--) {
        if (n <= CAPTURE_MAX_RULE && list_has(list, w->p, n)) {
            return 1;
        }

        if (w->p[n - 1] != '_') {
            break;
        }
    }

    return 0;
}


/*
 * Reads an argument's name from P on.  Returns where its value starts if it is
 * one of ours, else NULL.  *ENCODED: the = was written %3D.
 */
static const char *
arg_match(const struct finder *f, const char *p, const char *end, int *encoded)
{
    struct word  whole, part;
    unsigned     width;
    uint8_t      c;
    int          found;

    whole.n = 0;
    part.n = 0;
    found = 0;

    for ( /* void */ ; p < end; p += width) {
        c = decode(p, end, &width);

        if (c == '=') {
            found |= word_listed(&f->rules->args, &whole)
                     || word_listed(&f->rules->args, &part);
            *encoded = width == 3;
            return found ? p + width : NULL;
        }

        if (c == '&' || c == ';' || c == '?' || c == '#') {
            return NULL;
        }

        word_add(&whole, c);

        if (c == '[' || c == ']' || c == '.') {
            found |= word_listed(&f->rules->args, &part);
            part.n = 0;

        } else {
            word_add(&part, c);
        }
    }

    return NULL;
}


/* The end of a secret value: further rather than too near. */
static const char *
value_end(const char *p, const char *end, int in_query, int encoded)
{
    unsigned  width;
    uint8_t   c;

    for ( /* void */ ; p < end; p += width) {
        c = decode(p, end, &width);

        if (width == 3 && !encoded) {
            continue;
        }

        if (c == '&' || c == '#' || (!in_query && (c == '/' || c == '?'))) {
            return p;
        }
    }

    return end;
}


/* "//" is at P: hides what stands before the @ of the authority. */
static const char *
userinfo(struct finder *f, const char *p, const char *end)
{
    const char  *start, *at;

    start = p + 2;
    at = NULL;

    for (p = start; p < end; p++) {
        if (*p == '@') {
            at = p;

        } else if (*p == '/' || *p == '?' || *p == '#' || *p == ' ') {
            break;
        }
    }

    if (at == NULL) {
        return start;
    }

    span_add(f, start, at);
    return at;
}


/*
 * One value.  IN_QUERY: its first byte may start a name; else it is a path,
 * where only ; can, until its query.
 */
static void
find_args(struct finder *f, const char *p, const char *end, int in_query)
{
    const char  *value, *stop;
    unsigned     width;
    uint8_t      c;
    int          at_name, encoded;

    at_name = in_query;

    while (p < end && !spans_full(f)) {
        if (at_name) {
            value = arg_match(f, p, end, &encoded);
            at_name = 0;

            if (value != NULL) {
                stop = value_end(value, end, in_query, encoded);
                span_add(f, value, stop);
                p = stop;
                continue;
            }
        }

        c = decode(p, end, &width);

        switch (c) {

        case '?':
        case '#':
            in_query |= width == 1;
            at_name = 1;
            break;

        case '&':
        case ';':
            at_name = 1;
            break;

        case '/':
            if (width == 1 && end - p > 1 && p[1] == '/'
                && p > f->text && p[-1] == ':')
            {
                p = userinfo(f, p, end);
                continue;
            }
            break;

        default:
            break;
        }

        p += width;
    }
}


static void
finder_init(struct finder *f, const struct capture_rules *rules,
    struct capture_spans *spans, const char *p, size_t len)
{
    f->rules = rules;
    f->spans = spans;
    f->text = p;
    f->end = p + len;

    spans->n = 0;
    spans->masked = 0;
}


void
capture_redact_uri(const struct capture_rules *rules, const char *p,
    size_t len, struct capture_spans *spans)
{
    struct finder   f;
    const char     *query;

    finder_init(&f, rules, spans, p, len);

    if (len == 0) {
        return;
    }

    if (rules->all) {
        query = memchr(p, '?', len);
        span_add(&f, query == NULL ? f.end : query + 1, f.end);
        return;
    }

    find_args(&f, p, f.end, 0);
}


void
capture_redact_value(const struct capture_rules *rules, const char *p,
    size_t len, struct capture_spans *spans)
{
    struct finder  f;

    finder_init(&f, rules, spans, p, len);

    if (len == 0) {
        return;
    }

    if (rules->all) {
        span_add(&f, p, f.end);
        return;
    }

    find_args(&f, p, f.end, 1);
}


/* Header blocks */

static const char *
trim_end(const char *from, const char *to)
{
    while (to > from && (to[-1] == ' ' || to[-1] == '\t' || to[-1] == '\r'
                         || to[-1] == '\n'))
    {
        to--;
    }

    return to;
}


static const char *
line_end(const char *p, const char *end)
{
    const char  *lf;

    for ( ;; ) {
        lf = memchr(p, '\n', (size_t) (end - p));
        if (lf == NULL) {
            return end;
        }

        p = lf + 1;
        if (p == end || (*p != ' ' && *p != '\t')) {
            return p;
        }
    }
}


int
capture_line_next(const char **p, const char *end, struct capture_line *line)
{
    const char  *next, *stop, *colon, *value, *start;

    start = *p;
    if (start >= end) {
        return 0;
    }

    next = line_end(start, end);
    stop = trim_end(start, next);
    *p = next;

    colon = memchr(start, ':', (size_t) (stop - start));
    line->name = start;

    if (colon == NULL) {
        line->name_len = 0;
        line->value = start;
        line->value_len = (size_t) (stop - start);
        return 1;
    }

    value = colon + 1;
    while (value < stop && (*value == ' ' || *value == '\t')) {
        value++;
    }

    line->name_len = (size_t) (trim_end(start, colon) - start);
    line->value = value;
    line->value_len = (size_t) (stop - value);
    return 1;
}


static int
header_listed(const struct capture_rule_list *list, const char *p, size_t len)
{
    uint8_t  name[CAPTURE_MAX_RULE];

    if (len > sizeof(name)
        || (list->lengths & (uint64_t) 1 << (len & 63)) == 0)
    {
        return 0;
    }

    for (size_t i = 0; i < len; i++) {
        name[i] = fold((uint8_t) p[i]);
    }

    return list_has(list, name, len);
}


/* Most values hold no argument and no user name: two scans tell. */
static int
value_suspect(const struct capture_line *line)
{
    return memchr(line->value, '=', line->value_len) != NULL
           || memchr(line->value, '%', line->value_len) != NULL
           || memchr(line->value, '@', line->value_len) != NULL;
}


void
capture_redact_headers(const struct capture_rules *rules, const char *p,
    size_t len, struct capture_spans *spans)
{
    struct capture_line  line;
    struct finder        f;

    finder_init(&f, rules, spans, p, len);

    while (!spans_full(&f) && capture_line_next(&p, f.end, &line)) {
        if (rules->all || line.name_len == 0
            || header_listed(&rules->headers, line.name, line.name_len))
        {
            span_add(&f, line.value, line.value + line.value_len);

        } else if (value_suspect(&line)) {
            find_args(&f, line.value, line.value + line.value_len, 1);
        }
    }
}


char *
capture_spans_copy(const struct capture_spans *spans, const char *p, size_t len,
    char *out)
{
    size_t  at, n;

    at = 0;

    for (unsigned i = 0; i < spans->n; i++) {
        n = spans->at[i].off - at;
        if (n > 0) {
            memcpy(out, p + at, n);
            out += n;
        }

        memcpy(out, CAPTURE_MASK, CAPTURE_MASK_LEN);
        out += CAPTURE_MASK_LEN;
        at = (size_t) spans->at[i].off + spans->at[i].len;
    }

    if (at < len) {
        memcpy(out, p + at, len - at);
        out += len - at;
    }

    return out;
}
