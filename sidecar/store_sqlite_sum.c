/* Cells of a heatmap while they are summed: a hash of (slot, key). */

#include "store_sqlite.h"

#include <stdlib.h>

#define SUM_FIRST  256                     /* cells; the hash has twice that */
#define SUM_MAX    (1024 * 1024)

struct sum_cell {
    int64_t            key;
    struct store_cell  cell;
};

struct sqlite_sum {
    int64_t           slot_us, offset_us;
    struct sum_cell  *cells;
    uint32_t         *slots;               /* index + 1, 0: free */
    size_t            n, room;
    size_t            last;                /* index + 1 of the one just asked */
};


enum result
sqlite_sum_create(int64_t slot_us, int64_t offset_us,
    struct sqlite_sum **out)
{
    struct sqlite_sum  *t;

    t = calloc(1, sizeof(*t));
    if (t == NULL) {
        return RESULT_MEMORY;
    }

    t->slot_us = slot_us;
    t->offset_us = offset_us;
    *out = t;
    return RESULT_OK;
}


void
sqlite_sum_destroy(struct sqlite_sum *t)
{
    free(t->cells);
    free(t->slots);
    free(t);
}


static uint32_t *
sum_slot(struct sqlite_sum *t, int64_t at_us, int64_t key)
{
    size_t    mask = t->room * 2 - 1, i;
    uint64_t  h;

    h = (uint64_t) (at_us / t->slot_us) * 0x9e3779b97f4a7c15u;
    h = (h ^ h >> 32 ^ (uint64_t) key) * 0xff51afd7ed558ccdu;
    i = (size_t) (h >> 32) & mask;

    while (t->slots[i] != 0) {
        const struct sum_cell  *s = &t->cells[t->slots[i] - 1];

        if (s->key == key && s->cell.at_us == at_us) {
            break;
        }

        i = (i + 1) & mask;
    }

    return &t->slots[i];
}


static enum result
sum_grow(struct sqlite_sum *t)
{
    struct sum_cell  *cells;
    uint32_t         *slots;
    size_t            room = t->room == 0 ? SUM_FIRST : t->room * 2;

    if (room > SUM_MAX) {
        return RESULT_TOO_BIG;
    }

    cells = realloc(t->cells, room * sizeof(cells[0]));
    if (cells == NULL) {
        return RESULT_MEMORY;
    }

    t->cells = cells;
    slots = calloc(room * 2, sizeof(slots[0]));
    if (slots == NULL) {
        return RESULT_MEMORY;
    }

    free(t->slots);
    t->slots = slots;
    t->room = room;

    for (size_t i = 0; i < t->n; i++) {
        *sum_slot(t, t->cells[i].cell.at_us, t->cells[i].key) =
            (uint32_t) i + 1;
    }

    return RESULT_OK;
}


struct store_cell *
sqlite_sum_at(struct sqlite_sum *t, int64_t at_us, int64_t key)
{
    struct sum_cell  *s;
    uint32_t         *slot;

    /* what is read in order of time asks for one cell many times over */
    if (t->last != 0) {
        s = &t->cells[t->last - 1];

        if (s->key == key && at_us >= s->cell.at_us
            && at_us - s->cell.at_us < t->slot_us)
        {
            return &s->cell;
        }
    }

    if (t->n == t->room && sum_grow(t) != RESULT_OK) {
        return NULL;
    }

    at_us = heatmap_slot_start(at_us, t->slot_us, t->offset_us);
    slot = sum_slot(t, at_us, key);

    if (*slot == 0) {
        s = &t->cells[t->n++];
        memset(s, 0, sizeof(*s));
        s->key = key;
        s->cell.at_us = at_us;
        *slot = (uint32_t) t->n;
    }

    t->last = *slot;
    return &t->cells[*slot - 1].cell;
}


static enum result
key_text(struct sqlite_conn *c, enum store_by by, int64_t key,
    struct arena *a, struct slice *out)
{
    *out = SLICE_NONE;

    if (by == STORE_BY_NONE || key == STORE_NO_LABEL) {
        return RESULT_OK;
    }

    switch (by) {
    case STORE_BY_KIND:
        *out = slice_of(log_kind_text((enum log_kind) key));
        return RESULT_OK;

    case STORE_BY_ACTION:
    case STORE_BY_LAB:
        *out = arena_printf(a, "%lld", (long long) key);
        return out->p == NULL ? RESULT_TOO_BIG : RESULT_OK;

    default:
        return sqlite_dict_text(c, key, a, out);
    }
}


enum result
sqlite_sum_take(struct sqlite_sum *t, struct sqlite_conn *c, enum store_by by,
    struct arena *a, struct store_cell **out, size_t *n)
{
    struct store_cell  *cells;
    struct slice        last = SLICE_NONE;
    enum result         result = RESULT_OK;

    cells = arena_alloc(a, (t->n == 0 ? 1 : t->n) * sizeof(cells[0]));
    if (cells == NULL) {
        return RESULT_TOO_BIG;
    }

    for (size_t i = 0; i < t->n && result == RESULT_OK; i++) {
        if (i == 0 || t->cells[i].key != t->cells[i - 1].key) {
            result = key_text(c, by, t->cells[i].key, a, &last);
        }

        cells[i] = t->cells[i].cell;
        cells[i].key = last;
    }

    *out = cells;
    *n = t->n;
    return result;
}
