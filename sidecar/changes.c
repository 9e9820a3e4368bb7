/*
 * idash:changes: one short entry a log, in both directions.  It is one line
 * and not one field a value: Redis spends half the time on it, and so does
 * whoever reads it.
 */

#include "changes.h"

#include <stdio.h>
#include <string.h>

#include "buf.h"

/* what a line carries: where in struct logdoc, how it is written */
enum change_type { CHANGE_NUMBER, CHANGE_SLICE };

struct change_field {
    enum change_type   type;
    size_t             offset;
};

#define AT(member)  offsetof(struct logdoc, member)

/*
 * The line's order, after id, kind and status.  It stands in the stream: a new
 * one is added at the end.
 */
static const struct change_field  change_fields[] = {
    { CHANGE_NUMBER, AT(org_id) },
    { CHANGE_NUMBER, AT(lab_id) },
    { CHANGE_NUMBER, AT(action_id) },
    { CHANGE_NUMBER, AT(action_category_id) },
    { CHANGE_SLICE,  AT(developer_id) },
    { CHANGE_SLICE,  AT(integration_id) },
    { CHANGE_SLICE,  AT(endpoint) },
    { CHANGE_SLICE,  AT(method) },
    { CHANGE_NUMBER, AT(http_status) },
    { CHANGE_NUMBER, AT(started_us) },
    { CHANGE_NUMBER, AT(duration_us) },
    { CHANGE_NUMBER, AT(attempts) },
    { CHANGE_SLICE,  AT(error_code) },
};

#define CHANGE_FIELDS  (sizeof(change_fields) / sizeof(change_fields[0]))
#define CHANGE_LINE    (64 * 1024)
#define CHANGE_END     "\t"


/* A tab ends a value, so in one it is told as a space. */
static void
change_text(struct buf *b, struct slice s)
{
    size_t  at = b->n;

    (void) buf_add(b, s.p, s.n);

    for ( ; at < b->n; at++) {
        if (b->p[at] == *CHANGE_END) {
            b->p[at] = ' ';
        }
    }
}


static void
change_field(struct buf *b, const struct change_field *f,
    const struct logdoc *d)
{
    const void    *at = (const char *) d + f->offset;
    struct slice   value;
    int64_t        number;

    (void) buf_add(b, CHANGE_END, 1);

    if (f->type == CHANGE_SLICE) {
        memcpy(&value, at, sizeof(value));
        change_text(b, value);
        return;
    }

    memcpy(&number, at, sizeof(number));
    if (number != LOGDOC_NONE) {
        (void) buf_addi(b, number);
    }
}


static void
change_line(struct buf *b, const struct logdoc *d)
{
    char  id[UUID_TEXT + 1];

    uuid_text(d->id, id);
    (void) buf_add(b, id, UUID_TEXT);
    (void) buf_add(b, CHANGE_END, 1);
    (void) buf_adds(b, log_kind_text(d->kind));
    (void) buf_add(b, CHANGE_END, 1);
    (void) buf_adds(b, log_status_text(d->status));

    for (size_t i = 0; i < CHANGE_FIELDS; i++) {
        change_field(b, &change_fields[i], d);
    }
}


/* The stream is cut by the last command of several. */
static bool
change_send(struct redis *r, const struct config *c, struct slice line,
    bool trim)
{
    const char  *argv[8];
    size_t       len[8];
    char         keep[24];
    int          argc = 0;

    argv[argc++] = "XADD";
    argv[argc++] = c->changes_stream;

    if (trim) {
        (void) snprintf(keep, sizeof(keep), "%lld",
            (long long) c->changes_keep);
        argv[argc++] = "MAXLEN";
        argv[argc++] = "~";
        argv[argc++] = keep;
    }

    argv[argc++] = "*";
    argv[argc++] = "log";

    for (int i = 0; i < argc; i++) {
        len[i] = strlen(argv[i]);
    }

    argv[argc] = line.p;
    len[argc++] = line.n;
    return redis_append(r, argc, argv, len);
}


static enum result
changes_send(struct redis *r, const struct config *c,
    const struct logdoc *docs, size_t n)
{
    struct buf   line;
    enum result  result = RESULT_OK;

    buf_init(&line, CHANGE_LINE);

    for (size_t i = 0; i < n && result == RESULT_OK; i++) {
        buf_reset(&line);
        change_line(&line, &docs[i]);

        if (line.failed || !change_send(r, c,
                (struct slice) { line.p, line.n }, i + 1 == n))
        {
            result = RESULT_UNAVAILABLE;
        }
    }

    buf_cleanup(&line);
    return result;
}


