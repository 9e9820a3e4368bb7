/*
 * Labels as numbers: endpoints, developers, integrations and methods repeat in
 * every row.  The cache is a hash of both directions, bounded: when it is full
 * it starts anew.  What a rolled-back transaction has put in is forgotten, with
 * all the rest.
 */

#include "store_sqlite.h"

#include <pthread.h>
#include <stdlib.h>

#define DICT_SLOTS    8192                 /* power of two */
#define DICT_ENTRIES  4096
#define DICT_BYTES    (1024 * 1024)

struct dict_entry {
    int64_t       id;
    int           kind;
    struct slice  text;
};

struct sqlite_dict {
    pthread_mutex_t     lock;
    struct arena        texts;
    unsigned            n;
    struct dict_entry   entries[DICT_ENTRIES];
    uint16_t            by_text[DICT_SLOTS];     /* index + 1, 0: free */
    uint16_t            by_id[DICT_SLOTS];
};


enum result
sqlite_dict_create(struct store_sqlite *s)
{
    s->dict = calloc(1, sizeof(*s->dict));
    if (s->dict == NULL) {
        return RESULT_MEMORY;
    }

    pthread_mutex_init(&s->dict->lock, NULL);
    arena_init(&s->dict->texts, DICT_BYTES);
    return RESULT_OK;
}


void
sqlite_dict_destroy(struct store_sqlite *s)
{
    if (s->dict != NULL) {
        arena_cleanup(&s->dict->texts);
        pthread_mutex_destroy(&s->dict->lock);
        free(s->dict);
        s->dict = NULL;
    }
}


static void
dict_clear(struct sqlite_dict *d)
{
    arena_reset(&d->texts);
    memset(d->by_text, 0, sizeof(d->by_text));
    memset(d->by_id, 0, sizeof(d->by_id));
    d->n = 0;
}


void
sqlite_dict_forget(struct store_sqlite *s)
{
    pthread_mutex_lock(&s->dict->lock);
    dict_clear(s->dict);
    pthread_mutex_unlock(&s->dict->lock);
}


static unsigned
text_slot(int kind, struct slice text)
{
    uint64_t  h = 0xcbf29ce484222325u ^ (unsigned) kind;

    for (size_t i = 0; i < text.n; i++) {
        h = (h ^ (unsigned char) text.p[i]) * 0x100000001b3u;
    }

    return (unsigned) (h ^ h >> 32) & (DICT_SLOTS - 1);
}


static unsigned
id_slot(int64_t id)
{
    return (unsigned) ((uint64_t) id * 0x9e3779b97f4a7c15u >> 40)
        & (DICT_SLOTS - 1);
}


/* The slot of the text, or the free one where it belongs. */
static uint16_t *
dict_by_text(struct sqlite_dict *d, int kind, struct slice text)
{
    unsigned  i = text_slot(kind, text);

    while (d->by_text[i] != 0) {
        const struct dict_entry  *e = &d->entries[d->by_text[i] - 1];

        if (e->kind == kind && slice_eq(e->text, text)) {
            break;
        }

        i = (i + 1) & (DICT_SLOTS - 1);
    }

    return &d->by_text[i];
}


static uint16_t *
dict_by_id(struct sqlite_dict *d, int64_t id)
{
    unsigned  i = id_slot(id);

    while (d->by_id[i] != 0 && d->entries[d->by_id[i] - 1].id != id) {
        i = (i + 1) & (DICT_SLOTS - 1);
    }

    return &d->by_id[i];
}


/* Keeps the pair; without room nothing is kept, which is only slower. */
static void
dict_remember(struct sqlite_dict *d, int kind, struct slice text, int64_t id)
{
    struct dict_entry  *e;
    struct slice        copy;

    pthread_mutex_lock(&d->lock);

    if (d->n == DICT_ENTRIES) {
        dict_clear(d);
    }

    copy = arena_copy(&d->texts, text);

    if (copy.p == NULL) {
        dict_clear(d);

    } else if (*dict_by_id(d, id) == 0) {
        e = &d->entries[d->n++];
        e->id = id;
        e->kind = kind;
        e->text = copy;
        *dict_by_text(d, kind, copy) = (uint16_t) d->n;
        *dict_by_id(d, id) = (uint16_t) d->n;
    }

    pthread_mutex_unlock(&d->lock);
}


