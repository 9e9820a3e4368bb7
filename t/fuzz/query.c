/*
 * A query string as REST, the CLI and saved views hand it on: split, percent
 * decoded, each pair a term of the filter, and the filter held against a log.
 */

#include <stdint.h>
#include <stdlib.h>

#include "api_counts.h"
#include "filter.h"

#define ARENA_CAP  (1024 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
must(int holds)
{
    if (!holds) {
        abort();
    }
}


static struct slice
cut(struct slice *rest, char at)
{
    const char    *p = rest->n == 0 ? NULL : memchr(rest->p, at, rest->n);
    struct slice   head = *rest;

    head.n = p == NULL ? rest->n : (size_t) (p - rest->p);
    rest->p += head.n + (p != NULL);
    rest->n -= head.n + (p != NULL);
    return head;
}


static struct slice
decoded(struct arena *a, struct slice s)
{
    struct slice  out = api_decode(a, s, true);
    const char   *mark = s.n == 0 ? NULL : memchr(s.p, '%', s.n);

    if (out.p == NULL) {
        must(mark != NULL);                /* all else is taken */
        return out;
    }

    must(out.n <= s.n && out.p[out.n] == '\0');
    must(mark != NULL || out.n == s.n);
    return out;
}


/* What the stores rely on. */
static void
check_term(const struct filter_term *t)
{
    uint8_t  id[UUID_BYTES];

    must(slice_utf8(t->text));
    must(t->text.n == 0 || memchr(t->text.p, '\0', t->text.n) == NULL);
    must(t->field != FILTER_REF || t->name.n > 0);
    must(t->field != FILTER_ID || uuid_parse(t->text, id) == RESULT_OK);
    must(filter_fields[t->field].type != FILTER_T_INT
         || t->field == FILTER_ERROR
         || (t->num >= 0 && t->num <= INT64_MAX / 1000));
    must(t->field != FILTER_DURATION_MS
         || (t->op >= FILTER_GT && t->op <= FILTER_LTE));
}


static void
parse(struct filter *f, struct arena *a, struct slice query)
{
    struct scope   nobody = { .org_id = 7 };
    struct slice   pair, name, value;
    const char    *why;
    unsigned       before;
    int64_t        us;
    enum result    r;

    filter_init(f, &nobody);

    while (query.n > 0) {
        value = cut(&query, '&');
        pair = cut(&value, '=');
        name = decoded(a, pair);
        value = decoded(a, value);

        if (name.p == NULL || value.p == NULL) {
            continue;
        }

        (void) api_cookie(value, "idash");
        if (api_counts_offset(value, &us) == RESULT_OK) {
            must(us >= -15 * HEATMAP_HOUR_US && us <= 15 * HEATMAP_HOUR_US);
        }

        before = f->nterms;
        why = NULL;
        r = filter_add(f, name, value, &why);
        must(r == RESULT_OK || f->nterms == before);
        must(r != RESULT_INVALID || (why != NULL && why[0] != '\0'));
        must(f->nterms <= FILTER_MAX_TERMS);
    }

    for (unsigned i = 0; i < f->nterms; i++) {
        check_term(&f->terms[i]);
    }
}


static void
log_make(struct logdoc *d)
{
    logdoc_init(d);
    d->started_us = INT64_C(1767225600000000);
    d->org_id = 8;
    d->lab_id = 12;
    d->http_status = 503;
    d->action_id = 57;
    d->duration_us = 12400;
    d->endpoint = SLICE_LIT("GET /a");
    d->url = SLICE_LIT("/a?lab=1");
    d->refs[0].name = SLICE_LIT("bill_id");
    d->refs[0].value = SLICE_LIT("B-1");
    d->nrefs = 1;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct filter  one, two;
    struct slice          query = { (const char *) data, size };
    struct logdoc         d;
    struct arena          a;

    if (size > ARENA_CAP / 64) {
        return 0;
    }

    arena_init(&a, ARENA_CAP);
    parse(&one, &a, query);
    parse(&two, &a, query);
    must(filter_hash(&one) == filter_hash(&two));

    log_make(&d);
    must(!filter_match(&one, &d));         /* another org's */
    one.scope.platform = true;
    must(filter_match(&one, &d) || one.nterms > 0 || one.q.n > 0
         || one.from_us != LOGDOC_NONE || one.to_us != LOGDOC_NONE);
    (void) filter_is_bucket(&one);

    arena_cleanup(&a);
    return 0;
}
