/*
 * One item of the file: its id, shape, references and secrets, as the API
 * checks them, and the document that is to be stored.
 */

#include "cli_import_item.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth_key.h"
#include "clock.h"
#include "integration.h"
#include "replay.h"

#define IMPORT_FAULTS  50                  /* printed; more are counted */


/* POINTER is of the file: which item, which member.  Names that the file holds
 * reach a terminal: what is not printable does not. */
static void
fault(struct import *im, const struct catalog_part *p, size_t i,
    const char *member, const char *detail)
{
    char  text[512];

    if (++im->faults > IMPORT_FAULTS) {
        return;
    }

    (void) snprintf(text, sizeof(text), "/%s/%zu%s%s: %s", p->name, i,
        member[0] == '\0' ? "" : "/", member, detail);

    for (unsigned char *at = (unsigned char *) text; *at != '\0'; at++) {
        *at = *at < ' ' || *at == 0x7f ? '?' : *at;
    }

    (void) cli_complain(CLI_USAGE, "import: %s: %s", im->file, text);
}


static size_t
part_number(const struct catalog_part *p)
{
    return (size_t) (p - catalog_parts);
}


/* -- ids and references -------------------------------------------------- */

static bool
id_is_text(const char *id)
{
    return strlen(id) > 0 && strlen(id) < DOCS_ID
           && strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                         "0123456789_-") == strlen(id);
}


/* What is wrong with the id, or NULL; ID is its text. */
static const char *
id_read(const struct docs_kind *k, const json_t *item, char id[DOCS_ID + 1])
{
    const json_t  *v = json_object_get(item, "id");
    const char    *text = json_string_value(v);
    uint8_t        uuid[UUID_BYTES];

    if (k->int_id) {
        if (!json_is_integer(v) || json_integer_value(v) < 1
            || json_integer_value(v) > INT32_MAX)
        {
            return "must be a whole number from 1 to 2147483647";
        }

        (void) snprintf(id, DOCS_ID + 1, "%lld",
            (long long) json_integer_value(v));
        return NULL;
    }

    if (text == NULL || strlen(text) != json_string_length(v)
        || !id_is_text(text))
    {
        return "must be 1 to 63 letters, digits, _ or -";
    }

    if (k->coll == STORE_INTEGRATION
        && uuid_parse(slice_of(text), uuid) != RESULT_OK)
    {
        return "must be a UUID";
    }

    (void) snprintf(id, DOCS_ID + 1, "%s", text);
    return NULL;
}


void
import_index(struct import *im, json_t *root, const struct catalog_part *p)
{
    json_t      *list = json_object_get(root, p->name), *item;
    json_t      *index = im->index[part_number(p)];
    char         id[DOCS_ID + 1];
    const char  *why;
    size_t       i;

    json_array_foreach(list, i, item) {
        if (!json_is_object(item)) {
            fault(im, p, i, "", "must be an object");
            continue;
        }

        why = id_read(p->kind, item, id);

        if (why == NULL && json_object_get(index, id) != NULL) {
            why = "stands there twice";
        }

        if (why != NULL) {
            fault(im, p, i, "id", why);
        } else {
            (void) json_object_set(index, id, item);
        }
    }
}


/* The org of what is named, whether the file or the store has it. */
static enum result
ref_org(struct import *im, const struct docs_kind *k, const char *id,
    int64_t *org)
{
    struct store_doc   d;
    struct arena       a;
    const json_t      *item;
    enum result        r;

    for (const struct catalog_part *p = catalog_parts; p->name != NULL; p++) {
        item = p->kind == k
               ? json_object_get(im->index[part_number(p)], id) : NULL;

        if (item != NULL) {
            *org = json_integer_value(json_object_get(item, "org_id"));
            return RESULT_OK;
        }
    }

    arena_init(&a, API_MAX_ARENA);
    r = store_doc_get(im->c->store, k->coll, slice_of(id), &a, &d);
    *org = r == RESULT_OK ? d.org_id : LOGDOC_NONE;
    arena_cleanup(&a);
    return r;
}


