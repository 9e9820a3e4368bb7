/*
 * Filters as queries: a list of conditions under one $and.  Nulls are absent
 * fields, so {field: null} finds them.  Only $and $or $nor $in $ne and the
 * comparisons are used, which every server of the protocol has.
 */

#include "store_mongo_query.h"

#include <stdio.h>

struct list {                              /* of conditions or values */
    bson_t    array;
    unsigned  n;
    bool      ok;
};

struct name {                              /* of a field in the documents */
    char  text[80];
};

static const struct {
    const char  *name;
    bool         indexed;
}  fields[FILTER_FIELD_COUNT] = {
    [FILTER_STATUS] = { "status", true },
    [FILTER_KIND] = { "kind", false },
    [FILTER_HTTP] = { "response.status", false },
    [FILTER_ACTION] = { "action_id", true },
    [FILTER_CATEGORY] = { "action_category_id", false },
    [FILTER_LAB] = { "lab_id", true },
    [FILTER_ORG] = { "org_id", true },
    [FILTER_DEVELOPER] = { "developer_id", true },
    [FILTER_INTEGRATION] = { "integration_id", false },
    [FILTER_ENDPOINT] = { "endpoint", true },
    [FILTER_METHOD] = { "method", false },
    [FILTER_ERROR] = { "error.fingerprint", true },
    [FILTER_EVENT] = { "event_id", true },
    [FILTER_BATCH] = { "batch_id", false },
    [FILTER_TRACE] = { "trace_id", true },
    [FILTER_REPLAY_OF] = { "replay_of", false },
    [FILTER_RESEND_OF] = { "resend_of", false },
    [FILTER_ATTEMPTS] = { "attempts", false },
    [FILTER_DURATION_MS] = { "timing.duration_us", false },
    [FILTER_REF] = { "refs.", true },
    [FILTER_ID] = { "_id", true },
    [FILTER_FLAG] = { "flags", false }
};

static const char *const  comparisons[] = {
    [FILTER_GT] = "$gt", [FILTER_GTE] = "$gte",
    [FILTER_LT] = "$lt", [FILTER_LTE] = "$lte"
};


static bool
list_begin(bson_t *parent, const char *key, struct list *l)
{
    l->n = 0;
    l->ok = bson_append_array_begin(parent, key, -1, &l->array);
    return l->ok;
}


static bool
list_end(bson_t *parent, struct list *l)
{
    return l->ok && bson_append_array_end(parent, &l->array);
}


static void
list_document(struct list *l, const bson_t *doc)
{
    char         number[16];
    const char  *key;

    bson_uint32_to_string(l->n++, &key, number, sizeof(number));
    l->ok = l->ok && bson_append_document(&l->array, key, -1, doc);
}


static struct name
field_name(const struct filter_term *t)
{
    struct name  name;

    snprintf(name.text, sizeof(name.text), "%s%.*s", fields[t->field].name,
             t->field == FILTER_REF ? (int) t->name.n : 0,
             t->name.p == NULL ? "" : t->name.p);
    return name;
}


static bool
text_put(bson_t *b, const char *key, struct slice s)
{
    return bson_append_utf8(b, key, -1, s.p == NULL ? "" : s.p, (int) s.n);
}


/* The term's value as the documents hold it. */
static bool
value_put(bson_t *b, const char *key, const struct filter_term *t)
{
    uint8_t  id[UUID_BYTES];
    char     text[UUID_TEXT + 1];

    switch (t->field) {
    case FILTER_STATUS:
        return bson_append_utf8(b, key, -1,
            log_status_text((enum log_status) t->num), -1);

    case FILTER_KIND:
        return bson_append_utf8(b, key, -1,
            log_kind_text((enum log_kind) t->num), -1);

    case FILTER_FLAG:
        return bson_append_utf8(b, key, -1,
            log_flag_text((unsigned) __builtin_ctz((unsigned) t->num)), -1);

    case FILTER_ID:
        if (uuid_parse(t->text, id) != RESULT_OK) {
            return false;
        }
        uuid_text(id, text);
        return bson_append_utf8(b, key, -1, text, UUID_TEXT);

    case FILTER_DURATION_MS:
        return bson_append_int64(b, key, -1, t->num * 1000);

    default:
        return filter_fields[t->field].type == FILTER_T_TEXT
               ? text_put(b, key, t->text)
               : bson_append_int64(b, key, -1, t->num);
    }
}


