/*
 * Frame to command.  First the frame is walked into a table of fields, which
 * gives their count and a bound of the length; then they are written in one
 * go, values straight from the ring.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "ngx_http_capture_record.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FIELDS     (RECORD_F_COUNT + RECORD_MAX_PAIRS)
#define MAX_NUMBERS    16
#define NUMBER_LEN     24
#define KEY_HEX        64
#define UUID_TEXT_LEN  36
#define SPANS_ROUTE    3                   /* REDACT_VALUE has its own */
#define BULK_HEAD      16                  /* "$4294967295\r\n", rounded up */

struct field {
    const char                  *prefix;   /* of a pair's name, else NULL */
    size_t                       prefix_len;
    const char                  *name;
    size_t                       name_len;
    const char                  *value;
    size_t                       len;
    const struct capture_spans  *spans;    /* NULL: as it stands */
};

struct capture_encoder {
    char                  *head;           /* "$4\r\nXADD\r\n..$1\r\n*\r\n" */
    size_t                 head_len;
    EVP_MD                *sha256;
    EVP_MD_CTX            *digest;

    /* of the frame at hand */
    struct field           fields[MAX_FIELDS];
    unsigned               nfields, npairs, nnumbers;
    uint64_t               seen;           /* piece types, a bit each */
    char                   numbers[MAX_NUMBERS][NUMBER_LEN];
    char                   uuid[UUID_TEXT_LEN];
    char                   key[KEY_HEX];
    struct capture_spans   spans[4];       /* by redact_as; a route's own */
    struct capture_spans   pair_spans[RECORD_MAX_PAIRS];
    const char            *headers;        /* the request's, for the trace id */
    size_t                 headers_len;
};

static const char *const  field_names[] = {
#define FIELD_NAME_(symbol, name, required, what)  [RECORD_F_##symbol] = name,
    RECORD_FIELDS(FIELD_NAME_)
#undef FIELD_NAME_
};

static const char *const  cut_words[] = {
#define CUT_WORD_(symbol, word, what)  [RECORD_CUT_##symbol] = word,
    RECORD_CUTS(CUT_WORD_)
#undef CUT_WORD_
};

enum redact_as {
    REDACT_NO, REDACT_URI, REDACT_REQ, REDACT_RES, REDACT_VALUE
};

/* Pieces that are one field each.  Longer values are cut at MAX. */
static const struct {
    uint8_t   field;
    uint8_t   redact;
    uint32_t  max;
} piece_table[] = {
    [CAPTURE_PIECE_METHOD]      = { RECORD_F_METHOD, REDACT_NO, 64 },
    [CAPTURE_PIECE_HOST]        = { RECORD_F_HOST, REDACT_NO, 1024 },
    [CAPTURE_PIECE_URI]         = { RECORD_F_URI, REDACT_URI,
                                    RECORD_MAX_URI },
    [CAPTURE_PIECE_PROTOCOL]    = { RECORD_F_PROTOCOL, REDACT_NO, 32 },
    [CAPTURE_PIECE_ROUTE]       = { RECORD_F_ROUTE, REDACT_URI, 256 },
    [CAPTURE_PIECE_CLIENT_IP]   = { RECORD_F_CLIENT_IP, REDACT_NO, 128 },
    [CAPTURE_PIECE_UP_ADDR]     = { RECORD_F_UP_ADDR, REDACT_NO, 1024 },
    [CAPTURE_PIECE_UP_STATUS]   = { RECORD_F_UP_STATUS, REDACT_NO, 1024 },
    [CAPTURE_PIECE_UP_CONNECT]  = { RECORD_F_UP_CONNECT, REDACT_NO, 1024 },
    [CAPTURE_PIECE_UP_HEADER]   = { RECORD_F_UP_HEADER, REDACT_NO, 1024 },
    [CAPTURE_PIECE_UP_RESPONSE] = { RECORD_F_UP_RESPONSE, REDACT_NO, 1024 },
    [CAPTURE_PIECE_REQ_HEADERS] = { RECORD_F_REQ_HEADERS, REDACT_REQ,
                                    RECORD_MAX_HEADERS },
    [CAPTURE_PIECE_RES_HEADERS] = { RECORD_F_RES_HEADERS, REDACT_RES,
                                    RECORD_MAX_HEADERS },
    [CAPTURE_PIECE_REQ_BODY]    = { RECORD_F_REQ_BODY, REDACT_NO,
                                    RECORD_MAX_BODY },
    [CAPTURE_PIECE_RES_BODY]    = { RECORD_F_RES_BODY, REDACT_NO,
                                    RECORD_MAX_BODY }
};

