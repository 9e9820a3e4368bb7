/* UUIDv7 (RFC 9562, section 5.7) as ids of logs: time first, so they sort. */

#ifndef UUID_H
#define UUID_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"

#define UUID_BYTES  16
#define UUID_TEXT   36                     /* without the NUL */

/* New id of the time US: ms in the time field, us % 1000 in rand_a. */
void uuid_make(uint8_t id[UUID_BYTES], int64_t us);
void uuid_text(const uint8_t id[UUID_BYTES], char text[UUID_TEXT + 1]);
/* Lower or upper case, any version. */
must_check enum result uuid_parse(struct slice s, uint8_t id[UUID_BYTES]);
/* Microseconds since 1970 of an id made as above. */
int64_t uuid_time_us(const uint8_t id[UUID_BYTES]);
bool uuid_is_null(const uint8_t id[UUID_BYTES]);

#endif /* UUID_H */
