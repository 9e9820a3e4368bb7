/* GET /logs as CSV or NDJSON: every log of a filter, streamed and audited. */

#ifndef API_EXPORT_H
#define API_EXPORT_H

#include "api_http.h"

enum api_format { API_FORMAT_CSV, API_FORMAT_NDJSON };

/* Takes the call's arena, which the filter borrows from. */
void api_export(struct api_call *c, const struct filter *f, bool ascending,
    enum api_format format);

/* One CSV cell, quoted; what a spreadsheet would take for a formula gets a
 * quotation mark in front. */
void api_export_cell(struct buf *b, struct slice s);

#endif /* API_EXPORT_H */