#define PIECE_LAST  CAPTURE_PIECE_RES_BODY


/* Output */

int
capture_out_reserve(struct capture_out *out, size_t len)
{
    size_t   size;
    char    *p;

    if (len <= out->size - out->n) {
        return 0;
    }

    size = out->size == 0 ? 64 * 1024 : out->size;
    while (size - out->n < len) {
        size *= 2;
    }

    p = realloc(out->p, size);
    if (p == NULL) {
        return -1;
    }

    out->p = p;
    out->size = size;
    return 0;
}


void
capture_out_free(struct capture_out *out)
{
    free(out->p);
    memset(out, 0, sizeof(*out));
}


static unsigned
decimal(uint64_t value, char text[NUMBER_LEN])
{
    char      digits[NUMBER_LEN];
    unsigned  n, i;

    n = 0;

    do {
        digits[n++] = (char) ('0' + value % 10);
        value /= 10;
    } while (value != 0);

    for (i = 0; i < n; i++) {
        text[i] = digits[n - 1 - i];
    }

    return n;
}


static char *
bulk_head(char *out, size_t len)
{
    *out++ = '$';
    out += decimal(len, out);
    *out++ = '\r';
    *out++ = '\n';
    return out;
}


static char *
put(char *out, const char *p, size_t len)
{
    if (len > 0) {
        memcpy(out, p, len);
    }

    return out + len;
}


/* The encoder's life */

struct capture_encoder *
capture_encoder_create(const char *stream)
{
    struct capture_encoder  *e;
    int                      n;

    e = calloc(1, sizeof(*e));
    if (e == NULL) {
        return NULL;
    }

    n = asprintf(&e->head, "$4\r\nXADD\r\n$%zu\r\n%s\r\n$1\r\n*\r\n",
                 strlen(stream), stream);
    if (n == -1) {
        e->head = NULL;
        goto failed;
    }

    e->head_len = (size_t) n;
    e->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    e->digest = EVP_MD_CTX_new();

    if (e->sha256 == NULL || e->digest == NULL
        || EVP_DigestInit_ex2(e->digest, e->sha256, NULL) != 1)
    {
        goto failed;
    }

    return e;

failed:

    capture_encoder_destroy(e);
    return NULL;
}


void
capture_encoder_destroy(struct capture_encoder *e)
{
    if (e == NULL) {
        return;
    }

    EVP_MD_CTX_free(e->digest);
    EVP_MD_free(e->sha256);
    free(e->head);
    free(e);
}


/* Fields of the frame's head */

static struct field *
field_add(struct capture_encoder *e, enum record_field id, const char *value,
    size_t len)
{
    struct field  *field;

    if (len == 0 || e->nfields == MAX_FIELDS) {
        return NULL;
    }

    field = &e->fields[e->nfields++];
    memset(field, 0, sizeof(*field));
    field->name = field_names[id];
    field->name_len = strlen(field->name);
    field->value = value;
    field->len = len;
    return field;
}


static void
field_word(struct capture_encoder *e, enum record_field id, const char *word)
{
    (void) field_add(e, id, word, strlen(word));
}


