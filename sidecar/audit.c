/* Writes audit entries; their id is a UUIDv7, so they sort by time. */

#include "audit.h"

#include <inttypes.h>
#include <stdlib.h>

#include "clock.h"
#include "json.h"

#define AUDIT_MAX  (256 * 1024)


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
