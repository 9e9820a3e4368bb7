/*
 * Buckets of 5 minutes, in the transaction that inserts the logs, so that they
 * are exact at any moment.  A job's counts are summed first: one statement a
 * bucket, not one a log.  Hours and days that were rolled up are no longer
 * valid when a bucket of theirs changes, and are put on the list.
 */

#include "store_sqlite.h"

#include <stdlib.h>

#include "clock.h"

#define HEAT_FIRST  64                     /* slots of the hash, power of two */

struct heat_cell {
    struct sqlite_heat_key  key;
    uint32_t                ok, fail;      /* both 0: free */
    uint32_t                hist[HIST_SLOTS];
};

struct sqlite_heat {
    struct heat_cell  *slots;
    size_t             size, n;
};


enum result
sqlite_heat_create(struct sqlite_heat **out)
{
    struct sqlite_heat  *h;

    h = calloc(1, sizeof(*h));
    if (h == NULL) {
        return RESULT_MEMORY;
    }

    h->size = HEAT_FIRST;
    h->slots = calloc(h->size, sizeof(h->slots[0]));

    if (h->slots == NULL) {
        free(h);
        return RESULT_MEMORY;
    }

    *out = h;
    return RESULT_OK;
}


void
sqlite_heat_destroy(struct sqlite_heat *h)
{
    free(h->slots);
    free(h);
}


static int64_t
hour_of(int64_t at)
{
    return at - at % SQLITE_HEAT_HOUR;
}


/* In the order of the table's key: neighbours lie on one page. */
static int
key_compare(const struct sqlite_heat_key *a, const struct sqlite_heat_key *b)
{
    const int64_t  x[] = { hour_of(a->at), a->lab, a->org, a->at, a->kind,
                           a->action, a->endpoint, a->developer };
    const int64_t  y[] = { hour_of(b->at), b->lab, b->org, b->at, b->kind,
                           b->action, b->endpoint, b->developer };

    for (int i = 0; i < 8; i++) {
        if (x[i] != y[i]) {
            return x[i] < y[i] ? -1 : 1;
        }
    }

    return 0;
}


static size_t
key_hash(const struct sqlite_heat_key *k)
{
    const int64_t  x[] = { k->at, k->org, k->lab, k->kind, k->action,
                           k->endpoint, k->developer };
    uint64_t       h = 0;

    for (int i = 0; i < 7; i++) {
        h = (h ^ (uint64_t) x[i]) * 0x9e3779b97f4a7c15u;
        h ^= h >> 29;
    }

    return (size_t) h;
}


static bool
cell_is_free(const struct heat_cell *c)
{
    return c->ok == 0 && c->fail == 0;
}


static struct heat_cell *
heat_slot(struct heat_cell *slots, size_t size,
    const struct sqlite_heat_key *key)
{
    size_t  i = key_hash(key) & (size - 1);

    while (!cell_is_free(&slots[i])
           && key_compare(&slots[i].key, key) != 0)
    {
        i = (i + 1) & (size - 1);
    }

    return &slots[i];
}


static enum result
heat_grow(struct sqlite_heat *h)
{
    struct heat_cell  *slots;

    slots = calloc(h->size * 2, sizeof(slots[0]));
    if (slots == NULL) {
        return RESULT_MEMORY;
    }

    for (size_t i = 0; i < h->size; i++) {
        if (!cell_is_free(&h->slots[i])) {
            *heat_slot(slots, h->size * 2, &h->slots[i].key) = h->slots[i];
        }
    }

    free(h->slots);
    h->slots = slots;
    h->size *= 2;
    return RESULT_OK;
}


enum result
sqlite_heat_count(struct sqlite_heat *h, const struct sqlite_heat_key *key,
    bool ok, int64_t duration_us)
{
    struct heat_cell  *cell;

    if (h->n * 2 >= h->size && heat_grow(h) != RESULT_OK) {
        return RESULT_MEMORY;
    }

    cell = heat_slot(h->slots, h->size, key);

    if (cell_is_free(cell)) {
        cell->key = *key;
        h->n++;
    }

    cell->ok += ok;
    cell->fail += !ok;

    if (duration_us != LOGDOC_NONE) {
        heatmap_hist_add(cell->hist, duration_us, 1);
    }

    return RESULT_OK;
}


