/* Documents of batch retries. */

#include "retry_doc.h"

#include <stdio.h>
#include <stdlib.h>

#include "clock.h"

#define RETRY_ARENA    (8 * 1024 * 1024)
#define RETRY_KEEP_US  (INT64_C(90) * 86400 * 1000000)


void
retry_doc_id(struct retry_doc *d, const char *kind, const char *id, int64_t n)
{
    memset(d, 0, sizeof(*d));

    if (n < 0) {
        (void) snprintf(d->id, sizeof(d->id), "%s:%.36s", kind, id);
    } else {
        (void) snprintf(d->id, sizeof(d->id), "%s:%.36s:%06lld", kind, id,
            (long long) n);
    }

    d->created_us = clock_wall_us();
    d->expires_us = d->created_us + RETRY_KEEP_US;
}


enum result
retry_doc_get(struct store *s, struct retry_doc *d)
{
    struct store_doc  doc;
    struct arena      a;
    enum result       r;

    arena_init(&a, RETRY_ARENA);
    r = store_doc_get(s, STORE_RETRY_JOB, slice_of(d->id), &a, &doc);

    if (r == RESULT_OK && doc.expires_us != LOGDOC_NONE
        && doc.expires_us <= clock_wall_us())
    {
        r = RESULT_NOT_FOUND;
    }

    if (r == RESULT_OK) {
        json_decref(d->v);
        d->v = json_loadb(doc.body.p, doc.body.n, 0, NULL);
        d->version = doc.version;
        d->org_id = doc.org_id;
        d->created_us = doc.created_us;
        d->expires_us = doc.expires_us;
        r = d->v == NULL ? RESULT_INTERNAL : RESULT_OK;
    }

    arena_cleanup(&a);
    return r;
}


enum result
retry_doc_put(struct store *s, struct retry_doc *d)
{
    struct store_doc  doc;
    char             *text = d->v == NULL ? NULL
                                          : json_dumps(d->v, JSON_COMPACT);
    int64_t           version;
    enum result       r;

    if (text == NULL) {
        return RESULT_MEMORY;
    }

    memset(&doc, 0, sizeof(doc));
    doc.id = slice_of(d->id);
    doc.org_id = d->org_id;
    doc.created_us = d->created_us;
    doc.updated_us = clock_wall_us();
    doc.expires_us = d->expires_us;
    doc.body = slice_of(text);
    r = store_doc_put(s, STORE_RETRY_JOB, &doc, d->version, &version);
    free(text);

    if (r == RESULT_OK) {
        d->version = version;
    }

    return r == RESULT_NOT_FOUND ? RESULT_CONFLICT : r;
}


void
retry_doc_cleanup(struct retry_doc *d)
{
    json_decref(d->v);
    d->v = NULL;
}


json_t *
retry_doc_public(const json_t *v)
{
    json_t      *out = json_deep_copy(v), *member;
    const char  *name;
    void        *next;

    json_object_foreach_safe(out, next, name, member) {
        if (name[0] == '_') {
            (void) json_object_del(out, name);
        }
    }

    return out;
}


void
retry_time(json_t *v, const char *name, int64_t us)
{
    char  text[CLOCK_RFC3339 + 1];

    if (us == LOGDOC_NONE) {
        (void) json_object_set_new(v, name, json_null());
        return;
    }

    clock_text(us, text);
    (void) json_object_set_new(v, name, json_string(text));
}


enum result
retry_mark(struct store *s, const char *job, int64_t org_id)
{
    struct retry_doc  d;
    enum result       r;

    retry_doc_id(&d, "run", job, -1);
    d.org_id = org_id;
    d.version = -1;
    d.v = json_object();
    r = retry_doc_put(s, &d);
    retry_doc_cleanup(&d);
    return r;
}


json_t *
retry_labs(const struct scope *sc)
{
    json_t  *labs;

    if (sc->platform || sc->labs == NULL) {
        return json_null();
    }

    labs = json_array();

    for (unsigned i = 0; i < sc->nlabs; i++) {
        (void) json_array_append_new(labs, json_integer(sc->labs[i]));
    }

    return labs;
}


static bool
has_lab(const struct scope *sc, int64_t lab)
{
    for (unsigned i = 0; i < sc->nlabs; i++) {
        if (sc->labs[i] == lab) {
            return true;
        }
    }

    return false;
}


bool
retry_visible(const struct retry_doc *d, const struct scope *sc)
{
    const json_t  *labs = json_object_get(d->v, "_labs");
    const json_t  *lab;
    size_t         i;

    if (sc->platform) {
        return true;
    }

    if (d->org_id != sc->org_id) {
        return false;
    }

    if (sc->labs == NULL) {
        return true;
    }

    if (!json_is_array(labs)) {
        return false;
    }

    json_array_foreach(labs, i, lab) {
        if (!has_lab(sc, json_integer_value(lab))) {
            return false;
        }
    }

    return true;
}
