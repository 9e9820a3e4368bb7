/*
 * Logs and attempts as BSON.  One table a sub-document says which field stands
 * where, read by encoder and decoder alike.  Nulls are absent.  Bodies are
 * strings or binary, never parsed.
 */

#include "store_mongo_doc.h"

#include <stdio.h>

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


const char *const  mongo_log_bodies[] = {
    "request.headers", "request.body", "response.headers", "response.body",
    NULL
};


/* -- fields ---------------------------------------------------------------- */

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
field_get(const bson_iter_t *it, const struct field *f, void *record,
    struct arena *a)
{
    char     *at = (char *) record + f->offset;
    int64_t   v;

    switch (f->type) {
    case T_TEXT:
        return mongo_copy_text(it, a, (struct slice *) at);

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
        ok = mongo_put_headers(&sub, body->headers)
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
            ok = mongo_get_headers(&it, a, &body->headers);

        } else if (body != NULL && strcmp(bson_iter_key(&it), "body") == 0) {
            ok = mongo_copy_text(&it, a, &body->data);
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
           && mongo_put_flags(set, d->flags)
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
         && mongo_put_flags(out, d->flags)
         && shape_put(out, &log_shape, d)
         && delivery_put(out, d)
         && mongo_put_pairs(out, "refs", "refs_odd", d->refs, d->nrefs)
         && mongo_put_pairs(out, "fields", "fields_odd", d->fields, d->nfields)
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
        d->flags = mongo_get_flags(it);

    } else if (strncmp(key, "refs", 4) == 0) {
        return mongo_get_pairs(it, a, d->refs, &d->nrefs);

    } else if (strncmp(key, "fields", 6) == 0) {
        return mongo_get_pairs(it, a, d->fields, &d->nfields);

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
