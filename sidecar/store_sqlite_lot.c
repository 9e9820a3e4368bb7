/* Rows that wait until one statement is full of them. */

#include "store_sqlite.h"


void
sqlite_lot_init(struct sqlite_lot *lot, enum sqlite_stmt one,
    enum sqlite_stmt many, unsigned columns)
{
    lot->one = one;
    lot->many = many;
    lot->columns = columns;
    lot->n = 0;
}


/* Rows FROM to TO by one statement. */
static int
lot_run(struct sqlite_conn *c, const struct sqlite_lot *lot,
    enum sqlite_stmt which, unsigned from, unsigned to)
{
    sqlite3_stmt  *st;
    int            rc, at = 0;

    st = sqlite_stmt_get(c, which, &rc);
    if (st == NULL) {
        return rc;
    }

    for (unsigned i = from; i < to; i++) {
        for (unsigned k = 0; k + 1 < lot->columns; k++) {
            sqlite3_bind_int64(st, ++at, lot->rows[i].number[k]);
        }

        if (lot->rows[i].blob.p != NULL) {
            sqlite_bind_slice(st, ++at, lot->rows[i].blob);

        } else {
            sqlite3_bind_int64(st, ++at, lot->rows[i].last);
        }
    }

    return sqlite_stmt_done(st);
}


enum result
sqlite_lot_flush(struct sqlite_conn *c, struct sqlite_lot *lot)
{
    int  rc = SQLITE_DONE;

    if (lot->n == SQLITE_ROWS) {
        rc = lot_run(c, lot, lot->many, 0, lot->n);

    } else {
        for (unsigned i = 0; i < lot->n && rc == SQLITE_DONE; i++) {
            rc = lot_run(c, lot, lot->one, i, i + 1);
        }
    }

    lot->n = 0;
    return sqlite_result(c, rc, "insert");
}


enum result
sqlite_lot_add_blob(struct sqlite_conn *c, struct sqlite_lot *lot, int64_t id,
    const char *p, size_t n)
{
    lot->rows[lot->n].number[0] = id;
    lot->rows[lot->n].blob = (struct slice) { p, n };
    return ++lot->n == SQLITE_ROWS ? sqlite_lot_flush(c, lot) : RESULT_OK;
}


enum result
sqlite_lot_add_ref(struct sqlite_conn *c, struct sqlite_lot *lot, int64_t part,
    int64_t key, int64_t id)
{
    lot->rows[lot->n].number[0] = part;
    lot->rows[lot->n].number[1] = key;
    lot->rows[lot->n].blob = SLICE_NONE;
    lot->rows[lot->n].last = id;
    return ++lot->n == SQLITE_ROWS ? sqlite_lot_flush(c, lot) : RESULT_OK;
}
