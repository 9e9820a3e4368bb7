/*
 * Logs and attempts as BSON.  One table a sub-document says which field stands
 * where, read by encoder and decoder alike.  Nulls are absent.  Header blocks
 * are arrays of {name, value} (FerretDB has no nested arrays), kept whole as one
 * value when a line is not "Name: value CRLF", so that what is read back is byte
 * for byte what was recorded.  Bodies are strings or binary, never parsed.
 */

#include "store_mongo_doc.h"

#include <stdio.h>

#define DECODE_MAX_LINES  4096             /* of a header block; then whole */

enum type { T_TEXT, T_INT, T_BOOL, T_HASH };

struct field {
    const char  *name;
    enum type    type;
    size_t       offset;                   /* in the record */
};

struct group {                             /* a sub-document */
    const char          *name;
    const struct field  *fields;
    size_t               n;
    size_t               body;             /* offset of its log_body, or NONE */
};

struct shape {                             /* a kind of document */
    const struct field  *fields;
    size_t               n;
    const struct group  *groups;
    size_t               ngroups;
};

#define NO_BODY       SIZE_MAX
#define COUNT(a)      (sizeof(a) / sizeof((a)[0]))
#define L(name, type, member)  { name, type, offsetof(struct logdoc, member) }
#define A(name, type, member)                                                 \
    { name, type, offsetof(struct log_attempt, member) }

static const struct field  log_fields[] = {
    L("action_id", T_INT, action_id),
    L("action_category_id", T_INT, action_category_id),
    L("developer_id", T_TEXT, developer_id),
    L("integration_id", T_TEXT, integration_id),
    L("lab_id", T_INT, lab_id),
    L("org_id", T_INT, org_id),
    L("endpoint", T_TEXT, endpoint),
    L("method", T_TEXT, method),
    L("scheme", T_TEXT, scheme),
    L("host", T_TEXT, host),
    L("url", T_TEXT, url),
    L("protocol", T_TEXT, protocol),
    L("route", T_TEXT, route),
    L("complete", T_BOOL, complete),
    L("sent_bytes", T_INT, sent_bytes),
    L("started_us", T_INT, started_us),
    L("attempts", T_INT, attempts),
    L("next_attempt_us", T_INT, next_attempt_us),
    L("event_id", T_TEXT, event_id),
    L("batch_id", T_TEXT, batch_id),
    L("replay_of", T_TEXT, replay_of),
    L("resend_of", T_TEXT, resend_of),
    L("message_id", T_TEXT, message_id),
    L("trace_id", T_TEXT, trace_id),
    L("expires_us", T_INT, expires_us)
};

/* Of deliveries alone, beside what delivery_put writes. */
static const struct field  log_delivery[] = {
    L("priority", T_INT, priority),
    L("token", T_INT, token),
    L("lease_until_us", T_INT, lease_until_us),
    L("lane", T_TEXT, lane),
    L("lane_us", T_INT, lane_us)
};

static const struct field  log_request[] = {
    L("bytes", T_INT, request.bytes),
    L("cut", T_TEXT, request.cut)
};

static const struct field  log_response[] = {
    L("status", T_INT, http_status),
    L("bytes", T_INT, response.bytes),
    L("cut", T_TEXT, response.cut)
};

static const struct field  log_timing[] = {
    L("duration_us", T_INT, duration_us),
    L("connect_us", T_INT, connect_us),
    L("first_byte_us", T_INT, first_byte_us)
};

static const struct field  log_upstream[] = {
    L("addr", T_TEXT, upstream_addr),
    L("status", T_TEXT, upstream_status),
    L("connect_us", T_TEXT, upstream_connect),
    L("header_us", T_TEXT, upstream_header),
    L("response_us", T_TEXT, upstream_response)
};

static const struct field  log_error[] = {
    L("code", T_TEXT, error_code),
    L("message", T_TEXT, error_message),
    L("fingerprint", T_HASH, error_fingerprint)
};

static const struct field  log_client[] = {
    L("ip", T_TEXT, client_ip),
    L("port", T_INT, client_port)
};

static const struct group  log_groups[] = {
    { "request", log_request, COUNT(log_request),
      offsetof(struct logdoc, request) },
    { "response", log_response, COUNT(log_response),
      offsetof(struct logdoc, response) },
    { "timing", log_timing, COUNT(log_timing), NO_BODY },
    { "upstream", log_upstream, COUNT(log_upstream), NO_BODY },
    { "error", log_error, COUNT(log_error), NO_BODY },
    { "client", log_client, COUNT(log_client), NO_BODY }
};