static enum result
ref_check(struct import *im, const struct catalog_part *p, size_t i,
    const struct catalog_ref *ref, const struct change *ch, const json_t *v)
{
    char         id[DOCS_ID + 1], why[160];
    int64_t      org;
    enum result  r;

    if (json_is_integer(v)) {
        (void) snprintf(id, sizeof(id), "%lld",
            (long long) json_integer_value(v));
    } else {
        (void) snprintf(id, sizeof(id), "%s", json_string_value(v) == NULL
            ? "" : json_string_value(v));
    }

    /* org 0 is the platform and has no document */
    if (id[0] == '\0'
        || (ref->kind->coll == STORE_ORG && strcmp(id, "0") == 0))
    {
        return RESULT_OK;
    }

    r = ref_org(im, ref->kind, id, &org);

    if (r == RESULT_NOT_FOUND) {
        (void) snprintf(why, sizeof(why), "there is no %s %s, neither in the "
            "file nor in the store", ref->kind->noun, id);
        fault(im, p, i, ref->member, why);

    } else if (r == RESULT_OK && ref->own && org != ch->doc.org_id) {
        (void) snprintf(why, sizeof(why), "%s %s is another org's",
            ref->kind->noun, id);
        fault(im, p, i, ref->member, why);
    }

    return r == RESULT_NOT_FOUND ? RESULT_OK : r;
}


static enum result
refs_check(struct import *im, const struct catalog_part *p, size_t i,
    const struct change *ch)
{
    json_t       *v, *one;
    size_t        j;
    enum result   r = RESULT_OK;

    for (const struct catalog_ref *ref = p->refs;
         ref->member != NULL && r == RESULT_OK; ref++)
    {
        v = json_object_get(ch->body, ref->member);

        if (!json_is_array(v)) {
            r = ref_check(im, p, i, ref, ch, v);
        }

        json_array_foreach(v, j, one) {
            r = r != RESULT_OK ? r : ref_check(im, p, i, ref, ch, one);
        }
    }

    return r;
}


/* -- developers' secrets ------------------------------------------------- */

static void
body_keep(struct change *ch, const char *member)
{
    json_t  *v = json_object_get(ch->before, member);

    if (v != NULL) {
        (void) json_object_set(ch->body, member, v);
    }
}


/* "auth_key" or "key" becomes its hash; "key_hmac" is one already. */
static const char *
key_take(struct import *im, struct change *ch, const json_t *item)
{
    const json_t  *key = json_object_get(item, "auth_key");
    const json_t  *hmac = json_object_get(item, "key_hmac");
    const char    *text;
    char           hex[AUTH_HMAC_HEX + 1];
    uint8_t        mac[32];

    key = key == NULL ? json_object_get(item, "key") : key;

    if (key == NULL && hmac == NULL) {
        body_keep(ch, "key_hmac");
        body_keep(ch, "key_hint");
        return NULL;
    }

    if (key == NULL) {
        text = json_string_value(hmac);

        if (text == NULL || auth_unhex(slice_of(text), mac, 32) != RESULT_OK) {
            return "must be 64 hex digits";
        }

        auth_hex(mac, 32, hex);
        text = json_string_value(json_object_get(item, "key_hint"));
        text = text == NULL ? "" : text;

    } else {
        text = json_string_value(key);
        auth_developer_key_hmac(im->c->secret, slice_of(text), mac);
        auth_hex(mac, 32, hex);
        text += strlen(text) - 4;
    }

    (void) json_object_set_new(ch->body, "key_hmac", json_string(hex));
    (void) json_object_set_new(ch->body, "key_hint", json_string(text));
    return NULL;
}


