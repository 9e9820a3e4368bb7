/*
 * The filter grammar: one table of fields says what each takes, filter_add
 * parses a parameter into a term, filter_match gives the meaning that both
 * stores must share.
 */

#include "filter.h"

#include "clock.h"

#define FILTER_MAX_VALUE  1024
#define FILTER_MAX_Q      256
#define FILTER_MAX_NAME   64

#define FNV_BASIS  0xcbf29ce484222325ull
#define FNV_PRIME  0x100000001b3ull

#define ENUM(p, f, bucket, help)  { p, f, FILTER_T_ENUM, false, bucket, help }
#define INT(p, f, bucket, help)   { p, f, FILTER_T_INT, false, bucket, help }
#define TEXT(p, f, bucket, help)  { p, f, FILTER_T_TEXT, false, bucket, help }

const struct filter_field_info  filter_fields[FILTER_FIELD_COUNT] = {
    [FILTER_STATUS] = ENUM("status", FILTER_STATUS, false,
        "PENDING, SUCCESS, RETRYING, FAIL, CANCELLED or COMMITTED"),
    [FILTER_KIND] = ENUM("kind", FILTER_KIND, true, "api, webhook or hl7"),
    [FILTER_HTTP] = INT("http", FILTER_HTTP, false,
        "a status code, a class as 5xx, or none"),
    [FILTER_ACTION] = INT("action_id", FILTER_ACTION, true,
        "Action ID, or none"),
    [FILTER_CATEGORY] = INT("action_category_id", FILTER_CATEGORY, false,
        "id of the action category, or none"),
    [FILTER_LAB] = INT("lab_id", FILTER_LAB, true, "id of the lab, or none"),
    [FILTER_ORG] = INT("org_id", FILTER_ORG, false, "id of the org, or none"),
    [FILTER_DEVELOPER] = TEXT("developer_id", FILTER_DEVELOPER, true,
        "id of the developer"),
    [FILTER_INTEGRATION] = TEXT("integration_id", FILTER_INTEGRATION, false,
        "id of the integration"),
    [FILTER_ENDPOINT] = TEXT("endpoint", FILTER_ENDPOINT, true,
        "the endpoint as heatmaps label it"),
    [FILTER_METHOD] = TEXT("method", FILTER_METHOD, false, "request method"),
    [FILTER_ERROR] = INT("error", FILTER_ERROR, false,
        "fingerprint of an error, 16 hex digits, or none"),
    [FILTER_EVENT] = TEXT("event_id", FILTER_EVENT, false, "id of the event"),
    [FILTER_BATCH] = TEXT("batch_id", FILTER_BATCH, false, "id of the batch"),
    [FILTER_TRACE] = TEXT("trace_id", FILTER_TRACE, false,
        "trace id of W3C traceparent"),
    [FILTER_REPLAY_OF] = TEXT("replay_of", FILTER_REPLAY_OF, false,
        "id of the log that was replayed"),
    [FILTER_RESEND_OF] = TEXT("resend_of", FILTER_RESEND_OF, false,
        "id of the log that was sent again"),
    [FILTER_ATTEMPTS] = { "attempts", FILTER_ATTEMPTS, FILTER_T_INT, true,
        false, "number of attempts" },
    [FILTER_DURATION_MS] = { "duration_ms", FILTER_DURATION_MS, FILTER_T_INT,
        true, false, "duration in milliseconds" },
    [FILTER_REF] = TEXT("ref", FILTER_REF, false,
        "a business reference, as ref[bill_id]"),
    [FILTER_ID] = TEXT("id", FILTER_ID, false, "id of the log"),
    [FILTER_FLAG] = ENUM("flag", FILTER_FLAG, false,
        "lab_mismatch, suspect, unknown_key, unconfirmed, duplicate or "
        "bad_replay")
};


void
filter_init(struct filter *f, const struct scope *scope)
{
    memset(f, 0, sizeof(*f));
    f->scope = *scope;
    f->from_us = LOGDOC_NONE;
    f->to_us = LOGDOC_NONE;
}


static enum result
invalid(const char **why, const char *text)
{
    *why = text;
    return RESULT_INVALID;
}


