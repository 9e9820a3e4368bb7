/* The catalogue as import reads it and export prints it: arrays by name. */

#ifndef CLI_CATALOG_H
#define CLI_CATALOG_H

#include "api_docs.h"
#include "cli_open.h"

struct catalog_part {
    const char              *name;         /* of the array */
    const struct docs_kind  *kind;
    /* {"member", kind of what it names}; ends with a NULL member */
    struct catalog_ref {
        const char              *member;
        const struct docs_kind  *kind;
        bool                     own;      /* of the same org */
    }                        refs[5];
};

/* In the order in which they are written: what is named comes first.  Ends with
 * a NULL name. */
extern const struct catalog_part  catalog_parts[];

const struct catalog_part *catalog_part_find(const char *name);

/* The stored document as the file has it: {"id", ..}, no secret, no hash, no
 * times.  NULL: no memory. */
json_t *catalog_item(const struct docs_kind *k, const struct store_doc *d,
    const json_t *body);

#endif /* CLI_CATALOG_H */
