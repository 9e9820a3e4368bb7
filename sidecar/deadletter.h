/*
 * What cannot become a log, kept with its reason.  Body of the document:
 * {"reason", "stream", "entry", "deliveries", "received_at", "bytes",
 *  "record": base64 of the names and values in turn, each as a netstring
 *  ("3:abc,"), "record_cut": true when only a part of them was kept}
 */

#ifndef DEADLETTER_H
#define DEADLETTER_H

#include "queue.h"
#include "store.h"

/* The same entry again changes nothing: the id is made of the entry's. */
must_check enum result deadletter_put(struct store *s, const char *stream,
    const struct queue_entry *e, const char *reason, int64_t retention_us);

/* Deletes the oldest until all are together within MAX bytes. */
must_check enum result deadletter_trim(struct store *s, int64_t max);

#endif /* DEADLETTER_H */