/* Two developers with one key: the drain could not tell them apart. */
static const char *
key_unique(struct import *im, const struct change *ch)
{
    const char  *hex, *other;

    hex = json_string_value(json_object_get(ch->body, "key_hmac"));
    if (hex == NULL) {
        return NULL;
    }

    other = json_string_value(json_object_get(im->keys, hex));
    if (other != NULL && strcmp(other, ch->id) != 0) {
        return "is another developer's key";
    }

    (void) json_object_set_new(im->keys, hex, json_string(ch->id));
    return NULL;
}


static enum result
credentials_take(struct import *im, struct change *ch, const json_t *item)
{
    const json_t  *given = json_object_get(item, "replay_credentials");
    const char    *stored;
    char          *sealed;

    stored = json_string_value(json_object_get(ch->before, "replay_sealed"));

    if (given == NULL
        || replay_sealed_same(im->c->secret, ch->id, stored, given))
    {
        body_keep(ch, "replay_sealed");
        body_keep(ch, "replay_credentials_set");
        return RESULT_OK;
    }

    if (json_is_null(given)) {
        return RESULT_OK;
    }

    sealed = replay_seal(im->c->secret, ch->id, given);
    if (sealed == NULL) {
        return RESULT_INTERNAL;
    }

    (void) json_object_set_new(ch->body, "replay_sealed",
        json_string(sealed));
    (void) json_object_set_new(ch->body, "replay_credentials_set",
        json_true());
    free(sealed);
    return RESULT_OK;
}


static void
body_default(struct change *ch, const char *member, json_t *value)
{
    if (json_object_get(ch->body, member) == NULL) {
        (void) json_object_set(ch->body, member, value);
    }

    json_decref(value);
}


/* -- one item ------------------------------------------------------------ */

/* Members that export prints, or that only import knows: they are no fields. */
static void
developer_strip(json_t *body)
{
    static const char *const  members[] = { "key", "key_hmac", "key_hint",
        "replay_credentials_set" };
    json_t  *key = json_object_get(body, "key");

    if (key != NULL && json_object_get(body, "auth_key") == NULL) {
        (void) json_object_set(body, "auth_key", key);
    }

    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        (void) json_object_del(body, members[i]);
    }
}


static enum result
developer_complete(struct import *im, const struct catalog_part *p, size_t i,
    struct change *ch, const json_t *item)
{
    const char  *why;

    (void) json_object_del(ch->body, "auth_key");
    (void) json_object_del(ch->body, "replay_credentials");
    body_default(ch, "lab_ids", json_null());
    body_default(ch, "flags", json_object());

    why = key_take(im, ch, item);
    if (why != NULL) {
        fault(im, p, i, "key_hmac", why);
        return RESULT_OK;
    }

    why = key_unique(im, ch);
    if (why != NULL) {
        fault(im, p, i, "key", why);
    }

    if (json_object_get(ch->body, "key_hmac") == NULL) {
        (void) cli_complain(CLI_OK, "import: %s: /%s/%zu: developer %s has no "
            "key yet, so that no call is known as his; give \"key\"",
            im->file, p->name, i, ch->id);
    }

    return credentials_take(im, ch, item);
}


/* Shape of all kinds but integrations; defaults, secrets. */
static enum result
plain_check(struct import *im, const struct catalog_part *p, size_t i,
    struct change *ch, const json_t *item)
{
    struct docs_errors  e = { .n = 0 };

    if (p->kind->coll == STORE_DEVELOPER) {
        developer_strip(ch->body);
    }

    docs_validate(p->kind, ch->body, &e);

    for (size_t n = 0; n < e.n; n++) {
        fault(im, p, i, e.list[n].pointer + 2, e.list[n].detail);
    }

    if (e.n > 0) {
        return RESULT_OK;
    }

    if (p->kind->coll == STORE_ACTION || p->kind->coll == STORE_DEVELOPER) {
        body_default(ch, "enabled", json_true());
    }

