/*
 * An inbound call made again, edited, through nginx: what is kept of it, the
 * signed header that it carries, and how the drain knows it by that.
 */

#ifndef REPLAY_H
#define REPLAY_H

#include "retry_doc.h"
#include "secret.h"

#define REPLAY_HEADER  "Idash-Replay"
#define REPLAY_TOKEN   192                 /* with the NUL */

/* "v1.<replay>.<log>.<us>.<hmac>" */
void replay_sign(const struct secret *s, const char *replay, const char *log,
    int64_t now_us, char token[REPLAY_TOKEN]);

/*
 * Looks at an inbound log that is to be stored.  A header of ours, fresh and
 * used for the first time, sets replay_of, and whose it is when the call
 * carried no key; the replay learns the log's id.  Any other header of that
 * name only sets LOG_FLAG_BAD_REPLAY.  Not OK: the store could not say whether
 * it is the first; D has replay_of then, and the replay knows no log.
 */
must_check enum result replay_claim(const struct secret *s,
    struct store *store, struct logdoc *d, struct arena *a);

/* The log that a replay became; false: it is not stored yet. */
bool replay_log(struct store *store, const char *replay,
    char log[UUID_TEXT + 1]);

/* Makes it known to the thread that sends. */
must_check enum result replay_mark(struct store *s, const char *replay);

/* The credentials of a developer: {"headers":[[n,v]],"query":[[n,v]]}, or NULL
 * when none are set.  The caller owns the result. */
json_t *replay_credentials(struct store *store, const struct secret *s,
    const char *developer);
/* Seals them for that developer; the text is the caller's, NULL on failure. */
char *replay_seal(const struct secret *s, const char *developer,
    const json_t *credentials);

/* Does SEALED (NULL: nothing) hold just these? */
bool replay_sealed_same(const struct secret *s, const char *developer,
    const char *sealed, const json_t *credentials);

/* A header that the edited call must not bring along. */
bool replay_header_dropped(struct slice name);

#endif /* REPLAY_H */
