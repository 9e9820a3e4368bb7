/* What import knows while it reads, and the check of one item. */

#ifndef CLI_IMPORT_ITEM_H
#define CLI_IMPORT_ITEM_H

#include "cli_catalog.h"
#include "jq_child.h"

#define IMPORT_PARTS  8

struct change {
    const struct catalog_part  *part;
    struct store_doc            doc;       /* version 0: is to be made */
    char                        id[DOCS_ID + 1];
    json_t                     *before, *body;
};

struct import {
    struct cli       *c;
    const char       *file;
    bool              dry;
    json_t           *index[IMPORT_PARTS]; /* by part: id -> item */
    json_t           *keys;                /* hash of a key -> developer */
    struct jq_child  *jq;
    struct change    *changes;
    size_t            n, size;
    unsigned          same, faults;        /* faults are printed as found */
};

/* All ids of a part, so that items may name one another. */
void import_index(struct import *im, json_t *root,
    const struct catalog_part *p);

/* Item I of the part: a fault, nothing new, or one more of im->changes.  Not
 * OK: the store or memory failed. */
must_check enum result import_item(struct import *im,
    const struct catalog_part *p, size_t i, json_t *item);

void import_change_cleanup(struct change *ch);

#endif /* CLI_IMPORT_ITEM_H */
