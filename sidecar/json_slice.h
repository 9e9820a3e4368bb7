/* Text of jansson's values as slices. */

#ifndef JSON_SLICE_H
#define JSON_SLICE_H

#include <jansson.h>

#include "buf.h"

/* The text of a string, borrowed; SLICE_NONE of others. */
static inline struct slice
json_slice(const json_t *v)
{
    return (struct slice) { json_string_value(v), json_string_length(v) };
}

#endif /* JSON_SLICE_H */
