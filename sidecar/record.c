/*
 * The record's decoder.  One table says how a field is read and where it goes;
 * what follows from several fields (status, label, error) is derived last.
 */

#include "record.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define RECORD_DAY_US  (INT64_C(86400) * 1000000)

enum record_type {
    RECORD_SPECIAL,                        /* a rule of its own, below */
    RECORD_TEXT,                           /* one line, cleaned */
    RECORD_NUMBER,
    RECORD_CUT,                            /* a word of RECORD_CUTS */
    RECORD_HEX,                            /* exactly max digits */
    RECORD_BYTES                           /* as it is */
};

struct record_rule {
    enum record_type  type;
    size_t            offset;              /* in struct logdoc */
    size_t            max;                 /* bytes of the value */
};

#define AT(member)  offsetof(struct logdoc, member)

static const struct record_rule  record_rules[RECORD_F_COUNT] = {
    [RECORD_F_VERSION]     = { RECORD_SPECIAL, 0, 16 },
    [RECORD_F_ID]          = { RECORD_SPECIAL, 0, UUID_TEXT },
    [RECORD_F_KIND]        = { RECORD_SPECIAL, 0, 16 },
    [RECORD_F_START]       = { RECORD_NUMBER, AT(started_us), 20 },
    [RECORD_F_DURATION]    = { RECORD_NUMBER, AT(duration_us), 20 },
    [RECORD_F_FIRST_BYTE]  = { RECORD_NUMBER, AT(first_byte_us), 20 },
    [RECORD_F_METHOD]      = { RECORD_TEXT, AT(method), 256 },
    [RECORD_F_SCHEME]      = { RECORD_TEXT, AT(scheme), 16 },
    [RECORD_F_HOST]        = { RECORD_TEXT, AT(host), 2048 },
    [RECORD_F_URI]         = { RECORD_TEXT, AT(url), RECORD_MAX_URI },
    [RECORD_F_PROTOCOL]    = { RECORD_TEXT, AT(protocol), 32 },
    [RECORD_F_STATUS]      = { RECORD_NUMBER, AT(http_status), 3 },
    [RECORD_F_COMPLETE]    = { RECORD_SPECIAL, 0, 1 },
    [RECORD_F_SENT]        = { RECORD_NUMBER, AT(sent_bytes), 20 },
    [RECORD_F_ROUTE]       = { RECORD_TEXT, AT(route), 1024 },
    [RECORD_F_ACTION]      = { RECORD_NUMBER, AT(action_id), 18 },
    [RECORD_F_KEY]         = { RECORD_SPECIAL, 0, 64 },
    [RECORD_F_CLIENT_IP]   = { RECORD_TEXT, AT(client_ip), 256 },
    [RECORD_F_CLIENT_PORT] = { RECORD_NUMBER, AT(client_port), 5 },
    [RECORD_F_REQ_BYTES]   = { RECORD_NUMBER, AT(request.bytes), 20 },
    [RECORD_F_REQ_CUT]     = { RECORD_CUT, AT(request.cut), 16 },
    [RECORD_F_RES_BYTES]   = { RECORD_NUMBER, AT(response.bytes), 20 },
    [RECORD_F_RES_CUT]     = { RECORD_CUT, AT(response.cut), 16 },
    [RECORD_F_UP_ADDR]     = { RECORD_TEXT, AT(upstream_addr), 4096 },
    [RECORD_F_UP_STATUS]   = { RECORD_TEXT, AT(upstream_status), 1024 },
    [RECORD_F_UP_CONNECT]  = { RECORD_TEXT, AT(upstream_connect), 1024 },
    [RECORD_F_UP_HEADER]   = { RECORD_TEXT, AT(upstream_header), 1024 },
    [RECORD_F_UP_RESPONSE] = { RECORD_TEXT, AT(upstream_response), 1024 },
    [RECORD_F_TRACE_ID]    = { RECORD_HEX, AT(trace_id), 32 },
    [RECORD_F_REQ_HEADERS] = { RECORD_BYTES, AT(request.headers),
                               RECORD_MAX_HEADERS },
    [RECORD_F_RES_HEADERS] = { RECORD_BYTES, AT(response.headers),
                               RECORD_MAX_HEADERS },
    [RECORD_F_REQ_BODY]    = { RECORD_BYTES, AT(request.data),
                               RECORD_MAX_BODY },
    [RECORD_F_RES_BODY]    = { RECORD_BYTES, AT(response.data),
                               RECORD_MAX_BODY },
};

