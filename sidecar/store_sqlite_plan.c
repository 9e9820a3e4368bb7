/*
 * Which index leads a query.  Every index holds the id behind its column, so
 * the entries of one value are in order of time and a page is a short walk.
 * No statistics are kept: each candidate is asked how far its 64th entry lies
 * from the start of the walk, and the farthest wins; up to three others that
 * are sparse as well are named beside it, since lists of ids that must meet are
 * far cheaper than rows.  Ids in table ref are unusual enough to win always.
 * Two indexes cover: dir_lab holds all that most filters inside a lab ask,
 * dir_trouble what some on failures do.  Read from end to end they give as many
 * ids in a time as another index gives a tenth of.
 */

#include "store_sqlite.h"

#include <stdio.h>
#include <stdlib.h>

#define PLAN_PROBE       64
#define PLAN_MAX_VALUES  64
#define PLAN_WORTH       0.3               /* of the table's density */
#define PLAN_COVERED     0.1               /* cost of an entry that is enough */

struct plan_index {
    enum filter_field  field;
    const char        *name, *column;
};

static const struct plan_index  indexes[] = {
    { FILTER_ERROR, "dir_error", "error" },
    { FILTER_INTEGRATION, "dir_integration", "integration" },
    { FILTER_DEVELOPER, "dir_developer", "developer" },
    { FILTER_ENDPOINT, "dir_endpoint", "endpoint" },
    { FILTER_ACTION, "dir_action", "action" },
    { FILTER_LAB, "dir_lab", "lab" },
    { FILTER_HTTP, "dir_http", "http" },
    { FILTER_STATUS, "dir_status", "status" },
    { FILTER_KIND, "dir_kind", "kind" },
    { FILTER_ORG, "dir_org", "org" },
};

static const enum filter_field  ref_fields[] = {
    FILTER_EVENT, FILTER_BATCH, FILTER_TRACE, FILTER_REPLAY_OF,
    FILTER_RESEND_OF, FILTER_REF
};

/* An index with columns enough to judge a filter without a look at a row. */
struct plan_cover {
    struct plan_index         index;
    const char               *probe;       /* has the same entries */
    const char               *extra;       /* what it holds, if not all */
    const enum filter_field  *fields;
    size_t                    nfields;
};

static const enum filter_field  trouble_fields[] = {
    FILTER_STATUS, FILTER_ORG, FILTER_LAB, FILTER_KIND, FILTER_ERROR
};

static const enum filter_field  lab_fields[] = {
    FILTER_LAB, FILTER_ORG, FILTER_KIND, FILTER_STATUS, FILTER_HTTP,
    FILTER_ACTION, FILTER_CATEGORY, FILTER_ENDPOINT, FILTER_DEVELOPER,
    FILTER_INTEGRATION
};

#define COUNT_OF(a)  (sizeof(a) / sizeof((a)[0]))

/* a probe must not name a partial index whose condition it does not tell */
static const struct plan_cover  covers[] = {
    { { FILTER_LAB, "dir_lab", "lab" }, "dir_lab", NULL, lab_fields,
      COUNT_OF(lab_fields) },
    { { FILTER_STATUS, "dir_trouble", "status" }, "dir_status",
      " AND " SQLITE_TROUBLE("d."), trouble_fields, COUNT_OF(trouble_fields) },
};

struct plan_values {
    int64_t   v[PLAN_MAX_VALUES];
    unsigned  n;
};

struct plan_span {                         /* of the walk */
    int64_t  low, high;
    bool     ascending;
};


enum result
sqlite_plan_add(struct sqlite_plan *p, int64_t value, int64_t part,
    int64_t low, int64_t high)
{
    struct sqlite_source  *more;
    unsigned               room;

    if (p->nsources == p->room) {
        room = p->room == 0 ? 16 : p->room * 2;
        more = realloc(p->sources, room * sizeof(*more));
        if (more == NULL) {
            return RESULT_MEMORY;
        }

        p->sources = more;
        p->room = room;
    }

    p->sources[p->nsources++] = (struct sqlite_source) {
        .value = value, .part = part, .low = low, .high = high
    };

    return RESULT_OK;
}


void
sqlite_plan_cleanup(struct sqlite_plan *p)
{
    free(p->sources);
    memset(p, 0, sizeof(*p));
}