static const struct shape  log_shape = {
    log_fields, COUNT(log_fields), log_groups, COUNT(log_groups)
};

static const struct field  attempt_fields[] = {
    A("number", T_INT, number),
    A("outcome", T_TEXT, outcome),
    A("started_us", T_INT, started_us),
    A("next_attempt_us", T_INT, next_attempt_us)
};

static const struct field  attempt_timing[] = {
    A("duration_us", T_INT, duration_us),
    A("connect_us", T_INT, connect_us),
    A("first_byte_us", T_INT, first_byte_us)
};

static const struct field  attempt_request[] = {
    A("bytes", T_INT, request.bytes),
    A("cut", T_TEXT, request.cut)
};

static const struct field  attempt_response[] = {
    A("status", T_INT, http_status),
    A("bytes", T_INT, response.bytes),
    A("cut", T_TEXT, response.cut)
};

static const struct field  attempt_error[] = {
    A("code", T_TEXT, error_code),
    A("message", T_TEXT, error_message)
};

static const struct group  attempt_groups[] = {
    { "request", attempt_request, COUNT(attempt_request),
      offsetof(struct log_attempt, request) },
    { "response", attempt_response, COUNT(attempt_response),
      offsetof(struct log_attempt, response) },
    { "timing", attempt_timing, COUNT(attempt_timing), NO_BODY },
    { "error", attempt_error, COUNT(attempt_error), NO_BODY }
};

static const struct shape  attempt_shape = {
    attempt_fields, COUNT(attempt_fields), attempt_groups,
    COUNT(attempt_groups)
};


/* -- values ---------------------------------------------------------------- */

bool
mongo_put_text(bson_t *b, const char *key, struct slice s)
{
    if (s.n == 0) {
        return true;
    }

    if (s.n > MONGO_MAX_DOC) {
        return false;
    }

    if (memchr(s.p, '\0', s.n) == NULL && slice_utf8(s)) {
        return bson_append_utf8(b, key, -1, s.p, (int) s.n);
    }

    return bson_append_binary(b, key, -1, BSON_SUBTYPE_BINARY,
                              (const uint8_t *) s.p, (uint32_t) s.n);
}


bool
mongo_put_int(bson_t *b, const char *key, int64_t v)
{
    return v == LOGDOC_NONE || bson_append_int64(b, key, -1, v);
}


struct slice
mongo_get_text(const bson_iter_t *it)
{
    const uint8_t   *bytes;
    bson_subtype_t   subtype;
    uint32_t         n;
    struct slice     s = SLICE_NONE;

    if (BSON_ITER_HOLDS_UTF8(it)) {
        s.p = bson_iter_utf8(it, &n);
        s.n = n;

    } else if (BSON_ITER_HOLDS_BINARY(it)) {
        bson_iter_binary(it, &subtype, &n, &bytes);
        s.p = (const char *) bytes;
        s.n = n;
    }

    return s;
}


int64_t
mongo_get_int(const bson_iter_t *it)
{
    double  d;

    if (BSON_ITER_HOLDS_INT(it)) {
        return bson_iter_as_int64(it);
    }

    /* counts of some servers come as doubles */
    if (BSON_ITER_HOLDS_DOUBLE(it)) {
        d = bson_iter_double(it);
        return d > -9e15 && d < 9e15 ? (int64_t) d : LOGDOC_NONE;
    }

    return LOGDOC_NONE;
}


static bool
field_put(bson_t *b, const struct field *f, const void *record)
{
    const char  *at = (const char *) record + f->offset;

    switch (f->type) {
    case T_TEXT:
        return mongo_put_text(b, f->name, *(const struct slice *) at);

    case T_INT:
        return mongo_put_int(b, f->name, *(const int64_t *) at);

    case T_BOOL:
        return bson_append_bool(b, f->name, -1, *(const int *) at != 0);

    default:
        return *(const uint64_t *) at == 0
               || bson_append_int64(b, f->name, -1,
                                    (int64_t) *(const uint64_t *) at);
    }
}


static bool
text_get(const bson_iter_t *it, struct arena *a, struct slice *out)
{
    struct slice  s = mongo_get_text(it);

    *out = s.n == 0 ? SLICE_NONE : arena_copy(a, s);
    return s.n == 0 || out->p != NULL;
}


