/*
 * import and export: the catalogue as one JSON object of arrays, by the names
 * below.  An item is {"id": .., ..} with the members of catalog.h; a developer
 * may carry "key", of which only the hash is kept.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "auth_key.h"
#include "cli_open.h"
#include "clock.h"

#define IMPORT_MAX   (64 * 1024 * 1024)
#define EXPORT_PAGE  100

struct catalog_part {
    const char       *name;
    enum store_coll   coll;
    bool              number;              /* id is an integer */
    const char       *needs;               /* an integer member, or NULL */
    const char       *members;             /* allowed, besides id and name */
};

static const struct catalog_part  parts[] = {
    { "orgs", STORE_ORG, true, NULL, "" },
    { "labs", STORE_LAB, true, "org_id",
      "org_id time_zone retention_ok_days retention_fail_days" },
    { "action_categories", STORE_CATEGORY, true, NULL, "" },
    { "actions", STORE_ACTION, true, "action_category_id",
      "action_category_id enabled" },
    { "developers", STORE_DEVELOPER, false, "org_id",
      "org_id lab_ids key_hmac key_hint key flags enabled" },
};

#define PARTS  (sizeof(parts) / sizeof(parts[0]))


static const struct catalog_part *
part_find(const char *name)
{
    for (size_t i = 0; i < PARTS; i++) {
        if (strcmp(parts[i].name, name) == 0) {
            return &parts[i];
        }
    }

    return NULL;
}


static bool
part_allows(const struct catalog_part *p, const char *member)
{
    const char  *at = p->members;
    size_t       n = strlen(member);

    if (strcmp(member, "id") == 0 || strcmp(member, "name") == 0) {
        return true;
    }

    while ((at = strstr(at, member)) != NULL) {
        if ((at == p->members || at[-1] == ' ')
            && (at[n] == ' ' || at[n] == '\0'))
        {
            return true;
        }

        at += n;
    }

    return false;
}


static bool
id_is_text(const char *id)
{
    return strlen(id) > 0 && strlen(id) < 64
           && strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                         "0123456789_-") == strlen(id);
}


/* What is wrong with an item, or NULL; ID is its text. */
static const char *
item_check(const struct catalog_part *p, json_t *item, char id[64],
    const char **member)
{
    const char  *text;
    json_t      *v = json_object_get(item, "id"), *value;
    const char  *key;

    *member = "id";

    if (!json_is_object(item)) {
        return "is no object";
    }

    if (p->number) {
        if (!json_is_integer(v) || json_integer_value(v) < 1) {
            return "must be a whole number from 1";
        }

        (void) snprintf(id, 64, "%lld", (long long) json_integer_value(v));

    } else {
        text = json_string_value(v);
        if (text == NULL || !id_is_text(text)) {
            return "must be 1 to 63 letters, digits, _ or -";
        }

        (void) snprintf(id, 64, "%s", text);
    }

    json_object_foreach(item, key, value) {
        if (!part_allows(p, key)) {
            *member = key;
            return "is no known member";
        }
    }

    *member = "name";
    text = json_string_value(json_object_get(item, "name"));
    if (text == NULL || *text == '\0' || strlen(text) > 127) {
        return "must be 1 to 127 bytes of text";
    }

    *member = p->needs;
    if (p->needs != NULL && !json_is_integer(json_object_get(item, p->needs))) {
        return "must be a whole number";
    }

    return NULL;
}


/* "key" becomes its hash and its last four characters. */
static const char *
developer_key(struct cli *c, json_t *item)
{
    json_t       *key = json_object_get(item, "key");
    const char   *text;
    char          hex[AUTH_HMAC_HEX + 1];
    uint8_t       mac[32];
    size_t        n;

    if (key == NULL) {
        text = json_string_value(json_object_get(item, "key_hmac"));
        return json_object_get(item, "key_hmac") == NULL
               || (text != NULL
                   && auth_unhex(slice_of(text), mac, 32) == RESULT_OK)
               ? NULL : "key_hmac must be 64 hex digits";
    }

    text = json_string_value(key);
    n = text == NULL ? 0 : strlen(text);

    if (n < 16 || n > 512) {
        return "key must be 16 to 512 bytes of text";
    }

    auth_developer_key_hmac(c->secret, slice_of(text), mac);
    auth_hex(mac, 32, hex);
    (void) json_object_set_new(item, "key_hmac", json_string(hex));
    (void) json_object_set_new(item, "key_hint", json_string(text + n - 4));
    (void) json_object_del(item, "key");
    return NULL;
}


static int
item_put(struct cli *c, const struct catalog_part *p, const char *id,
    json_t *item)
{
    struct store_doc  d;
    int64_t           version;
    char             *text;
    enum result       r = RESULT_MEMORY;

    memset(&d, 0, sizeof(d));
    d.id = slice_of(id);
    d.org_id = json_is_integer(json_object_get(item, "org_id"))
               ? json_integer_value(json_object_get(item, "org_id"))
               : LOGDOC_NONE;
    d.org_id = p->coll == STORE_ORG ? strtoll(id, NULL, 10) : d.org_id;
    d.created_us = clock_wall_us();
    d.updated_us = d.created_us;
    d.expires_us = LOGDOC_NONE;

    (void) json_object_del(item, "id");
    text = json_dumps(item, JSON_COMPACT);

    if (text != NULL) {
        d.body = slice_of(text);
        r = store_doc_put(c->store, p->coll, &d, -1, &version);
    }

    free(text);
    return r == RESULT_OK ? CLI_OK
           : cli_complain(CLI_FAILED, "import: %s %s: %s", p->name, id,
                 result_text(r));
}