static bool
values_add(struct plan_values *v, int64_t value)
{
    for (unsigned i = 0; i < v->n; i++) {
        if (v->v[i] == value) {
            return true;
        }
    }

    if (v->n == PLAN_MAX_VALUES) {
        return false;
    }

    v->v[v->n++] = value;
    return true;
}


/* The codes of a class that occur at all, found by jumps in the index. */
static enum result
values_of_class(struct sqlite_conn *c, int64_t class, struct plan_values *v,
    bool *fits)
{
    sqlite3_stmt  *st;
    enum result    result;
    int64_t        at = class * 100;
    int            rc = SQLITE_DONE;

    result = sqlite_prepare(c, "SELECT http FROM integration_directory"
        " INDEXED BY dir_http WHERE http>=?1 AND http<?2"
        " ORDER BY http LIMIT 1", &st);
    if (result != RESULT_OK) {
        return result;
    }

    while (*fits && at < class * 100 + 100) {
        sqlite3_bind_int64(st, 1, at);
        sqlite3_bind_int64(st, 2, class * 100 + 100);
        rc = sqlite3_step(st);

        if (rc != SQLITE_ROW) {
            break;
        }

        *fits = values_add(v, sqlite3_column_int64(st, 0));
        at = sqlite3_column_int64(st, 0) + 1;
        sqlite3_reset(st);
    }

    sqlite3_finalize(st);
    return sqlite_result(c, rc, "query");
}


static enum result
value_of_term(struct sqlite_conn *c, const struct filter_term *t,
    struct plan_values *v, bool *fits)
{
    enum sqlite_label  kind;
    enum result        result;
    int64_t            value;

    if (t->op == FILTER_CLASS) {
        return values_of_class(c, t->num, v, fits);
    }

    if (t->op == FILTER_NULL) {
        *fits = false;
        return RESULT_OK;
    }

    value = t->num;

    if (sqlite_where_label(t->field, &kind)) {
        result = sqlite_dict_find(c, kind, t->text, &value);

        if (result != RESULT_OK) {
            return result == RESULT_NOT_FOUND ? RESULT_OK : result;
        }
    }

    *fits = values_add(v, value);
    return RESULT_OK;
}


/* The values that the filter's terms allow the field; *fits false: the index
 * cannot serve them.  No term: the scope's own restriction, if any. */
static enum result
values_of_field(struct sqlite_conn *c, const struct filter *f,
    enum filter_field field, struct plan_values *v, bool *fits)
{
    const struct scope  *sc = &f->scope;
    enum result          result = RESULT_OK;
    bool                 any = false;

    v->n = 0;
    *fits = true;

    for (unsigned i = 0; i < f->nterms && *fits && result == RESULT_OK; i++) {
        const struct filter_term  *t = &f->terms[i];

        if (t->field == field && (t->op == FILTER_EQ || t->op == FILTER_CLASS
                                  || t->op == FILTER_NULL))
        {
            any = true;
            result = value_of_term(c, t, v, fits);
        }
    }

    if (any || sc->platform) {
        *fits = *fits && any;

    } else if (field == FILTER_ORG) {
        *fits = values_add(v, sc->org_id);

    } else if (field == FILTER_LAB && sc->labs != NULL) {
        for (unsigned i = 0; i < sc->nlabs && *fits; i++) {
            *fits = values_add(v, sc->labs[i]);
        }

    } else {
        *fits = false;
    }

    return result;
}


/* Entries a microsecond from the start of the walk on; 0 when fewer than the
 * probe takes.  INDEX NULL: of the table. */
static enum result
density_probe(struct sqlite_conn *c, const struct plan_index *index,
    const struct plan_values *v, const struct plan_span *span, double *out)
{
    sqlite3_stmt  *st;
    enum result    result;
    char           sql[256];
    int            rc = SQLITE_DONE;

    snprintf(sql, sizeof(sql), "SELECT id FROM integration_directory %s %s"
        " WHERE id>=?1 AND id<?2%s%s%s ORDER BY id %s LIMIT 1 OFFSET %d",
        index == NULL ? "NOT INDEXED" : "INDEXED BY",
        index == NULL ? "" : index->name,
        index == NULL ? "" : " AND ", index == NULL ? "" : index->column,
        index == NULL ? "" : "=?3", span->ascending ? "ASC" : "DESC",
        PLAN_PROBE - 1);

    result = sqlite_prepare(c, sql, &st);
    if (result != RESULT_OK) {
        return result;
    }

    *out = 0;

    for (unsigned i = 0; i < (index == NULL ? 1 : v->n); i++) {
        sqlite3_bind_int64(st, 1, span->low);
        sqlite3_bind_int64(st, 2, span->high);

        if (index != NULL) {
            sqlite3_bind_int64(st, 3, v->v[i]);
        }

        rc = sqlite3_step(st);

        if (rc == SQLITE_ROW) {
            int64_t  id = sqlite3_column_int64(st, 0);

            *out += (double) PLAN_PROBE / (double)
                (span->ascending ? id - span->low + 1 : span->high - id);

        } else if (rc != SQLITE_DONE) {
            break;
        }

        sqlite3_reset(st);
    }

    sqlite3_finalize(st);
    return sqlite_result(c, rc, "query");
}


