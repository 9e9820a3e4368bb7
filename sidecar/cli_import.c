/*
 * import: the catalogue from JSON.  Everything is read, checked as the API
 * checks it and compared with what is stored before anything is written, so a
 * bad file changes nothing and the same file twice changes nothing more.  Each
 * write has its entry in the audit log.
 *
 * It is no transaction: a store that fails half way leaves the first part
 * written, and says so; the file can be imported again.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit.h"
#include "cli_import_item.h"
#include "clock.h"
#include "integration.h"

#define IMPORT_MAX   (64 * 1024 * 1024)
#define IMPORT_PAGE  100


static enum result
keys_load(struct import *im)
{
    struct store_doc  *docs;
    struct arena       a;
    json_t            *body, *hex;
    char               after[DOCS_ID + 1] = "";
    size_t             n = IMPORT_PAGE;
    enum result        r = RESULT_OK;

    arena_init(&a, API_MAX_ARENA);

    while (r == RESULT_OK && n == IMPORT_PAGE) {
        arena_reset(&a);
        r = store_doc_list(im->c->store, STORE_DEVELOPER, LOGDOC_NONE,
            slice_of(after), false, IMPORT_PAGE, &a, &docs, &n);

        for (size_t i = 0; r == RESULT_OK && i < n; i++) {
            (void) snprintf(after, sizeof(after), "%.*s",
                SLICE_ARG(docs[i].id));
            body = json_loadb(docs[i].body.p, docs[i].body.n, 0, NULL);
            hex = json_object_get(body, "key_hmac");

            if (json_is_string(hex)) {
                (void) json_object_set_new(im->keys, json_string_value(hex),
                    json_string(after));
            }

            json_decref(body);
        }
    }

    arena_cleanup(&a);
    return r;
}


static int
import_plan(struct import *im, json_t *root)
{
    const struct catalog_part  *p;
    json_t                     *list, *item;
    size_t                      i;
    enum result                 r;

    for (p = catalog_parts; p->name != NULL; p++) {
        import_index(im, root, p);
    }

    r = keys_load(im);

    for (p = catalog_parts; p->name != NULL && r == RESULT_OK; p++) {
        list = json_object_get(root, p->name);

        json_array_foreach(list, i, item) {
            r = r != RESULT_OK ? r : import_item(im, p, i, item);
        }
    }

    if (r != RESULT_OK) {
        return cli_complain(CLI_FAILED, "import: nothing was written: %s",
            result_text(r));
    }

    if (im->faults > 0) {
        return cli_complain(CLI_USAGE, "import: %s: %u faults; nothing was "
            "written", im->file, im->faults);
    }

    return CLI_OK;
}


/* " name, url" of an update: which members differ. */
static void
members_print(const struct change *ch)
{
    const char  *name, *comma = ":";
    json_t      *v;

    json_object_foreach(ch->body, name, v) {
        if (!json_equal(json_object_get(ch->before, name), v)) {
            (void) printf("%s %s", comma, name);
            comma = ",";
        }
    }

    json_object_foreach(ch->before, name, v) {
        if (json_object_get(ch->body, name) == NULL) {
            (void) printf("%s %s", comma, name);
            comma = ",";
        }
    }
}


static void
change_print(const struct import *im, const struct change *ch,
    const char *secret)
{
    (void) printf("%s%s %s %s", im->dry ? "would " : "",
        ch->before == NULL ? "create" : "update", ch->part->kind->noun,
        ch->id);

    if (ch->before != NULL) {
        members_print(ch);
    }

    (void) printf("%s%s\n", secret[0] == '\0' ? "" : "  signing_secret ",
        secret);
}


static int
change_audit(struct import *im, struct change *ch, bool failed)
{
    const struct docs_kind  *k = ch->part->kind;
    char                     action[64], *detail = NULL;
    struct audit_entry       e = {
        .action = action, .type = store_coll_name(k->coll),
        .target = slice_of(ch->id), .org_id = ch->doc.org_id,
        .failed = failed
    };
    int                      status;

    (void) snprintf(action, sizeof(action), "%s.%s", k->noun,
        ch->before == NULL ? "create" : "update");

    if (!failed) {
        detail = audit_change(ch->before == NULL ? NULL
            : docs_shown(k, &ch->doc, ch->before),
            docs_shown(k, &ch->doc, ch->body));
        e.detail = slice_of(detail);
    }

    status = cli_audit(im->c, &e);
    free(detail);
    return status;
}


