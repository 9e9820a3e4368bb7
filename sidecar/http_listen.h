/* A listening socket: a unix path or a loopback address, nothing else. */

#ifndef HTTP_LISTEN_H
#define HTTP_LISTEN_H

#include <stddef.h>

#include "result.h"

/*
 * Binds and listens.  A dead socket file is replaced, a live one is an error.
 * *port is the TCP port, 0 for a unix socket.  ERR says what to write instead.
 */
must_check enum result http_listen(const char *address, unsigned mode, int *fd,
    unsigned *port, char *err, size_t errlen);

#endif /* HTTP_LISTEN_H */