/* Negative means unknown. */
static void
field_number(struct capture_encoder *e, enum record_field id, int64_t value)
{
    char  *text;

    if (value < 0 || e->nnumbers == MAX_NUMBERS) {
        return;
    }

    text = e->numbers[e->nnumbers++];
    (void) field_add(e, id, text, decimal((uint64_t) value, text));
}


static void
hex(const uint8_t *p, size_t n, char *out)
{
    static const char  digits[] = "0123456789abcdef";

    for (size_t i = 0; i < n; i++) {
        *out++ = digits[p[i] >> 4];
        *out++ = digits[p[i] & 15];
    }
}


static void
field_uuid(struct capture_encoder *e, const uint8_t id[16])
{
    static const uint8_t  groups[] = { 4, 2, 2, 2, 6 };
    char                 *out = e->uuid;

    for (unsigned i = 0; i < sizeof(groups); i++) {
        if (i > 0) {
            *out++ = '-';
        }

        hex(id, groups[i], out);
        out += groups[i] * 2;
        id += groups[i];
    }

    (void) field_add(e, RECORD_F_ID, e->uuid, UUID_TEXT_LEN);
}


static void
field_cut(struct capture_encoder *e, enum record_field id, uint8_t cut)
{
    if (cut < RECORD_CUT_COUNT) {
        field_word(e, id, cut_words[cut]);
    }
}


static void
fields_of_head(struct capture_encoder *e, const struct capture_frame *f)
{
    field_word(e, RECORD_F_VERSION, RECORD_FORMAT);
    field_uuid(e, f->id);
    field_word(e, RECORD_F_KIND,
               f->flags & CAPTURE_WEBHOOK ? "webhook" : "api");
    field_number(e, RECORD_F_START, f->start_us < 0 ? 0 : f->start_us);
    field_number(e, RECORD_F_DURATION,
                 f->duration_us < 0 ? 0 : f->duration_us);
    field_number(e, RECORD_F_FIRST_BYTE, f->first_byte_us);
    field_word(e, RECORD_F_SCHEME, f->flags & CAPTURE_TLS ? "https" : "http");
    field_number(e, RECORD_F_STATUS, f->status);
    field_word(e, RECORD_F_COMPLETE, f->flags & CAPTURE_COMPLETE ? "1" : "0");
    field_number(e, RECORD_F_SENT, f->sent_bytes);

    if (f->client_port != 0) {
        field_number(e, RECORD_F_CLIENT_PORT, f->client_port);
    }

    field_number(e, RECORD_F_REQ_BYTES, f->request_bytes);
    field_number(e, RECORD_F_RES_BYTES, f->response_bytes);
}


/* Fields of pieces */

static int
field_key(struct capture_encoder *e, const char *p, size_t len)
{
    uint8_t   hash[EVP_MAX_MD_SIZE];
    unsigned  n;

    if (len == 0) {
        return 0;
    }

    if (EVP_DigestInit_ex2(e->digest, NULL, NULL) != 1
        || EVP_DigestUpdate(e->digest, p, len) != 1
        || EVP_DigestFinal_ex(e->digest, hash, &n) != 1)
    {
        return -2;
    }

    hex(hash, KEY_HEX / 2, e->key);
    (void) field_add(e, RECORD_F_KEY, e->key, KEY_HEX);
    return 0;
}


/* An Action ID is a positive 32-bit integer; anything else is left out. */
static void
field_action(struct capture_encoder *e, const char *p, size_t len)
{
    uint64_t  value;

    if (len == 0 || len > 10) {
        return;
    }

    value = 0;

    for (size_t i = 0; i < len; i++) {
        if (p[i] < '0' || p[i] > '9') {
            return;
        }

        value = value * 10 + (uint64_t) (p[i] - '0');
    }

    if (value <= INT32_MAX) {
        field_number(e, RECORD_F_ACTION, (int64_t) value);
    }
}


/* A header block is cut behind a whole line. */
static size_t
block_cut(const char *p, size_t len)
{
    const char  *lf;

    lf = memrchr(p, '\n', len);
    return lf == NULL ? len : (size_t) (lf + 1 - p);
}