static enum result
plan_take(struct sqlite_plan *p, const struct plan_index *index,
    const struct plan_values *v)
{
    enum result  result = RESULT_OK;

    p->index = index == NULL ? NULL : index->name;
    p->column = index == NULL ? NULL : index->column;
    p->nsources = 0;

    if (index == NULL) {
        return sqlite_plan_add(p, 0, 0, INT64_MIN, INT64_MAX);
    }

    for (unsigned i = 0; i < v->n && result == RESULT_OK; i++) {
        result = sqlite_plan_add(p, v->v[i], 0, INT64_MIN, INT64_MAX);
    }

    return result;
}


/* Keeps the sparsest others, in order. */
static void
also_add(struct sqlite_plan *p, const struct sqlite_also *one)
{
    unsigned  at = p->nalso;

    if (at == SQLITE_MAX_ALSO) {
        if (p->also[at - 1].density <= one->density) {
            return;
        }

        at--;

    } else {
        p->nalso++;
    }

    for ( /* void */ ; at > 0 && p->also[at - 1].density > one->density;
         at--)
    {
        p->also[at] = p->also[at - 1];
    }

    p->also[at] = *one;
}


/* Of the index that leads nothing more is to be said; several values of it
 * are several walks, which do not meet others. */
static void
also_settle(struct sqlite_plan *p)
{
    unsigned  n = 0;

    for (unsigned i = 0; i < p->nalso; i++) {
        if (p->nsources == 1 && p->index != NULL
            && p->also[i].index != p->index)
        {
            p->also[n++] = p->also[i];
        }
    }

    p->nalso = n;
}


static bool
cover_has(const struct plan_cover *k, enum filter_field field)
{
    for (size_t i = 0; i < k->nfields; i++) {
        if (k->fields[i] == field) {
            return true;
        }
    }

    return false;
}


/* Can it decide all of the filter?  By the value alone the plain index of it
 * is as good. */
static enum result
cover_fits(struct sqlite_conn *c, const struct plan_cover *k,
    const struct filter *f, struct plan_values *v, bool *fits)
{
    enum result  result;

    result = values_of_field(c, f, k->index.field, v, fits);

    *fits = *fits && result == RESULT_OK && f->q.n == 0
            && (f->nterms > v->n || !f->scope.platform);

    for (unsigned i = 0; i < f->nterms && *fits; i++) {
        *fits = cover_has(k, f->terms[i].field);
    }

    for (unsigned i = 0; i < v->n && *fits && k->index.field == FILTER_STATUS;
         i++)
    {
        *fits = v->v[i] == LOG_PENDING || v->v[i] == LOG_RETRYING
                || v->v[i] == LOG_FAIL;
    }

    return result;
}


/* Instead of the index that leads, when it takes less time. */
static enum result
plan_cover(struct sqlite_conn *c, const struct plan_cover *k,
    const struct filter *f, const struct plan_span *span, double *best,
    struct sqlite_plan *p)
{
    const struct plan_index  probe = {
        k->index.field, k->probe, k->index.column
    };
    struct plan_values       v;
    enum result              result;
    double                   density = 0;
    bool                     fits;

    result = cover_fits(c, k, f, &v, &fits);

    if (result == RESULT_OK && fits) {
        result = density_probe(c, &probe, &v, span, &density);
    }

    if (result == RESULT_OK && fits && density * PLAN_COVERED < *best) {
        *best = density * PLAN_COVERED;
        result = plan_take(p, &k->index, &v);
        p->extra = k->extra;
        p->nalso = 0;
    }

    return result;
}


