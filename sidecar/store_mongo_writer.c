/* Writers: their names, their batches' markers, what they count. */

#include "store_mongo_writer.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>

#include "clock.h"
#include "heatmap.h"
#include "log.h"
#include "store_mongo_buckets.h"
#include "store_mongo_scan.h"

struct mongo_writer {
    struct mongo_writer   *next;
    char                   name[MONGO_WRITER_NAME];
    int64_t                seq;
    struct mongo_buckets   buckets;
};


/* "w" and 16 hex digits: fit for the name of a field. */
static bool
writer_name(struct mongo_writer *w)
{
    uint64_t  r;

    if (RAND_bytes((unsigned char *) &r, sizeof(r)) != 1) {
        return false;
    }

    snprintf(w->name, sizeof(w->name), "w%016llx", (unsigned long long) r);
    w->seq = 0;
    return true;
}


struct mongo_writer *
mongo_writer_take(struct mongo_store *m)
{
    struct mongo_writer  *w;

    pthread_mutex_lock(&m->lock);
    w = m->writers;
    if (w != NULL) {
        m->writers = w->next;
    }
    pthread_mutex_unlock(&m->lock);

    if (w != NULL) {
        return w;
    }

    w = calloc(1, sizeof(*w));
    if (w != NULL && !writer_name(w)) {
        free(w);
        w = NULL;
    }

    return w;
}


void
mongo_writer_put(struct mongo_store *m, struct mongo_writer *w)
{
    pthread_mutex_lock(&m->lock);
    w->next = m->writers;
    m->writers = w;
    pthread_mutex_unlock(&m->lock);
}


void
mongo_writers_destroy(struct mongo_store *m)
{
    struct mongo_writer  *w;

    while ((w = m->writers) != NULL) {
        m->writers = w->next;
        free(w);
    }
}


void
mongo_writer_next(struct mongo_writer *w, char name[MONGO_BATCH_NAME])
{
    w->seq++;
    snprintf(name, MONGO_BATCH_NAME, "%s-%lld", w->name, (long long) w->seq);
}


void
mongo_writer_abandon(struct mongo_writer *w)
{
    /* without random bytes the old name goes on: its last batch then stays
     * uncounted, no bucket is ever counted twice */
    if (!writer_name(w)) {
        log_rate(LOG_ERROR, "store", "no random bytes for a writer's name");
    }

    mongo_buckets_forget(&w->buckets);
}


/* The distinct slots of what will be counted; false when nothing is. */
static bool
marker_slots(bson_t *set, const struct logdoc *docs, size_t n)
{
    bson_t        list;
    char          number[16];
    const char   *key;
    int64_t       slot, last[4] = { -1, -1, -1, -1 };
    uint32_t      k = 0;

    bson_append_array_begin(set, "slots", 5, &list);

    for (size_t i = 0; i < n; i++) {
        /* one without a start will be refused */
        if (docs[i].started_us == LOGDOC_NONE
            || heatmap_count_of(&docs[i]) == HEATMAP_NOT_COUNTED)
        {
            continue;
        }

        /* logs come nearly in order: a short memory removes most doubles,
         * and those left cost the recovery a look */
        slot = heatmap_slot_start(docs[i].started_us, HEATMAP_BUCKET_US, 0);
        if (k > 0 && (slot == last[0] || slot == last[1] || slot == last[2]
                      || slot == last[3]))
        {
            continue;
        }

        last[k % 4] = slot;
        bson_uint32_to_string(k++, &key, number, sizeof(number));
        bson_append_int64(&list, key, -1, slot);
    }

    bson_append_array_end(set, &list);
    return k > 0;
}


enum result
mongo_writer_mark(struct mongo_store *m, struct mongo_call *call,
    struct mongo_writer *w, const struct logdoc *docs, size_t n)
{
    mongoc_collection_t  *coll = NULL;
    bson_error_t          e;
    bson_t                query = BSON_INITIALIZER;
    bson_t                update = BSON_INITIALIZER;
    bson_t                opts = BSON_INITIALIZER;
    bson_t                set;
    bool                  needed;
    enum result           result = RESULT_OK;

    bson_append_document_begin(&update, "$set", 4, &set);
    BSON_APPEND_INT64(&set, "seq", w->seq);
    BSON_APPEND_INT64(&set, "at_us", clock_wall_us());
    needed = marker_slots(&set, docs, n);
    bson_append_document_end(&update, &set);

    if (!needed) {
        goto out;
    }

    mongo_query_id(&query, slice_of(w->name));
    BSON_APPEND_BOOL(&opts, "upsert", true);
    coll = mongoc_client_get_collection(call->client, m->db, MONGO_WRITERS);

    if (!mongoc_collection_update_one(coll, &query, &update, &opts, NULL, &e)) {
        (void) mongo_failed(m, "update heatmap_writer", &e);
        mongo_writer_abandon(w);
        result = RESULT_UNAVAILABLE;
    }

out:

    if (coll != NULL) {
        mongoc_collection_destroy(coll);
    }

    bson_destroy(&query);
    bson_destroy(&update);
    bson_destroy(&opts);
    return result;
}


void
mongo_writer_count(struct mongo_store *m, struct mongo_call *call,
    struct mongo_writer *w, const struct logdoc *docs, size_t n,
    const enum store_insert *outcome)
{
    int64_t      matched;
    enum result  result;

    mongo_buckets_reset(&w->buckets);
    for (size_t i = 0; i < n; i++) {
        if (outcome[i] == STORE_NEW) {
            mongo_buckets_add(&w->buckets, &docs[i]);
        }
    }

    result = mongo_buckets_write(m, call->client, &w->buckets, w->name, w->seq,
                                 &matched);

    /* fewer: somebody emptied the heatmap, or took this writer for dead */
    if (result != RESULT_OK || matched != (int64_t) w->buckets.n) {
        log_rate(LOG_WARN, "store", "mongo: a batch is not counted in the "
                 "heatmap yet; the next recount does it");
        mongo_writer_abandon(w);
    }
}