struct record_name {
    struct slice  name;
    bool          required;
};

static const struct record_name  record_names[RECORD_F_COUNT] = {
#define NAME_(symbol, word, need, what)                                       \
    [RECORD_F_##symbol] = { { word, sizeof(word) - 1 }, need },
    RECORD_FIELDS(NAME_)
#undef NAME_
};

static const char *const  record_cuts[RECORD_CUT_COUNT] = {
#define CUT_(symbol, word, what)  [RECORD_CUT_##symbol] = word,
    RECORD_CUTS(CUT_)
#undef CUT_
};

/* other methods share one label: a label's number of values must be small */
static const struct slice  record_methods[] = {
#define METHOD_(word)  { word, sizeof(word) - 1 }
    METHOD_("GET"), METHOD_("POST"), METHOD_("PUT"), METHOD_("PATCH"),
    METHOD_("DELETE"), METHOD_("HEAD"), METHOD_("OPTIONS"), METHOD_("TRACE"),
    METHOD_("CONNECT"), METHOD_("PROPFIND"), METHOD_("PROPPATCH"),
    METHOD_("MKCOL"), METHOD_("COPY"), METHOD_("MOVE"), METHOD_("LOCK"),
    METHOD_("UNLOCK")
#undef METHOD_
};

/* the state of one decoding */
struct record_reader {
    struct record  *out;
    struct arena   *arena;
    struct slice    value[RECORD_F_COUNT];
    bool            seen[RECORD_F_COUNT];
    unsigned        next;                  /* fields mostly come in order */
    char           *why;
    size_t          whylen;
};


static enum result
record_refuse(struct record_reader *rd, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static enum result
record_refuse(struct record_reader *rd, const char *fmt, ...)
{
    va_list  ap;

    va_start(ap, fmt);
    (void) vsnprintf(rd->why, rd->whylen, fmt, ap);
    va_end(ap);

    return RESULT_INVALID;
}


/* Printable ASCII of a foreign name, for a reason; TEXT holds 64 + NUL. */
static const char *
record_show(struct slice s, char text[65])
{
    size_t  n = s.n > 64 ? 64 : s.n;

    for (size_t i = 0; i < n; i++) {
        text[i] = (char) (s.p[i] > 0x20 && s.p[i] < 0x7f ? s.p[i] : '?');
    }

    text[n] = '\0';
    return text;
}


static bool
record_is_clean(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        if ((unsigned char) s.p[i] < 0x20 || s.p[i] == 0x7f) {
            return false;
        }
    }

    return slice_utf8(s);
}


/*
 * One line of UTF-8: control characters, and every byte over 0x7f of text that
 * is no UTF-8, become \xNN.
 */
static enum result
record_clean(struct record_reader *rd, struct slice in, struct slice *out)
{
    static const char  hex[] = "0123456789abcdef";
    unsigned char      c;
    bool               utf8;
    char              *p;
    size_t             n = 0;

    if (record_is_clean(in)) {
        *out = in;
        return RESULT_OK;
    }

    p = arena_alloc(rd->arena, in.n * 4);
    if (p == NULL) {
        return RESULT_MEMORY;
    }

    utf8 = slice_utf8(in);

    for (size_t i = 0; i < in.n; i++) {
        c = (unsigned char) in.p[i];

        if (c < 0x20 || c == 0x7f || (c >= 0x80 && !utf8)) {
            p[n++] = '\\';
            p[n++] = 'x';
            p[n++] = hex[c >> 4];
            p[n++] = hex[c & 15];

        } else {
            p[n++] = (char) c;
        }
    }

    *out = (struct slice) { p, n };
    return RESULT_OK;
}


static bool
record_is_hex(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (!((s.p[i] >= '0' && s.p[i] <= '9')
              || ((s.p[i] | 0x20) >= 'a' && (s.p[i] | 0x20) <= 'f')))
        {
            return false;
        }
    }

    return true;
}