static enum result
plan_columns(struct sqlite_conn *c, const struct filter *f,
    const struct plan_span *span, struct sqlite_plan *p)
{
    struct plan_values  v;
    enum result         result;
    double              table, best, density;
    bool                fits;

    result = density_probe(c, NULL, NULL, span, &table);

    if (result == RESULT_OK) {
        result = plan_take(p, NULL, NULL);
    }

    best = table * PLAN_WORTH;

    for (size_t i = 0; i < COUNT_OF(indexes)
                       && result == RESULT_OK; i++)
    {
        result = values_of_field(c, f, indexes[i].field, &v, &fits);

        if (result != RESULT_OK || !fits) {
            continue;
        }

        result = density_probe(c, &indexes[i], &v, span, &density);

        if (result == RESULT_OK && v.n == 1 && density < table * PLAN_WORTH) {
            const struct sqlite_also  one = {
                indexes[i].name, indexes[i].column, v.v[0], density
            };

            also_add(p, &one);
        }

        if (result == RESULT_OK && density < best) {
            best = density;
            p->density = density;
            result = plan_take(p, &indexes[i], &v);
        }
    }

    also_settle(p);

    for (size_t i = 0; i < COUNT_OF(covers) && result == RESULT_OK; i++) {
        result = plan_cover(c, &covers[i], f, span, &best, p);
    }

    return result;
}


/* A source for each partition that can hold ids of the walk. */
static enum result
ref_sources(struct sqlite_conn *c, int64_t key, const struct plan_span *span,
    struct sqlite_plan *p)
{
    sqlite3_stmt  *st;
    enum result    result;
    int            rc;

    result = sqlite_prepare(c, span->ascending
        ? "SELECT part,low,high FROM ref_part WHERE low<?2 AND high>=?1"
          " ORDER BY part"
        : "SELECT part,low,high FROM ref_part WHERE low<?2 AND high>=?1"
          " ORDER BY part DESC", &st);
    if (result != RESULT_OK) {
        return result;
    }

    sqlite3_bind_int64(st, 1, span->low);
    sqlite3_bind_int64(st, 2, span->high);

    while ((rc = sqlite3_step(st)) == SQLITE_ROW && result == RESULT_OK) {
        result = sqlite_plan_add(p, key, sqlite3_column_int64(st, 0),
            sqlite3_column_int64(st, 1), sqlite3_column_int64(st, 2) + 1);
    }

    sqlite3_finalize(st);
    return result == RESULT_OK ? sqlite_result(c, rc, "query") : result;
}


/* The first group of or-ed terms on FIELD leads, when there is one. */
static enum result
plan_ref_field(struct sqlite_conn *c, const struct filter *f,
    enum filter_field field, const struct plan_span *span,
    struct sqlite_plan *p)
{
    const struct filter_term  *first = NULL;
    enum result                result = RESULT_OK;

    for (unsigned i = 0; i < f->nterms && result == RESULT_OK; i++) {
        const struct filter_term  *t = &f->terms[i];

        if (t->field != field || t->op != FILTER_EQ
            || (first != NULL && !slice_eq(first->name, t->name)))
        {
            continue;
        }

        first = first == NULL ? t : first;
        p->refs = true;
        result = ref_sources(c, sqlite_key_hash(field, t->name, t->text),
            span, p);
    }

    return result;
}


static int
source_newest_first(const void *a, const void *b)
{
    const struct sqlite_source  *x = a, *y = b;

    return x->high < y->high ? 1 : x->high > y->high ? -1 : 0;
}


static int
source_oldest_first(const void *a, const void *b)
{
    const struct sqlite_source  *x = a, *y = b;

    return x->low > y->low ? 1 : x->low < y->low ? -1 : 0;
}


enum result
sqlite_plan_make(struct sqlite_conn *c, const struct filter *f, int64_t low,
    int64_t high, bool ascending, struct sqlite_plan *out)
{
    const struct plan_span  span = { low, high, ascending };
    enum result             result = RESULT_OK;

    memset(out, 0, sizeof(*out));

    for (size_t i = 0; i < sizeof(ref_fields) / sizeof(ref_fields[0])
                       && !out->refs && result == RESULT_OK; i++)
    {
        result = plan_ref_field(c, f, ref_fields[i], &span, out);
    }

    if (result == RESULT_OK && !out->refs) {
        result = plan_columns(c, f, &span, out);

    } else if (out->nsources > 1) {
        qsort(out->sources, out->nsources, sizeof(out->sources[0]),
            ascending ? source_oldest_first : source_newest_first);
    }

    if (result != RESULT_OK) {
        sqlite_plan_cleanup(out);
    }

    return result;
}