static enum result
time_parse(struct slice value, int64_t *us, const char **why)
{
    char  text[64];

    if (*us != LOGDOC_NONE) {
        return invalid(why, "is given twice");
    }

    if (value.n >= sizeof(text)) {
        return invalid(why, "is no RFC 3339 time");
    }

    memcpy(text, value.p, value.n);
    text[value.n] = '\0';

    if (clock_parse(text, us) != RESULT_OK) {
        *us = LOGDOC_NONE;
        return invalid(why,
            "must be an RFC 3339 time, as 2026-01-31T00:00:00Z");
    }

    return RESULT_OK;
}


static enum result
hex64_parse(struct slice s, int64_t *out)
{
    uint64_t  value = 0;

    if (s.n != 16) {
        return RESULT_INVALID;
    }

    for (size_t i = 0; i < s.n; i++) {
        char  c = s.p[i];

        if (c >= '0' && c <= '9') {
            value = value << 4 | (uint64_t) (c - '0');

        } else if (c >= 'a' && c <= 'f') {
            value = value << 4 | (uint64_t) (c - 'a' + 10);

        } else {
            return RESULT_INVALID;
        }
    }

    *out = (int64_t) value;
    return RESULT_OK;
}


static bool
field_nullable(enum filter_field f)
{
    return f == FILTER_HTTP || f == FILTER_ACTION || f == FILTER_CATEGORY
           || f == FILTER_LAB || f == FILTER_ORG || f == FILTER_ERROR;
}


static enum result
enum_parse(struct filter_term *t, const char **why)
{
    int  value;

    switch (t->field) {
    case FILTER_STATUS:
        value = log_status_parse(t->text);
        break;
    case FILTER_KIND:
        value = log_kind_parse(t->text);
        break;
    default:
        value = (int) log_flag_parse(t->text);
        value = value == 0 ? -1 : value;
        break;
    }

    if (value < 0) {
        return invalid(why, filter_fields[t->field].help);
    }

    t->num = value;
    return RESULT_OK;
}


/* "5xx": op becomes CLASS. */
static bool
class_parse(struct filter_term *t)
{
    struct slice  s = t->text;

    if (t->field != FILTER_HTTP || s.n != 3 || s.p[0] < '1' || s.p[0] > '5'
        || s.p[1] != 'x' || s.p[2] != 'x')
    {
        return false;
    }

    t->num = s.p[0] - '0';
    t->op = t->op == FILTER_NE ? FILTER_NOT_CLASS : FILTER_CLASS;
    return true;
}


static enum result
int_parse(struct filter_term *t, const char **why)
{
    enum result  r;

    if (field_nullable(t->field) && slice_eq(t->text, SLICE_LIT("none"))) {
        t->op = t->op == FILTER_NE ? FILTER_NOT_NULL : FILTER_NULL;
        return RESULT_OK;
    }

    if (class_parse(t)) {
        return RESULT_OK;
    }

    r = t->field == FILTER_ERROR ? hex64_parse(t->text, &t->num)
                                 : slice_int(t->text, &t->num);

    /* bounded so that no store overflows when it scales the number */
    if (r != RESULT_OK
        || (t->field != FILTER_ERROR
            && (t->num < 0 || t->num > INT64_MAX / 1000)))
    {
        return invalid(why, filter_fields[t->field].help);
    }

    return RESULT_OK;
}


static enum result
text_parse(struct filter_term *t, const char **why)
{
    uint8_t  id[UUID_BYTES];

    if (t->text.n == 0) {
        return invalid(why, "is empty");
    }

    if (t->field == FILTER_ID && uuid_parse(t->text, id) != RESULT_OK) {
        return invalid(why, "must be a UUID");
    }

    return RESULT_OK;
}


static enum result
value_parse(struct filter_term *t, const char **why)
{
    switch (filter_fields[t->field].type) {
    case FILTER_T_ENUM:
        return enum_parse(t, why);
    case FILTER_T_INT:
        return int_parse(t, why);
    default:
        return text_parse(t, why);
    }
}


static bool
name_valid(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        char  c = s.p[i];

        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z')
            && !(c >= '0' && c <= '9') && c != '_')
        {
            return false;
        }
    }

    return s.n > 0 && s.n <= FILTER_MAX_NAME;
}


/* "[gt]" and so on; false for another word. */
static bool
op_parse(struct slice word, enum filter_op *op)
{
    static const struct {
        const char     *word;
        enum filter_op  op;
    }  ops[] = {
        { "gt", FILTER_GT }, { "gte", FILTER_GTE },
        { "lt", FILTER_LT }, { "lte", FILTER_LTE }
    };

    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        if (slice_eq(word, slice_of(ops[i].word))) {
            *op = ops[i].op;
            return true;
        }
    }

    return false;
}