static bool
field_get(const bson_iter_t *it, const struct field *f, void *record,
    struct arena *a)
{
    char     *at = (char *) record + f->offset;
    int64_t   v;

    switch (f->type) {
    case T_TEXT:
        return text_get(it, a, (struct slice *) at);

    case T_INT:
        *(int64_t *) at = mongo_get_int(it);
        return true;

    case T_BOOL:
        *(int *) at = bson_iter_as_bool(it);
        return true;

    default:
        v = mongo_get_int(it);
        *(uint64_t *) at = v == LOGDOC_NONE ? 0 : (uint64_t) v;
        return true;
    }
}


/* Fields mostly come in the table's order: *NEXT is where to look first. */
static const struct field *
field_find(const struct field *fields, size_t n, const char *name,
    size_t *next)
{
    for (size_t i = 0; i < n; i++) {
        size_t  at = (*next + i) % n;

        if (strcmp(fields[at].name, name) == 0) {
            *next = at + 1;
            return &fields[at];
        }
    }

    return NULL;
}


/* -- header blocks --------------------------------------------------------- */

/* Takes one "Name: value CRLF" off the block; false when it is not one. */
static bool
header_next(struct slice *block, struct slice *name, struct slice *value)
{
    const char  *end, *colon;
    size_t       n;

    end = memchr(block->p, '\r', block->n);
    n = end == NULL ? 0 : (size_t) (end - block->p);

    if (end == NULL || n + 1 >= block->n || end[1] != '\n') {
        return false;
    }

    colon = memchr(block->p, ':', n);
    if (colon == NULL || colon == block->p || colon + 1 == end
        || colon[1] != ' ' || memchr(block->p, '\n', n) != NULL)
    {
        return false;
    }

    *name = (struct slice) { block->p, (size_t) (colon - block->p) };
    *value = (struct slice) { colon + 2, (size_t) (end - colon - 2) };
    block->p += n + 2;
    block->n -= n + 2;
    return true;
}


static bool
headers_split(struct slice block)
{
    struct slice  name, value;
    unsigned      lines = 0;

    while (block.n > 0) {
        if (!header_next(&block, &name, &value)
            || ++lines > DECODE_MAX_LINES)
        {
            return false;
        }
    }

    return true;
}


static bool
headers_put(bson_t *b, struct slice block)
{
    bson_t         list, pair;
    struct slice   name, value;
    const char    *key;
    char           number[16];
    uint32_t       i = 0;
    bool           ok = true;

    if (block.n == 0) {
        return true;
    }

    if (!headers_split(block)) {
        return mongo_put_text(b, "headers", block);
    }

    ok = bson_append_array_begin(b, "headers", -1, &list);

    while (ok && block.n > 0 && header_next(&block, &name, &value)) {
        bson_uint32_to_string(i++, &key, number, sizeof(number));
        ok = bson_append_document_begin(&list, key, -1, &pair)
             && mongo_put_text(&pair, "name", name)
             && mongo_put_text(&pair, "value", value)
             && bson_append_document_end(&list, &pair);
    }

    return ok && bson_append_array_end(b, &list);
}


/* One {name, value}; false when it is no document. */
static bool
pair_get(const bson_iter_t *it, struct log_pair *pair)
{
    bson_iter_t  sub;

    pair->name = SLICE_NONE;
    pair->value = SLICE_NONE;

    if (!BSON_ITER_HOLDS_DOCUMENT(it) || !bson_iter_recurse(it, &sub)) {
        return false;
    }

    while (bson_iter_next(&sub)) {
        if (strcmp(bson_iter_key(&sub), "name") == 0) {
            pair->name = mongo_get_text(&sub);

        } else if (strcmp(bson_iter_key(&sub), "value") == 0) {
            pair->value = mongo_get_text(&sub);
        }
    }

    return true;
}


static size_t
headers_write(const bson_iter_t *array, char *out)
{
    bson_iter_t      it;
    struct log_pair  pair;
    size_t           n = 0;

    if (!bson_iter_recurse(array, &it)) {
        return 0;
    }

    while (bson_iter_next(&it)) {
        if (!pair_get(&it, &pair)) {
            continue;
        }

        if (out != NULL) {
            memcpy(out + n, pair.name.p, pair.name.n);
            memcpy(out + n + pair.name.n, ": ", 2);
            if (pair.value.n > 0) {
                memcpy(out + n + pair.name.n + 2, pair.value.p, pair.value.n);
            }
            memcpy(out + n + pair.name.n + 2 + pair.value.n, "\r\n", 2);
        }

        n += pair.name.n + pair.value.n + 4;
    }

    return n;
}