enum result
changes_append(struct redis *r, const struct config *c,
    const struct logdoc *docs, size_t n)
{
    redisReply   *reply;
    enum result   result, one;

    if (redis_context(r) == NULL) {
        return RESULT_UNAVAILABLE;
    }

    result = changes_send(r, c, docs, n);
    if (result != RESULT_OK) {
        return result;
    }

    for (size_t i = 0; i < n; i++) {
        one = redis_read(r, 0, REDIS_MAX_REPLY, &reply);
        if (one != RESULT_OK) {
            return one;
        }

        one = redis_reply_result(r, reply);
        freeReplyObject(reply);
        result = one == RESULT_OK ? result : one;
    }

    return result;
}


/* The next value of the line; false when there is none. */
static bool
change_next(struct slice *line, struct slice *value)
{
    const char  *end;

    if (line->p == NULL) {
        return false;
    }

    end = line->n == 0 ? NULL : memchr(line->p, *CHANGE_END, line->n);
    *value = *line;

    if (end == NULL) {
        *line = SLICE_NONE;
        return true;
    }

    value->n = (size_t) (end - line->p);
    line->p = end + 1;
    line->n -= value->n + 1;
    return true;
}


static enum result
change_read(struct logdoc *d, const struct change_field *f,
    struct slice value)
{
    int64_t  number;

    if (value.n == 0) {
        return RESULT_OK;
    }

    if (f->type == CHANGE_SLICE) {
        memcpy((char *) d + f->offset, &value, sizeof(value));
        return RESULT_OK;
    }

    if (slice_int(value, &number) != RESULT_OK) {
        return RESULT_INVALID;
    }

    memcpy((char *) d + f->offset, &number, sizeof(number));
    return RESULT_OK;
}


enum result
changes_decode(const redisReply *fields, struct logdoc *d)
{
    struct slice  line, id, kind, status, value;
    int           k, s;
    enum result   r = RESULT_OK;

    if (fields->type != REDIS_REPLY_ARRAY || fields->elements != 2
        || fields->element[0]->type != REDIS_REPLY_STRING
        || fields->element[1]->type != REDIS_REPLY_STRING
        || strcmp(fields->element[0]->str, "log") != 0)
    {
        return RESULT_INVALID;
    }

    logdoc_init(d);
    line = (struct slice) { fields->element[1]->str,
                            fields->element[1]->len };

    if (!change_next(&line, &id) || !change_next(&line, &kind)
        || !change_next(&line, &status)
        || uuid_parse(id, d->id) != RESULT_OK)
    {
        return RESULT_INVALID;
    }

    k = log_kind_parse(kind);
    s = log_status_parse(status);

    if (k < 0 || s < 0) {
        return RESULT_INVALID;
    }

    d->kind = (enum log_kind) k;
    d->status = (enum log_status) s;

    /* fewer: of an older writer; more: of a newer one */
    for (size_t i = 0; i < CHANGE_FIELDS && r == RESULT_OK
         && change_next(&line, &value); i++)
    {
        r = change_read(d, &change_fields[i], value);
    }

    return r;
}


enum result
changes_job(struct redis *r, const struct config *c, int64_t org_id,
    const char *labs, const char *data)
{
    char         org[24];
    const char  *argv[] = { "XADD", c->changes_stream, "*", "kind", "job",
                            "org", org, "labs", labs, "data", data };
    size_t       len[11];
    redisReply  *reply;
    enum result  result;

    (void) snprintf(org, sizeof(org), "%lld", (long long) org_id);

    for (int i = 0; i < 11; i++) {
        len[i] = strlen(argv[i]);
    }

    if (redis_context(r) == NULL) {
        return RESULT_UNAVAILABLE;
    }

    reply = redis_argv(r, 11, argv, len);
    if (reply == NULL) {
        return RESULT_UNAVAILABLE;
    }

    result = redis_reply_result(r, reply);
    freeReplyObject(reply);
    return result;
}


bool
changes_job_decode(const redisReply *fields, struct change_job *job)
{
    bool  is_job = false;

    memset(job, 0, sizeof(*job));
    job->org_id = LOGDOC_NONE;

    if (fields->type != REDIS_REPLY_ARRAY || fields->elements % 2 != 0) {
        return false;
    }

    for (size_t i = 0; i < fields->elements; i += 2) {
        const redisReply  *name = fields->element[i];
        const redisReply  *text = fields->element[i + 1];
        struct slice       key, value;

        if (name->type != REDIS_REPLY_STRING
            || text->type != REDIS_REPLY_STRING)
        {
            return false;
        }

        key = (struct slice) { name->str, name->len };
        value = (struct slice) { text->str, text->len };

        if (slice_eq(key, SLICE_LIT("kind"))) {
            is_job = slice_eq(value, SLICE_LIT("job"));

        } else if (slice_eq(key, SLICE_LIT("org"))) {
            if (slice_int(value, &job->org_id) != RESULT_OK) {
                return false;
            }

        } else if (slice_eq(key, SLICE_LIT("labs"))) {
            job->labs = value;

        } else if (slice_eq(key, SLICE_LIT("data"))) {
            job->data = value;
        }
    }

    return is_job && job->data.n > 0;
}