    return p->kind->coll == STORE_DEVELOPER
           ? developer_complete(im, p, i, ch, item) : RESULT_OK;
}


static enum result
integration_take(struct import *im, const struct catalog_part *p, size_t i,
    struct change *ch)
{
    struct integration_fault   faults[DOCS_MAX_ERRORS];
    json_t                    *out = NULL;
    size_t                     n;
    enum result                r;

    r = integration_check(ch->body, ch->before, slice_of(ch->id),
        im->c->secret, im->jq, im->c->config, &out, faults, DOCS_MAX_ERRORS,
        &n);

    if (r == RESULT_INVALID) {
        for (size_t j = 0; j < n; j++) {
            fault(im, p, i, faults[j].pointer + 2, faults[j].detail);
        }

        return RESULT_OK;
    }

    if (r == RESULT_OK) {
        json_decref(ch->body);
        ch->body = out;
    }

    return r;
}


static enum result
stored_read(struct import *im, struct change *ch)
{
    struct arena  a;
    enum result   r;

    arena_init(&a, API_MAX_ARENA);
    r = store_doc_get(im->c->store, ch->part->kind->coll, slice_of(ch->id),
        &a, &ch->doc);

    if (r == RESULT_OK) {
        ch->before = json_loadb(ch->doc.body.p, ch->doc.body.n, 0, NULL);
        r = ch->before == NULL ? RESULT_INTERNAL : RESULT_OK;

    } else if (r == RESULT_NOT_FOUND) {
        memset(&ch->doc, 0, sizeof(ch->doc));
        ch->doc.created_us = clock_wall_us();
        ch->doc.expires_us = LOGDOC_NONE;
        r = RESULT_OK;
    }

    /* id and body were in the arena */
    ch->doc.id = SLICE_NONE;
    ch->doc.body = SLICE_NONE;
    arena_cleanup(&a);
    return r;
}


void
import_change_cleanup(struct change *ch)
{
    json_decref(ch->before);
    json_decref(ch->body);
}


static enum result
change_keep(struct import *im, struct change *ch)
{
    struct change  *more;
    size_t          size = im->size == 0 ? 64 : im->size * 2;

    if (ch->before != NULL && json_equal(ch->before, ch->body)) {
        im->same++;
        import_change_cleanup(ch);
        return RESULT_OK;
    }

    if (im->n == im->size) {
        more = realloc(im->changes, size * sizeof(*more));
        if (more == NULL) {
            import_change_cleanup(ch);
            return RESULT_MEMORY;
        }

        im->changes = more;
        im->size = size;
    }

    im->changes[im->n++] = *ch;
    return RESULT_OK;
}


enum result
import_item(struct import *im, const struct catalog_part *p, size_t i,
    json_t *item)
{
    struct change  ch;
    json_t        *org;
    unsigned       faults = im->faults;
    enum result    r;

    memset(&ch, 0, sizeof(ch));
    ch.part = p;

    /* no object, no id: import_index has said so */
    if (!json_is_object(item) || id_read(p->kind, item, ch.id) != NULL) {
        return RESULT_OK;
    }

    r = stored_read(im, &ch);
    ch.body = json_copy(item);
    (void) json_object_del(ch.body, "id");
    r = r != RESULT_OK ? r
        : p->kind->coll == STORE_INTEGRATION ? integration_take(im, p, i, &ch)
        : plain_check(im, p, i, &ch, item);

    org = json_object_get(ch.body, "org_id");
    ch.doc.org_id = p->kind->coll == STORE_ORG ? strtoll(ch.id, NULL, 10)
                    : json_is_integer(org) ? json_integer_value(org)
                                           : LOGDOC_NONE;

    if (r == RESULT_OK && im->faults == faults) {
        r = refs_check(im, p, i, &ch);
    }

    if (r != RESULT_OK || im->faults > faults) {
        import_change_cleanup(&ch);
        return r;
    }

    return change_keep(im, &ch);
}