/*
 * Masks may be longer than what they hide: returns how much of the value may
 * be kept for the masked text to stay within MAX.
 */
static size_t
redact(const struct capture_rules *rules, enum redact_as as, const char *p,
    size_t len, size_t max, struct capture_spans *spans)
{
    size_t  over;

    for ( ;; ) {
        if (as == REDACT_URI) {
            capture_redact_uri(rules, p, len, spans);

        } else if (as == REDACT_VALUE) {
            capture_redact_value(rules, p, len, spans);

        } else {
            capture_redact_headers(rules, p, len, spans);
        }

        if (capture_spans_length(spans, len) <= max) {
            return len;
        }

        over = capture_spans_length(spans, len) - max;
        len = over < len ? len - over : 0;

        if (as == REDACT_REQ || as == REDACT_RES) {
            len = block_cut(p, len);
        }
    }
}


static void
field_pair(struct capture_encoder *e, const struct capture_rules *rules,
    int is_ref, const char *name, size_t name_len, const char *value,
    size_t len)
{
    struct capture_spans  *spans;
    struct field          *field, *other;
    const char            *prefix;

    if (name_len == 0 || name_len > RECORD_MAX_NAME || len == 0
        || e->npairs == RECORD_MAX_PAIRS)
    {
        return;
    }

    prefix = is_ref ? RECORD_REF_PREFIX : RECORD_FIELD_PREFIX;

    for (other = e->fields; other < e->fields + e->nfields; other++) {
        if (other->prefix == prefix && other->name_len == name_len
            && memcmp(other->name, name, name_len) == 0)
        {
            return;
        }
    }

    if (len > RECORD_MAX_VALUE) {
        len = RECORD_MAX_VALUE;
    }

    field = field_add(e, RECORD_F_VERSION, value, len);
    if (field == NULL) {
        return;
    }

    spans = &e->pair_spans[e->npairs++];
    field->len = redact(rules, REDACT_VALUE, value, len, RECORD_MAX_VALUE,
                        spans);
    field->prefix = prefix;
    field->prefix_len = strlen(prefix);
    field->name = name;
    field->name_len = name_len;
    field->spans = spans;
}


static void
field_text(struct capture_encoder *e, const struct capture_rules *rules,
    unsigned type, const char *p, size_t len)
{
    struct capture_spans  *spans;
    struct field          *field;
    enum redact_as         as;
    size_t                 max;

    as = (enum redact_as) piece_table[type].redact;
    max = piece_table[type].max;

    if (len > max) {
        len = as == REDACT_REQ || as == REDACT_RES ? block_cut(p, max) : max;
    }

    field = field_add(e, (enum record_field) piece_table[type].field, p, len);
    if (field == NULL || as == REDACT_NO) {
        return;
    }

    spans = &e->spans[type == CAPTURE_PIECE_ROUTE ? SPANS_ROUTE
                                                  : as - REDACT_URI];
    field->len = redact(rules, as, p, len, max, spans);
    field->spans = spans;

    if (as == REDACT_REQ) {
        e->headers = p;
        e->headers_len = field->len;
    }
}


static int
piece_add(struct capture_encoder *e, const struct capture_rules *rules,
    const struct capture_piece *piece, const char *name, const char *value)
{
    uint64_t  bit;

    if (piece->type == CAPTURE_PIECE_REF || piece->type == CAPTURE_PIECE_FIELD)
    {
        field_pair(e, rules, piece->type == CAPTURE_PIECE_REF, name,
                   piece->name_len, value, piece->len);
        return 0;
    }

    /* of a later module, or repeated: left out */
    bit = piece->type <= PIECE_LAST ? (uint64_t) 1 << piece->type : 0;
    if (bit == 0 || piece->type == 0 || (e->seen & bit) != 0) {
        return 0;
    }

    e->seen |= bit;

    if (piece->type == CAPTURE_PIECE_KEY) {
        return field_key(e, value, piece->len);
    }

    if (piece->type == CAPTURE_PIECE_ACTION) {
        field_action(e, value, piece->len);
        return 0;
    }

    field_text(e, rules, piece->type, value, piece->len);
    return 0;
}


