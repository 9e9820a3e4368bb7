/*
 * One pipeline to Redis: commands of frames and of spooled records, their
 * replies, and what each reply makes of its record.  It knows no time and keeps
 * no connection; the shipper decides what to do next from the verdict.
 */

#ifndef NGX_HTTP_CAPTURE_BATCH_H
#define NGX_HTTP_CAPTURE_BATCH_H

#include <stddef.h>
#include <stdint.h>

#include "ngx_http_capture_record.h"
#include "ngx_http_capture_redis.h"
#include "ngx_http_capture_source.h"

#define CAPTURE_BATCH_COMMANDS  512
#define CAPTURE_BATCH_BYTES     (1024 * 1024)

enum capture_entry_state {
    CAPTURE_ENTRY_UNKNOWN,                 /* no reply: send it again */
    CAPTURE_ENTRY_OK,
    CAPTURE_ENTRY_REFUSED,
    CAPTURE_ENTRY_UNREADABLE               /* nothing was sent for it */
};

struct capture_entry {
    struct capture_source  *source;        /* NULL: a record of the spool */
    struct capture_cursor   upto;          /* behind the frame; off: spool's */
    uint64_t                frames;        /* 1, more for what was unreadable */
    size_t                  at, len;       /* its command in out */
    uint8_t                 id[16];        /* names it when it is set aside */
    uint8_t                 state;         /* enum capture_entry_state */
    uint8_t                 class;         /* enum capture_reply_class */
};

struct capture_batch {
    struct capture_out      out;
    struct capture_encoder *encoder;
    unsigned                n;             /* entries */
    unsigned                nreplies;      /* to expect */
    int                     asks_fsync;    /* WAITAOF is the last command */
    int                     no_memory;
    struct capture_entry    entries[CAPTURE_BATCH_COMMANDS];
    uint16_t                reply_of[CAPTURE_BATCH_COMMANDS];

    /* the verdict */
    unsigned                ok;
    int                     fsynced;       /* 1 yes, 0 not yet, -1 cannot */
    unsigned                refused;
    enum capture_reply_class  class;       /* of the first refusal */
    char                    text[128];     /* its words */
};

/* The encoder is taken. */
void capture_batch_init(struct capture_batch *b,
    struct capture_encoder *encoder);
void capture_batch_cleanup(struct capture_batch *b);
void capture_batch_reset(struct capture_batch *b);

/*
 * Adds frames of S from its pos on, until the batch has COMMANDS entries or
 * BYTES bytes.  Pos stays; returns how many entries were added.
 */
unsigned capture_batch_add_frames(struct capture_batch *b,
    struct capture_source *s, unsigned commands, size_t bytes);

/* Adds a command of the spool that ends there at OFF; -1 without room. */
int capture_batch_add_command(struct capture_batch *b, const char *p,
    size_t len, uint64_t off);

/* Ends the batch with the question whether all of it is on Redis' disk. */
int capture_batch_add_fsync(struct capture_batch *b);

/* Sends it and sets the verdict; 0 when every reply came. */
int capture_batch_exchange(struct capture_batch *b, struct capture_redis *r);

/*
 * 1 when entry I alone was refused while others were taken, for a reason that
 * lies in the record: it would be refused for ever.
 */
int capture_batch_poisonous(const struct capture_batch *b, unsigned i);

#endif /* NGX_HTTP_CAPTURE_BATCH_H */
