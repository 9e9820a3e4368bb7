/* The log document and the attempt as JSON, design section 6. */

#ifndef LOGDOC_JSON_H
#define LOGDOC_JSON_H

#include "logdoc.h"

/* How much of a log is printed. */
enum logdoc_view {
    LOGDOC_ROW,                            /* lists: no headers, no bodies */
    LOGDOC_MASKED,                         /* all but the bodies' content */
    LOGDOC_FULL
};

/*
 * Appends one object.  A body is JSON as it came ("encoding": "json"), text, or
 * base64 when it is not UTF-8; a masked one is null with "masked": true.
 */
void logdoc_json(struct buf *b, const struct logdoc *d, enum logdoc_view view);

void logdoc_json_attempt(struct buf *b, const struct log_attempt *a,
    enum logdoc_view view);

/* The body's value alone; returns the word of "encoding". */
const char *logdoc_json_body(struct buf *b, const struct log_body *body);

/*
 * The next header of a recorded block; false at its end.  A line without a
 * colon is skipped, a folded one (RFC 9112, 5.2) belongs to the one before.
 */
bool logdoc_header_next(struct slice *block, struct slice *name,
    struct slice *value);

#endif /* LOGDOC_JSON_H */
