/* Random filters, and whether the store finds what filter_match() does. */

#ifndef STORE_FILTERS_H
#define STORE_FILTERS_H

#include <inttypes.h>

#include "store_world.h"


/* A parameter as a client would write it. */
static inline void
filter_random_term(struct world *w, struct filter *f)
{
    static const char *const  statuses[] = {
        "PENDING", "SUCCESS", "RETRYING", "FAIL", "CANCELLED", "COMMITTED"
    };
    static const char *const  kinds[] = { "api", "webhook", "hl7" };
    static const char *const  https[] = {
        "200", "404", "503", "5xx", "4xx", "none", "999"
    };
    static const char *const  refs[] = {
        "ref[bill_id]", "ref[patient_id]", "ref[lrr_id]", "ref[report_id]"
    };
    static const char *const  flags[] = {
        "lab_mismatch", "suspect", "unknown_key", "unconfirmed"
    };
    static const char *const  orders[] = { "[gt]", "[gte]", "[lt]", "[lte]" };
    const struct logdoc      *any = &w->docs[rnd(w, (unsigned) w->n)];
    const char               *no = rnd(w, 4) == 0 ? "!" : "", *why;
    char                      id[UUID_TEXT + 1];
    struct slice              name, value;

    uuid_text(any->id, id);

    switch (rnd(w, 21)) {
    case 0:
        name = SLICE_LIT("status");
        value = text(w, "%s%s", no, statuses[rnd(w, 6)]);
        break;
    case 1:
        name = SLICE_LIT("kind");
        value = text(w, "%s%s", no, kinds[rnd(w, 3)]);
        break;
    case 2:
        name = SLICE_LIT("http");
        value = text(w, "%s%s", no, https[rnd(w, 7)]);
        break;
    case 3:
        name = SLICE_LIT("action_id");
        value = rnd(w, 6) == 0 ? text(w, "%snone", no)
                               : text(w, "%s%u", no, 1 + rnd(w, 10));
        break;
    case 4:
        name = SLICE_LIT("action_category_id");
        value = text(w, "%s%u", no, 1 + rnd(w, 6));
        break;
    case 5:
        name = SLICE_LIT("lab_id");
        value = rnd(w, 6) == 0 ? text(w, "%snone", no)
                               : text(w, "%s%u", no, 10 + rnd(w, 24));
        break;
    case 6:
        name = SLICE_LIT("org_id");
        value = text(w, "%s%u", no, 1 + rnd(w, 4));
        break;
    case 7:
        name = SLICE_LIT("developer_id");
        value = text(w, "%sdeveloper-%u", no, rnd(w, 5));
        break;
    case 8:
        name = SLICE_LIT("integration_id");
        value = text(w, "%sintegration-%u", no, rnd(w, 4));
        break;
    case 9:
        name = SLICE_LIT("endpoint");
        value = text(w, "%sGET /e/%u", no, rnd(w, 7));
        break;
    case 10:
        name = SLICE_LIT("method");
        value = text(w, "%sGET", no);
        break;
    case 11:
        name = SLICE_LIT("error");
        value = any->error_fingerprint == 0 ? text(w, "%snone", no)
            : text(w, "%s%016" PRIx64, no, any->error_fingerprint);
        break;
    case 12:
        name = SLICE_LIT("event_id");
        value = text(w, "%sevent-%u", no, rnd(w, 10));
        break;
    case 13:
        name = SLICE_LIT("batch_id");
        value = text(w, "%sbatch-%u", no, rnd(w, 6));
        break;
    case 14:
        name = SLICE_LIT("trace_id");
        value = text(w, "%strace-%u", no, rnd(w, 41));
        break;
    case 15:
        name = rnd(w, 2) ? SLICE_LIT("replay_of") : SLICE_LIT("resend_of");
        value = text(w, "%slog-%u", no, rnd(w, 6));
        break;
    case 16:
        name = text(w, "attempts%s", orders[rnd(w, 4)]);
        value = text(w, "%u", rnd(w, 5));
        break;
    case 17:
        name = text(w, "duration_ms%s", orders[rnd(w, 4)]);
        value = text(w, "%u", rnd(w, 3000));
        break;
    case 18:
        name = SLICE_LIT("id");
        value = text(w, "%s%s", no, id);
        break;
    case 19:
        name = SLICE_LIT("flag");
        value = text(w, "%s%s", no, flags[rnd(w, 4)]);
        break;
    default:
        name = slice_of(refs[rnd(w, 4)]);
        value = text(w, "%sR%u", no, rnd(w, 13));
        break;
    }

    if (filter_add(f, name, value, &why) != RESULT_OK) {
        fail_msg("%.*s=%.*s %s", SLICE_ARG(name), SLICE_ARG(value), why);
    }
}


