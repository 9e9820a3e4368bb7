/*
 * Buckets of the heatmap: collect a batch, make its buckets exist, add to them
 * under the guard.
 */

#include "store_mongo_buckets.h"

#include <openssl/evp.h>
#include <stdio.h>

#include "heatmap.h"
#include "store_mongo_bulk.h"
#include "store_mongo_doc.h"
#include "store_mongo_value.h"


/* -- collecting ------------------------------------------------------------ */

static bool
bucket_is(const struct mongo_bucket *b, const struct logdoc *d, int64_t at_us)
{
    const struct logdoc  *l = b->label;

    return b->at_us == at_us && l->lab_id == d->lab_id
           && l->org_id == d->org_id && l->kind == d->kind
           && l->action_id == d->action_id
           && slice_eq(l->endpoint, d->endpoint)
           && slice_eq(l->developer_id, d->developer_id);
}


static uint64_t
hash_mix(uint64_t h, const void *p, size_t n)
{
    const unsigned char  *c = p;

    for (size_t i = 0; i < n; i++) {
        h = (h ^ c[i]) * 0x100000001b3ull;
    }

    return h;
}


static size_t
bucket_hash(const struct logdoc *d, int64_t at_us)
{
    uint64_t  h = 0xcbf29ce484222325ull;

    h = hash_mix(h, &at_us, sizeof(at_us));
    h = hash_mix(h, &d->lab_id, sizeof(d->lab_id));
    h = hash_mix(h, &d->action_id, sizeof(d->action_id));
    h = hash_mix(h, d->endpoint.p, d->endpoint.n);
    h = hash_mix(h, d->developer_id.p, d->developer_id.n);

    return (size_t) (h ^ h >> 32);
}


void
mongo_buckets_add(struct mongo_buckets *all, const struct logdoc *d)
{
    enum heatmap_count    count = heatmap_count_of(d);
    struct mongo_bucket  *b;
    int64_t               at_us;
    size_t                i;

    if (count == HEATMAP_NOT_COUNTED) {
        return;
    }

    at_us = heatmap_slot_start(d->started_us, HEATMAP_BUCKET_US, 0);
    i = bucket_hash(d, at_us) % MONGO_BUCKET_SLOTS;

    while (all->table[i] != 0
           && !bucket_is(&all->list[all->table[i] - 1], d, at_us))
    {
        i = (i + 1) % MONGO_BUCKET_SLOTS;
    }

    if (all->table[i] == 0) {
        b = &all->list[all->n++];
        memset(b, 0, sizeof(*b));
        b->label = d;
        b->at_us = at_us;
        all->table[i] = (uint16_t) all->n;
    }

    b = &all->list[all->table[i] - 1];
    b->ok += count == HEATMAP_OK;
    b->fail += count == HEATMAP_FAIL;
    if (d->duration_us != LOGDOC_NONE) {
        heatmap_hist_add(b->hist, d->duration_us, 1);
    }
}


void
mongo_buckets_reset(struct mongo_buckets *all)
{
    all->n = 0;
    memset(all->table, 0, sizeof(all->table));
}


void
mongo_buckets_forget(struct mongo_buckets *all)
{
    memset(all->known, 0, sizeof(all->known));
}


/* -- writing --------------------------------------------------------------- */

#define BUCKET_ID  64

/* "<slot>:<hash of the labels>"; *hash is for the memory of known ones. */
static bool
bucket_id(const struct mongo_bucket *b, char id[BUCKET_ID], uint64_t *hash)
{
    const struct logdoc  *l = b->label;
    unsigned char         md[EVP_MAX_MD_SIZE];
    struct buf            text;
    bool                  ok;

    buf_init(&text, 1024 * 1024);
    (void) buf_addf(&text, "%lld %lld %lld %lld %d %zu ", (long long) b->at_us,
                    (long long) l->org_id, (long long) l->lab_id,
                    (long long) l->action_id, (int) l->kind,
                    l->developer_id.n);
    (void) buf_add(&text, l->developer_id.p, l->developer_id.n);
    (void) buf_add(&text, l->endpoint.p, l->endpoint.n);

    ok = !text.failed
         && EVP_Digest(text.p, text.n, md, NULL, EVP_sha256(), NULL) == 1;
    buf_cleanup(&text);

    if (!ok) {
        return false;
    }

    memcpy(hash, md, sizeof(*hash));
    snprintf(id, BUCKET_ID, "%lld:%02x%02x%02x%02x%02x%02x%02x%02x"
             "%02x%02x%02x%02x%02x%02x%02x%02x",
             (long long) (b->at_us / HEATMAP_BUCKET_US), md[0], md[1], md[2],
             md[3], md[4], md[5], md[6], md[7], md[8], md[9], md[10], md[11],
             md[12], md[13], md[14], md[15]);
    return true;
}