static int
change_write(struct import *im, struct change *ch)
{
    enum store_coll  coll = ch->part->kind->coll;
    int64_t          version;
    char             secret[64] = "", *text;
    enum result      r = RESULT_OK;

    ch->doc.id = slice_of(ch->id);
    ch->doc.updated_us = clock_wall_us();

    if (coll == STORE_INTEGRATION && ch->before == NULL) {
        r = integration_rotate(ch->body, ch->doc.id, im->c->secret, 0,
            secret);
    }

    text = r == RESULT_OK ? json_dumps(ch->body, JSON_COMPACT) : NULL;

    if (text == NULL) {
        return cli_complain(CLI_FAILED, "import: %s %s: %s", ch->part->name,
            ch->id, result_text(r == RESULT_OK ? RESULT_MEMORY : r));
    }

    if (change_audit(im, ch, false) != CLI_OK) {
        free(text);
        return CLI_FAILED;
    }

    ch->doc.body = slice_of(text);
    r = store_doc_put(im->c->store, coll, &ch->doc, ch->doc.version,
        &version);
    free(text);

    if (r != RESULT_OK) {
        (void) change_audit(im, ch, true);
        return cli_complain(CLI_FAILED, "import: %s %s: %s", ch->part->name,
            ch->id, r == RESULT_CONFLICT ? "was changed meanwhile; import "
            "again" : result_text(r));
    }

    change_print(im, ch, secret);
    return CLI_OK;
}


static int
import_write(struct import *im)
{
    size_t  i = 0;

    while (i < im->n && im->dry) {
        change_print(im, &im->changes[i++], "");
    }

    while (i < im->n && change_write(im, &im->changes[i]) == CLI_OK) {
        i++;
    }

    (void) printf("%zu items %s, %u are as they were\n", i,
        im->dry ? "would be written" : "written", im->same);
    return i == im->n ? CLI_OK : CLI_FAILED;
}


static int
import_names(const struct import *im, json_t *root)
{
    const char  *name;
    json_t      *list;

    if (!json_is_object(root)) {
        return cli_complain(CLI_USAGE, "import: %s: is no JSON object",
            im->file);
    }

    json_object_foreach(root, name, list) {
        if (catalog_part_find(name) == NULL || !json_is_array(list)) {
            return cli_complain(CLI_USAGE, "import: %s: /%.60s: must be an "
                "array called orgs, labs, action_categories, actions, "
                "developers or integrations", im->file, name);
        }
    }

    return CLI_OK;
}


/* At most IMPORT_MAX bytes of the file or standard input. */
static int
import_read(const struct import *im, json_t **root)
{
    FILE          *f = stdin;
    struct buf     b;
    char          *room;
    size_t         n;
    json_error_t   err;

    if (strcmp(im->file, "-") != 0) {
        f = fopen(im->file, "re");
    }

    if (f == NULL) {
        return cli_complain(CLI_USAGE, "import: %s: %s", im->file,
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
                ? cli_complain(CLI_USAGE, "import: %s: is longer than 64 MB",
                      im->file)
                : cli_complain(CLI_USAGE, "import: %s: line %d, column %d: "
                      "%s", im->file, err.line, err.column, err.text));
    }

    buf_cleanup(&b);
    return *root == NULL ? CLI_USAGE : CLI_OK;
}


static int
import_open(struct import *im)
{
    int  status = cli_open_store(im->c, im->dry);

    if (status == CLI_OK
        && jq_child_create(im->c->config->jq_path,
               (unsigned) (im->c->config->jq_timeout_us / 1000), &im->jq)
               != RESULT_OK)
    {
        return cli_complain(CLI_FAILED, "import: out of memory");
    }

    return status;
}


static void
import_cleanup(struct import *im)
{
    for (size_t i = 0; i < im->n; i++) {
        import_change_cleanup(&im->changes[i]);
    }

    for (size_t i = 0; i < IMPORT_PARTS; i++) {
        json_decref(im->index[i]);
    }

    if (im->jq != NULL) {
        jq_child_destroy(im->jq);
    }

    json_decref(im->keys);
    free(im->changes);
}


int
cli_import(struct cli *c)
{
    struct import   im = { .c = c, .file = c->nargs > 0 ? c->args[0] : "-" };
    json_t         *root = NULL;
    int             status;

    if (c->nargs > 1) {
        return cli_complain(CLI_USAGE, "import: one file, please");
    }

    im.dry = cli_value(c, "dry-run") != NULL;
    im.keys = json_object();

    for (size_t i = 0; i < IMPORT_PARTS; i++) {
        im.index[i] = json_object();
    }

    status = cli_load_config(c);
    status = status == CLI_OK ? cli_load_secret(c) : status;
    status = status == CLI_OK ? import_read(&im, &root) : status;
    status = status == CLI_OK ? import_names(&im, root) : status;
    status = status == CLI_OK ? import_open(&im) : status;
    status = status == CLI_OK ? import_plan(&im, root) : status;
    status = status == CLI_OK ? import_write(&im) : status;

    import_cleanup(&im);
    json_decref(root);
    return status;
}
