/*
 * export, and the table that it shares with import.  The file is one JSON
 * object of the arrays below.  Secrets never leave the store: keys and their
 * hashes, sealed values and signing secrets are left out, and an import of the
 * file leaves those that are stored as they are.
 */

#include "cli_catalog.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT_PAGE  100

#define NO_REF  { NULL, NULL, false }

const struct catalog_part  catalog_parts[] = {
    { "orgs", &docs_orgs, { NO_REF } },
    { "labs", &docs_labs, { { "org_id", &docs_orgs, false }, NO_REF } },
    { "action_categories", &docs_categories, { NO_REF } },
    { "actions", &docs_actions,
        { { "action_category_id", &docs_categories, false }, NO_REF } },
    { "developers", &docs_developers,
        { { "org_id", &docs_orgs, false }, { "lab_ids", &docs_labs, true },
          NO_REF } },
    { "integrations", &docs_integrations,
        { { "org_id", &docs_orgs, false }, { "lab_id", &docs_labs, true },
          { "action_id", &docs_actions, false },
          { "developer_id", &docs_developers, true }, NO_REF } },
    { NULL, NULL, { NO_REF } }
};


const struct catalog_part *
catalog_part_find(const char *name)
{
    for (const struct catalog_part *p = catalog_parts; p->name != NULL; p++) {
        if (strcmp(p->name, name) == 0) {
            return p;
        }
    }

    return NULL;
}


json_t *
catalog_item(const struct docs_kind *k, const struct store_doc *d,
    const json_t *body)
{
    static const char *const  left_out[] = { "version", "created_at",
        "updated_at", "signing_secrets" };
    json_t  *item = docs_shown(k, d, body);

    for (size_t i = 0; i < sizeof(left_out) / sizeof(left_out[0]); i++) {
        (void) json_object_del(item, left_out[i]);
    }

    return item;
}


static enum result
export_part(struct cli *c, const struct catalog_part *p, json_t *list)
{
    struct store_doc  *docs;
    struct arena       a;
    char               after[80] = "";
    size_t             n = EXPORT_PAGE;
    json_t            *body;
    enum result        r = RESULT_OK;

    arena_init(&a, API_MAX_ARENA);

    while (r == RESULT_OK && n == EXPORT_PAGE) {
        arena_reset(&a);
        r = store_doc_list(c->store, p->kind->coll, LOGDOC_NONE,
            slice_of(after), false, EXPORT_PAGE, &a, &docs, &n);

        for (size_t i = 0; r == RESULT_OK && i < n; i++) {
            (void) snprintf(after, sizeof(after), "%.*s",
                SLICE_ARG(docs[i].id));
            body = json_loadb(docs[i].body.p, docs[i].body.n, 0, NULL);
            r = body == NULL ? RESULT_INTERNAL
                : json_array_append_new(list, catalog_item(p->kind, &docs[i],
                      body)) != 0 ? RESULT_MEMORY : RESULT_OK;
            json_decref(body);

            if (r == RESULT_INTERNAL) {
                (void) cli_complain(CLI_FAILED, "export: %s %s: the stored "
                    "document is no JSON", p->name, after);
            }
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

    for (const struct catalog_part *p = catalog_parts;
         status == CLI_OK && r == RESULT_OK && p->name != NULL; p++)
    {
        list = json_array();
        (void) json_object_set_new(root, p->name, list);
        r = export_part(c, p, list);
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