static int
fields_of_pieces(struct capture_encoder *e, const struct capture_frame *f,
    const struct capture_rules *rules, uint32_t count, size_t left)
{
    struct capture_piece   piece;
    const char            *p;
    size_t                 need;
    int                    rc;

    p = (const char *) (f + 1);

    for (uint32_t i = 0; i < count; i++) {
        if (left < sizeof(piece)) {
            return -1;
        }

        memcpy(&piece, p, sizeof(piece));
        p += sizeof(piece);
        left -= sizeof(piece);
        need = (size_t) piece.name_len + piece.len;

        if (need > left) {
            return -1;
        }

        rc = piece_add(e, rules, &piece, p, p + piece.name_len);
        if (rc != 0) {
            return rc;
        }

        p += need;
        left -= need;
    }

    return 0;
}


/* A body longer than the bound was cut here, whoever cut it before. */
static void
fields_of_cuts(struct capture_encoder *e, const struct capture_frame *f)
{
    uint8_t  request, response;

    request = f->request_cut;
    response = f->response_cut;

    for (unsigned i = 0; i < e->nfields; i++) {
        if (e->fields[i].len != RECORD_MAX_BODY) {
            continue;
        }

        if (e->fields[i].name == field_names[RECORD_F_REQ_BODY]
            && request == RECORD_CUT_NONE
            && f->request_bytes != RECORD_MAX_BODY)
        {
            request = RECORD_CUT_SIZE;

        } else if (e->fields[i].name == field_names[RECORD_F_RES_BODY]
                   && response == RECORD_CUT_NONE
                   && f->response_bytes != RECORD_MAX_BODY)
        {
            response = RECORD_CUT_SIZE;
        }
    }

    field_cut(e, RECORD_F_REQ_CUT, request);
    field_cut(e, RECORD_F_RES_CUT, response);
}


/* traceparent: W3C Trace Context, section 3.2 */

static int
is_lower_hex(const char *p, size_t n)
{
    int  zero;

    zero = 1;

    for (size_t i = 0; i < n; i++) {
        if (!((p[i] >= '0' && p[i] <= '9') || (p[i] >= 'a' && p[i] <= 'f'))) {
            return 0;
        }

        zero &= p[i] == '0';
    }

    return zero ? -1 : 1;
}


static const char *
trace_id(const char *p, size_t len)
{
    if (len < 55 || p[2] != '-' || p[35] != '-' || p[52] != '-'
        || is_lower_hex(p, 2) == 0 || memcmp(p, "ff", 2) == 0
        || is_lower_hex(p + 3, 32) != 1 || is_lower_hex(p + 36, 16) != 1
        || is_lower_hex(p + 53, 2) == 0)
    {
        return NULL;
    }

    /* version 00 ends here; a later one may go on after a dash */
    if (len > 55 && (memcmp(p, "00", 2) == 0 || p[55] != '-')) {
        return NULL;
    }

    return p + 3;
}


static void
field_trace(struct capture_encoder *e)
{
    struct capture_line   line;
    const char           *p, *end, *id;

    if (e->headers == NULL) {
        return;
    }

    id = NULL;
    p = e->headers;
    end = p + e->headers_len;

    while (capture_line_next(&p, end, &line)) {
        if (line.name_len != 11
            || strncasecmp(line.name, "traceparent", 11) != 0)
        {
            continue;
        }

        /* two of them are none (section 3.2.1) */
        if (id != NULL) {
            return;
        }

        id = trace_id(line.value, line.value_len);
    }

    if (id != NULL) {
        (void) field_add(e, RECORD_F_TRACE_ID, id, 32);
    }
}


