/*
 * A new store for each test, for the suites that run on both: of STORE_URI,
 * where "{n}" becomes a name of the test's own, else SQLite in a directory
 * that goes away with it.
 */

#ifndef STORE_PLACE_H
#define STORE_PLACE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store.h"

struct store_place {
    struct store  *s;
    char           uri[512];
    char           dir[64];
};


static inline void
store_place_name(struct store_place *p)
{
    static unsigned  places;
    const char      *given = getenv("STORE_URI"), *mark;

    places++;

    if (given == NULL) {
        (void) snprintf(p->uri, sizeof(p->uri), "sqlite:%s/store.db", p->dir);
        return;
    }

    mark = strstr(given, "{n}");

    if (mark == NULL) {
        fail_msg("STORE_URI has no {n}: %s", given);
        return;
    }

    (void) snprintf(p->uri, sizeof(p->uri), "%.*s%ld_%u%s",
        (int) (mark - given), given, (long) getpid(), places, mark + 3);
}


static inline void
store_place_open(struct store_place *p)
{
    struct store_options  o = { .readers = 4, .uri = p->uri };
    char                  err[512] = "";

    if (store_open(&o, &p->s, err, sizeof(err)) != RESULT_OK) {
        fail_msg("%s", err);
    }
}


static inline void
store_place_make(struct store_place *p)
{
    (void) snprintf(p->dir, sizeof(p->dir), "/tmp/store.XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    store_place_name(p);
    store_place_open(p);
}


static inline int
store_place_remove(const char *path, const struct stat *st, int type,
    struct FTW *ftw)
{
    (void) st;
    (void) type;
    (void) ftw;
    return remove(path);
}


static inline void
store_place_close(struct store_place *p)
{
    store_close(p->s);
    (void) nftw(p->dir, store_place_remove, 8, FTW_DEPTH | FTW_PHYS);
}

#endif /* STORE_PLACE_H */
