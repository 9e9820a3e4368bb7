/* HL7 v2: the encoder, and the reader of what is needed of an answer. */

#include "hl7.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define MAX_SEGMENTS    1000
#define MAX_FIELDS      256
#define MAX_DEPTH       4                  /* field repeat component sub */

static const char  separators[] = "|~^&";  /* by depth of the list */


void
hl7_control_id(const uint8_t id[UUID_BYTES], char text[HL7_CONTROL_ID + 1])
{
    static const char  digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    uint8_t            bits[13];
    unsigned           bit, value;

    /* 48 bits of time, 12 of rand_a; the version nibble is left out */
    memcpy(bits, id, 6);
    bits[6] = (uint8_t) (id[6] << 4 | id[7] >> 4);
    bits[7] = (uint8_t) (id[7] << 4);

    /* then 40 of the 62 bits of rand_b; the variant's 2 are left out */
    for (unsigned i = 0; i < 40; i++) {
        bit = (id[8 + (i + 2) / 8] >> (7 - (i + 2) % 8)) & 1;

        if ((60 + i) % 8 == 0) {
            bits[(60 + i) / 8] = 0;
        }

        bits[(60 + i) / 8] |= (uint8_t) (bit << (7 - (60 + i) % 8));
    }

    for (unsigned i = 0; i < HL7_CONTROL_ID; i++) {
        value = 0;

        for (unsigned j = i * 5; j < i * 5 + 5; j++) {
            value = value << 1 | ((bits[j / 8] >> (7 - j % 8)) & 1);
        }

        text[i] = digits[value];
    }

    text[HL7_CONTROL_ID] = '\0';
}


/* -- the encoder --------------------------------------------------------- */

struct encoder {
    struct buf        *out;
    enum hl7_charset   charset;
    bool               text_field;         /* FT, TX: a line end is .br */
    const char        *why;
};


/* One code point of valid UTF-8 in the message's character set. */
static enum result
put_char(struct encoder *e, const unsigned char *p, size_t n)
{
    unsigned       code;
    unsigned char  latin1;

    if (e->charset == HL7_UTF8 || n == 1) {
        return buf_add(e->out, p, n);
    }

    code = n == 2 ? (p[0] & 0x1fu) << 6 | (p[1] & 0x3fu) : 0xffffu;

    if (code > 0xff) {
        e->why = "a character that ISO-8859-1 does not have";
        return RESULT_INVALID;
    }

    latin1 = (unsigned char) code;
    return buf_add(e->out, &latin1, 1);
}


static size_t
char_length(unsigned char c)
{
    return c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
}


static enum result
put_text(struct encoder *e, struct slice s)
{
    static const char  special[] = "|^&~\\";
    static const char  letters[] = "FSTRE";
    const char        *at;
    unsigned char      c;
    size_t             len;
    enum result        r = RESULT_OK;

    for (size_t i = 0; i < s.n && r == RESULT_OK; i += len) {
        c = (unsigned char) s.p[i];
        len = char_length(c);
        len = len > s.n - i ? s.n - i : len;
        at = c == '\0' ? NULL : strchr(special, c);

        if (at != NULL) {
            r = buf_addf(e->out, "\\%c\\", letters[at - special]);

        } else if (c == '\n' || c == '\r') {
            len = c == '\r' && i + 1 < s.n && s.p[i + 1] == '\n' ? 2 : 1;
            r = buf_adds(e->out, e->text_field ? "\\.br\\" : "\\X0D\\");

        } else if (c < 0x20 || c == 0x7f) {
            r = buf_addf(e->out, "\\X%02X\\", c);

        } else {
            r = put_char(e, (const unsigned char *) s.p + i, len);
        }
    }

    return r;
}


static enum result
put_scalar(struct encoder *e, const json_t *v)
{
    char  number[32];

    switch (json_typeof(v)) {

    case JSON_NULL:
        return RESULT_OK;

    case JSON_STRING:
        return put_text(e, (struct slice) { json_string_value(v),
            json_string_length(v) });

    case JSON_INTEGER:
        return buf_addf(e->out, "%lld", (long long) json_integer_value(v));

    case JSON_REAL:
        (void) snprintf(number, sizeof(number), "%.15g", json_real_value(v));
        return buf_adds(e->out, number);

    case JSON_TRUE:
        return buf_adds(e->out, "Y");

    case JSON_FALSE:
        return buf_adds(e->out, "N");

    default:
        break;
    }

    if (json_object_size(v) == 1 && json_is_true(json_object_get(v, "delete")))
    {
        return buf_adds(e->out, "\"\"");
    }

    e->why = "an object in a field; only {\"delete\":true} is one";
    return RESULT_INVALID;
}


/* Bytes at the end that are only separators say nothing: they are left out. */
static void
trim_separators(struct buf *out, size_t from)
{
    while (out->n > from
           && strchr(separators, out->p[out->n - 1]) != NULL)
    {
        out->n--;
    }
}