static inline void
filter_random(struct world *w, struct filter *f, int64_t labs[3])
{
    static const char *const  words[] = {
        "x=1", "/E/3", "message 7", "event-", "trace-1", "R11", "zzz"
    };
    struct scope  sc = { .platform = rnd(w, 3) == 0, .org_id = 1 + rnd(w, 4) };
    unsigned      n = rnd(w, 4);

    if (!sc.platform && rnd(w, 3) == 0) {
        sc.labs = labs;
        sc.nlabs = rnd(w, 4);
        for (unsigned i = 0; i < sc.nlabs; i++) {
            labs[i] = sc.org_id * 10 + rnd(w, 3);
        }
    }

    filter_init(f, &sc);

    if (rnd(w, 3) == 0) {
        f->from_us = w->docs[rnd(w, (unsigned) w->n)].started_us;
    }

    if (rnd(w, 3) == 0) {
        f->to_us = w->docs[rnd(w, (unsigned) w->n)].started_us;
    }

    if (rnd(w, 5) == 0) {
        f->q = slice_of(words[rnd(w, 7)]);
    }

    while (n-- > 0) {
        filter_random_term(w, f);
    }
}


static inline void
filter_print(const struct filter *f)
{
    fprintf(stderr, "# scope %d org %" PRId64 " labs %d q '%.*s' from %"
        PRId64 " to %" PRId64 "\n", f->scope.platform, f->scope.org_id,
        f->scope.labs == NULL ? -1 : (int) f->scope.nlabs, SLICE_ARG(f->q),
        f->from_us, f->to_us);

    for (unsigned i = 0; i < f->nterms; i++) {
        fprintf(stderr, "#   %s op %d [%.*s] '%.*s' %" PRId64 "\n",
            filter_fields[f->terms[i].field].param, f->terms[i].op,
            SLICE_ARG(f->terms[i].name), SLICE_ARG(f->terms[i].text),
            f->terms[i].num);
    }
}


/* Goes through all pages; seen[i] counts how often document i came. */
static inline size_t
pages_read(struct world *w, const struct filter *f, bool ascending,
    unsigned limit, unsigned *seen)
{
    struct store_page  p = { .limit = limit, .ascending = ascending };
    struct store_rows  rows;
    int64_t            last = ascending ? INT64_MIN : INT64_MAX;
    size_t             total = 0;

    for ( ;; ) {
        arena_reset(&w->read);
        p.deadline_us = deadline();
        assert_int_equal(store_logs_find(w->s, f, &p, &w->read, &rows),
            RESULT_OK);
        assert_true(rows.n <= limit);
        assert_false(rows.partial);
        total += rows.n;

        for (size_t i = 0; i < rows.n; i++) {
            int64_t  at = rows.rows[i].started_us;

            assert_true(ascending ? at >= last : at <= last);
            last = at;

            for (size_t j = 0; j < w->n; j++) {
                if (memcmp(w->docs[j].id, rows.rows[i].id, UUID_BYTES) == 0) {
                    seen[j]++;
                }
            }
        }

        if (!rows.more) {
            return total;
        }

        assert_int_equal(rows.n, limit);
        p.has_after = true;
        p.after_us = last;
        memcpy(p.after_id, rows.rows[rows.n - 1].id, UUID_BYTES);
    }
}


static inline void
filter_check(struct world *w, const struct filter *f, bool ascending)
{
    unsigned  seen[DOCS] = { 0 };
    size_t    want = 0, got;
    int64_t   n;
    bool      capped;

    /* pages of one log: test_pages_with_equal_times */
    got = pages_read(w, f, ascending, 10 + rnd(w, 40), seen);

    for (size_t i = 0; i < w->n; i++) {
        bool  match = filter_match(f, &w->docs[i]);

        want += match;

        if (seen[i] != match) {
            filter_print(f);
            fail_msg("document %zu came %u times, should %d", i, seen[i],
                match);
        }
    }

    assert_int_equal(got, want);
    assert_int_equal(store_logs_count(w->s, f, DOCS * 2, deadline(), &n,
        &capped), RESULT_OK);

    if (n != (int64_t) want) {
        filter_print(f);
    }

    assert_int_equal(n, want);
    assert_false(capped);
}


#endif /* STORE_FILTERS_H */