/* {name: {OP: value}} */
static bool
operator_put(bson_t *b, const char *op, const struct filter_term *t)
{
    struct name  name = field_name(t);
    bson_t       sub;

    return bson_append_document_begin(b, name.text, -1, &sub)
           && value_put(&sub, op, t)
           && bson_append_document_end(b, &sub);
}


/* {name: {$gte: 500, $lt: 600}} */
static bool
class_put(bson_t *b, const struct filter_term *t)
{
    struct name  name = field_name(t);
    bson_t       sub;

    return bson_append_document_begin(b, name.text, -1, &sub)
           && bson_append_int64(&sub, "$gte", -1, t->num * 100)
           && bson_append_int64(&sub, "$lt", -1, t->num * 100 + 100)
           && bson_append_document_end(b, &sub);
}


/* The term without its negation, as one condition. */
static bool
holds_put(bson_t *b, const struct filter_term *t)
{
    struct name  name = field_name(t);

    switch (t->op) {
    case FILTER_CLASS:
    case FILTER_NOT_CLASS:
        return class_put(b, t);
    case FILTER_NULL:
    case FILTER_NOT_NULL:
        return bson_append_null(b, name.text, -1);
    case FILTER_GT:
    case FILTER_GTE:
    case FILTER_LT:
    case FILTER_LTE:
        return operator_put(b, comparisons[t->op], t);
    default:
        return value_put(b, name.text, t);
    }
}


static bool
op_joins(enum filter_op op)
{
    return op == FILTER_EQ || op == FILTER_CLASS || op == FILTER_NULL;
}


static bool
op_negates(enum filter_op op)
{
    return op == FILTER_NE || op == FILTER_NOT_CLASS || op == FILTER_NOT_NULL;
}


static bool
term_joins(const struct filter_term *a, const struct filter_term *b)
{
    return a->field == b->field && op_joins(a->op) && op_joins(b->op)
           && slice_eq(a->name, b->name);
}


static bool
term_is_first(const struct filter *f, unsigned i)
{
    for (unsigned j = 0; j < i; j++) {
        if (term_joins(&f->terms[j], &f->terms[i])) {
            return false;
        }
    }

    return true;
}


/* One condition of its own; several of one field under $or, where servers
 * merge index bounds as they do for $in. */
static bool
group_put(bson_t *b, const struct filter *f, unsigned first)
{
    struct list  any;
    bson_t       one;
    unsigned     same = 0;

    for (unsigned i = first; i < f->nterms; i++) {
        same += term_joins(&f->terms[i], &f->terms[first]);
    }

    if (same == 1) {
        return holds_put(b, &f->terms[first]);
    }

    (void) list_begin(b, "$or", &any);

    for (unsigned i = first; any.ok && i < f->nterms; i++) {
        if (term_joins(&f->terms[i], &f->terms[first])) {
            bson_init(&one);
            any.ok = holds_put(&one, &f->terms[i]);
            list_document(&any, &one);
            bson_destroy(&one);
        }
    }

    return list_end(b, &any);
}


static bool
negated_put(bson_t *b, const struct filter_term *t)
{
    struct list  none;
    bson_t       one;

    (void) list_begin(b, "$nor", &none);
    bson_init(&one);
    none.ok = none.ok && holds_put(&one, t);
    list_document(&none, &one);
    bson_destroy(&one);

    return list_end(b, &none);
}


static void
terms_put(struct list *all, const struct filter *f, bool buckets)
{
    bson_t  one;

    for (unsigned i = 0; all->ok && i < f->nterms; i++) {
        const struct filter_term  *t = &f->terms[i];

        if (buckets && !filter_fields[t->field].bucket) {
            continue;
        }

        if (op_joins(t->op) && !term_is_first(f, i)) {
            continue;
        }

        bson_init(&one);
        all->ok = op_joins(t->op) ? group_put(&one, f, i)
                  : op_negates(t->op) ? negated_put(&one, t)
                                      : holds_put(&one, t);
        list_document(all, &one);
        bson_destroy(&one);
    }
}


