/* idash:changes: one short entry a log, in both directions. */

#include "changes.h"

#include <stdio.h>
#include <string.h>

/* what an entry carries: a name, a type, where in struct logdoc */
enum change_type { CHANGE_NUMBER, CHANGE_SLICE };

struct change_field {
    const char        *name;
    enum change_type   type;
    size_t             offset;
};

#define AT(member)  offsetof(struct logdoc, member)

/* id, kind and status are enums and bytes: handled by hand */
static const struct change_field  change_fields[] = {
    { "org",         CHANGE_NUMBER, AT(org_id) },
    { "lab",         CHANGE_NUMBER, AT(lab_id) },
    { "action",      CHANGE_NUMBER, AT(action_id) },
    { "category",    CHANGE_NUMBER, AT(action_category_id) },
    { "developer",   CHANGE_SLICE,  AT(developer_id) },
    { "integration", CHANGE_SLICE,  AT(integration_id) },
    { "endpoint",    CHANGE_SLICE,  AT(endpoint) },
    { "method",      CHANGE_SLICE,  AT(method) },
    { "http",        CHANGE_NUMBER, AT(http_status) },
    { "started_us",  CHANGE_NUMBER, AT(started_us) },
    { "duration_us", CHANGE_NUMBER, AT(duration_us) },
    { "attempts",    CHANGE_NUMBER, AT(attempts) },
    { "error",       CHANGE_SLICE,  AT(error_code) },
};

#define CHANGE_FIELDS  (sizeof(change_fields) / sizeof(change_fields[0]))
#define CHANGE_ARGS    (6 + 2 * (CHANGE_FIELDS + 3))

/* the arguments of one XADD, and the numbers in them as text */
struct change_command {
    const char  *argv[CHANGE_ARGS];
    size_t       len[CHANGE_ARGS];
    int          argc;
    char         numbers[CHANGE_FIELDS][24];
    char         id[UUID_TEXT + 1];
    char         keep[24];
};


static void
change_push(struct change_command *cmd, const char *p, size_t n)
{
    cmd->argv[cmd->argc] = p;
    cmd->len[cmd->argc] = n;
    cmd->argc++;
}


static void
change_pair(struct change_command *cmd, const char *name, struct slice value)
{
    change_push(cmd, name, strlen(name));
    change_push(cmd, value.p, value.n);
}


static void
change_field(struct change_command *cmd, size_t i, const struct logdoc *d)
{
    const struct change_field  *f = &change_fields[i];
    const void                 *at = (const char *) d + f->offset;
    struct slice                value;
    int64_t                     number;
    int                         n;

    if (f->type == CHANGE_SLICE) {
        memcpy(&value, at, sizeof(value));

    } else {
        memcpy(&number, at, sizeof(number));
        if (number == LOGDOC_NONE) {
            return;
        }

        n = snprintf(cmd->numbers[i], sizeof(cmd->numbers[i]), "%lld",
            (long long) number);
        value = (struct slice) { cmd->numbers[i], (size_t) n };
    }

    if (value.n > 0) {
        change_pair(cmd, f->name, value);
    }
}


static void
change_build(struct change_command *cmd, const struct config *c,
    const struct logdoc *d, bool trim)
{
    int  n;

    cmd->argc = 0;
    change_push(cmd, "XADD", 4);
    change_push(cmd, c->changes_stream, strlen(c->changes_stream));

    if (trim) {
        n = snprintf(cmd->keep, sizeof(cmd->keep), "%lld",
            (long long) c->changes_keep);
        change_push(cmd, "MAXLEN", 6);
        change_push(cmd, "~", 1);
        change_push(cmd, cmd->keep, (size_t) n);
    }

    change_push(cmd, "*", 1);

    uuid_text(d->id, cmd->id);
    change_pair(cmd, "id", slice_of(cmd->id));
    change_pair(cmd, "kind", slice_of(log_kind_text(d->kind)));
    change_pair(cmd, "status", slice_of(log_status_text(d->status)));

    for (size_t i = 0; i < CHANGE_FIELDS; i++) {
        change_field(cmd, i, d);
    }
}


enum result
changes_append(struct redis *r, const struct config *c,
    const struct logdoc *docs, size_t n)
{
    struct change_command  cmd;
    redisReply            *reply;
    enum result            result = RESULT_OK, one;

    if (redis_context(r) == NULL) {
        return RESULT_UNAVAILABLE;
    }

    for (size_t i = 0; i < n; i++) {
        change_build(&cmd, c, &docs[i], i + 1 == n);
        if (!redis_append(r, cmd.argc, cmd.argv, cmd.len)) {
            return RESULT_UNAVAILABLE;
        }
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


static enum result
change_read(struct logdoc *d, struct slice name, struct slice value)
{
    const struct change_field  *f;
    int64_t                     number;

    for (f = change_fields; f < change_fields + CHANGE_FIELDS; f++) {
        if (!slice_eq(name, slice_of(f->name))) {
            continue;
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

    return RESULT_OK;                      /* of a newer writer */
}


enum result
changes_decode(const redisReply *fields, struct logdoc *d)
{
    const redisReply  *name, *text;
    struct slice       key, value;
    int                kind = -1, status = -1;
    bool               id = false;
    enum result        r = RESULT_OK;

    logdoc_init(d);

    if (fields->type != REDIS_REPLY_ARRAY || fields->elements % 2 != 0) {
        return RESULT_INVALID;
    }

    for (size_t i = 0; i < fields->elements && r == RESULT_OK; i += 2) {
        name = fields->element[i];
        text = fields->element[i + 1];

        if (name->type != REDIS_REPLY_STRING
            || text->type != REDIS_REPLY_STRING)
        {
            return RESULT_INVALID;
        }

        key = (struct slice) { name->str, name->len };
        value = (struct slice) { text->str, text->len };

        if (slice_eq(key, SLICE_LIT("id"))) {
            r = uuid_parse(value, d->id);
            id = true;

        } else if (slice_eq(key, SLICE_LIT("kind"))) {
            kind = log_kind_parse(value);

        } else if (slice_eq(key, SLICE_LIT("status"))) {
            status = log_status_parse(value);

        } else {
            r = change_read(d, key, value);
        }
    }

    if (r != RESULT_OK || !id || kind < 0 || status < 0) {
        return RESULT_INVALID;
    }

    d->kind = (enum log_kind) kind;
    d->status = (enum log_status) status;
    return RESULT_OK;
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
