/*
 * Transports: one attempt in, one outcome out.  They hold no retry timer, know
 * no store and no policy; dispatch gives them work and retry.c decides what
 * follows.
 */

#ifndef TRANSPORT_H
#define TRANSPORT_H

#include "buf.h"
#include "hl7.h"
#include "netguard.h"
#include "outcome.h"
#include "result.h"
#include "sign.h"

#define SEND_MAX_HEADERS   100
#define SEND_MAX_BODY      (1024 * 1024)
#define SEND_MAX_RESPONSE  (16 * 1024)
#define SEND_MAX_ARENA     (4 * 1024 * 1024)

enum send_auth { SEND_AUTH_NONE, SEND_AUTH_BASIC, SEND_AUTH_BEARER,
                 SEND_AUTH_OAUTH2, SEND_AUTH_HEADER };

struct send_http {
    const char      *method;               /* GET POST PUT PATCH DELETE */
    const char      *url;
    const char *const  *headers;           /* "Name: value" */
    unsigned         nheaders;
    const char      *content_type;
    struct sign_key  keys[SIGN_MAX_KEYS];  /* 0 keys: not signed */
    unsigned         nkeys;
    enum send_auth   auth;
    const char      *user, *secret;        /* bearer: secret only */
    const char      *token_url, *scope;    /* OAuth2 client credentials */
    struct slice     cert_pem, key_pem, ca_pem;      /* "" : system's CAs */
    const char      *proxy;                /* NULL: none */
    bool             plain_allowed;        /* http:// by opt-in */
    unsigned         connect_ms, total_ms; /* of one, of all its requests */
};

struct send_mllp {
    const char        *host;
    unsigned           port;
    bool               tls, lenient_end;
    struct slice       cert_pem, key_pem, ca_pem;
    enum { MLLP_RELEASE_1, MLLP_RELEASE_2 } release;
    const char        *control_id;         /* MSH-10 of the body */
    struct hl7_rules   rules;
    unsigned           connect_ms, first_byte_ms, ack_ms;
};

/* One attempt.  Everything is borrowed: from ARENA, which the send owns, or
 * from what outlives it (a delivery's log and integration). */
struct send {
    struct send     *next;                 /* for whoever holds it */
    struct arena     arena;
    void            *owner;
    struct slice     destination;          /* what shares tokens, connections */
    const char      *message_id;           /* webhook-id */
    struct slice     body;
    struct send_http http;
    struct send_mllp mllp;
    bool             renewed;              /* its token was, in this attempt */
    int64_t          begun_us;             /* monotonic; 0: not yet */

    /* what came of it, filled by the transport */
    struct outcome   outcome;
    char             message[256];         /* of an error, for people */
    int64_t          http_status;          /* LOGDOC_NONE: no answer */
    bool             gone;                 /* 410: disable the integration */
    bool             throttled;            /* others to it wait as long too */
    bool             duplicate, unconfirmed, id_differs;
    struct slice     response_headers, response_body;    /* in the arena */
    bool             response_cut;
    int64_t          response_bytes;
    int64_t          started_us;           /* wall */
    int64_t          duration_us, connect_us, first_byte_us;  /* NONE: not so */
    char             peer[64];             /* address that answered */
};

/* Zeroed, with its arena and null results. */
struct send *send_create(void);
void send_destroy(struct send *s);         /* wipes its keys */

struct transport_config {
    const struct netguard  *guard;         /* lives as long as the transport */
    unsigned                max_connections;
    unsigned                stop_ms;       /* what is in flight may finish */
    const char             *allow_ports;   /* "443 8443" */
    const char             *user_agent;
};

/*
 * Called once for each submitted send, in the transport's own thread: hand it
 * to another thread and return; do not block.  Submitting from here is fine:
 * the thread begins it when it returns.
 */
typedef void (*transport_done)(void *arg, struct send *s);

struct transport;

struct transport_ops {
    const char  *name;
    enum result (*start)(const struct transport_config *c,
        transport_done done, void *arg, struct transport **out);
    void (*submit)(struct transport *t, struct send *s);     /* any thread */
    /* Ends what is left as NOT_SENT after stop_ms; all are done on return. */
    void (*stop)(struct transport *t);
};

extern const struct transport_ops  transport_http;
extern const struct transport_ops  transport_mllp;

#endif /* TRANSPORT_H */
