/* What a store counts, on both: the heatmap's cells, groups of errors. */

#include "store_filters.h"

#include <pthread.h>


static struct slice
key_of(struct world *w, const struct logdoc *d, enum store_by by)
{
    switch (by) {
    case STORE_BY_ENDPOINT:
        return d->endpoint;
    case STORE_BY_DEVELOPER:
        return d->developer_id;
    case STORE_BY_ACTION:
        return d->action_id == LOGDOC_NONE ? SLICE_NONE
            : text(w, "%" PRId64, d->action_id);
    case STORE_BY_LAB:
        return d->lab_id == LOGDOC_NONE ? SLICE_NONE
            : text(w, "%" PRId64, d->lab_id);
    case STORE_BY_KIND:
        return slice_of(log_kind_text(d->kind));
    default:
        return SLICE_NONE;
    }
}


/* Cells as the documents have it: each is taken off; nothing may be left. */
static void
cells_check(struct world *w, const struct filter *f, enum store_by by,
    int64_t slot_us, int64_t offset_us, struct store_cell *cells, size_t n,
    bool with_hist)
{
    for (size_t i = 0; i < w->n; i++) {
        const struct logdoc  *d = &w->docs[i];
        enum heatmap_count    count = heatmap_count_of(d);
        struct slice          key = key_of(w, d, by);
        int64_t               at = heatmap_slot_start(d->started_us, slot_us,
            offset_us);
        size_t                j;

        if (count == HEATMAP_NOT_COUNTED || !filter_match(f, d)) {
            continue;
        }

        for (j = 0; j < n; j++) {
            if (cells[j].at_us == at && slice_eq(cells[j].key, key)) {
                break;
            }
        }

        if (j == n) {
            filter_print(f);
            fail_msg("by %d: no cell at %" PRId64 " of '%.*s'", by, at,
                SLICE_ARG(key));
        }

        cells[j].ok -= count == HEATMAP_OK;
        cells[j].fail -= count == HEATMAP_FAIL;

        if (with_hist && d->duration_us != LOGDOC_NONE) {
            cells[j].hist[heatmap_hist_slot(d->duration_us)]--;
        }
    }

    for (size_t j = 0; j < n; j++) {
        bool  zero = cells[j].ok == 0 && cells[j].fail == 0;

        for (int k = 0; k < HIST_SLOTS; k++) {
            zero = zero && cells[j].hist[k] == 0;
        }

        if (!zero) {
            filter_print(f);
            fail_msg("by %d: cell at %" PRId64 " of '%.*s' has %" PRId64
                " ok, %" PRId64 " fail too many", by, cells[j].at_us,
                SLICE_ARG(cells[j].key), cells[j].ok, cells[j].fail);
        }
    }
}


static void
cells_random(struct world *w, bool exact)
{
    static const int64_t  slots[] = {
        HEATMAP_BUCKET_US, HEATMAP_QUARTER_US, HEATMAP_HOUR_US,
        6 * HEATMAP_HOUR_US, DAY_US
    };
    static const int64_t  offsets[] = { 0, 19800000000, -3600000000,
        HEATMAP_BUCKET_US };
    struct store_cell    *cells;
    struct filter         f;
    enum store_by         by = (enum store_by) rnd(w, 6);
    int64_t               labs[3], slot, offset;
    size_t                n;
    bool                  hist = rnd(w, 2), partial = false;

    do {
        filter_random(w, &f, labs);
    } while (!exact && !filter_is_bucket(&f));

    if (!exact) {                          /* buckets count whole */
        f.from_us = f.from_us == LOGDOC_NONE ? LOGDOC_NONE
            : heatmap_slot_start(f.from_us, HEATMAP_BUCKET_US, 0);
        f.to_us = f.to_us == LOGDOC_NONE ? LOGDOC_NONE
            : heatmap_slot_start(f.to_us, HEATMAP_BUCKET_US, 0);
    }

    slot = slots[rnd(w, 5)];
    offset = offsets[rnd(w, 4)];
    arena_reset(&w->read);

    if (exact) {
        hist = true;
        assert_int_equal(store_cells_exact(w->s, &f, by, slot, offset,
            deadline(), &w->read, &cells, &n, &partial), RESULT_OK);
        assert_false(partial);

    } else {
        assert_int_equal(store_cells(w->s, &f, by, slot, offset, hist,
            &w->read, &cells, &n), RESULT_OK);
    }

    cells_check(w, &f, by, slot, offset, cells, n, hist);
}


static void
recount_all(struct world *w)
{
    unsigned  done;

    do {
        assert_int_equal(store_recount(w->s, 1000, &done), RESULT_OK);
    } while (done > 0);
}


static void
test_heatmap_equals_the_documents(void **state)
{
    struct world  *w = *state;
    enum store_insert  outcome;

    docs_random(w);

    for (int i = 0; i < rounds() / 2
                    && strcmp(store_name(w->s), "sqlite") == 0; i++)
    {
        cells_random(w, false);            /* exact without a recount too */
    }

    recount_all(w);
    for (int i = 0; i < rounds(); i++) {
        cells_random(w, false);
    }

    /* a late one into what has been counted already */
    w->docs = realloc(w->docs, (w->n + 1) * sizeof(w->docs[0]));
    assert_non_null(w->docs);
    doc_plain(w, &w->docs[w->n], w->docs[0].started_us);
    assert_int_equal(store_logs_insert(w->s, &w->docs[w->n++], 1, &outcome),
        RESULT_OK);

    if (strcmp(store_name(w->s), "sqlite") != 0) {
        recount_all(w);
    }

    for (int i = 0; i < rounds() / 2; i++) {
        cells_random(w, false);
    }
}