static bool
headers_get(const bson_iter_t *it, struct arena *a, struct slice *out)
{
    char    *p;
    size_t   n;

    if (!BSON_ITER_HOLDS_ARRAY(it)) {
        return text_get(it, a, out);
    }

    n = headers_write(it, NULL);
    p = arena_alloc(a, n + 1);
    if (p == NULL) {
        return false;
    }

    p[headers_write(it, p)] = '\0';
    *out = (struct slice) { p, n };
    return true;
}


/* -- sub-documents --------------------------------------------------------- */

static bool
group_put(bson_t *b, const struct group *g, const void *record)
{
    const struct log_body  *body;
    bson_t                  sub;
    bool                    ok;

    ok = bson_append_document_begin(b, g->name, -1, &sub);

    for (size_t i = 0; ok && i < g->n; i++) {
        ok = field_put(&sub, &g->fields[i], record);
    }

    if (ok && g->body != NO_BODY) {
        body = (const void *) ((const char *) record + g->body);
        ok = headers_put(&sub, body->headers)
             && mongo_put_text(&sub, "body", body->data);
    }

    return ok && bson_append_document_end(b, &sub);
}


static bool
group_get(const bson_iter_t *at, const struct group *g, void *record,
    struct arena *a)
{
    const struct field  *f;
    struct log_body     *body = NULL;
    bson_iter_t          it;
    size_t               next = 0;
    bool                 ok = true;

    if (!BSON_ITER_HOLDS_DOCUMENT(at) || !bson_iter_recurse(at, &it)) {
        return false;
    }

    if (g->body != NO_BODY) {
        body = (void *) ((char *) record + g->body);
    }

    while (ok && bson_iter_next(&it)) {
        f = field_find(g->fields, g->n, bson_iter_key(&it), &next);

        if (f != NULL) {
            ok = field_get(&it, f, record, a);

        } else if (body != NULL && strcmp(bson_iter_key(&it), "headers") == 0) {
            ok = headers_get(&it, a, &body->headers);

        } else if (body != NULL && strcmp(bson_iter_key(&it), "body") == 0) {
            ok = text_get(&it, a, &body->data);
        }
    }

    return ok;
}


static bool
shape_put(bson_t *b, const struct shape *s, const void *record)
{
    bool  ok = true;

    for (size_t i = 0; ok && i < s->n; i++) {
        ok = field_put(b, &s->fields[i], record);
    }

    for (size_t i = 0; ok && i < s->ngroups; i++) {
        ok = group_put(b, &s->groups[i], record);
    }

    return ok;
}


/* True when the field was one of the shape's, *ok whether it could be read. */
static bool
shape_get(const bson_iter_t *it, const struct shape *s, void *record,
    struct arena *a, size_t *next, bool *ok)
{
    const struct field  *f;

    f = field_find(s->fields, s->n, bson_iter_key(it), next);
    if (f != NULL) {
        *ok = field_get(it, f, record, a);
        return true;
    }

    for (size_t i = 0; i < s->ngroups; i++) {
        if (strcmp(s->groups[i].name, bson_iter_key(it)) == 0) {
            *ok = group_get(it, &s->groups[i], record, a);
            return true;
        }
    }

    return false;
}


/* -- references and fields ------------------------------------------------- */

/* Fit to be the name of a field on every server, and to be filtered by. */
static bool
name_is_key(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        char  c = s.p[i];

        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z')
            && !(c >= '0' && c <= '9') && c != '_' && c != '-')
        {
            return false;
        }
    }

    return s.n > 0 && s.n <= 64;
}


static bool
pair_is_first(const struct log_pair *pairs, unsigned i)
{
    for (unsigned j = 0; j < i; j++) {
        if (slice_eq(pairs[j].name, pairs[i].name)) {
            return false;
        }
    }

    return true;
}


/* All values of the name: one as itself, several as an array, which equality
 * on the field looks into. */
