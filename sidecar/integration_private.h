/*
 * What the files of integration*.c share: the table of an integration's fields
 * and how its values are read.
 */

#ifndef INTEGRATION_PRIVATE_H
#define INTEGRATION_PRIVATE_H

#include <jansson.h>

#include "buf.h"

enum field_type { F_TEXT, F_INT, F_BOOL, F_WORD, F_SECRET, F_JQ, F_URL,
                  F_SCHEDULE, F_PEM };

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

/* The text of a string, borrowed; SLICE_NONE of others. */
static inline struct slice
json_slice(const json_t *v)
{
    return (struct slice) { json_string_value(v), json_string_length(v) };
}

/* What a sealed value of integration ID is bound to. */
void integration_secret_place(struct slice id, const char *name,
    char place[160]);

#endif /* INTEGRATION_PRIVATE_H */
