/* What a replay would send, made without sending it; the CLI uses it too. */

#ifndef API_REPLAY_ASK_H
#define API_REPLAY_ASK_H

#include "api_docs.h"
#include "retry_doc.h"

struct replay_ask {
    struct arena         *arena;
    const struct logdoc  *log;             /* with its body */
    const json_t         *edit;            /* members that replace, or NULL */
    json_t               *credentials;     /* of its developer, or NULL */
    /* made: what is to be sent; masks left out, credentials put in by name */
    json_t               *ask, *left_out, *filled;
    struct docs_errors    e;               /* faults of the edit */
};

/* Why that log cannot be made again, or NULL; EDITED: with a body of its
 * own. */
const char *replay_ask_refusal(const struct logdoc *d, bool edited);

/* Fills ask, left_out, filled and e; false: no memory.  Clean up in any
 * case. */
must_check bool replay_ask_make(struct replay_ask *x);
void replay_ask_cleanup(struct replay_ask *x);

/* {"log_id","to","request":{..,"bytes"},"left_out","filled"}; NULL: no
 * memory. */
json_t *replay_ask_plan(const struct replay_ask *x, const char *base);

/* Keeps it under that id for the thread that sends, and tells that thread.  The
 * caller cleans *d up. */
must_check enum result replay_ask_keep(const struct replay_ask *x,
    struct store *s, const uint8_t planned[UUID_BYTES], struct retry_doc *d);

#endif /* API_REPLAY_ASK_H */