static bool
record_is_name(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (!((s.p[i] >= '0' && s.p[i] <= '9')
              || ((s.p[i] | 0x20) >= 'a' && (s.p[i] | 0x20) <= 'z')
              || s.p[i] == '_' || s.p[i] == '-' || s.p[i] == '.'))
        {
            return false;
        }
    }

    return s.n > 0 && s.n <= RECORD_MAX_NAME;
}


/* Index of a known field, RECORD_F_COUNT for any other. */
static unsigned
record_find(struct record_reader *rd, struct slice name)
{
    unsigned  at;

    for (unsigned i = 0; i < RECORD_F_COUNT; i++) {
        at = (rd->next + i) % RECORD_F_COUNT;

        if (slice_eq(record_names[at].name, name)) {
            rd->next = at + 1;
            return at;
        }
    }

    return RECORD_F_COUNT;
}


static enum result
record_pair(struct record_reader *rd, struct log_pair *pairs, unsigned *n,
    struct slice name, struct slice value)
{
    struct logdoc  *d = &rd->out->doc;
    char            text[65];

    if (!record_is_name(name)) {
        return record_refuse(rd, "\"%s\" is no name of a reference or field",
            record_show(name, text));
    }

    if (value.n > RECORD_MAX_VALUE) {
        return record_refuse(rd, "value of \"%s\" is longer than %d bytes",
            record_show(name, text), RECORD_MAX_VALUE);
    }

    if (d->nrefs + d->nfields == RECORD_MAX_PAIRS) {
        return record_refuse(rd, "more than %d references and fields",
            RECORD_MAX_PAIRS);
    }

    for (unsigned i = 0; i < *n; i++) {
        if (slice_eq(pairs[i].name, name)) {
            return record_refuse(rd, "\"%s\" is there twice",
                record_show(name, text));
        }
    }

    pairs[*n].name = name;
    (*n)++;
    return record_clean(rd, value, &pairs[*n - 1].value);
}


static bool
record_prefixed(struct slice name, const char *prefix, struct slice *rest)
{
    size_t  n = strlen(prefix);

    if (name.n < n || memcmp(name.p, prefix, n) != 0) {
        return false;
    }

    *rest = (struct slice) { name.p + n, name.n - n };
    return true;
}


static enum result
record_take(struct record_reader *rd, struct slice name, struct slice value)
{
    struct logdoc  *d = &rd->out->doc;
    struct slice    rest;
    unsigned        at;

    at = record_find(rd, name);

    if (at < RECORD_F_COUNT) {
        if (rd->seen[at]) {
            return record_refuse(rd, "field %s is there twice",
                record_names[at].name.p);
        }

        if (value.n > record_rules[at].max) {
            return record_refuse(rd, "field %s has %zu bytes, more than %zu",
                record_names[at].name.p, value.n, record_rules[at].max);
        }

        rd->seen[at] = true;
        rd->value[at] = value;
        return RESULT_OK;
    }

    if (record_prefixed(name, RECORD_REF_PREFIX, &rest)) {
        return record_pair(rd, d->refs, &d->nrefs, rest, value);
    }

    if (record_prefixed(name, RECORD_FIELD_PREFIX, &rest)) {
        return record_pair(rd, d->fields, &d->nfields, rest, value);
    }

    return RESULT_OK;                      /* of a newer writer */
}


static enum result
record_number(struct record_reader *rd, unsigned at, struct slice value)
{
    int64_t  n;

    if (value.n == 0 || value.p[0] < '0' || value.p[0] > '9'
        || slice_int(value, &n) != RESULT_OK)
    {
        return record_refuse(rd, "field %s is no decimal number",
            record_names[at].name.p);
    }

    memcpy((char *) &rd->out->doc + record_rules[at].offset, &n, sizeof(n));
    return RESULT_OK;
}


static enum result
record_cut(struct record_reader *rd, unsigned at, struct slice value,
    struct slice *out)
{
    for (unsigned i = 0; i < RECORD_CUT_COUNT; i++) {
        if (slice_eq(value, slice_of(record_cuts[i]))) {
            *out = slice_of(record_cuts[i]);
            return RESULT_OK;
        }
    }

    return record_refuse(rd, "field %s is no known reason of a cut",
        record_names[at].name.p);
}


