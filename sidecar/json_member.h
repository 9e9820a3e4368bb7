/* The exact bytes of one member's value in the text of a JSON object. */

#ifndef JSON_MEMBER_H
#define JSON_MEMBER_H

#include "buf.h"

/*
 * RESULT_OK: *out is the range in JSON, white space around it left out.
 * RESULT_NOT_FOUND: no such member.  RESULT_INVALID: not an object, or broken
 * before the member's end.
 */
must_check enum result json_member_range(struct slice json, const char *name,
    struct slice *out);

#endif /* JSON_MEMBER_H */