/* Checks every item first, so that a bad file changes nothing. */
static int
import_parts(struct cli *c, json_t *root, bool write, unsigned *count)
{
    const struct catalog_part  *p;
    const char                 *why, *member;
    char                        id[64];
    size_t                      i;
    json_t                     *item, *list;
    int                         status = CLI_OK;

    for (p = parts; p < parts + PARTS && status == CLI_OK; p++) {
        list = json_object_get(root, p->name);

        json_array_foreach(list, i, item) {
            why = item_check(p, item, id, &member);

            if (why == NULL && p->coll == STORE_DEVELOPER) {
                member = "developer";
                why = developer_key(c, item);
            }

            if (why != NULL) {
                return cli_complain(CLI_USAGE, "import: /%s/%zu/%s: %s",
                    p->name, i, member, why);
            }

            status = write ? item_put(c, p, id, item) : CLI_OK;
            *count += status == CLI_OK;

            if (status != CLI_OK) {
                return status;
            }
        }
    }

    return status;
}


static int
import_names(json_t *root)
{
    const char  *name;
    json_t      *list;

    if (!json_is_object(root)) {
        return cli_complain(CLI_USAGE, "import: is no JSON object");
    }

    json_object_foreach(root, name, list) {
        if (part_find(name) == NULL || !json_is_array(list)) {
            return cli_complain(CLI_USAGE, "import: /%s: must be an array "
                "called orgs, labs, action_categories, actions or developers",
                name);
        }
    }

    return CLI_OK;
}


/* At most IMPORT_MAX bytes of the file or standard input. */
static int
import_read(const char *path, json_t **root)
{
    FILE          *f = stdin;
    struct buf     b;
    char          *room;
    size_t         n;
    json_error_t   err;

    if (path != NULL && strcmp(path, "-") != 0) {
        f = fopen(path, "re");
    }

    if (f == NULL) {
        return cli_complain(CLI_USAGE, "import: %s: %s", path,
            strerror(errno));
    }

    buf_init(&b, IMPORT_MAX);

    do {
        room = buf_room(&b, 65536);
        n = room == NULL ? 0 : fread(room, 1, 65536, f);
        b.n += n;
    } while (n > 0);

    *root = b.failed ? NULL
            : json_loadb(b.p, b.n, JSON_REJECT_DUPLICATES, &err);

    if (f != stdin) {
        (void) fclose(f);
    }

    if (*root == NULL) {
        (void) (b.failed
                ? cli_complain(CLI_USAGE, "import: is longer than 64 MB")
                : cli_complain(CLI_USAGE, "import: line %d, column %d: %s",
                      err.line, err.column, err.text));
    }

    buf_cleanup(&b);
    return *root == NULL ? CLI_USAGE : CLI_OK;
}


int
cli_import(struct cli *c)
{
    unsigned  count = 0;
    json_t   *root = NULL;
    bool      dry = cli_value(c, "dry-run") != NULL;
    int       status;

    if (c->nargs > 1) {
        return cli_complain(CLI_USAGE, "import: one file, please");
    }

    status = cli_load_config(c);
    status = status == CLI_OK ? cli_load_secret(c) : status;
    status = status == CLI_OK ? import_read(c->args[0], &root) : status;
    status = status == CLI_OK ? import_names(root) : status;
    status = status == CLI_OK ? import_parts(c, root, false, &count) : status;

    if (status == CLI_OK && !dry) {
        count = 0;
        status = cli_open_store(c, false);
        status = status == CLI_OK ? import_parts(c, root, true, &count)
                                  : status;
    }

    if (status == CLI_OK) {
        (void) printf("%u items %s\n", count, dry ? "are good" : "written");
    }

    json_decref(root);
    return status;
}


static enum result
export_part(struct cli *c, const struct catalog_part *p, json_t *list)
{
    struct store_doc  *docs;
    struct arena       a;
    char               after[80] = "";
    size_t             n = EXPORT_PAGE;
    json_t            *item;
    int64_t            id;
    enum result        r = RESULT_OK;

    arena_init(&a, 16 * 1024 * 1024);

    while (r == RESULT_OK && n == EXPORT_PAGE) {
        arena_reset(&a);
        r = store_doc_list(c->store, p->coll, LOGDOC_NONE, slice_of(after),
            false, EXPORT_PAGE, &a, &docs, &n);

        for (size_t i = 0; r == RESULT_OK && i < n; i++) {
            (void) snprintf(after, sizeof(after), "%.*s",
                SLICE_ARG(docs[i].id));
            item = json_loadb(docs[i].body.p, docs[i].body.n, 0, NULL);

            (void) json_object_set_new(item, "id",
                p->number && slice_int(docs[i].id, &id) == RESULT_OK
                ? json_integer(id)
                : json_stringn(docs[i].id.p, docs[i].id.n));
            (void) json_array_append_new(list, item);
        }
    }

    arena_cleanup(&a);
    return r;
}


int
cli_export(struct cli *c)
{
    json_t       *root = json_object(), *list;
    enum result   r = RESULT_OK;
    int           status;

    status = cli_load_config(c);
    status = status == CLI_OK ? cli_open_store(c, true) : status;

    for (size_t i = 0; status == CLI_OK && r == RESULT_OK && i < PARTS; i++) {
        list = json_array();
        (void) json_object_set_new(root, parts[i].name, list);
        r = export_part(c, &parts[i], list);
    }

    if (status == CLI_OK && r != RESULT_OK) {
        status = cli_complain(CLI_FAILED, "export: %s", result_text(r));
    }

    if (status == CLI_OK) {
        (void) json_dumpf(root, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
        (void) printf("\n");
    }

    json_decref(root);
    return status;
}