static const struct filter_field_info *
field_find(struct slice name)
{
    for (size_t i = 0; i < FILTER_FIELD_COUNT; i++) {
        if (slice_eq(name, slice_of(filter_fields[i].param))) {
            return &filter_fields[i];
        }
    }

    return NULL;
}


/* Splits "ref[bill_id]" in place: *name is "ref", *inner "bill_id". */
static bool
bracket_split(struct slice *name, struct slice *inner)
{
    const char  *open;

    *inner = SLICE_NONE;
    open = name->n == 0 ? NULL : memchr(name->p, '[', name->n);
    if (open == NULL) {
        return false;
    }

    if (name->p[name->n - 1] == ']') {
        inner->p = open + 1;
        inner->n = (size_t) (name->p + name->n - 1 - (open + 1));
    }

    name->n = (size_t) (open - name->p);
    return true;
}


/* The term's name and operator from what stands in brackets. */
static enum result
bracket_apply(const struct filter_field_info *info, struct filter_term *t,
    bool bracket, struct slice inner, const char **why)
{
    if (info->field == FILTER_REF) {
        t->name = inner;
        return bracket && name_valid(inner) ? RESULT_OK
            : invalid(why, "needs a reference's name, as ref[bill_id]");
    }

    if (bracket && !info->ordered) {
        return invalid(why, "takes no brackets");
    }

    if (bracket && !op_parse(inner, &t->op)) {
        return invalid(why, "takes [gt], [gte], [lt] or [lte]");
    }

    if (!bracket && info->field == FILTER_DURATION_MS) {
        return invalid(why, "needs [gt], [gte], [lt] or [lte]");
    }

    return RESULT_OK;
}


static enum result
term_add(struct filter *f, const struct filter_field_info *info, bool bracket,
    struct slice inner, struct slice value, const char **why)
{
    struct filter_term  *t;
    enum result          r;

    if (f->nterms == FILTER_MAX_TERMS) {
        return invalid(why, "is one filter too many: 64 are allowed");
    }

    t = &f->terms[f->nterms];
    memset(t, 0, sizeof(*t));
    t->field = info->field;
    t->op = FILTER_EQ;

    r = bracket_apply(info, t, bracket, inner, why);
    if (r != RESULT_OK) {
        return r;
    }

    if (t->op == FILTER_EQ && value.n > 0 && value.p[0] == '!') {
        t->op = FILTER_NE;
        value.p++;
        value.n--;

    } else if (value.n > 1 && value.p[0] == '\\' && value.p[1] == '!') {
        value.p++;
        value.n--;
    }

    t->text = value;

    r = value_parse(t, why);
    if (r == RESULT_OK) {
        f->nterms++;
    }

    return r;
}


static enum result
q_set(struct filter *f, struct slice value, const char **why)
{
    if (f->q.n > 0) {
        return invalid(why, "is given twice");
    }

    if (value.n > FILTER_MAX_Q) {
        return invalid(why, "is longer than 256 bytes");
    }

    f->q = value;
    return RESULT_OK;
}


enum result
filter_add(struct filter *f, struct slice name, struct slice value,
    const char **why)
{
    const struct filter_field_info  *info;
    struct slice                     inner;
    bool                             bracket;
    enum result                      r;

    *why = "";

    bracket = bracket_split(&name, &inner);
    info = field_find(name);

    if (info == NULL
        && (bracket || !(slice_eq(name, SLICE_LIT("q"))
                         || slice_eq(name, SLICE_LIT("from"))
                         || slice_eq(name, SLICE_LIT("to")))))
    {
        return RESULT_NOT_FOUND;
    }

    if (value.n > FILTER_MAX_VALUE) {
        return invalid(why, "is longer than 1024 bytes");
    }

    if ((value.n > 0 && memchr(value.p, '\0', value.n) != NULL)
        || !slice_utf8(value))
    {
        return invalid(why, "is not UTF-8 text");
    }

    if (info != NULL) {
        return term_add(f, info, bracket, inner, value, why);
    }

    if (name.p[0] == 'q') {
        return q_set(f, value, why);
    }

    r = time_parse(value, name.p[0] == 'f' ? &f->from_us : &f->to_us, why);

    if (r == RESULT_OK && f->from_us != LOGDOC_NONE && f->to_us != LOGDOC_NONE
        && f->from_us >= f->to_us)
    {
        return invalid(why, "leaves no time: from must be before to");
    }

    return r;
}


