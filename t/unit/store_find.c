/* What a store finds, on both: filters, pages, tenants. */

#include "store_filters.h"

#define EQUALS   31                        /* a third and one: 1 11 21 31 */


static void
test_filters_mean_what_filter_match_means(void **state)
{
    struct world   *w = *state;
    struct filter   f;
    int64_t         labs[3];

    docs_random(w);

    for (int i = 0; i < rounds(); i++) {
        filter_random(w, &f, labs);
        filter_check(w, &f, i & 1);
    }
}


static void
test_pages_with_equal_times(void **state)
{
    struct world   *w = *state;
    unsigned        seen[EQUALS];
    struct filter   f;

    w->docs = calloc(EQUALS, sizeof(w->docs[0]));
    assert_non_null(w->docs);

    for (w->n = 0; w->n < EQUALS; w->n++) {
        doc_plain(w, &w->docs[w->n], w->base_us);
    }

    docs_insert(w);
    filter_init(&f, &everybody);

    for (int ascending = 0; ascending < 2; ascending++) {
        for (unsigned limit = 1; limit <= EQUALS;
             limit += EQUALS / 3)
        {
            memset(seen, 0, sizeof(seen));
            assert_int_equal(pages_read(w, &f, ascending, limit, seen),
                EQUALS);

            for (int i = 0; i < EQUALS; i++) {
                assert_int_equal(seen[i], 1);
            }
        }
    }

    /* the very microsecond, and the one after */
    f.from_us = w->base_us;
    f.to_us = w->base_us + 1;
    memset(seen, 0, sizeof(seen));
    assert_int_equal(pages_read(w, &f, false, 200, seen), EQUALS);
    f.from_us = w->base_us + 1;
    f.to_us = w->base_us + 2;
    assert_int_equal(pages_read(w, &f, false, 200, seen), 0);
}


/* A deadline that has passed: a partial page from which one can go on. */
static void
test_partial_pages_reach_the_end(void **state)
{
    struct world       *w = *state;
    struct store_page   p = { .limit = 10 };
    struct store_rows   rows;
    struct filter       f;
    const char         *why;
    size_t              want = 0, got = 0;
    int64_t             patience = 300;

    docs_random(w);
    filter_init(&f, &everybody);
    assert_int_equal(filter_add(&f, SLICE_LIT("q"), SLICE_LIT("x=7"), &why),
        RESULT_OK);

    for (size_t i = 0; i < w->n; i++) {
        want += filter_match(&f, &w->docs[i]);
    }

    /* longer each time, or a slow server never gets anywhere */
    for (unsigned calls = 0; calls < 200; calls++) {
        int64_t  before = p.has_after ? p.after_us : INT64_MAX;

        arena_reset(&w->read);
        p.deadline_us = clock_mono_us() + patience;
        patience += patience / 8 + 100;
        assert_int_equal(store_logs_find(w->s, &f, &p, &w->read, &rows),
            RESULT_OK);
        got += rows.n;

        if (rows.partial) {
            assert_true(rows.searched_to_us <= before);
            p.after_us = rows.searched_to_us;
            memcpy(p.after_id, rows.searched_to_id, UUID_BYTES);

        } else if (rows.more) {
            p.after_us = rows.rows[rows.n - 1].started_us;
            memcpy(p.after_id, rows.rows[rows.n - 1].id, UUID_BYTES);

        } else {
            assert_int_equal(got, want);
            return;
        }

        p.has_after = true;
    }

    fail_msg("never came to the end");
}


/* Nothing was looked at: one goes on from the start, not past the end. */
static void
test_a_page_without_time_begins_again(void **state)
{
    struct world       *w = *state;
    struct filter       f;
    struct store_page   p = { .limit = 1000, .deadline_us = 1 };
    struct store_rows   rows;
    size_t              n = 0;

    docs_random(w);
    filter_init(&f, &everybody);
    arena_reset(&w->read);
    assert_int_equal(store_logs_find(w->s, &f, &p, &w->read, &rows),
        RESULT_OK);
    n = rows.n;

    if (rows.partial) {
        p.has_after = true;
        p.after_us = rows.searched_to_us;
        memcpy(p.after_id, rows.searched_to_id, UUID_BYTES);
        p.deadline_us = deadline();
        assert_int_equal(store_logs_find(w->s, &f, &p, &w->read, &rows),
            RESULT_OK);
        n += rows.n;
    }

    assert_false(rows.partial);
    assert_int_equal(n, w->n);
}