static int
cell_compare(const void *a, const void *b)
{
    const struct heat_cell  *x = a, *y = b;

    return key_compare(&x->key, &y->key);
}


/* The block's roll-up is out of date now. */
static int
block_touch(struct sqlite_conn *c, int64_t level, int64_t at)
{
    sqlite3_stmt  *undone, *todo;
    int            rc;

    undone = sqlite_stmt_get(c, SQL_HEAT_UNDONE, &rc);

    if (undone != NULL) {
        sqlite3_bind_int64(undone, 1, level);
        sqlite3_bind_int64(undone, 2, at);
        rc = sqlite_stmt_done(undone);
    }

    if (rc != SQLITE_DONE) {
        return rc;
    }

    todo = sqlite_stmt_get(c, SQL_HEAT_TODO, &rc);

    if (todo != NULL) {
        sqlite3_bind_int64(todo, 1, level);
        sqlite3_bind_int64(todo, 2, at);
        sqlite3_bind_int64(todo, 3, clock_wall_us());
        rc = sqlite_stmt_done(todo);
    }

    return rc;
}


static int
hour_touch(struct sqlite_conn *c, int64_t hour)
{
    int  rc;

    rc = block_touch(c, 0, hour);

    return rc == SQLITE_DONE
        ? block_touch(c, 1, hour - hour % SQLITE_HEAT_DAY) : rc;
}


static int
cell_store(struct sqlite_conn *c, const struct heat_cell *cell)
{
    const struct sqlite_heat_key  *k = &cell->key;
    uint8_t                        packed[HEATMAP_HIST_MAX];
    sqlite3_stmt                  *st;
    size_t                         n;
    int                            rc;

    st = sqlite_stmt_get(c, SQL_HEAT_ADD, &rc);
    if (st == NULL) {
        return rc;
    }

    n = heatmap_hist_pack(cell->hist, packed);
    sqlite3_bind_int64(st, 1, hour_of(k->at));
    sqlite3_bind_int64(st, 2, k->lab);
    sqlite3_bind_int64(st, 3, k->org);
    sqlite3_bind_int64(st, 4, k->at);
    sqlite3_bind_int64(st, 5, k->kind);
    sqlite3_bind_int64(st, 6, k->action);
    sqlite3_bind_int64(st, 7, k->endpoint);
    sqlite3_bind_int64(st, 8, k->developer);
    sqlite3_bind_int64(st, 9, cell->ok);
    sqlite3_bind_int64(st, 10, cell->fail);
    sqlite_bind_blob(st, 11, packed, n);

    return sqlite_stmt_done(st);
}


enum result
sqlite_heat_flush(struct sqlite_heat *h, struct sqlite_conn *c)
{
    int64_t  hour, last = -1;
    size_t   n = 0;
    int      rc = SQLITE_DONE;

    for (size_t i = 0; i < h->size; i++) {
        if (!cell_is_free(&h->slots[i])) {
            h->slots[n++] = h->slots[i];
        }
    }

    if (n > 1) {
        qsort(h->slots, n, sizeof(h->slots[0]), cell_compare);
    }

    for (size_t i = 0; i < n && rc == SQLITE_DONE; i++) {
        hour = hour_of(h->slots[i].key.at);

        if (hour != last) {
            rc = hour_touch(c, hour);
            last = hour;
        }

        if (rc == SQLITE_DONE) {
            rc = cell_store(c, &h->slots[i]);
        }
    }

    /* sorting has broken the hash: the counts are spent */
    memset(h->slots, 0, h->size * sizeof(h->slots[0]));
    h->n = 0;

    return sqlite_result(c, rc, "heatmap");
}