static bool
shell_put(bson_t *doc, const struct mongo_bucket *b, const char *id)
{
    const struct logdoc  *l = b->label;

    return BSON_APPEND_UTF8(doc, "_id", id)
           && mongo_put_int(doc, "at_us", b->at_us)
           && mongo_put_int(doc, "org_id", l->org_id)
           && mongo_put_int(doc, "lab_id", l->lab_id)
           && BSON_APPEND_UTF8(doc, "kind", log_kind_text(l->kind))
           && mongo_put_text(doc, "endpoint", l->endpoint)
           && mongo_put_int(doc, "action_id", l->action_id)
           && mongo_put_text(doc, "developer_id", l->developer_id)
           && BSON_APPEND_INT64(doc, "ok", 0)
           && BSON_APPEND_INT64(doc, "fail", 0);
}


/* Makes buckets exist: one that does already is fine. */
static enum result
shells_write(struct mongo_store *m, mongoc_collection_t *coll,
    struct mongo_buckets *all)
{
    mongoc_bulk_operation_t  *bulk = mongo_bulk_create(coll);
    bson_t                    doc;
    char                      id[BUCKET_ID];
    uint64_t                  hash;
    unsigned                  n = 0;
    bool                      ok = true;
    enum result               result;

    for (size_t i = 0; ok && i < all->n; i++) {
        ok = bucket_id(&all->list[i], id, &hash);
        if (!ok || all->known[hash % MONGO_KNOWN_SLOTS] == hash) {
            continue;
        }

        bson_init(&doc);
        ok = shell_put(&doc, &all->list[i], id)
             && mongo_bulk_insert(bulk, &doc);
        bson_destroy(&doc);
        all->known[hash % MONGO_KNOWN_SLOTS] = hash;
        n++;
    }

    result = !ok ? RESULT_INTERNAL : n == 0 ? RESULT_OK
             : mongo_bulk_run(m, bulk, "insert into heatmap", NULL);
    mongoc_bulk_operation_destroy(bulk);
    return result;
}


static bool
increment_put(mongoc_bulk_operation_t *bulk, const struct mongo_bucket *b,
    const char *name, int64_t seq)
{
    bson_t    query = BSON_INITIALIZER;
    bson_t    update = BSON_INITIALIZER;
    bson_t    sub;
    char      id[BUCKET_ID], guard[MONGO_WRITER_NAME + 4], slot[16];
    uint64_t  hash;
    bool      ok;

    snprintf(guard, sizeof(guard), "w.%s", name);

    ok = bucket_id(b, id, &hash)
         && BSON_APPEND_UTF8(&query, "_id", id)
         && bson_append_document_begin(&query, guard, -1, &sub)
         && BSON_APPEND_INT64(&sub, "$ne", seq)
         && bson_append_document_end(&query, &sub)
         && bson_append_document_begin(&update, "$inc", -1, &sub)
         && BSON_APPEND_INT64(&sub, "ok", b->ok)
         && BSON_APPEND_INT64(&sub, "fail", b->fail);

    for (unsigned i = 0; ok && i < HIST_SLOTS; i++) {
        if (b->hist[i] > 0) {
            snprintf(slot, sizeof(slot), "h.%u", i);
            ok = BSON_APPEND_INT64(&sub, slot, b->hist[i]);
        }
    }

    ok = ok && bson_append_document_end(&update, &sub)
         && bson_append_document_begin(&update, "$set", -1, &sub)
         && BSON_APPEND_INT64(&sub, guard, seq)
         && bson_append_document_end(&update, &sub)
         && mongo_bulk_update(bulk, &query, &update);

    bson_destroy(&query);
    bson_destroy(&update);
    return ok;
}


static enum result
increments_write(struct mongo_store *m, mongoc_collection_t *coll,
    const struct mongo_buckets *all, const char *name, int64_t seq,
    int64_t *matched)
{
    mongoc_bulk_operation_t  *bulk = mongo_bulk_create(coll);
    bool                      ok = true;
    enum result               result;

    for (size_t i = 0; ok && i < all->n; i++) {
        ok = increment_put(bulk, &all->list[i], name, seq);
    }

    result = !ok ? RESULT_INTERNAL
             : mongo_bulk_run(m, bulk, "update heatmap", matched);
    mongoc_bulk_operation_destroy(bulk);
    return result;
}


enum result
mongo_buckets_write(struct mongo_store *m, mongoc_client_t *client,
    struct mongo_buckets *all, const char *name, int64_t seq, int64_t *matched)
{
    mongoc_collection_t  *coll;
    enum result           r;

    *matched = 0;

    if (all->n == 0) {
        return RESULT_OK;
    }

    coll = mongoc_client_get_collection(client, m->db, MONGO_HEATMAP);
    r = shells_write(m, coll, all);
    r = r != RESULT_OK ? r
        : increments_write(m, coll, all, name, seq, matched);
    mongoc_collection_destroy(coll);
    return r;
}