static void
test_tenants_see_their_own(void **state)
{
    struct world        *w = *state;
    struct log_attempt  *attempts;
    struct logdoc        got;
    const int64_t        lab = 21;
    const struct scope   scopes[] = {
        { .org_id = 1 }, { .org_id = 2 }, { .org_id = 9 },
        { .org_id = 2, .labs = &lab, .nlabs = 1 },
        { .org_id = 2, .labs = &lab, .nlabs = 0 },
        { .platform = true },
    };
    size_t               n;

    docs_random(w);

    for (size_t i = 0; i < sizeof(scopes) / sizeof(scopes[0]); i++) {
        struct filter  f;

        filter_init(&f, &scopes[i]);
        filter_check(w, &f, false);

        /* three queries each */
        for (size_t j = 0; j < w->n; j += rounds() < 100 ? 31 : 7) {
            enum result  want = scope_sees(&scopes[i], w->docs[j].org_id,
                w->docs[j].lab_id) ? RESULT_OK : RESULT_NOT_FOUND;

            arena_reset(&w->read);
            assert_int_equal(store_log_get(w->s, &scopes[i], w->docs[j].id,
                &w->read, &got), want);
            assert_int_equal(store_attempts(w->s, &scopes[i], w->docs[j].id,
                &w->read, &attempts, &n), want);
            assert_int_equal(n, 0);
        }
    }
}


static void
test_count_stops_at_its_cap(void **state)
{
    struct world   *w = *state;
    struct filter   f;
    int64_t         n;
    bool            capped;

    docs_random(w);
    filter_init(&f, &everybody);
    assert_int_equal(store_logs_count(w->s, &f, 17, deadline(), &n, &capped),
        RESULT_OK);
    assert_int_equal(n, 17);
    assert_true(capped);
    assert_int_equal(store_logs_count(w->s, &f, DOCS, deadline(), &n,
        &capped), RESULT_OK);
    assert_int_equal(n, DOCS);
    assert_false(capped);
}


/* No filter finds what is gone, by whatever index it is led. */
static void
test_expired_logs_are_found_by_nothing(void **state)
{
    struct world   *w = *state;
    struct logdoc  *rest;
    struct filter   f;
    int64_t         labs[3];
    unsigned        done;
    size_t          n = 0;

    w->docs = calloc(DOCS, sizeof(w->docs[0]));
    rest = calloc(DOCS, sizeof(rest[0]));
    assert_non_null(w->docs);
    assert_non_null(rest);

    for (w->n = 0; w->n < 200; w->n++) {
        doc_random(w, &w->docs[w->n]);
        w->docs[w->n].expires_us = rnd(w, 2) ? w->base_us + 4 * DAY_US
                                             : LOGDOC_NONE;
    }

    docs_insert(w);
    assert_int_equal(store_expire(w->s, w->base_us + 5 * DAY_US, 1000, &done),
        RESULT_OK);

    for (size_t i = 0; i < w->n; i++) {
        if (w->docs[i].expires_us == LOGDOC_NONE) {
            rest[n++] = w->docs[i];
        }
    }

    assert_int_equal(done, w->n - n);
    free(w->docs);
    w->docs = rest;
    w->n = n;

    for (int i = 0; i < rounds() / 2; i++) {
        filter_random(w, &f, labs);
        filter_check(w, &f, i & 1);
    }
}


static void
test_opening_again_keeps_everything(void **state)
{
    struct world   *w = *state;
    struct filter   f;
    char            err[256];

    docs_random(w);
    store_close(w->s);
    store_place_open(&w->place);
    w->s = w->place.s;
    assert_int_equal(store_migrate(w->s, err, sizeof(err)), RESULT_OK);
    filter_init(&f, &everybody);
    filter_check(w, &f, false);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        STORE_TEST(test_filters_mean_what_filter_match_means),
        STORE_TEST(test_pages_with_equal_times),
        STORE_TEST(test_partial_pages_reach_the_end),
        STORE_TEST(test_a_page_without_time_begins_again),
        STORE_TEST(test_tenants_see_their_own),
        STORE_TEST(test_count_stops_at_its_cap),
        STORE_TEST(test_expired_logs_are_found_by_nothing),
        STORE_TEST(test_opening_again_keeps_everything),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
