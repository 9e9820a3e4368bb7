/*
 * Reading HL7 as far as an acknowledgement needs, and the verdict on it.
 * Works on the raw bytes: nothing is allocated, nothing is trusted.
 */

#include "hl7.h"

#include <string.h>

struct marks {
    char  field, component, repeat, escape;
};


/* The separators of MSH-1 and MSH-2, or the usual ones. */
static struct marks
marks_of(struct slice m)
{
    struct marks  marks = { '|', '^', '~', '\\' };

    if (m.n >= 8 && memcmp(m.p, "MSH", 3) == 0) {
        marks = (struct marks) { m.p[3], m.p[4], m.p[5], m.p[6] };
    }

    return marks;
}


/* The N-th part from 1, parted by C; empty when there are fewer. */
static struct slice
part(struct slice s, char c, unsigned n)
{
    const char  *end;
    size_t       len;

    for ( ;; ) {
        end = s.n == 0 ? NULL : memchr(s.p, c, s.n);
        len = end == NULL ? s.n : (size_t) (end - s.p);

        if (n == 1) {
            return (struct slice) { s.p, len };
        }

        if (end == NULL) {
            return SLICE_NONE;
        }

        s = (struct slice) { end + 1, s.n - len - 1 };
        n--;
    }
}


/* Takes the next line off *rest; false at the end. */
static bool
next_line(struct slice *rest, struct slice *line)
{
    size_t  n = 0;

    while (rest->n > 0 && (rest->p[0] == '\r' || rest->p[0] == '\n')) {
        rest->p++;
        rest->n--;
    }

    while (n < rest->n && rest->p[n] != '\r' && rest->p[n] != '\n') {
        n++;
    }

    *line = (struct slice) { rest->p, n };
    rest->p = n == 0 ? rest->p : rest->p + n;
    rest->n -= n;
    return n > 0;
}


struct slice
hl7_get(struct slice message, const char *seg, unsigned field, unsigned repeat,
    unsigned component)
{
    struct marks  marks = marks_of(message);
    struct slice  rest = message, line, value;
    bool          msh = strcmp(seg, "MSH") == 0;

    while (next_line(&rest, &line)) {
        if (line.n < 4 || memcmp(line.p, seg, 3) != 0
            || line.p[3] != marks.field)
        {
            continue;
        }

        if (msh && field == 1) {
            return (struct slice) { line.p + 3, 1 };
        }

        /* MSH-1 is the separator itself: the others count one less */
        value = part(line, marks.field, msh ? field : field + 1);

        if (msh && field == 2) {
            return value;
        }

        return part(part(value, marks.repeat, repeat), marks.component,
            component);
    }

    return SLICE_NONE;
}


static int
hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }

    c = (char) (c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}


/* "X0D0A" as bytes; both "X0D" and "X000d" of other encoders give CR. */
static size_t
unescape_hex(struct slice code, char *out)
{
    size_t  n = 0;
    int     high, low;

    if (code.n < 3 || code.n % 2 == 0) {
        return 0;
    }

    for (size_t i = 1; i < code.n; i += 2) {
        high = hex_value(code.p[i]);
        low = hex_value(code.p[i + 1]);
        if (high < 0 || low < 0) {
            return 0;
        }

        /* the upper half of a UTF-16 unit is no byte of text */
        if (!(high == 0 && low == 0 && code.n > 3)) {
            out[n++] = (char) (high << 4 | low);
        }
    }

    return n;
}


/* One escape's text into OUT; 0: unknown, copied as it stands. */
static size_t
unescape_one(const struct marks *marks, struct slice code, char *out)
{
    static const char  letters[] = "FSRE";
    const char         chars[] = { marks->field, marks->component,
        marks->repeat, marks->escape };
    const char        *at;

    if (code.n == 1 && code.p[0] == 'T') {
        *out = '&';
        return 1;
    }

    if (code.n == 1 && code.p[0] != '\0'
        && (at = strchr(letters, code.p[0])) != NULL)
    {
        *out = chars[at - letters];
        return 1;
    }

    if (slice_eq(code, SLICE_LIT(".br"))) {
        *out = '\n';
        return 1;
    }

    return code.n > 0 && code.p[0] == 'X' ? unescape_hex(code, out) : 0;
}