static bool
pair_put(bson_t *b, const struct log_pair *pairs, unsigned n, unsigned first)
{
    char         key[65], number[16];
    const char  *index;
    unsigned     same = 0;
    uint32_t     k = 0;
    bson_t       list;
    bool         ok;

    memcpy(key, pairs[first].name.p, pairs[first].name.n);
    key[pairs[first].name.n] = '\0';

    for (unsigned i = first; i < n; i++) {
        same += slice_eq(pairs[i].name, pairs[first].name);
    }

    if (same == 1 && pairs[first].value.n > 0) {
        return mongo_put_text(b, key, pairs[first].value);
    }

    if (same == 1) {
        return bson_append_utf8(b, key, -1, "", 0);
    }

    ok = bson_append_array_begin(b, key, -1, &list);

    for (unsigned i = first; ok && i < n; i++) {
        if (slice_eq(pairs[i].name, pairs[first].name)) {
            bson_uint32_to_string(k++, &index, number, sizeof(number));
            ok = pairs[i].value.n > 0
                 ? mongo_put_text(&list, index, pairs[i].value)
                 : bson_append_utf8(&list, index, -1, "", 0);
        }
    }

    return ok && bson_append_array_end(b, &list);
}


/* Names that cannot be keys go to a list of {name, value} beside. */
static bool
pairs_odd_put(bson_t *b, const char *key, const struct log_pair *pairs,
    unsigned n)
{
    char         number[16];
    const char  *index;
    bson_t       list, pair;
    uint32_t     k = 0;
    bool         ok = true;

    for (unsigned i = 0; ok && i < n; i++) {
        if (name_is_key(pairs[i].name)) {
            continue;
        }

        if (k == 0) {
            ok = bson_append_array_begin(b, key, -1, &list);
        }

        bson_uint32_to_string(k++, &index, number, sizeof(number));
        ok = ok && bson_append_document_begin(&list, index, -1, &pair)
             && mongo_put_text(&pair, "name", pairs[i].name)
             && mongo_put_text(&pair, "value", pairs[i].value)
             && bson_append_document_end(&list, &pair);
    }

    return ok && (k == 0 || bson_append_array_end(b, &list));
}


static bool
pairs_put(bson_t *b, const char *key, const char *odd,
    const struct log_pair *pairs, unsigned n)
{
    bson_t  sub;
    bool    ok;

    if (n == 0) {
        return true;
    }

    if (n > LOGDOC_MAX_PAIRS) {
        return false;
    }

    ok = bson_append_document_begin(b, key, -1, &sub);

    for (unsigned i = 0; ok && i < n; i++) {
        if (name_is_key(pairs[i].name) && pair_is_first(pairs, i)) {
            ok = pair_put(&sub, pairs, n, i);
        }
    }

    return ok && bson_append_document_end(b, &sub)
           && pairs_odd_put(b, odd, pairs, n);
}


static bool
pair_add(struct arena *a, struct slice name, struct slice value,
    struct log_pair *pairs, unsigned *n)
{
    struct log_pair  *pair;

    if (*n == LOGDOC_MAX_PAIRS) {
        return false;
    }

    pair = &pairs[(*n)++];
    pair->name = arena_copy(a, name);
    pair->value = arena_copy(a, value);
    return pair->name.p != NULL && pair->value.p != NULL;
}


static bool
pairs_get(const bson_iter_t *at, struct arena *a, struct log_pair *pairs,
    unsigned *n)
{
    bson_iter_t      it, list;
    struct log_pair  pair;
    bool             ok = true;

    if (!bson_iter_recurse(at, &it)) {
        return false;
    }

    while (ok && bson_iter_next(&it)) {
        if (BSON_ITER_HOLDS_DOCUMENT(&it)) {           /* of the odd ones */
            ok = pair_get(&it, &pair)
                 && pair_add(a, pair.name, pair.value, pairs, n);

        } else if (!BSON_ITER_HOLDS_ARRAY(&it)) {
            ok = pair_add(a, slice_of(bson_iter_key(&it)),
                          mongo_get_text(&it), pairs, n);

        } else if (bson_iter_recurse(&it, &list)) {
            while (ok && bson_iter_next(&list)) {
                ok = pair_add(a, slice_of(bson_iter_key(&it)),
                              mongo_get_text(&list), pairs, n);
            }
        }
    }

    return ok;
}


/* -- flags ----------------------------------------------------------------- */

