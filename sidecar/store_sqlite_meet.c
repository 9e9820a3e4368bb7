/*
 * Lists that meet: each index gives the ids of its value in order, and only an
 * id that stands in all of them is worth a look at its row.  The sparsest
 * proposes, the others are asked in turn until one disagrees: most proposals
 * cost one search.  A list that lies far behind is not stepped through but
 * sought anew.
 */

#include "store_sqlite.h"

#include <stdio.h>
#include <stdlib.h>

#include "clock.h"

#define MEET_STEPS  12                     /* then a search is cheaper */
#define MEET_LOOK   64                     /* ids between looks at the time */

struct meet_list {
    sqlite3_stmt  *st;
    int            steps;                  /* to try before a search */
    int64_t        id;
    bool           end;
};

struct sqlite_meet {
    struct sqlite_conn  *conn;
    bool                 ascending;
    int64_t              low, high;
    int64_t              next;             /* ids before it are done */
    unsigned             looks;
    unsigned             n;
    struct meet_list     lists[SQLITE_MAX_ALSO + 1];
};


static enum result
list_prepare(struct sqlite_meet *m, const char *index, const char *column,
    int64_t value, bool is_far)
{
    struct meet_list  *l = &m->lists[m->n++];
    enum result        result;
    char               sql[256];

    snprintf(sql, sizeof(sql), "SELECT id FROM integration_directory INDEXED"
        " BY %s WHERE %s=?3 AND id>=?1 AND id<?2 ORDER BY id %s", index,
        column, m->ascending ? "ASC" : "DESC");
    result = sqlite_prepare(m->conn, sql, &l->st);

    l->steps = is_far ? 0 : MEET_STEPS;

    if (result == RESULT_OK) {
        sqlite3_bind_int64(l->st, 3, value);
    }

    return result;
}


enum result
sqlite_meet_create(struct sqlite_conn *c, const struct sqlite_plan *p,
    bool ascending, struct sqlite_meet **out)
{
    struct sqlite_meet  *m;
    enum result          result;

    m = calloc(1, sizeof(*m));
    if (m == NULL) {
        return RESULT_MEMORY;
    }

    m->conn = c;
    m->ascending = ascending;
    result = list_prepare(m, p->index, p->column, p->sources[0].value, false);

    for (unsigned i = 0; i < p->nalso && result == RESULT_OK; i++) {
        result = list_prepare(m, p->also[i].index, p->also[i].column,
            p->also[i].value, p->also[i].density > p->density * MEET_STEPS);
    }

    if (result != RESULT_OK) {
        sqlite_meet_destroy(m);
        return result;
    }

    *out = m;
    return RESULT_OK;
}


void
sqlite_meet_destroy(struct sqlite_meet *m)
{
    for (unsigned i = 0; i < m->n; i++) {
        sqlite3_finalize(m->lists[i].st);
    }

    free(m);
}


static enum result
list_step(struct sqlite_meet *m, struct meet_list *l)
{
    int  rc = sqlite3_step(l->st);

    l->end = rc != SQLITE_ROW;

    if (!l->end) {
        l->id = sqlite3_column_int64(l->st, 0);
    }

    return sqlite_result(m->conn, rc, "query");
}


/* To the first id that does not come before TARGET. */
static enum result
list_seek(struct sqlite_meet *m, struct meet_list *l, int64_t target)
{
    sqlite3_reset(l->st);
    sqlite3_bind_int64(l->st, 1, m->ascending ? target : m->low);
    sqlite3_bind_int64(l->st, 2, m->ascending ? m->high : target + 1);
    return list_step(m, l);
}


static bool
comes_before(const struct sqlite_meet *m, int64_t a, int64_t b)
{
    return m->ascending ? a < b : a > b;
}


static enum result
list_to(struct sqlite_meet *m, struct meet_list *l, int64_t target)
{
    enum result  result = RESULT_OK;

    for (int i = 0; i < l->steps && result == RESULT_OK && !l->end
                    && comes_before(m, l->id, target); i++)
    {
        result = list_step(m, l);
    }

    return result == RESULT_OK && !l->end && comes_before(m, l->id, target)
        ? list_seek(m, l, target) : result;
}


enum result
sqlite_meet_begin(struct sqlite_meet *m, int64_t low, int64_t high)
{
    enum result  result = RESULT_OK;

    m->low = low;
    m->high = high;
    m->next = m->ascending ? low : high - 1;

    for (unsigned i = 0; i < m->n && result == RESULT_OK; i++) {
        result = list_seek(m, &m->lists[i], m->next);
    }

    return result;
}


/* The statements are too short for the deadline of the connection. */
static bool
time_is_over(struct sqlite_meet *m)
{
    struct sqlite_conn  *c = m->conn;

    return ++m->looks % MEET_LOOK == 0 && c->deadline_us != 0
           && clock_mono_us() >= c->deadline_us;
}


enum result
sqlite_meet_next(struct sqlite_meet *m, int64_t *id)
{
    int64_t      target = m->next;
    unsigned     i = 0;
    enum result  result;

    while (i < m->n) {
        struct meet_list  *l = &m->lists[i];

        m->conn->seen = target;
        m->conn->any_seen = true;

        if (time_is_over(m)) {
            m->conn->expired = true;
            return RESULT_TIMEOUT;
        }

        result = list_to(m, l, target);

        if (result != RESULT_OK) {
            return result;
        }

        if (l->end) {
            return RESULT_NOT_FOUND;
        }

        if (l->id == target) {
            i++;

        } else {
            target = l->id;
            i = i == 0 ? 1 : 0;
        }
    }

    *id = target;
    m->next = m->ascending ? target + 1 : target - 1;
    return RESULT_OK;
}
