/* Buckets and histograms: pure arithmetic. */

#include "heatmap.h"

#include <math.h>

/* end of slot i: 100 us * 10^((i + 1) / 8); the last slot has none */
static const int32_t  slot_ends[HIST_SLOTS - 1] = {
    133, 178, 237, 316, 422, 562, 750, 1000,
    1334, 1778, 2371, 3162, 4217, 5623, 7499, 10000,
    13335, 17783, 23714, 31623, 42170, 56234, 74989, 100000,
    133352, 177828, 237137, 316228, 421697, 562341, 749894, 1000000,
    1333521, 1778279, 2371374, 3162278, 4216965, 5623413, 7498942, 10000000,
    13335214, 17782794, 23713737, 31622777, 42169650, 56234133, 74989421
};


enum heatmap_count
heatmap_count_of(const struct logdoc *d)
{
    switch (d->status) {
    case LOG_SUCCESS:
    case LOG_COMMITTED:
        return HEATMAP_OK;
    case LOG_FAIL:
        return HEATMAP_FAIL;
    default:
        return HEATMAP_NOT_COUNTED;
    }
}


int64_t
heatmap_slot_start(int64_t at_us, int64_t slot_us, int64_t offset_us)
{
    int64_t  local, rest;

    local = at_us + offset_us;
    rest = local % slot_us;

    if (rest < 0) {
        rest += slot_us;
    }

    return local - rest - offset_us;
}


unsigned
heatmap_hist_slot(int64_t duration_us)
{
    unsigned  low, high, mid;

    low = 0;
    high = HIST_SLOTS - 1;

    /* the first slot whose end lies above */
    while (low < high) {
        mid = (low + high) / 2;

        if (duration_us < slot_ends[mid]) {
            high = mid;

        } else {
            low = mid + 1;
        }
    }

    return low;
}


void
heatmap_hist_range(unsigned slot, int64_t *from_us, int64_t *to_us)
{
    *from_us = slot == 0 ? 0 : slot_ends[slot - 1];
    *to_us = slot >= HIST_SLOTS - 1 ? INT64_MAX : slot_ends[slot];
}


static uint32_t
sum_capped(uint32_t a, uint64_t b)
{
    uint64_t  sum = a + b;

    return sum > UINT32_MAX ? UINT32_MAX : (uint32_t) sum;
}


void
heatmap_hist_merge(uint32_t to[HIST_SLOTS], const uint32_t from[HIST_SLOTS])
{
    for (unsigned i = 0; i < HIST_SLOTS; i++) {
        to[i] = sum_capped(to[i], from[i]);
    }
}


void
heatmap_hist_add(uint32_t hist[HIST_SLOTS], int64_t duration_us, uint32_t n)
{
    unsigned  slot = heatmap_hist_slot(duration_us);

    hist[slot] = sum_capped(hist[slot], n);
}


/* A point of slot I, WHERE (0..1] of the way through it. */
static int64_t
slot_point(unsigned i, double where)
{
    double  from, to;

    from = i == 0 ? 1.0 : slot_ends[i - 1];
    /* the last slot is taken to be as wide as the others */
    to = i < HIST_SLOTS - 1 ? slot_ends[i] : from * 1.3335;

    return (int64_t) (from * pow(to / from, where));
}


int64_t
heatmap_hist_percentile(const uint32_t hist[HIST_SLOTS], double p)
{
    double    want, before;
    uint64_t  total;
    unsigned  i;

    total = 0;
    for (i = 0; i < HIST_SLOTS; i++) {
        total += hist[i];
    }

    if (total == 0) {
        return LOGDOC_NONE;
    }

    p = p < 0 ? 0 : p > 1 ? 1 : p;
    want = p * (double) total;
    before = 0;

    for (i = 0; i < HIST_SLOTS; i++) {
        if (hist[i] > 0 && before + hist[i] >= want) {
            break;
        }

        before += hist[i];
    }

    return slot_point(i, (want - before) / hist[i]);
}


static size_t
varint_put(uint8_t *p, uint32_t v)
{
    size_t  n = 0;

    while (v >= 0x80) {
        p[n++] = (uint8_t) (v | 0x80);
        v >>= 7;
    }

    p[n++] = (uint8_t) v;
    return n;
}


size_t
heatmap_hist_pack(const uint32_t hist[HIST_SLOTS],
    uint8_t out[HEATMAP_HIST_MAX])
{
    unsigned  next = 0;
    size_t    n = 0;

    for (unsigned i = 0; i < HIST_SLOTS; i++) {
        if (hist[i] != 0) {
            out[n++] = (uint8_t) (i - next);
            n += varint_put(out + n, hist[i]);
            next = i + 1;
        }
    }

    return n;
}


enum result
heatmap_hist_merge_packed(uint32_t hist[HIST_SLOTS], const uint8_t *p,
    size_t n)
{
    const uint8_t  *end = n == 0 ? p : p + n;
    unsigned        slot = 0;

    while (p < end) {
        uint64_t  count = 0;
        unsigned  shift = 0;

        slot += *p++;

        do {
            if (p == end || shift > 28) {
                return RESULT_INVALID;
            }

            count |= (uint64_t) (*p & 0x7f) << shift;
            shift += 7;
        } while (*p++ & 0x80);

        if (slot >= HIST_SLOTS) {
            return RESULT_INVALID;
        }

        hist[slot] = sum_capped(hist[slot], count);
        slot++;
    }

    return RESULT_OK;
}