static void
int_condition(struct list *all, const char *name, const char *op, int64_t v)
{
    bson_t  one, sub;

    bson_init(&one);
    all->ok = all->ok && bson_append_document_begin(&one, name, -1, &sub)
              && bson_append_int64(&sub, op, -1, v)
              && bson_append_document_end(&one, &sub);
    list_document(all, &one);
    bson_destroy(&one);
}


static void
scope_put(struct list *all, const struct scope *sc)
{
    struct list  labs;
    bson_t       one, sub;
    char         number[16];
    const char  *key;

    if (sc->platform) {
        return;
    }

    int_condition(all, "org_id", "$eq", sc->org_id);

    if (sc->labs == NULL) {
        return;
    }

    bson_init(&one);
    all->ok = all->ok && bson_append_document_begin(&one, "lab_id", -1, &sub)
              && list_begin(&sub, "$in", &labs);

    for (unsigned i = 0; all->ok && i < sc->nlabs; i++) {
        bson_uint32_to_string(i, &key, number, sizeof(number));
        all->ok = bson_append_int64(&labs.array, key, -1, sc->labs[i]);
    }

    all->ok = all->ok && list_end(&sub, &labs)
              && bson_append_document_end(&one, &sub);
    list_document(all, &one);
    bson_destroy(&one);
}


/* Beyond (after_us, after_id) in the direction of the page. */
static void
after_put(struct list *all, const struct mongo_range *r)
{
    const char   *beyond = r->ascending ? "$gt" : "$lt";
    struct list   either;
    bson_t        one, part, sub;
    char          id[UUID_TEXT + 1];

    /* implied by what follows, but it bounds the index at once */
    int_condition(all, r->time, r->ascending ? "$gte" : "$lte", r->after_us);

    uuid_text(r->after_id, id);
    bson_init(&one);
    (void) list_begin(&one, "$or", &either);
    int_condition(&either, r->time, beyond, r->after_us);

    bson_init(&part);
    either.ok = either.ok
                && bson_append_int64(&part, r->time, -1, r->after_us)
                && bson_append_document_begin(&part, "_id", -1, &sub)
                && bson_append_utf8(&sub, beyond, -1, id, UUID_TEXT)
                && bson_append_document_end(&part, &sub);
    list_document(&either, &part);
    bson_destroy(&part);

    all->ok = all->ok && list_end(&one, &either);
    list_document(all, &one);
    bson_destroy(&one);
}


static void
range_put(struct list *all, const struct mongo_range *r)
{
    if (r->from_us != LOGDOC_NONE) {
        int_condition(all, r->time, "$gte", r->from_us);
    }

    if (r->to_us != LOGDOC_NONE) {
        int_condition(all, r->time, "$lt", r->to_us);
    }

    if (r->has_after) {
        after_put(all, r);
    }
}


/* An empty $and is an error of the servers: the condition that always holds
 * stands in its place. */
static enum result
and_end(bson_t *out, struct list *all)
{
    bson_t  none;

    if (all->n == 0) {
        bson_init(&none);
        list_document(all, &none);
        bson_destroy(&none);
    }

    return list_end(out, all) ? RESULT_OK : RESULT_INVALID;
}


enum result
mongo_query(const struct filter *f, const struct mongo_range *r, bson_t *out)
{
    struct list  all;

    (void) list_begin(out, "$and", &all);
    scope_put(&all, &f->scope);
    range_put(&all, r);
    terms_put(&all, f, r->buckets);

    return and_end(out, &all);
}


enum result
mongo_query_scope(const struct scope *sc, bson_t *out)
{
    struct list  all;

    (void) list_begin(out, "$and", &all);
    scope_put(&all, sc);

    return and_end(out, &all);
}


bool
mongo_query_is_indexed(const struct filter *f)
{
    /* one selective term bounds the work; the others only thin it out */
    if (f->q.n > 0) {
        return false;
    }

    for (unsigned i = 0; i < f->nterms; i++) {
        if (fields[f->terms[i].field].indexed && op_joins(f->terms[i].op)) {
            return true;
        }
    }

    return f->nterms == 0;
}