static void
test_exact_cells_equal_the_documents(void **state)
{
    struct world  *w = *state;

    docs_random(w);
    for (int i = 0; i < rounds(); i++) {
        cells_random(w, true);
    }
}


static void
groups_check(struct world *w, const struct filter *f,
    const struct store_error_group *g, size_t n)
{
    int64_t  total = 0, want = 0;

    for (size_t i = 0; i < n; i++) {
        int64_t               count = 0, first = INT64_MAX, last = INT64_MIN;
        const struct logdoc  *d = NULL;

        assert_true(i == 0 || g[i - 1].count >= g[i].count);

        for (size_t j = 0; j < w->n; j++) {
            const struct logdoc  *e = &w->docs[j];

            if ((e->status == LOG_FAIL || e->status == LOG_RETRYING)
                && filter_match(f, e)
                && e->error_fingerprint == g[i].fingerprint)
            {
                count++;
                first = e->started_us < first ? e->started_us : first;
                last = e->started_us > last ? e->started_us : last;

                if (memcmp(e->id, g[i].last_id, UUID_BYTES) == 0) {
                    d = e;
                }
            }
        }

        assert_int_equal(g[i].count, count);
        assert_int_equal(g[i].first_us, first);
        assert_int_equal(g[i].last_us, last);
        assert_non_null(d);
        assert_int_equal(d->started_us, last);
        assert_int_equal(g[i].kind, d->kind);
        assert_true(slice_eq(g[i].endpoint, d->endpoint));
        assert_true(slice_eq(g[i].code, d->error_code));
        assert_true(slice_eq(g[i].message, d->error_message));
        assert_int_equal(g[i].http_status, d->http_status);
        total += count;
    }

    for (size_t j = 0; j < w->n; j++) {
        want += (w->docs[j].status == LOG_FAIL
                 || w->docs[j].status == LOG_RETRYING)
            && filter_match(f, &w->docs[j]);
    }

    assert_int_equal(total, want);
}


static void
test_error_groups(void **state)
{
    struct world              *w = *state;
    struct store_error_group  *g;
    struct filter              f;
    int64_t                    labs[3];
    size_t                     n;
    bool                       partial;

    docs_random(w);

    for (int i = 0; i < rounds(); i++) {
        filter_random(w, &f, labs);
        arena_reset(&w->read);
        assert_int_equal(store_error_groups(w->s, &f, 1000, deadline(),
            &w->read, &g, &n, &partial), RESULT_OK);
        assert_false(partial);
        groups_check(w, &f, g, n);
    }

    filter_init(&f, &everybody);
    assert_int_equal(store_error_groups(w->s, &f, 3, deadline(), &w->read, &g,
        &n, &partial), RESULT_OK);
    assert_int_equal(n, 3);
}


static void
test_open_counts(void **state)
{
    struct world        *w = *state;
    const int64_t        lab = 21;
    const struct scope   scopes[] = {
        { .platform = true }, { .org_id = 1 }, { .org_id = 9 },
        { .org_id = 2, .labs = &lab, .nlabs = 1 },
    };

    docs_random(w);

    for (size_t i = 0; i < sizeof(scopes) / sizeof(scopes[0]); i++) {
        int64_t  pending = 0, retrying = 0, got[2];

        for (size_t j = 0; j < w->n; j++) {
            const struct logdoc  *d = &w->docs[j];

            if (scope_sees(&scopes[i], d->org_id, d->lab_id)) {
                pending += d->status == LOG_PENDING;
                retrying += d->status == LOG_RETRYING;
            }
        }

        assert_int_equal(store_open_counts(w->s, &scopes[i], &got[0],
            &got[1]), RESULT_OK);
        assert_int_equal(got[0], pending);
        assert_int_equal(got[1], retrying);
    }
}


struct writer {
    struct world   *w;
    struct logdoc  *docs;
    size_t          n;
    unsigned        fresh;
};


static void *
writer_main(void *arg)
{
    struct writer      *me = arg;
    enum store_insert   outcome[8];

    for (size_t i = 0; i < me->n; i += 8) {
        if (store_logs_insert(me->w->s, me->docs + i, 8, outcome)
            != RESULT_OK)
        {
            return NULL;
        }

        for (int j = 0; j < 8; j++) {
            me->fresh += outcome[j] == STORE_NEW;
        }
    }

    return me;
}


/* Four threads write the same logs: each is new to exactly one of them. */
static void
test_threads_write_the_same(void **state)
{
    struct world   *w = *state;
    struct writer   writers[4];
    pthread_t       threads[4];
    struct filter   f;
    unsigned        fresh = 0;
    void           *done;

    w->docs = calloc(DOCS, sizeof(w->docs[0]));
    assert_non_null(w->docs);
    for (w->n = 0; w->n < DOCS; w->n++) {
        doc_random(w, &w->docs[w->n]);
    }

    for (int i = 0; i < 4; i++) {
        writers[i] = (struct writer) { .w = w, .docs = w->docs, .n = w->n };
        assert_int_equal(pthread_create(&threads[i], NULL, writer_main,
            &writers[i]), 0);
    }

    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], &done);
        assert_non_null(done);
        fresh += writers[i].fresh;
    }

    assert_int_equal(fresh, DOCS);
    filter_init(&f, &everybody);
    filter_check(w, &f, false);
    recount_all(w);

    for (int i = 0; i < 50; i++) {
        cells_random(w, false);
    }
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        STORE_TEST(test_heatmap_equals_the_documents),
        STORE_TEST(test_exact_cells_equal_the_documents),
        STORE_TEST(test_error_groups),
        STORE_TEST(test_open_counts),
        STORE_TEST(test_threads_write_the_same),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