static enum result
record_plain(struct record_reader *rd, unsigned at)
{
    const struct record_rule  *rule = &record_rules[at];
    struct slice               value = rd->value[at], out = SLICE_NONE;
    enum result                r = RESULT_OK;

    switch (rule->type) {

    case RECORD_SPECIAL:
        return RESULT_OK;

    case RECORD_NUMBER:
        return record_number(rd, at, value);

    case RECORD_TEXT:
        r = record_clean(rd, value, &out);
        break;

    case RECORD_CUT:
        r = record_cut(rd, at, value, &out);
        break;

    case RECORD_HEX:
        if (value.n != rule->max || !record_is_hex(value)) {
            return record_refuse(rd, "field %s is not %zu hex digits",
                record_names[at].name.p, rule->max);
        }

        out = value;
        break;

    case RECORD_BYTES:
        out = value;
        break;
    }

    memcpy((char *) &rd->out->doc + rule->offset, &out, sizeof(out));
    return r;
}


static enum result
record_special(struct record_reader *rd)
{
    struct logdoc  *d = &rd->out->doc;
    struct slice   *v = rd->value;
    int             kind;

    if (uuid_parse(v[RECORD_F_ID], d->id) != RESULT_OK
        || d->id[6] >> 4 != 7 || d->id[8] >> 6 != 2)
    {
        return record_refuse(rd, "field id is no UUIDv7");
    }

    kind = log_kind_parse(v[RECORD_F_KIND]);
    if (kind != LOG_KIND_API && kind != LOG_KIND_WEBHOOK) {
        return record_refuse(rd, "field kind is neither api nor webhook");
    }

    d->kind = (enum log_kind) kind;

    if (!slice_eq(v[RECORD_F_COMPLETE], SLICE_LIT("0"))
        && !slice_eq(v[RECORD_F_COMPLETE], SLICE_LIT("1")))
    {
        return record_refuse(rd, "field complete is neither 0 nor 1");
    }

    d->complete = v[RECORD_F_COMPLETE].p[0] == '1';
    rd->out->key_sha256 = v[RECORD_F_KEY];

    if (rd->seen[RECORD_F_KEY]
        && (v[RECORD_F_KEY].n != 64 || !record_is_hex(v[RECORD_F_KEY])))
    {
        return record_refuse(rd, "field key_sha256 is not 64 hex digits");
    }

    return RESULT_OK;
}


/* The id's time is the log's: both sort alike. */
static enum result
record_time(struct record_reader *rd)
{
    struct logdoc  *d = &rd->out->doc;
    int64_t         id_us = uuid_time_us(d->id), apart;

    apart = d->started_us > id_us ? d->started_us - id_us
                                  : id_us - d->started_us;
    if (apart > RECORD_DAY_US) {
        return record_refuse(rd, "id and start_us are more than a day apart");
    }

    d->started_us = id_us;
    return RESULT_OK;
}


/* ref.lab_id becomes a claim; one that is no id stays visible as it is. */
static void
record_claim(struct record *out)
{
    struct logdoc  *d = &out->doc;
    int64_t         lab;

    for (unsigned i = 0; i < d->nrefs; i++) {
        if (!slice_eq(d->refs[i].name, SLICE_LIT("lab_id"))) {
            continue;
        }

        out->claimed_lab = slice_int(d->refs[i].value, &lab) == RESULT_OK
                           && lab > 0 ? lab : -1;
        return;
    }
}


static struct slice
record_method(struct slice method)
{
    for (size_t i = 0; i < sizeof(record_methods) / sizeof(record_methods[0]);
         i++)
    {
        if (slice_eq(method, record_methods[i])) {
            return record_methods[i];
        }
    }

    return method.n == 0 ? SLICE_LIT("-") : SLICE_LIT("OTHER");
}


/* "METHOD route" */
static enum result
record_label(struct record_reader *rd)
{
    struct logdoc  *d = &rd->out->doc;
    struct slice    method = record_method(d->method);
    struct slice    route = d->route.n == 0 ? SLICE_LIT("-") : d->route;
    char           *p;

    p = arena_alloc(rd->arena, method.n + 1 + route.n);
    if (p == NULL) {
        return RESULT_MEMORY;
    }

    memcpy(p, method.p, method.n);
    p[method.n] = ' ';
    memcpy(p + method.n + 1, route.p, route.n);
    d->endpoint = (struct slice) { p, method.n + 1 + route.n };
    return RESULT_OK;
}


