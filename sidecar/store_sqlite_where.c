/*
 * A filter as SQL over the directory's columns, meaning what filter_match
 * means.  What only the detail knows (business references, ids, q) is left to
 * filter_match itself: the SQL then lets more through and says so.
 */

#include "store_sqlite.h"

#define WHERE_MAX_SQL  (64 * 1024)

static const char *const  columns[FILTER_FIELD_COUNT] = {
    [FILTER_STATUS] = "d.status", [FILTER_KIND] = "d.kind",
    [FILTER_HTTP] = "d.http", [FILTER_ACTION] = "d.action",
    [FILTER_CATEGORY] = "d.category", [FILTER_LAB] = "d.lab",
    [FILTER_ORG] = "d.org", [FILTER_DEVELOPER] = "d.developer",
    [FILTER_INTEGRATION] = "d.integration", [FILTER_ENDPOINT] = "d.endpoint",
    [FILTER_METHOD] = "d.method", [FILTER_ERROR] = "d.error",
    [FILTER_ATTEMPTS] = "d.attempts", [FILTER_DURATION_MS] = "d.dur",
    [FILTER_ID] = "d.id",
};


void
sqlite_where_init(struct sqlite_where *w)
{
    buf_init(&w->sql, WHERE_MAX_SQL);
    w->nbinds = 0;
    w->nothing = false;
    w->needs_detail = false;
}


void
sqlite_where_cleanup(struct sqlite_where *w)
{
    buf_cleanup(&w->sql);
}


bool
sqlite_where_label(enum filter_field f, enum sqlite_label *kind)
{
    switch (f) {
    case FILTER_DEVELOPER:
        *kind = SQLITE_DEVELOPER;
        return true;
    case FILTER_INTEGRATION:
        *kind = SQLITE_INTEGRATION;
        return true;
    case FILTER_ENDPOINT:
        *kind = SQLITE_ENDPOINT;
        return true;
    case FILTER_METHOD:
        *kind = SQLITE_METHOD;
        return true;
    default:
        return false;
    }
}


/* Only the detail holds it. */
static bool
field_is_detail(enum filter_field f)
{
    return f == FILTER_REF || f == FILTER_EVENT || f == FILTER_BATCH
           || f == FILTER_TRACE || f == FILTER_REPLAY_OF
           || f == FILTER_RESEND_OF;
}


static bool
op_joins(enum filter_op op)
{
    return op == FILTER_EQ || op == FILTER_CLASS || op == FILTER_NULL;
}


/* The number of the placeholder; the text stays well formed past the limit. */
static unsigned
where_bind(struct sqlite_where *w, int64_t v)
{
    if (w->nbinds == SQLITE_MAX_BINDS) {
        w->sql.failed = true;
        return 0;
    }

    w->binds[w->nbinds++] = v;
    return SQLITE_FIRST_BIND + w->nbinds - 1;
}


static enum result
id_value(struct sqlite_conn *c, struct slice text, int64_t *out)
{
    uint8_t        uid[UUID_BYTES];
    sqlite3_stmt  *st;
    enum result    result;
    int            rc;

    if (uuid_parse(text, uid) != RESULT_OK) {
        return RESULT_NOT_FOUND;
    }

    result = sqlite_prepare(c,
        "SELECT id FROM integration_directory WHERE uid=?1", &st);
    if (result != RESULT_OK) {
        return result;
    }

    sqlite_bind_blob(st, 1, uid, UUID_BYTES);
    rc = sqlite3_step(st);

    if (rc == SQLITE_ROW) {
        *out = sqlite3_column_int64(st, 0);

    } else {
        result = rc == SQLITE_DONE ? RESULT_NOT_FOUND
                                   : sqlite_result(c, rc, "query");
    }

    sqlite3_finalize(st);
    return result;
}


/* The value that the term's column is compared with. */
static enum result
term_value(struct sqlite_conn *c, const struct filter_term *t, int64_t *out)
{
    enum sqlite_label  kind;

    if (t->field == FILTER_ID) {
        return id_value(c, t->text, out);
    }

    if (sqlite_where_label(t->field, &kind)) {
        return sqlite_dict_find(c, kind, t->text, out);
    }

    *out = t->field == FILTER_DURATION_MS ? t->num * 1000 : t->num;
    return RESULT_OK;
}