bool
filter_is_bucket(const struct filter *f)
{
    for (unsigned i = 0; i < f->nterms; i++) {
        if (!filter_fields[f->terms[i].field].bucket) {
            return false;
        }
    }

    return f->q.n == 0;
}


bool
scope_sees(const struct scope *sc, int64_t org_id, int64_t lab_id)
{
    if (sc->platform) {
        return true;
    }

    if (org_id == LOGDOC_NONE || org_id != sc->org_id) {
        return false;
    }

    if (sc->labs == NULL) {
        return true;
    }

    for (unsigned i = 0; i < sc->nlabs; i++) {
        if (lab_id == sc->labs[i]) {
            return true;
        }
    }

    return false;
}


/* The number that a field of the log holds, LOGDOC_NONE when null. */
static int64_t
field_num(const struct logdoc *d, enum filter_field f)
{
    switch (f) {
    case FILTER_STATUS:
        return d->status;
    case FILTER_KIND:
        return d->kind;
    case FILTER_HTTP:
        return d->http_status;
    case FILTER_ACTION:
        return d->action_id;
    case FILTER_CATEGORY:
        return d->action_category_id;
    case FILTER_LAB:
        return d->lab_id;
    case FILTER_ORG:
        return d->org_id;
    case FILTER_ERROR:
        return d->error_fingerprint == 0 ? LOGDOC_NONE
                                         : (int64_t) d->error_fingerprint;
    case FILTER_ATTEMPTS:
        return d->attempts;
    case FILTER_DURATION_MS:
        return d->duration_us;
    default:
        return LOGDOC_NONE;
    }
}


static struct slice
field_text(const struct logdoc *d, enum filter_field f)
{
    switch (f) {
    case FILTER_DEVELOPER:
        return d->developer_id;
    case FILTER_INTEGRATION:
        return d->integration_id;
    case FILTER_ENDPOINT:
        return d->endpoint;
    case FILTER_METHOD:
        return d->method;
    case FILTER_EVENT:
        return d->event_id;
    case FILTER_BATCH:
        return d->batch_id;
    case FILTER_TRACE:
        return d->trace_id;
    case FILTER_REPLAY_OF:
        return d->replay_of;
    case FILTER_RESEND_OF:
        return d->resend_of;
    default:
        return SLICE_NONE;
    }
}


static bool
text_equals(const struct filter_term *t, const struct logdoc *d)
{
    uint8_t  id[UUID_BYTES];

    if (t->field == FILTER_ID) {
        return uuid_parse(t->text, id) == RESULT_OK
               && memcmp(id, d->id, UUID_BYTES) == 0;
    }

    if (t->field != FILTER_REF) {
        return slice_eq(t->text, field_text(d, t->field));
    }

    for (unsigned i = 0; i < d->nrefs; i++) {
        if (slice_eq(t->name, d->refs[i].name)
            && slice_eq(t->text, d->refs[i].value))
        {
            return true;
        }
    }

    return false;
}


static bool
num_holds(const struct filter_term *t, const struct logdoc *d)
{
    int64_t  have = field_num(d, t->field);
    int64_t  want = t->num;

    if (t->field == FILTER_DURATION_MS) {
        want *= 1000;
    }

    switch (t->op) {
    case FILTER_GT:
        return have != LOGDOC_NONE && have > want;
    case FILTER_GTE:
        return have != LOGDOC_NONE && have >= want;
    case FILTER_LT:
        return have != LOGDOC_NONE && have < want;
    case FILTER_LTE:
        return have != LOGDOC_NONE && have <= want;
    case FILTER_CLASS:
    case FILTER_NOT_CLASS:
        return have != LOGDOC_NONE && have / 100 == want;
    case FILTER_NULL:
    case FILTER_NOT_NULL:
        return have == LOGDOC_NONE;
    default:
        return have != LOGDOC_NONE && have == want;
    }
}


/* The term without its negation. */
static bool
term_holds(const struct filter_term *t, const struct logdoc *d)
{
    if (t->field == FILTER_FLAG) {
        return (d->flags & (uint32_t) t->num) != 0;
    }

    return filter_fields[t->field].type == FILTER_T_TEXT ? text_equals(t, d)
                                                         : num_holds(t, d);
}