/* What went wrong, in the words that errors are grouped by. */
static void
record_error(struct logdoc *d)
{
    int64_t  http = d->http_status;

    if (http == LOGDOC_NONE) {
        d->error_code = SLICE_LIT("no_answer");
        d->error_message = SLICE_LIT("the connection ended without an answer");

    } else if (http == 499) {
        d->error_code = SLICE_LIT("client_closed");
        d->error_message = SLICE_LIT("the caller left before the answer");

    } else if (http == 502) {
        d->error_code = SLICE_LIT("bad_gateway");
        d->error_message = SLICE_LIT("the API behind nginx gave no good "
            "answer");

    } else if (http == 504) {
        d->error_code = SLICE_LIT("upstream_timeout");
        d->error_message = SLICE_LIT("the API behind nginx gave no answer in "
            "time");

    } else if (http >= 500) {
        d->error_code = SLICE_LIT("server_error");
        d->error_message = SLICE_LIT("the API answered with an error of its "
            "own");

    } else if (http >= 400) {
        d->error_code = SLICE_LIT("client_error");
        d->error_message = SLICE_LIT("the API refused the call");

    } else {
        d->error_code = SLICE_LIT("incomplete");
        d->error_message = SLICE_LIT("the answer was not sent to its end");
    }

    d->error_fingerprint = logdoc_fingerprint(d);
}


static void
record_outcome(struct logdoc *d)
{
    d->http_status = d->http_status == 0 ? LOGDOC_NONE : d->http_status;
    d->attempts = 0;

    if (d->complete && d->http_status != LOGDOC_NONE && d->http_status < 400) {
        d->status = LOG_SUCCESS;
        return;
    }

    d->status = LOG_FAIL;
    record_error(d);
}


static enum result
record_read(struct record_reader *rd, const struct slice *pairs, size_t n)
{
    enum result  r = RESULT_OK;
    char         text[65];

    if (n % 2 != 0 || n / 2 > RECORD_MAX_FIELDS) {
        return record_refuse(rd, "has %zu names and values, at most %d fields "
            "are a record", n, RECORD_MAX_FIELDS);
    }

    for (size_t i = 0; i < n && r == RESULT_OK; i += 2) {
        r = record_take(rd, pairs[i], pairs[i + 1]);
    }

    if (r != RESULT_OK) {
        return r;
    }

    /* before all else: another version may do without our fields */
    if (rd->seen[RECORD_F_VERSION]
        && !slice_eq(rd->value[RECORD_F_VERSION], SLICE_LIT(RECORD_FORMAT)))
    {
        return record_refuse(rd, "format version \"%s\" is not %s",
            record_show(rd->value[RECORD_F_VERSION], text), RECORD_FORMAT);
    }

    for (unsigned i = 0; i < RECORD_F_COUNT && r == RESULT_OK; i++) {
        if (record_names[i].required && rd->value[i].n == 0) {
            return record_refuse(rd, "field %s is missing",
                record_names[i].name.p);
        }

        r = rd->value[i].n > 0 ? record_plain(rd, i) : RESULT_OK;
    }

    return r;
}


enum result
record_decode(const struct slice *pairs, size_t n, struct arena *a,
    struct record *out, char *why, size_t whylen)
{
    struct record_reader  rd = { .out = out, .arena = a, .why = why,
                                 .whylen = whylen };
    enum result           r;

    logdoc_init(&out->doc);
    out->key_sha256 = SLICE_NONE;
    out->claimed_lab = LOGDOC_NONE;

    r = record_read(&rd, pairs, n);
    r = r == RESULT_OK ? record_special(&rd) : r;
    r = r == RESULT_OK ? record_time(&rd) : r;
    r = r == RESULT_OK ? record_label(&rd) : r;

    if (r == RESULT_OK) {
        record_claim(out);
        record_outcome(&out->doc);

    } else if (r != RESULT_INVALID) {
        (void) snprintf(why, whylen, "%s", result_text(r));
    }

    return r;
}
