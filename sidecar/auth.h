/*
 * Who calls: an API key (Authorization: Bearer idash_..) or a session cookie
 * that a key was exchanged for.  The key's document is read on every call, so a
 * revoked one is refused at once, with its sessions.
 */

#ifndef AUTH_H
#define AUTH_H

#include "filter.h"
#include "secret.h"
#include "store.h"

#define AUTH_MAX_LABS      64
#define AUTH_MAX_NAME      128
#define AUTH_SESSION_US    (INT64_C(12) * 3600 * 1000000)
#define AUTH_SESSION_TEXT  128             /* with the NUL */
#define AUTH_FAILURES      10              /* a minute and address, then 429 */

enum auth_role { AUTH_VIEWER, AUTH_OPERATOR, AUTH_ADMIN, AUTH_AUDITOR,
                 AUTH_ROLES };

#define AUTH_READ      0x01                /* logs, counts, configuration */
#define AUTH_OPERATE   0x02                /* resend, replay, retry */
#define AUTH_CONFIG    0x04                /* change configuration */
#define AUTH_KEYS      0x08                /* list, make and revoke keys */
#define AUTH_AUDIT     0x10                /* read the audit log */
#define AUTH_UNMASK    0x20                /* bodies in clear, audited */
#define AUTH_PLATFORM  0x40                /* org 0: every tenant */
#define AUTH_RIGHTS    7

struct auth;

struct auth_caller {
    char            key_id[16];
    char            name[AUTH_MAX_NAME];
    enum auth_role  role;
    unsigned        rights;
    int64_t         org_id;
    int64_t         labs[AUTH_MAX_LABS];
    int             nlabs;                 /* -1: all labs of the org */
    int64_t         expires_us;            /* of key or session; NONE: never */
    bool            session;               /* came by cookie: CSRF rules */
};

must_check enum result auth_create(struct store *s, const struct secret *secret,
    struct auth **out);
void auth_destroy(struct auth *a);

/*
 * TOKEN is what follows "Bearer ".  NOT_FOUND for every wrong key alike, AGAIN
 * when that address failed too often within the minute (a right key always
 * passes: nobody locks out his neighbours), UNAVAILABLE when the store is away.
 */
must_check enum result auth_bearer(struct auth *a, struct slice token,
    const char *ip, struct auth_caller *out);

/* The same with a session's text. */
must_check enum result auth_session(struct auth *a, struct slice text,
    const char *ip, struct auth_caller *out);

/* A session of the caller, until *expires_us. */
must_check enum result auth_session_make(struct auth *a,
    const struct auth_caller *c, char text[AUTH_SESSION_TEXT],
    int64_t *expires_us);

/*
 * Whether C, who came in some time ago, would come in the same way now.
 * NOT_FOUND: the key is gone, revoked or expired, or another's rights stand
 * under it.
 */
must_check enum result auth_again(struct auth *a, const struct auth_caller *c);

/* Borrows the caller's labs. */
void auth_scope(const struct auth_caller *c, struct scope *out);

const char *auth_role_text(enum auth_role r);
int auth_role_parse(struct slice s);       /* -1: unknown */
const char *auth_right_text(unsigned bit); /* of 1 << bit */

#endif /* AUTH_H */
