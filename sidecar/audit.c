/* Writes audit entries; their id is a UUIDv7, so they sort by time. */

#include "audit.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/sha.h>

#include "clock.h"
#include "json.h"

#define AUDIT_MAX     (256 * 1024)
#define AUDIT_TEXT    1024                 /* longer: length and SHA-256 */
#define AUDIT_DETAIL  (200 * 1024)


static void
audit_body(struct buf *b, const struct audit_entry *e, int64_t now)
{
    (void) buf_adds(b, "{\"at\":");
    json_time(b, now);
    (void) buf_adds(b, ",\"action\":");
    json_text(b, slice_of(e->action));
    (void) buf_adds(b, ",\"target\":{\"type\":");
    json_text(b, slice_of(e->type));
    (void) buf_adds(b, ",\"id\":");
    json_text(b, e->target);
    (void) buf_adds(b, "},\"actor\":{\"key_id\":");
    json_text(b, slice_of(e->caller->key_id));
    (void) buf_adds(b, ",\"name\":");
    json_text(b, slice_of(e->caller->name));
    (void) buf_addf(b, ",\"role\":\"%s\",\"org_id\":%" PRId64
        ",\"session\":%s}", auth_role_text(e->caller->role),
        e->caller->org_id, e->caller->session ? "true" : "false");
    (void) buf_addf(b, ",\"outcome\":\"%s\"",
        e->failed ? "failed" : "allowed");
    (void) buf_adds(b, ",\"ip\":");
    json_text(b, slice_of(e->ip));
    (void) buf_adds(b, ",\"request_id\":");
    json_text(b, slice_of(e->request_id));
    (void) buf_adds(b, ",\"reason\":");

    if (e->reason.n > 0) {
        json_text(b, e->reason);
    } else {
        (void) buf_adds(b, "null");
    }

    (void) buf_adds(b, ",\"detail\":");
    (void) buf_add(b, e->detail.n > 0 ? e->detail.p : "null",
        e->detail.n > 0 ? e->detail.n : 4);
    (void) buf_adds(b, "}");
}


enum result
audit_write(struct store *s, const struct audit_entry *e, int64_t keep_us)
{
    struct store_doc  doc;
    struct buf        body;
    enum result       result;
    uint8_t           id[UUID_BYTES];
    char              text[UUID_TEXT + 1];
    int64_t           version;

    memset(&doc, 0, sizeof(doc));
    buf_init(&body, AUDIT_MAX);

    doc.created_us = clock_wall_us();
    doc.updated_us = doc.created_us;
    doc.expires_us = doc.created_us + keep_us;
    doc.org_id = e->org_id;

    uuid_make(id, doc.created_us);
    uuid_text(id, text);
    doc.id = slice_of(text);

    audit_body(&body, e, doc.created_us);
    doc.body.p = buf_take(&body, &doc.body.n);
    if (doc.body.p == NULL) {
        return RESULT_TOO_BIG;
    }

    result = store_doc_put(s, STORE_AUDIT, &doc, 0, &version);
    free((char *) doc.body.p);
    return result;
}


/* {"bytes":..,"sha256":..} */
static json_t *
text_digest(const json_t *text)
{
    unsigned char  sum[SHA256_DIGEST_LENGTH];
    char           hex[2 * SHA256_DIGEST_LENGTH + 1];

    SHA256((const unsigned char *) json_string_value(text),
        json_string_length(text), sum);

    for (size_t i = 0; i < sizeof(sum); i++) {
        (void) snprintf(hex + 2 * i, 3, "%02x", sum[i]);
    }

    return json_pack("{s:I,s:s}", "bytes",
        (json_int_t) json_string_length(text), "sha256", hex);
}


static bool
is_long(const json_t *v)
{
    return json_string_length(v) > AUDIT_TEXT;
}


/* Members and elements of V, and what stands in them one level down: headers
 * are pairs in an array. */
static void
texts_shorten(json_t *v, int depth)
{
    const char  *name;
    json_t      *item;
    void        *next;
    size_t       i;

    json_object_foreach_safe(v, next, name, item) {
        if (is_long(item)) {
            (void) json_object_set_new(v, name, text_digest(item));
        } else if (depth > 0) {
            texts_shorten(item, depth - 1);
        }
    }

    json_array_foreach(v, i, item) {
        if (is_long(item)) {
            (void) json_array_set_new(v, i, text_digest(item));
        } else if (depth > 0) {
            texts_shorten(item, depth - 1);
        }
    }
}


char *
audit_change(json_t *before, json_t *after)
{
    json_t  *detail, *b, *a;
    char    *text;

    /* members may be the caller's own documents: a copy is changed */
    b = before == NULL ? json_null() : json_deep_copy(before);
    a = after == NULL ? json_null() : json_deep_copy(after);
    json_decref(before);
    json_decref(after);
    texts_shorten(b, 2);
    texts_shorten(a, 2);

    detail = json_pack("{s:o,s:o}", "before", b, "after", a);
    text = detail == NULL ? NULL : json_dumps(detail, JSON_COMPACT);
    json_decref(detail);

    if (text != NULL && strlen(text) > AUDIT_DETAIL) {
        (void) snprintf(text, AUDIT_DETAIL, "{\"bytes\":%zu,\"cut\":true}",
            strlen(text));
    }

    return text;
}
