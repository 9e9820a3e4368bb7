/* GET /summary and GET /heatmap: what buckets, or documents, add up to. */

#ifndef API_COUNTS_H
#define API_COUNTS_H

#include "api_http.h"

void api_summary(struct api_call *c);
void api_heatmap(struct api_call *c);

/* The slot that a range is shown in: 5 min up to 8 h .. 1 day. */
int64_t api_counts_slot(int64_t range_us);

/* "Z", "UTC", "+05:30", "-03:00" as microseconds east. */
must_check enum result api_counts_offset(struct slice s, int64_t *us);

#endif /* API_COUNTS_H */