static bool
dict_known(struct sqlite_dict *d, int kind, struct slice text, int64_t *id)
{
    uint16_t  at;

    pthread_mutex_lock(&d->lock);

    at = *dict_by_text(d, kind, text);
    if (at != 0) {
        *id = d->entries[at - 1].id;
    }

    pthread_mutex_unlock(&d->lock);
    return at != 0;
}


static enum result
dict_query(struct sqlite_conn *c, int kind, struct slice text, int64_t *id)
{
    sqlite3_stmt  *st;
    enum result    result;
    int            rc;

    result = sqlite_prepare(c, sqlite_stmt_text[SQL_DICT_FIND], &st);
    if (result != RESULT_OK) {
        return result;
    }

    sqlite3_bind_int(st, 1, kind);
    sqlite_bind_slice(st, 2, text);
    rc = sqlite3_step(st);

    if (rc == SQLITE_ROW) {
        *id = sqlite3_column_int64(st, 0);

    } else {
        result = rc == SQLITE_DONE ? RESULT_NOT_FOUND
                                   : sqlite_result(c, rc, "labels");
    }

    sqlite3_finalize(st);
    return result;
}


enum result
sqlite_dict_find(struct sqlite_conn *c, enum sqlite_label kind,
    struct slice text, int64_t *id)
{
    enum result  result;

    if (text.n == 0) {
        return RESULT_NOT_FOUND;
    }

    if (dict_known(c->store->dict, (int) kind, text, id)) {
        return RESULT_OK;
    }

    result = dict_query(c, (int) kind, text, id);

    if (result == RESULT_OK) {
        dict_remember(c->store->dict, (int) kind, text, *id);
    }

    return result;
}


enum result
sqlite_dict_put(struct sqlite_conn *c, enum sqlite_label kind,
    struct slice text, int64_t *id)
{
    sqlite3_stmt  *st;
    enum result    result;
    int            rc;

    if (text.n == 0) {
        *id = LOGDOC_NONE;
        return RESULT_OK;
    }

    result = sqlite_dict_find(c, kind, text, id);
    if (result != RESULT_NOT_FOUND) {
        return result;
    }

    st = sqlite_stmt_get(c, SQL_DICT_INSERT, &rc);
    if (st == NULL) {
        return sqlite_result(c, rc, "labels");
    }

    sqlite3_bind_int(st, 1, (int) kind);
    sqlite_bind_slice(st, 2, text);
    rc = sqlite_stmt_done(st);

    if (rc != SQLITE_DONE) {
        return sqlite_result(c, rc, "labels");
    }

    *id = sqlite3_last_insert_rowid(c->db);
    dict_remember(c->store->dict, (int) kind, text, *id);
    return RESULT_OK;
}


static enum result
dict_load(struct sqlite_conn *c, int64_t id, struct arena *a,
    struct slice *out)
{
    sqlite3_stmt  *st;
    enum result    result;
    int            rc;

    result = sqlite_prepare(c, "SELECT kind,text FROM dict WHERE id=?1", &st);
    if (result != RESULT_OK) {
        return result;
    }

    sqlite3_bind_int64(st, 1, id);
    rc = sqlite3_step(st);

    if (rc == SQLITE_ROW) {
        *out = arena_copy(a, sqlite_column_slice(st, 1));
        result = out->p == NULL ? RESULT_TOO_BIG : RESULT_OK;

        if (result == RESULT_OK) {
            dict_remember(c->store->dict, sqlite3_column_int(st, 0), *out,
                id);
        }

    } else {
        result = sqlite_result(c, rc == SQLITE_DONE ? SQLITE_CORRUPT : rc,
            "labels");
    }

    sqlite3_finalize(st);
    return result;
}


enum result
sqlite_dict_text(struct sqlite_conn *c, int64_t id, struct arena *a,
    struct slice *out)
{
    struct sqlite_dict  *d = c->store->dict;
    uint16_t             at;

    *out = SLICE_NONE;

    if (id == LOGDOC_NONE) {
        return RESULT_OK;
    }

    pthread_mutex_lock(&d->lock);

    at = *dict_by_id(d, id);
    if (at != 0) {
        *out = arena_copy(a, d->entries[at - 1].text);
    }

    pthread_mutex_unlock(&d->lock);

    if (at != 0) {
        return out->p == NULL ? RESULT_TOO_BIG : RESULT_OK;
    }

    return dict_load(c, id, a, out);
}