/* The term as an expression that is never NULL in SQL's sense of "and". */
static enum result
term_add(struct sqlite_conn *c, const struct filter_term *t,
    struct sqlite_where *w)
{
    static const char *const  compare[] = {
        [FILTER_EQ] = "=", [FILTER_GT] = ">", [FILTER_GTE] = ">=",
        [FILTER_LT] = "<", [FILTER_LTE] = "<="
    };
    const char   *column = columns[t->field];
    enum result   result;
    int64_t       value;

    if (t->op == FILTER_NULL || t->op == FILTER_NOT_NULL) {
        return buf_addf(&w->sql, "%s %s", column,
            t->op == FILTER_NULL ? "ISNULL" : "NOTNULL");
    }

    result = term_value(c, t, &value);

    /* bound, since SQLite takes no index for what is false by its text */
    if (result == RESULT_NOT_FOUND) {
        return buf_addf(&w->sql, "?%u", where_bind(w, t->op == FILTER_NE));
    }

    if (result != RESULT_OK) {
        return result;
    }

    if (t->field == FILTER_FLAG) {
        return buf_addf(&w->sql, "(d.flags & ?%u) %s 0", where_bind(w, value),
            t->op == FILTER_NE ? "=" : "<>");
    }

    switch (t->op) {
    case FILTER_NE:
        return buf_addf(&w->sql, "%s IS NOT ?%u", column,
            where_bind(w, value));
    case FILTER_CLASS:
        return buf_addf(&w->sql, "%s/100 = ?%u", column,
            where_bind(w, value));
    case FILTER_NOT_CLASS:
        return buf_addf(&w->sql, "%s/100 IS NOT ?%u", column,
            where_bind(w, value));
    default:
        return buf_addf(&w->sql, "%s %s ?%u", column, compare[t->op],
            where_bind(w, value));
    }
}


/* All or-ed terms of the field of term I, when I is the first of them. */
static enum result
group_add(struct sqlite_conn *c, const struct filter *f, unsigned i,
    struct sqlite_where *w)
{
    enum result  result = RESULT_OK;

    for (unsigned j = 0; j < i; j++) {
        if (f->terms[j].field == f->terms[i].field
            && op_joins(f->terms[j].op))
        {
            return RESULT_OK;
        }
    }

    (void) buf_adds(&w->sql, " AND (");

    for (unsigned j = i; j < f->nterms && result == RESULT_OK; j++) {
        if (f->terms[j].field == f->terms[i].field
            && op_joins(f->terms[j].op))
        {
            (void) buf_adds(&w->sql, j == i ? "" : " OR ");
            result = term_add(c, &f->terms[j], w);
        }
    }

    (void) buf_adds(&w->sql, ")");
    return result;
}


static void
scope_add(const struct scope *sc, struct sqlite_where *w)
{
    if (sc->platform) {
        return;
    }

    (void) buf_addf(&w->sql, " AND d.org = ?%u", where_bind(w, sc->org_id));

    if (sc->labs == NULL) {
        return;
    }

    if (sc->nlabs == 0) {
        w->nothing = true;
        return;
    }

    (void) buf_adds(&w->sql, " AND d.lab IN (");

    for (unsigned i = 0; i < sc->nlabs; i++) {
        (void) buf_addf(&w->sql, "%s?%u", i == 0 ? "" : ",",
            where_bind(w, sc->labs[i]));
    }

    (void) buf_adds(&w->sql, ")");
}


/* The walk bounds ids; a start that was moved up is judged here. */
static void
times_add(const struct filter *f, struct sqlite_where *w)
{
    if (f->from_us != LOGDOC_NONE) {
        (void) buf_addf(&w->sql, " AND d.id - d.bump >= ?%u",
            where_bind(w, f->from_us));
    }

    if (f->to_us != LOGDOC_NONE) {
        (void) buf_addf(&w->sql, " AND d.id - d.bump < ?%u",
            where_bind(w, f->to_us));
    }
}


enum result
sqlite_where_build(struct sqlite_conn *c, const struct filter *f,
    struct sqlite_where *w)
{
    enum result  result = RESULT_OK;

    scope_add(&f->scope, w);
    times_add(f, w);
    w->needs_detail = f->q.n > 0;

    for (unsigned i = 0; i < f->nterms && result == RESULT_OK; i++) {
        const struct filter_term  *t = &f->terms[i];

        if (field_is_detail(t->field)) {
            w->needs_detail = true;

        } else if (op_joins(t->op)) {
            result = group_add(c, f, i, w);

        } else {
            (void) buf_adds(&w->sql, " AND ");
            result = term_add(c, t, w);
        }
    }

    return result == RESULT_OK && w->sql.failed ? RESULT_TOO_BIG : result;
}
