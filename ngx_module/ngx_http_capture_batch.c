/* A pipeline of commands, and the judging of its replies. */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "ngx_http_capture_batch.h"

#include <stdio.h>
#include <string.h>

/* local AOF, no replica, answer within a millisecond */
#define WAITAOF \
    "*4\r\n$7\r\nWAITAOF\r\n$1\r\n1\r\n$1\r\n0\r\n$1\r\n1\r\n"


void
capture_batch_init(struct capture_batch *b, struct capture_encoder *encoder)
{
    memset(b, 0, sizeof(*b));
    b->encoder = encoder;
}


void
capture_batch_cleanup(struct capture_batch *b)
{
    capture_out_free(&b->out);
    capture_encoder_destroy(b->encoder);
}


void
capture_batch_reset(struct capture_batch *b)
{
    b->out.n = 0;
    b->n = 0;
    b->nreplies = 0;
    b->asks_fsync = 0;
    b->no_memory = 0;
    b->ok = 0;
    b->fsynced = 0;
    b->refused = 0;
    b->class = CAPTURE_REPLY_OK;
    b->text[0] = '\0';
}


static struct capture_entry *
entry_add(struct capture_batch *b, struct capture_source *s,
    const struct capture_cursor *upto, uint64_t frames)
{
    struct capture_entry  *entry;

    entry = &b->entries[b->n++];
    entry->source = s;
    entry->upto = *upto;
    entry->frames = frames;
    entry->at = b->out.n;
    entry->len = 0;
    entry->state = CAPTURE_ENTRY_UNREADABLE;
    entry->class = CAPTURE_REPLY_OK;
    return entry;
}


/* The entry's command stands at the end of out: it will have a reply. */
static void
entry_sent(struct capture_batch *b, struct capture_entry *entry)
{
    entry->len = b->out.n - entry->at;
    entry->state = CAPTURE_ENTRY_UNKNOWN;
    b->reply_of[b->nreplies++] = (uint16_t) (entry - b->entries);
}


unsigned
capture_batch_add_frames(struct capture_batch *b, struct capture_source *s,
    unsigned commands, size_t bytes)
{
    const struct capture_frame  *f;
    struct capture_cursor        c;
    struct capture_entry        *entry;
    uint64_t                     seq;
    unsigned                     first;
    int                          bad, rc;

    first = b->n;
    c = s->pos;

    while (b->n < commands && b->out.n < bytes) {
        f = capture_ring_next(s->ring, &c, &bad);

        if (f == NULL) {
            if (bad) {
                seq = c.seq;
                (void) capture_ring_skip(s->ring, &c);
                (void) entry_add(b, s, &c, c.seq - seq);
            }
            break;
        }

        entry = entry_add(b, s, &c, 1);
        memcpy(entry->id, f->id, sizeof(entry->id));
        rc = capture_record_encode(b->encoder, f,
                                   capture_source_rules(s, f->rules),
                                   &b->out);
        if (rc == -2) {
            b->n--;
            b->no_memory = 1;
            break;
        }

        if (rc == 0) {
            entry_sent(b, entry);
        }
    }

    return b->n - first;
}


int
capture_batch_add_command(struct capture_batch *b, const char *p, size_t len,
    uint64_t off)
{
    struct capture_cursor  c = { off, 0 };
    struct capture_entry  *entry;

    if (b->n == CAPTURE_BATCH_COMMANDS
        || capture_out_reserve(&b->out, len) != 0)
    {
        return -1;
    }

    entry = entry_add(b, NULL, &c, 1);
    memset(entry->id, 0, sizeof(entry->id));
    memcpy(entry->id, &off, sizeof(off));

    memcpy(b->out.p + b->out.n, p, len);
    b->out.n += len;
    entry_sent(b, entry);
    return 0;
}


int
capture_batch_add_fsync(struct capture_batch *b)
{
    if (capture_out_reserve(&b->out, sizeof(WAITAOF) - 1) != 0) {
        return -1;
    }

    memcpy(b->out.p + b->out.n, WAITAOF, sizeof(WAITAOF) - 1);
    b->out.n += sizeof(WAITAOF) - 1;
    b->asks_fsync = 1;
    return 0;
}


static void
refusal(struct capture_batch *b, const struct capture_reply *reply)
{
    char  *args;

    b->refused++;
    if (b->refused > 1) {
        return;
    }

    b->class = capture_reply_class(reply);
    (void) snprintf(b->text, sizeof(b->text), "%.*s",
                    (int) (reply->len < 120 ? reply->len : 120), reply->p);

    /* Redis repeats arguments of a command that it does not know */
    args = strstr(b->text, ", with args");
    if (args != NULL) {
        *args = '\0';
    }
}


/* Called for each reply, in order. */
static int
batch_reply(void *ctx, unsigned i, const struct capture_reply *reply)
{
    struct capture_batch  *b = ctx;
    struct capture_entry  *entry;

    if (i == b->nreplies) {
        b->fsynced = reply->type != '*' || reply->number < 1
                     ? -1 : reply->ints[0] >= 1;
        return 0;
    }

    entry = &b->entries[b->reply_of[i]];

    if (reply->type == '-') {
        refusal(b, reply);
        entry->state = CAPTURE_ENTRY_REFUSED;
        entry->class = (uint8_t) capture_reply_class(reply);
        return 0;
    }

    /* XADD answers with an id: anything else is not the Redis we mean */
    if (reply->type != '$' || reply->nil
        || memchr(reply->p, '-', reply->len) == NULL)
    {
        return -1;
    }

    entry->state = CAPTURE_ENTRY_OK;
    b->ok++;
    return 0;
}


int
capture_batch_exchange(struct capture_batch *b, struct capture_redis *r)
{
    unsigned  n;

    n = b->nreplies + (unsigned) b->asks_fsync;
    if (n == 0) {
        return 0;
    }

    return capture_redis_exchange(r, b->out.p, b->out.n, n, batch_reply, b)
           == n ? 0 : -1;
}


int
capture_batch_poisonous(const struct capture_batch *b, unsigned i)
{
    return b->entries[i].state == CAPTURE_ENTRY_REFUSED
           && b->entries[i].class == CAPTURE_REPLY_BAD && b->ok > 0;
}