static bool
op_negates(enum filter_op op)
{
    return op == FILTER_NE || op == FILTER_NOT_CLASS || op == FILTER_NOT_NULL;
}


static bool
op_joins(enum filter_op op)
{
    return op == FILTER_EQ || op == FILTER_CLASS || op == FILTER_NULL;
}


/* Does any of the or-ed terms that belong to T hold? */
static bool
group_holds(const struct filter *f, const struct filter_term *t,
    const struct logdoc *d)
{
    for (unsigned i = 0; i < f->nterms; i++) {
        const struct filter_term  *u = &f->terms[i];

        if (u->field == t->field && op_joins(u->op)
            && slice_eq(u->name, t->name) && term_holds(u, d))
        {
            return true;
        }
    }

    return false;
}


static bool
terms_match(const struct filter *f, const struct logdoc *d)
{
    for (unsigned i = 0; i < f->nterms; i++) {
        const struct filter_term  *t = &f->terms[i];
        bool                       holds;

        if (op_joins(t->op)) {
            holds = group_holds(f, t, d);

        } else {
            holds = term_holds(t, d) != op_negates(t->op);
        }

        if (!holds) {
            return false;
        }
    }

    return true;
}


static bool
slice_contains(struct slice hay, struct slice needle)
{
    for (size_t i = 0; needle.n <= hay.n && i <= hay.n - needle.n; i++) {
        if (slice_eq_nocase((struct slice) { hay.p + i, needle.n }, needle)) {
            return true;
        }
    }

    return false;
}


static bool
q_match(struct slice q, const struct logdoc *d)
{
    const struct slice  places[] = {
        d->url, d->error_message, d->event_id, d->batch_id, d->message_id,
        d->trace_id
    };
    char                id[UUID_TEXT + 1];

    if (q.n == 0) {
        return true;
    }

    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        if (slice_contains(places[i], q)) {
            return true;
        }
    }

    for (unsigned i = 0; i < d->nrefs; i++) {
        if (slice_contains(d->refs[i].value, q)) {
            return true;
        }
    }

    uuid_text(d->id, id);
    return slice_contains((struct slice) { id, UUID_TEXT }, q);
}


bool
filter_match(const struct filter *f, const struct logdoc *d)
{
    return scope_sees(&f->scope, d->org_id, d->lab_id)
           && (f->from_us == LOGDOC_NONE || d->started_us >= f->from_us)
           && (f->to_us == LOGDOC_NONE || d->started_us < f->to_us)
           && terms_match(f, d) && q_match(f->q, d);
}


static uint64_t
hash_bytes(uint64_t h, const void *p, size_t n)
{
    const unsigned char  *c = p;

    for (size_t i = 0; i < n; i++) {
        h = (h ^ c[i]) * FNV_PRIME;
    }

    return h;
}


static uint64_t
hash_int(uint64_t h, int64_t v)
{
    unsigned char  bytes[8];

    for (int i = 0; i < 8; i++) {
        bytes[i] = (unsigned char) ((uint64_t) v >> (8 * i));
    }

    return hash_bytes(h, bytes, sizeof(bytes));
}


static uint64_t
hash_slice(uint64_t h, struct slice s)
{
    return hash_bytes(hash_int(h, (int64_t) s.n), s.p, s.n);
}


static uint64_t
term_hash(const struct filter_term *t)
{
    uint64_t  h;

    h = hash_int(FNV_BASIS, (int64_t) t->field << 8 | (int64_t) t->op);
    h = hash_slice(h, t->name);
    return hash_slice(h, t->text);
}


uint64_t
filter_hash(const struct filter *f)
{
    uint64_t  h, sum = 0;

    /* a sum, so that the order of parameters does not count */
    for (unsigned i = 0; i < f->nterms; i++) {
        sum += term_hash(&f->terms[i]);
    }

    h = hash_int(FNV_BASIS, (int64_t) sum);
    h = hash_int(h, f->from_us);
    h = hash_int(h, f->to_us);
    h = hash_slice(h, f->q);
    h = hash_int(h, f->scope.platform);
    h = hash_int(h, f->scope.org_id);
    h = hash_int(h, f->scope.labs == NULL ? -1 : (int64_t) f->scope.nlabs);

    for (unsigned i = 0; f->scope.labs != NULL && i < f->scope.nlabs; i++) {
        h = hash_int(h, f->scope.labs[i]);
    }

    return h;
}
