/*
 * The consumer's side of one ring.  Acks are remembered as marks, about 50 ms
 * apart, so that a fixed table covers the hold.
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "ngx_http_capture_source.h"

#include <string.h>

#define MARK_US  (CAPTURE_HOLD_US / (CAPTURE_MARKS - 4))


void
capture_source_init(struct capture_source *s, struct capture_ring *ring,
    int adopted, int64_t now_us)
{
    struct capture_cursor  c;
    int64_t                acked_us;
    uint64_t               taken;
    int                    bad;

    memset(s, 0, sizeof(*s));
    s->ring = ring;
    s->adopted = adopted;

    capture_ring_first(ring, &s->pos);

    if (!adopted) {
        return;
    }

    /* what had an outcome stays held by the last ack's time, no longer */
    capture_ring_get_acked(ring, s->run_id, &acked_us);
    taken = capture_ring_taken(ring);
    c = s->pos;
    bad = 0;

    while (c.seq < taken && capture_ring_next(ring, &c, &bad) != NULL) {
        /* void */
    }

    if (!bad && c.seq > s->pos.seq) {
        s->pos = c;
        s->marks[0].upto = c;
        s->marks[0].acked_us = acked_us > now_us ? now_us : acked_us;
        s->nmarks = 1;
    }
}


const struct capture_rules *
capture_source_rules(struct capture_source *s, uint32_t number)
{
    const void  *blob;
    size_t       len;

    if (number < CAPTURE_SOURCE_RULES && (s->rules_known >> number & 1)) {
        return &s->rules[number];
    }

    len = 0;
    blob = capture_ring_rules(s->ring, number, &len);

    if (number >= CAPTURE_SOURCE_RULES) {
        (void) capture_rules_parse(&s->rules_other, blob, len);
        return &s->rules_other;
    }

    (void) capture_rules_parse(&s->rules[number], blob, len);
    s->rules_known |= (uint64_t) 1 << number;
    return &s->rules[number];
}


void
capture_source_outcome(struct capture_source *s,
    const struct capture_cursor *upto, uint64_t n,
    enum capture_outcome outcome, enum capture_drop why)
{
    struct capture_ship_counters  *counters;
    uint64_t                       taken, again;

    counters = capture_ring_ship_begin(s->ring);
    taken = capture_ring_taken(s->ring);

    again = s->pos.seq < taken ? taken - s->pos.seq : 0;
    again = again > n ? n : again;
    counters->resent += outcome == CAPTURE_ACKED ? again : 0;
    n -= again;

    switch (outcome) {

    case CAPTURE_ACKED:
        counters->acked += n;
        break;

    case CAPTURE_SPOOLED:
        counters->spooled += n;
        break;

    default:
        counters->drops[why] += n;
        break;
    }

    s->pos = *upto;
}


void
capture_source_acked(struct capture_source *s, const char *run_id,
    int64_t now_us)
{
    struct capture_mark  *last;

    memcpy(s->run_id, run_id, strnlen(run_id, CAPTURE_RUN_ID) + 1);
    s->run_id[CAPTURE_RUN_ID] = '\0';
    capture_ring_set_acked(s->ring, s->run_id, now_us);

    last = s->nmarks == 0 ? NULL
           : &s->marks[(s->first_mark + s->nmarks - 1) % CAPTURE_MARKS];

    /* a mark that is joined is held a little longer */
    if (last == NULL || (now_us - last->acked_us >= MARK_US
                         && s->nmarks < CAPTURE_MARKS))
    {
        last = &s->marks[(s->first_mark + s->nmarks) % CAPTURE_MARKS];
        s->nmarks++;
        last->acked_us = now_us;

    } else if (s->nmarks == CAPTURE_MARKS) {
        last->acked_us = now_us;
    }

    last->upto = s->pos;
}


/* Frees up to the oldest mark. */
static void
source_release_oldest(struct capture_source *s)
{
    capture_ring_release(s->ring, &s->marks[s->first_mark].upto);
    s->first_mark = (s->first_mark + 1) % CAPTURE_MARKS;
    s->nmarks--;
}


void
capture_source_release(struct capture_source *s, int64_t now_us, int all)
{
    if (all) {
        s->nmarks = 0;
        capture_ring_release(s->ring, &s->pos);
        return;
    }

    while (s->nmarks > 0 && now_us - s->marks[s->first_mark].acked_us
                            >= CAPTURE_HOLD_US + MARK_US)
    {
        source_release_oldest(s);
    }

    /* nothing is held: what follows the last ack was spooled or dropped */
    if (s->nmarks == 0 && capture_ring_released(s->ring) != s->pos.seq) {
        capture_ring_release(s->ring, &s->pos);
    }
}


void
capture_source_relieve(struct capture_source *s)
{
    size_t  used, size;

    capture_ring_usage(s->ring, &used, &size);

    while (s->nmarks > 0 && used > size / 2) {
        source_release_oldest(s);
        capture_ring_usage(s->ring, &used, &size);
    }
}


uint64_t
capture_source_connected(struct capture_source *s, const char *run_id)
{
    uint64_t  was;

    if (capture_source_held(s) == 0
        || (run_id[0] != '\0' && strcmp(run_id, s->run_id) == 0))
    {
        return 0;
    }

    was = s->pos.seq;
    s->nmarks = 0;
    capture_ring_first(s->ring, &s->pos);
    return was - s->pos.seq;
}


uint64_t
capture_source_waiting(struct capture_source *s)
{
    return capture_ring_committed(s->ring) - s->pos.seq;
}


uint64_t
capture_source_held(struct capture_source *s)
{
    return s->pos.seq - capture_ring_released(s->ring);
}