struct slice
hl7_unescape(struct slice message, struct slice value, struct arena *a)
{
    struct marks  marks = marks_of(message);
    struct slice  code;
    const char   *end;
    char         *out;
    size_t        n, i, len;

    /* no escape is shorter than what it stands for */
    out = arena_alloc(a, value.n + 1);
    if (out == NULL) {
        return SLICE_NONE;
    }

    for (n = 0, i = 0; i < value.n; /* void */) {
        if (value.p[i] == marks.escape) {
            end = memchr(value.p + i + 1, marks.escape, value.n - i - 1);
            code = end == NULL ? SLICE_NONE
                : (struct slice) { value.p + i + 1,
                                   (size_t) (end - value.p) - i - 1 };
            len = unescape_one(&marks, code, out + n);

            if (len > 0) {
                n += len;
                i += code.n + 2;
                continue;
            }
        }

        out[n++] = value.p[i++];
    }

    out[n] = '\0';
    return (struct slice) { out, n };
}


/* -- the verdict --------------------------------------------------------- */

enum code_class { CODE_ACCEPT, CODE_ERROR, CODE_REJECT };

static const struct ack_code {
    char             text[3];
    enum code_class  class;
    bool             commit;
} codes[] = {
    { "AA", CODE_ACCEPT, false }, { "CA", CODE_ACCEPT, true },
    { "AE", CODE_ERROR, false },  { "CE", CODE_ERROR, true },
    { "AR", CODE_REJECT, false }, { "CR", CODE_REJECT, true },
};


static const struct ack_code *
code_find(struct slice text)
{
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        if (slice_eq(text, slice_of(codes[i].text))) {
            return &codes[i];
        }
    }

    return NULL;
}


static struct hl7_verdict
verdict(enum outcome_kind kind, const char *reason)
{
    return (struct hl7_verdict) {
        .outcome = { .kind = kind, .reason = reason }
    };
}


/* A negative answer is final whatever its id; table 0357 knows exceptions. */
static struct hl7_verdict
judge_error(struct slice ack, const struct hl7_rules *rules)
{
    struct slice        code = hl7_get(ack, "ERR", 3, 1, 1);
    struct hl7_verdict  v;

    if (slice_eq(code, SLICE_LIT("206")) || slice_eq(code, SLICE_LIT("207"))) {
        return verdict(OUTCOME_RETRY, "NACK_ERROR");
    }

    if (slice_eq(code, SLICE_LIT("205")) && rules->duplicate_is_success
        && rules->unanswered_before)
    {
        v = verdict(OUTCOME_DELIVERED, NULL);
        v.duplicate = true;
        return v;
    }

    return verdict(OUTCOME_REJECTED, "NACK_ERROR");
}


static struct hl7_verdict
judge_accept(const struct ack_code *code, struct slice id, const char *sent_id,
    const struct hl7_rules *rules)
{
    struct hl7_verdict  v = { .committed = code->commit };
    bool                differs = !slice_eq(id, slice_of(sent_id));

    if (differs && rules->check_id == HL7_ID_STRICT) {
        /* maybe a late answer to another message: ours may still come */
        v.read_on = true;
        v.committed = false;
        v.outcome = (struct outcome) { .kind = OUTCOME_RETRY,
            .reason = "ACK_MISMATCH" };
        return v;
    }

    v.id_differs = differs && rules->check_id == HL7_ID_WARN;
    v.read_on = code->commit && rules->want != HL7_WANT_COMMIT;
    v.outcome.kind = OUTCOME_DELIVERED;
    return v;
}


struct hl7_verdict
hl7_judge(struct slice ack, const char *sent_id, const struct hl7_rules *rules)
{
    const struct ack_code  *code;
    struct hl7_verdict      v;

    /* not by component: "AA^x" is no code, and an id is compared whole */
    struct marks  marks = marks_of(ack);
    struct slice  rest = ack, line, id = SLICE_NONE, text = SLICE_NONE;
    bool          first = true;

    while (next_line(&rest, &line)) {
        if (first && (line.n < 8 || memcmp(line.p, "MSH", 3) != 0)) {
            break;
        }

        first = false;

        if (line.n >= 4 && memcmp(line.p, "MSA", 3) == 0
            && line.p[3] == marks.field)
        {
            text = part(line, marks.field, 2);
            id = part(line, marks.field, 3);
            break;
        }
    }

    code = code_find(text);

    if (code == NULL) {
        v = verdict(OUTCOME_RETRY, "BAD_ACK");
        v.outcome.tries_cap = 3;
        return v;
    }

    switch (code->class) {

    case CODE_ERROR:
        v = judge_error(ack, rules);
        break;

    case CODE_REJECT:
        v = verdict(rules->reject_is_final ? OUTCOME_REJECTED : OUTCOME_RETRY,
            "NACK_REJECT");
        break;

    default:
        v = judge_accept(code, id, sent_id, rules);
        break;
    }

    return v;
}
