/*
 * What the files of integration*.c share: the table of an integration's fields
 * and how its values are read.
 */

#ifndef INTEGRATION_PRIVATE_H
#define INTEGRATION_PRIVATE_H

#include <jansson.h>

#include "json_slice.h"
#include "redact.h"

struct config;
struct integration_fault;
struct integration_ready;
struct jq_child;
struct secret;

#define SEALED  "sealed"                   /* member: {"url":..} */

enum field_type { F_TEXT, F_INT, F_BOOL, F_WORD, F_SECRET, F_JQ, F_URL,
                  F_PROXY, F_SCHEDULE, F_PEM };

struct field {
    const char       *name;
    enum field_type   type;
    size_t            offset;
    int64_t           min, max;            /* of a number; length of a text */
    const char       *standard;            /* default as text; NULL: required */
    const char       *words;               /* F_WORD: "a|b", index is stored */
    const char       *help;
};

#define INTEGRATION_FIELDS  55             /* rows; checked where it is made */

/* in the order in which a reader wants them */
extern const struct field  integration_fields[INTEGRATION_FIELDS];

/* The index of a word in "a|b|c", or -1. */
int integration_word(const char *words, struct slice word);

/* What a sealed value of integration ID is bound to. */
void integration_secret_place(struct slice id, const char *name,
    char place[160]);

/* One check of a document from outside. */
struct check {
    const json_t              *in, *old;
    json_t                    *out;
    struct slice               id;
    const struct secret       *secret;
    const struct config       *config;
    struct jq_child           *jq;
    struct redact              redact;
    struct integration_fault  *faults;
    size_t                     max, n;
};

/* NAME is the field, or "headers/2". */
void check_fault(struct check *c, const char *name, const char *code,
    const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* V is text of the length that F wants; else a fault. */
bool check_length(struct check *c, const struct field *f, const json_t *v);

/* A write-only value: sealed; what was there stays when nothing is given. */
void check_secret(struct check *c, const struct field *f, const json_t *v);

/*
 * Values that are shown with *** in place of their secrets, and kept sealed
 * beside that in the member "sealed" of the document.  *** that comes in means
 * what is stored.  CHECK is called with the whole URL.
 */
void check_masked_url(struct check *c, const struct field *f, const json_t *v,
    void (*check)(struct check *c, const struct field *f, const char *url));
void check_headers(struct check *c);

/* Zeroed and freed; NULL is fine. */
void integration_ready_free(struct integration_ready *r);

#endif /* INTEGRATION_PRIVATE_H */