/* DEPTH 1: repeats, 2: components, 3: sub-components. */
static enum result
put_value(struct encoder *e, const json_t *v, unsigned depth)
{
    const json_t  *item;
    size_t         i, start;
    enum result    r = RESULT_OK;

    if (!json_is_array(v)) {
        return put_scalar(e, v);
    }

    if (depth >= MAX_DEPTH) {
        e->why = "lists nested deeper than sub-components";
        return RESULT_INVALID;
    }

    if (json_array_size(v) > MAX_FIELDS) {
        e->why = "more than 256 items in a list";
        return RESULT_TOO_BIG;
    }

    start = e->out->n;

    json_array_foreach((json_t *) v, i, item) {
        if (i > 0) {
            r = buf_add(e->out, &separators[depth], 1);
        }

        r = r != RESULT_OK ? r : put_value(e, item, depth + 1);
        if (r != RESULT_OK) {
            return r;
        }
    }

    trim_separators(e->out, start);
    return e->out->failed ? RESULT_TOO_BIG : RESULT_OK;
}


static bool
is_segment_name(const char *s)
{
    return s != NULL && strlen(s) == 3 && s[0] >= 'A' && s[0] <= 'Z'
           && strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == 3
           && strcmp(s, "MSH") != 0;
}


/* OBX-2 says what OBX-5 is; NTE-3 is always formatted text. */
static bool
is_text_field(const json_t *segment, size_t field)
{
    const char  *name = json_string_value(json_array_get(segment, 0));
    const char  *type = json_string_value(json_array_get(segment, 2));

    if (strcmp(name, "NTE") == 0) {
        return field == 3;
    }

    return strcmp(name, "OBX") == 0 && field == 5 && type != NULL
           && (strcmp(type, "FT") == 0 || strcmp(type, "TX") == 0);
}


static enum result
put_segment(struct encoder *e, const json_t *segment)
{
    const json_t  *field;
    size_t         i, start;
    enum result    r;

    if (!json_is_array(segment)
        || !is_segment_name(json_string_value(json_array_get(segment, 0))))
    {
        e->why = "a segment is a list that begins with its name, three "
                 "capitals or digits, not MSH";
        return RESULT_INVALID;
    }

    if (json_array_size(segment) > MAX_FIELDS) {
        e->why = "more than 255 fields in a segment";
        return RESULT_TOO_BIG;
    }

    start = e->out->n;

    json_array_foreach((json_t *) segment, i, field) {
        e->text_field = is_text_field(segment, i);
        r = i == 0 ? RESULT_OK : buf_add(e->out, "|", 1);
        r = r != RESULT_OK ? r : put_value(e, field, 1);
        if (r != RESULT_OK) {
            return r;
        }
    }

    trim_separators(e->out, start);
    return buf_add(e->out, "\r", 1);
}


/* "ADT^A04^ADT_A01": one to three components of letters, digits, _ */
static bool
is_message_type(const char *s)
{
    return s != NULL && strlen(s) >= 3 && strlen(s) <= 32
           && strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_^")
                  == strlen(s);
}


static enum result
put_msh(struct encoder *e, const char *type, const struct hl7_header *h)
{
    static const char *const  charsets[] = { "UNICODE UTF-8", "8859/1" };
    const char  *fields[] = { h->sending_app, h->sending_facility,
        h->receiving_app, h->receiving_facility };
    time_t       sec = (time_t) (h->time_us / 1000000);
    struct tm    tm;
    char         time_text[24];

    (void) gmtime_r(&sec, &tm);
    (void) strftime(time_text, sizeof(time_text), "%Y%m%d%H%M%S+0000", &tm);
    (void) buf_adds(e->out, "MSH|^~\\&");

    for (size_t i = 0; i < 4; i++) {
        (void) buf_add(e->out, "|", 1);
        if (put_text(e, slice_of(fields[i])) == RESULT_INVALID) {
            return RESULT_INVALID;
        }
    }

    (void) buf_addf(e->out, "|%s||%s|%s|%s|%s|||%s|%s||%s\r", time_text, type,
        h->control_id, h->processing_id, h->version,
        h->accept_ack == NULL ? "" : h->accept_ack,
        h->application_ack == NULL ? "" : h->application_ack,
        charsets[h->charset]);

    return e->out->failed ? RESULT_TOO_BIG : RESULT_OK;
}


enum result
hl7_build(const json_t *message, const struct hl7_header *h, struct buf *out,
    const char **why, unsigned *at)
{
    struct encoder  e = { .out = out, .charset = h->charset };
    const json_t   *segments, *segment;
    const char     *type;
    size_t          i;
    enum result     r;

    *at = 0;
    type = json_string_value(json_object_get(message, "message"));
    segments = json_object_get(message, "segments");

    if (!is_message_type(type)) {
        *why = "\"message\" must be a type such as ADT^A04^ADT_A01";
        return RESULT_INVALID;
    }

    if (json_array_size(segments) == 0
        || json_array_size(segments) > MAX_SEGMENTS)
    {
        *why = "\"segments\" must be a list of 1 to 1000 segments";
        return RESULT_INVALID;
    }

    r = put_msh(&e, type, h);

    json_array_foreach((json_t *) segments, i, segment) {
        if (r != RESULT_OK) {
            break;
        }

        *at = (unsigned) i + 1;
        r = put_segment(&e, segment);
    }

    if (r == RESULT_OK && out->failed) {
        r = RESULT_TOO_BIG;
    }

    *why = e.why != NULL ? e.why : r == RESULT_OK ? NULL
                                 : "the message is longer than 1 MB";
    return r;
}