static bool
flags_put(bson_t *b, uint32_t flags)
{
    char         number[16];
    const char  *index;
    bson_t       list;
    uint32_t     k = 0;
    bool         ok;

    if (flags == 0) {
        return true;
    }

    ok = bson_append_array_begin(b, "flags", -1, &list);

    for (unsigned i = 0; ok && i < LOG_FLAG_COUNT; i++) {
        if (flags & (1u << i)) {
            bson_uint32_to_string(k++, &index, number, sizeof(number));
            ok = bson_append_utf8(&list, index, -1, log_flag_text(i), -1);
        }
    }

    return ok && bson_append_array_end(b, &list);
}


static uint32_t
flags_get(const bson_iter_t *at)
{
    bson_iter_t  it;
    uint32_t     flags = 0;

    if (BSON_ITER_HOLDS_ARRAY(at) && bson_iter_recurse(at, &it)) {
        while (bson_iter_next(&it)) {
            flags |= log_flag_parse(mongo_get_text(&it));
        }
    }

    return flags;
}


/* -- deliveries ------------------------------------------------------------ */

/* When somebody may claim it: at its time, or when its lease has ended. */
static bool
due_put(bson_t *b, const struct logdoc *d)
{
    int64_t  due = d->next_attempt_us;

    if (log_status_ended(d->status) || due == LOGDOC_NONE) {
        return true;
    }

    if (d->lease_until_us != LOGDOC_NONE && d->lease_until_us > due) {
        due = d->lease_until_us;
    }

    return mongo_put_int(b, "due_us", due);
}


/* A lane is named as long as the delivery is open or holds it. */
static bool
lane_put(bson_t *b, const struct logdoc *d)
{
    if (d->lane.n == 0 || log_status_ended(d->status)) {
        return true;
    }

    return mongo_put_text(b, "lane", d->lane)
           && mongo_put_int(b, "lane_us", d->lane_us != LOGDOC_NONE
                  ? d->lane_us : d->next_attempt_us)
           && mongo_put_int(b, "lane_flags", d->lane_flags);
}


static bool
delivery_put(bson_t *b, const struct logdoc *d)
{
    return d->kind == LOG_KIND_API
           || (mongo_put_int(b, "priority", d->priority)
               && mongo_put_int(b, "token", d->token)
               && mongo_put_int(b, "lease_until_us", d->lease_until_us)
               && due_put(b, d) && lane_put(b, d)
               && mongo_put_int(b, "since_us", d->lane_us != LOGDOC_NONE
                      ? d->lane_us : d->next_attempt_us));
}


static const struct group *
log_group(const char *name)
{
    for (size_t i = 0; i < COUNT(log_groups); i++) {
        if (strcmp(log_groups[i].name, name) == 0) {
            return &log_groups[i];
        }
    }

    return NULL;
}


bool
mongo_outcome_put(const struct logdoc *d, bool attempted, bson_t *set)
{
    return bson_append_utf8(set, "status", 6, log_status_text(d->status), -1)
           && flags_put(set, d->flags)
           && mongo_put_int(set, "attempts", d->attempts)
           && mongo_put_int(set, "next_attempt_us", d->next_attempt_us)
           && mongo_put_int(set, "expires_us", d->expires_us)
           && due_put(set, d)
           && group_put(set, log_group("error"), d)
           && (!attempted || (group_put(set, log_group("response"), d)
                              && group_put(set, log_group("timing"), d)));
}


enum result
mongo_attempt_encode(const struct log_attempt *t, bson_t *out)
{
    char  log[UUID_TEXT + 1], id[UUID_TEXT + 24];
    bool  ok;

    uuid_text(t->log_id, log);
    (void) snprintf(id, sizeof(id), "%s-%lld", log, (long long) t->number);

    ok = BSON_APPEND_UTF8(out, "_id", id)
         && BSON_APPEND_UTF8(out, "integration_directory_id", log)
         && shape_put(out, &attempt_shape, t);

    return ok && out->len <= MONGO_MAX_DOC ? RESULT_OK : RESULT_TOO_BIG;
}


/* -- documents ------------------------------------------------------------- */

