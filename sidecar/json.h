/*
 * JSON as text: printing values into a buffer, and telling whether bytes are
 * JSON (RFC 8259), so that a stored body goes out digit for digit as it came.
 * Parsing into values is jansson's.
 */

#ifndef JSON_H
#define JSON_H

#include "buf.h"

#define JSON_MAX_DEPTH  32

/* One value, nothing after it but white space, valid UTF-8, at most
 * JSON_MAX_DEPTH levels. */
bool json_valid(struct slice s);

/* A quoted string; bytes that are not UTF-8 become U+FFFD. */
void json_text(struct buf *b, struct slice s);

/* A quoted RFC 3339 time, or null for LOGDOC_NONE (INT64_MIN). */
void json_time(struct buf *b, int64_t us);

/* A number, or null for INT64_MIN. */
void json_int(struct buf *b, int64_t n);

/* Microseconds as milliseconds with up to three decimals, or null. */
void json_ms(struct buf *b, int64_t us);

/* Standard base64, quoted. */
void json_base64(struct buf *b, struct slice s);

#endif /* JSON_H */
