/* Time: microseconds since 1970 (wall) or since boot (monotonic), and text. */

#ifndef CLOCK_H
#define CLOCK_H

#include <stdint.h>

#include "result.h"

#define CLOCK_RFC3339  24                  /* 2026-01-02T03:04:05.678Z */

int64_t clock_wall_us(void);
int64_t clock_mono_us(void);

/* RFC 3339, UTC, milliseconds (rounded down). */
void clock_text(int64_t us, char text[CLOCK_RFC3339 + 1]);

/* RFC 3339 with any offset and up to 9 decimals, NUL-terminated, whole. */
must_check enum result clock_parse(const char *text, int64_t *us);

#endif /* CLOCK_H */