/* Writing */

static size_t
field_length(const struct field *field)
{
    return field->spans == NULL
           ? field->len : capture_spans_length(field->spans, field->len);
}


static size_t
fields_bound(const struct capture_encoder *e)
{
    size_t  total;

    total = BULK_HEAD + e->head_len;

    for (unsigned i = 0; i < e->nfields; i++) {
        total += 2 * (BULK_HEAD + 2) + e->fields[i].prefix_len
                 + e->fields[i].name_len + field_length(&e->fields[i]);
    }

    return total;
}


static char *
field_write(const struct field *field, char *out)
{
    out = bulk_head(out, field->prefix_len + field->name_len);
    out = put(out, field->prefix, field->prefix_len);
    out = put(out, field->name, field->name_len);
    *out++ = '\r';
    *out++ = '\n';

    out = bulk_head(out, field_length(field));
    out = field->spans == NULL
          ? put(out, field->value, field->len)
          : capture_spans_copy(field->spans, field->value, field->len, out);
    *out++ = '\r';
    *out++ = '\n';
    return out;
}


int
capture_record_encode(struct capture_encoder *e, const struct capture_frame *f,
    const struct capture_rules *rules, struct capture_out *out)
{
    char  *p;
    int    rc;

    e->nfields = 0;
    e->npairs = 0;
    e->nnumbers = 0;
    e->seen = 0;
    e->headers = NULL;
    e->headers_len = 0;

    fields_of_head(e, f);

    rc = fields_of_pieces(e, f, rules, f->pieces, f->pieces_len);
    if (rc != 0) {
        return rc;
    }

    fields_of_cuts(e, f);
    field_trace(e);

    if (capture_out_reserve(out, fields_bound(e)) != 0) {
        return -2;
    }

    p = out->p + out->n;
    *p++ = '*';
    p += decimal(3 + 2 * (uint64_t) e->nfields, p);
    *p++ = '\r';
    *p++ = '\n';
    p = put(p, e->head, e->head_len);

    for (unsigned i = 0; i < e->nfields; i++) {
        p = field_write(&e->fields[i], p);
    }

    out->n = (size_t) (p - out->p);
    return 0;
}


/* Checking what a disk gave back */

static int
check_number(const char **p, const char *end, char kind, size_t *value)
{
    const char  *at = *p;

    if (at == end || *at++ != kind || at == end || *at < '0' || *at > '9'
        || (*at == '0' && end - at > 1 && at[1] != '\r'))
    {
        return 0;
    }

    *value = 0;

    for ( /* void */ ; at < end && *at >= '0' && *at <= '9'; at++) {
        *value = *value * 10 + (size_t) (*at - '0');
        if (*value > CAPTURE_MAX_COMMAND) {
            return 0;
        }
    }

    if (end - at < 2 || at[0] != '\r' || at[1] != '\n') {
        return 0;
    }

    *p = at + 2;
    return 1;
}


static int
check_bulk(const char **p, const char *end, const char **value, size_t *len)
{
    if (!check_number(p, end, '$', len) || (size_t) (end - *p) < *len + 2
        || (*p)[*len] != '\r' || (*p)[*len + 1] != '\n')
    {
        return 0;
    }

    *value = *p;
    *p += *len + 2;
    return 1;
}


int
capture_record_check(const char *p, size_t len)
{
    const char  *end, *value;
    size_t       count, n;

    end = p + len;

    if (!check_number(&p, end, '*', &count) || count < 5 || count % 2 == 0
        || count > 3 + 2 * MAX_FIELDS)
    {
        return 0;
    }

    for (size_t i = 0; i < count; i++) {
        if (!check_bulk(&p, end, &value, &n)
            || (i == 0 && (n != 4 || memcmp(value, "XADD", 4) != 0))
            || (i == 2 && (n != 1 || *value != '*')))
        {
            return 0;
        }
    }

    return p == end;
}
