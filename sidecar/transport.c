/* What both transports share: the life of a send. */

#include "transport.h"

#include <openssl/crypto.h>
#include <stdlib.h>

#include "logdoc.h"


struct send *
send_create(void)
{
    struct send  *s;

    s = calloc(1, sizeof(*s));
    if (s == NULL) {
        return NULL;
    }

    arena_init(&s->arena, SEND_MAX_ARENA);
    s->http_status = LOGDOC_NONE;
    s->response_bytes = LOGDOC_NONE;
    s->started_us = LOGDOC_NONE;
    s->duration_us = LOGDOC_NONE;
    s->connect_us = LOGDOC_NONE;
    s->first_byte_us = LOGDOC_NONE;
    return s;
}


void
send_destroy(struct send *s)
{
    if (s == NULL) {
        return;
    }

    OPENSSL_cleanse(s->http.keys, sizeof(s->http.keys));
    arena_cleanup(&s->arena);
    free(s);
}
