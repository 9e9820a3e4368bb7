/*
 * The arithmetic of pre-counted buckets, pure, for both stores and the API:
 * which bucket, which histogram slot, percentiles, packing, merging.
 */

#ifndef HEATMAP_H
#define HEATMAP_H

#include "logdoc.h"

#define HEATMAP_BUCKET_US   INT64_C(300000000)         /* 5 min */
#define HEATMAP_QUARTER_US  INT64_C(900000000)
#define HEATMAP_HOUR_US     INT64_C(3600000000)
#define HEATMAP_DAY_US      INT64_C(86400000000)

/*
 * Slots of a histogram of durations: eight a decade.  Slot 0 ends at 133 us,
 * slot i at 100 us * 10^((i + 1) / 8), the last one has no end (from 75 s).
 */
#define HIST_SLOTS  48

/* A histogram packed by heatmap_hist_pack is never longer. */
#define HEATMAP_HIST_MAX  (HIST_SLOTS * 6)

enum heatmap_count { HEATMAP_NOT_COUNTED, HEATMAP_OK, HEATMAP_FAIL };

/*
 * How a log counts: SUCCESS and COMMITTED as ok, FAIL as fail.  What is not at
 * its end yet is not counted, nor is what was cancelled.
 */
enum heatmap_count heatmap_count_of(const struct logdoc *d);

/* Start of the slot of AT; slots are aligned to UTC + OFFSET. */
int64_t heatmap_slot_start(int64_t at_us, int64_t slot_us, int64_t offset_us);

/* The histogram slot of a duration (negative ones count as 0). */
unsigned heatmap_hist_slot(int64_t duration_us);
/* [from, to) of a slot in microseconds; the last one's end is INT64_MAX. */
void heatmap_hist_range(unsigned slot, int64_t *from_us, int64_t *to_us);

/* Adds FROM to TO; stops at UINT32_MAX instead of wrapping. */
void heatmap_hist_merge(uint32_t to[HIST_SLOTS],
    const uint32_t from[HIST_SLOTS]);
void heatmap_hist_add(uint32_t hist[HIST_SLOTS], int64_t duration_us,
    uint32_t n);

/*
 * The duration that P (0..1) of the counted ones do not exceed, between the
 * ends of its slot on a logarithmic scale; LOGDOC_NONE when all slots are 0.
 */
int64_t heatmap_hist_percentile(const uint32_t hist[HIST_SLOTS], double p);

/*
 * Slots that are not 0 as pairs (distance from the last one, count), both
 * varints.  Pack returns the bytes written.  Merge adds what is packed; a
 * damaged tail is RESULT_INVALID and what stood before it has been added.
 */
size_t heatmap_hist_pack(const uint32_t hist[HIST_SLOTS],
    uint8_t out[HEATMAP_HIST_MAX]);
must_check enum result heatmap_hist_merge_packed(uint32_t hist[HIST_SLOTS],
    const uint8_t *p, size_t n);

#endif /* HEATMAP_H */