enum result
mongo_log_encode(const struct logdoc *d, const char *batch, bson_t *out)
{
    char    id[UUID_TEXT + 1];
    size_t  size;
    bool    ok;

    if (d->started_us == LOGDOC_NONE || d->kind >= LOG_KIND_COUNT
        || d->status >= LOG_STATUS_COUNT)
    {
        return RESULT_INVALID;
    }

    size = d->request.data.n + d->response.data.n + d->request.headers.n
           + d->response.headers.n + d->url.n;
    if (size > MONGO_MAX_DOC) {
        return RESULT_TOO_BIG;
    }

    uuid_text(d->id, id);

    ok = bson_append_utf8(out, "_id", 3, id, UUID_TEXT)
         && bson_append_utf8(out, "kind", 4, log_kind_text(d->kind), -1)
         && bson_append_utf8(out, "status", 6, log_status_text(d->status), -1)
         && flags_put(out, d->flags)
         && shape_put(out, &log_shape, d)
         && delivery_put(out, d)
         && pairs_put(out, "refs", "refs_odd", d->refs, d->nrefs)
         && pairs_put(out, "fields", "fields_odd", d->fields, d->nfields)
         && bson_append_binary(out, "digest", 6, BSON_SUBTYPE_BINARY,
                               d->digest, sizeof(d->digest))
         && bson_append_utf8(out, "batch", 5, batch, -1);

    return ok && out->len <= MONGO_MAX_DOC ? RESULT_OK : RESULT_TOO_BIG;
}


/* The fields that no table holds. */
static bool
log_special_get(const bson_iter_t *it, struct arena *a, struct logdoc *d)
{
    const char    *key = bson_iter_key(it);
    struct slice   s = mongo_get_text(it);
    size_t         next = 0;
    int            word;
    const struct field  *f;

    if (strcmp(key, "_id") == 0) {
        return uuid_parse(s, d->id) == RESULT_OK;
    }

    if (strcmp(key, "kind") == 0) {
        word = log_kind_parse(s);
        d->kind = word < 0 ? LOG_KIND_API : (enum log_kind) word;
        return word >= 0;
    }

    if (strcmp(key, "status") == 0) {
        word = log_status_parse(s);
        d->status = word < 0 ? LOG_PENDING : (enum log_status) word;
        return word >= 0;
    }

    if (strcmp(key, "flags") == 0) {
        d->flags = flags_get(it);

    } else if (strncmp(key, "refs", 4) == 0) {
        return pairs_get(it, a, d->refs, &d->nrefs);

    } else if (strncmp(key, "fields", 6) == 0) {
        return pairs_get(it, a, d->fields, &d->nfields);

    } else if (strcmp(key, "digest") == 0 && s.n == sizeof(d->digest)) {
        memcpy(d->digest, s.p, s.n);

    } else if (strcmp(key, "lane_flags") == 0) {
        d->lane_flags = (uint32_t) mongo_get_int(it);

    } else if ((f = field_find(log_delivery, COUNT(log_delivery), key, &next))
               != NULL)
    {
        return field_get(it, f, d, a);
    }

    return true;
}


enum result
mongo_log_decode(const bson_t *b, struct arena *a, struct logdoc *out)
{
    bson_iter_t  it;
    size_t       next = 0;
    bool         ok = true;

    logdoc_init(out);

    if (!bson_iter_init(&it, b)) {
        return RESULT_INVALID;
    }

    while (ok && bson_iter_next(&it)) {
        if (!shape_get(&it, &log_shape, out, a, &next, &ok)) {
            ok = log_special_get(&it, a, out);
        }
    }

    /* an arena that is full is the only other reason */
    return ok ? RESULT_OK
              : a->cap - a->used < 65536 ? RESULT_TOO_BIG : RESULT_INVALID;
}


enum result
mongo_attempt_decode(const bson_t *b, struct arena *a, struct log_attempt *out)
{
    bson_iter_t  it;
    size_t       next = 0;
    bool         ok = true;

    memset(out, 0, sizeof(*out));
    out->started_us = LOGDOC_NONE;
    out->duration_us = LOGDOC_NONE;
    out->connect_us = LOGDOC_NONE;
    out->first_byte_us = LOGDOC_NONE;
    out->http_status = LOGDOC_NONE;
    out->next_attempt_us = LOGDOC_NONE;
    out->request.bytes = LOGDOC_NONE;
    out->response.bytes = LOGDOC_NONE;

    if (!bson_iter_init(&it, b)) {
        return RESULT_INVALID;
    }

    while (ok && bson_iter_next(&it)) {
        if (!shape_get(&it, &attempt_shape, out, a, &next, &ok)
            && strcmp(bson_iter_key(&it), "integration_directory_id") == 0)
        {
            ok = uuid_parse(mongo_get_text(&it), out->log_id) == RESULT_OK;
        }
    }

    return ok ? RESULT_OK : RESULT_INVALID;
}
