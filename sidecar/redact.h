/*
 * Which parts of a header, URL or proxy that somebody types are secrets: by the
 * rules that the module redacts captured traffic with.
 */

#ifndef REDACT_H
#define REDACT_H

#include "buf.h"
#include "ngx_http_capture_redact.h"

#define REDACT_MASK   CAPTURE_MASK
#define REDACT_RULES  (16 * 1024)          /* bytes of all names */

struct redact {                            /* not to be copied */
    struct capture_rules  rules;
    uint8_t               blob[REDACT_RULES];
};

/* The module's default names and more, parted by commas or spaces (NULL:
 * none).  What has no room masks everything: redact_fits() says so before. */
void redact_init(struct redact *r, const char *headers, const char *args);
bool redact_fits(const char *headers, const char *args);

/* Is the value of a header of this NAME secret? */
bool redact_header(const struct redact *r, struct slice name);

/* URL with each of its secrets as ***: of listed arguments, and what stands in
 * front of the host.  False: it has none, and nothing was appended. */
bool redact_url(const struct redact *r, struct slice url, struct buf *out);

/*
 * The other way: URL with what BEFORE has wherever URL has ***, found by the
 * name in front of it.  RESULT_NOT_FOUND: BEFORE has no such.
 */
must_check enum result redact_restore(const struct redact *r,
    struct slice url, struct slice before, struct buf *out);

#endif /* REDACT_H */
