/*
 * A client connection over TCP or TLS that never blocks: open, then read and
 * write until they say AGAIN, poll for what they wait for.
 */

#ifndef STREAM_H
#define STREAM_H

#include <sys/socket.h>

#include "buf.h"
#include "result.h"

struct stream;

struct stream_tls {                        /* all borrowed for stream_open */
    const char    *host;                   /* name that must be certified */
    struct slice   cert_pem, key_pem;      /* ours; "" none */
    struct slice   ca_pem;                 /* "": the system's */
};

/* TLS NULL: plain.  RESULT_INVALID: certificate, key or CA cannot be used. */
must_check enum result stream_open(const struct sockaddr *sa, socklen_t len,
    const struct stream_tls *tls, struct stream **out, const char **why);
void stream_close(struct stream *s);

/*
 * RESULT_OK: connected, and certified with TLS; AGAIN: not yet; UNAVAILABLE:
 * it failed, *why is text that lives as long as the stream.
 */
must_check enum result stream_connect(struct stream *s, const char **why);

/* RESULT_OK: *n bytes went (n > 0); AGAIN; UNAVAILABLE: it is broken. */
must_check enum result stream_write(struct stream *s, struct slice data,
    size_t *n);

/* RESULT_OK: *n bytes came; AGAIN; NOT_FOUND: the peer closed;
 * UNAVAILABLE: it is broken. */
must_check enum result stream_read(struct stream *s, void *p, size_t size,
    size_t *n);

int stream_fd(const struct stream *s);
short stream_events(const struct stream *s);   /* poll's, of the last AGAIN */

#endif /* STREAM_H */
