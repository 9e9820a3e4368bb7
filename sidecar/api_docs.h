/*
 * Configuration documents: one table says for each collection which members
 * there are, what they must hold, and who owns a document.
 */

#ifndef API_DOCS_H
#define API_DOCS_H

#include "api_http.h"

#define DOCS_MAX_ERRORS  16
#define DOCS_ID          64

enum docs_type {
    DOCS_NAME,                             /* text of MIN..MAX bytes */
    DOCS_INT,                              /* MIN..MAX */
    DOCS_BOOL,
    DOCS_LABS,                             /* null, or ids of the org's labs */
    DOCS_OBJECT,                           /* of booleans, numbers and text */
    DOCS_ZONE,                             /* Asia/Kolkata */
    DOCS_ROLE,
    DOCS_TIME,                             /* RFC 3339 or null */
    DOCS_SECRET,                           /* read, never shown nor kept */
    DOCS_CREDENTIALS                       /* null, or {headers, query} */
};

struct docs_field {
    const char      *name;
    enum docs_type   type;
    bool             required;
    int64_t          min, max;
};

enum docs_owner {
    DOCS_GLOBAL,                           /* all read, the platform writes */
    DOCS_ORG,                              /* the org itself */
    DOCS_OF_ORG,                           /* "org_id" */
    DOCS_PERSONAL                          /* org and key of who made it */
};

struct docs_kind {
    enum store_coll           coll;
    const char               *path, *noun; /* "/labs", "lab" */
    enum docs_owner           owner;
    bool                      int_id;      /* given by the caller */
    const struct docs_field  *fields;      /* ends with a name NULL; none: has
                                              a check of its own */
    const char *const        *hidden;      /* members never shown */
};

extern const struct docs_kind  docs_orgs, docs_labs, docs_categories,
                               docs_actions, docs_developers,
                               docs_integrations, docs_keys, docs_views;

/* Errors gathered while a body is read; api_problem_fields sends them. */
struct docs_errors {
    struct api_error  list[DOCS_MAX_ERRORS];
    size_t            n;
};

void docs_error(struct docs_errors *e, const char *member, const char *code,
    const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/*
 * Checks BODY against the table: unknown members, types, ranges.  What a PUT
 * leaves out is as if it had never been set.
 */
void docs_validate(const struct docs_kind *k, const json_t *body,
    struct docs_errors *e);

/* May the caller see the document, with its parsed body? */
bool docs_visible(const struct api_call *c, const struct docs_kind *k,
    const struct store_doc *d, const json_t *body);

/* The members that are shown, with id, version and times; NULL: no memory. */
json_t *docs_shown(const struct docs_kind *k, const struct store_doc *d,
    const json_t *body);

#endif /* API_DOCS_H */
