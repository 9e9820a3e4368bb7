/*
 * What of an integration is secret: sealed on the way in, left out or shown as
 * *** on the way out.  Whole values (auth_secret, client_key) are write-only;
 * of headers, URLs and the proxy it is what redact.c says.
 */

#include "integration.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

#include "http_outcome.h"
#include "integration_private.h"

#define MAX_PLAIN   (256 * 1024)
#define MAX_HEADER  32                     /* "headers/99" */


static void
wipe(struct buf *plain)
{
    if (plain->p != NULL) {
        OPENSSL_cleanse(plain->p, plain->n);
    }

    buf_cleanup(plain);
}


/* -- whole values ---------------------------------------------------------- */

/* What is given is what is there: the same write twice changes nothing. */
static bool
secret_stays(struct check *c, const struct field *f, const char *place,
    struct slice given)
{
    const json_t  *v = json_object_get(c->old, f->name);
    struct buf     plain;
    bool           same;

    if (json_string_length(v) == 0) {
        return false;
    }

    buf_init(&plain, MAX_PLAIN);
    same = seal_open(c->secret, slice_of(place), json_slice(v), &plain)
               == RESULT_OK
           && plain.n == given.n && CRYPTO_memcmp(plain.p, given.p, given.n)
                                        == 0;

    wipe(&plain);

    if (same) {
        (void) json_object_set_new(c->out, f->name, json_deep_copy(v));
    }

    return same;
}


void
check_secret(struct check *c, const struct field *f, const json_t *v)
{
    struct buf   sealed;
    char         place[160];
    char        *text;

    if (v == NULL || json_is_object(v)) {
        v = json_object_get(c->old, f->name);
        (void) json_object_set_new(c->out, f->name,
            v == NULL ? json_string("") : json_deep_copy(v));
        return;
    }

    if (!check_length(c, f, v)) {
        return;
    }

    if (json_string_length(v) == 0) {
        (void) json_object_set_new(c->out, f->name, json_string(""));
        return;
    }

    integration_secret_place(c->id, f->name, place);

    if (secret_stays(c, f, place, json_slice(v))) {
        return;
    }

    buf_init(&sealed, MAX_PLAIN);

    if (seal_close(c->secret, slice_of(place), json_slice(v), &sealed)
        != RESULT_OK || (text = buf_take(&sealed, NULL)) == NULL)
    {
        check_fault(c, f->name, "seal", "cannot be sealed now");

    } else {
        (void) json_object_set_new(c->out, f->name, json_string(text));
        free(text);
    }

    buf_cleanup(&sealed);
}


/* -- parts of values ------------------------------------------------------- */

/* What is stored under NAME ("url", "headers/2"), in plain; PLACE is what it is
 * sealed for, BARE the value of a document in which it is not. */
static bool
stored_plain(struct check *c, const char *name, const char *place,
    const json_t *bare, struct buf *out)
{
    const json_t  *sealed = json_object_get(json_object_get(c->old, SEALED),
                       name);
    char           bound[160];

    if (!json_is_string(sealed)) {
        return json_is_string(bare)
               && buf_add(out, json_string_value(bare),
                      json_string_length(bare)) == RESULT_OK;
    }

    integration_secret_place(c->id, place, bound);
    return seal_open(c->secret, slice_of(bound), json_slice(sealed), out)
           == RESULT_OK;
}


/* The sealed text that is stored already, if it says PLAIN. */
static json_t *
seal_that_stays(struct check *c, const char *name, const char *place,
    struct slice plain)
{
    const json_t  *v = json_object_get(json_object_get(c->old, SEALED), name);
    struct buf     before;
    bool           same;

    buf_init(&before, MAX_PLAIN);
    same = json_is_string(v) && stored_plain(c, name, place, NULL, &before)
           && before.n == plain.n
           && CRYPTO_memcmp(before.p, plain.p, plain.n) == 0;
    wipe(&before);

    return same ? json_deep_copy(v) : NULL;
}


static void
seal_member(struct check *c, const char *name, const char *place,
    struct slice plain)
{
    json_t      *all = json_object_get(c->out, SEALED), *v;
    struct buf   sealed;
    char         bound[160];

    v = seal_that_stays(c, name, place, plain);

    if (v == NULL) {
        buf_init(&sealed, MAX_PLAIN);
        integration_secret_place(c->id, place, bound);

        if (seal_close(c->secret, slice_of(bound), plain, &sealed)
            == RESULT_OK)
        {
            v = json_stringn(sealed.p, sealed.n);
        }

        buf_cleanup(&sealed);
    }

    if (all == NULL) {
        all = json_object();
        (void) json_object_set_new(c->out, SEALED, all);
    }

    if (v == NULL || json_object_set_new(all, name, v) != 0) {
        check_fault(c, name, "seal", "cannot be sealed now");
    }
}


static void
no_such_secret(struct check *c, const char *name)
{
    check_fault(c, name, "secret", "has " REDACT_MASK " where no secret is "
        "stored: write the secret itself");
}


static void
url_keep(struct check *c, const struct field *f, struct buf *plain)
{
    struct slice  url = { plain->p, plain->n };
    struct buf    masked;

    buf_init(&masked, MAX_PLAIN);

    if (redact_url(&c->redact, url, &masked)) {
        (void) json_object_set_new(c->out, f->name,
            json_stringn(masked.p, masked.n));
        seal_member(c, f->name, f->name, url);

    } else {
        (void) json_object_set_new(c->out, f->name,
            json_stringn(url.n == 0 ? "" : url.p, url.n));
    }

    buf_cleanup(&masked);
}


void
check_masked_url(struct check *c, const struct field *f, const json_t *v,
    void (*check)(struct check *c, const struct field *f, const char *url))
{
    struct buf   before, plain;
    enum result  r;

    if (!check_length(c, f, v)) {
        return;
    }

    buf_init(&before, MAX_PLAIN);
    buf_init(&plain, MAX_PLAIN);
    (void) stored_plain(c, f->name, f->name, json_object_get(c->old, f->name),
        &before);
    r = redact_restore(&c->redact, json_slice(v),
        (struct slice) { before.p, before.n }, &plain);

    if (r != RESULT_OK) {
        no_such_secret(c, f->name);

    } else if (plain.n > 0 && buf_add(&plain, "", 1) == RESULT_OK) {
        plain.n--;                         /* a NUL behind it */
        check(c, f, plain.p);
    }

    if (r == RESULT_OK) {
        url_keep(c, f, &plain);
    }

    wipe(&before);
    wipe(&plain);
}


static struct slice
pair_part(const json_t *list, size_t i, size_t part)
{
    return json_slice(json_array_get(json_array_get(list, i), part));
}


/* How many of the pairs before I have its name. */
static size_t
nth_of(const json_t *list, size_t i)
{
    struct slice  name = pair_part(list, i, 0);
    size_t        nth = 0;

    for (size_t k = 0; k < i; k++) {
        nth += slice_eq_nocase(pair_part(list, k, 0), name);
    }

    return nth;
}


/* The stored value of the NTH header of that name, if it is a secret one. */
static bool
stored_header(struct check *c, struct slice name, size_t nth, struct buf *out)
{
    const json_t  *list = json_object_get(c->old, "headers"), *bare;
    char           member[MAX_HEADER];

    for (size_t i = 0; i < json_array_size(list); i++) {
        if (!slice_eq_nocase(pair_part(list, i, 0), name) || nth-- > 0) {
            continue;
        }

        (void) snprintf(member, sizeof(member), "headers/%zu", i);
        bare = redact_header(&c->redact, name)
                   ? json_array_get(json_array_get(list, i), 1) : NULL;
        return stored_plain(c, member, "headers", bare, out);
    }

    return false;
}


/* Of pair I of what came in: its secret is sealed, *** is shown. */
static void
header_keep(struct check *c, const json_t *list, size_t i, json_t *out)
{
    struct slice  name = pair_part(list, i, 0), value = pair_part(list, i, 1);
    struct buf    stored;
    char          member[MAX_HEADER];
    bool          masked = slice_eq(value, SLICE_LIT(REDACT_MASK)), known,
                  listed = redact_header(&c->redact, name);

    (void) snprintf(member, sizeof(member), "headers/%zu", i);
    buf_init(&stored, MAX_PLAIN);
    known = masked && stored_header(c, name, nth_of(list, i), &stored);

    if (masked && listed && !known) {
        no_such_secret(c, member);

    } else if (known || (listed && value.n > 0)) {
        seal_member(c, member, "headers", known
            ? (struct slice) { stored.p, stored.n } : value);
        value = SLICE_LIT(REDACT_MASK);
    }

    (void) json_array_append_new(out, json_pack("[s%,s%]", name.p, name.n,
        value.p, value.n));
    wipe(&stored);
}


static void
header_check(struct check *c, const json_t *list, size_t i, json_t *out)
{
    const json_t  *pair = json_array_get(list, i);
    const char    *why;
    char           name[MAX_HEADER];

    (void) snprintf(name, sizeof(name), "headers/%zu", i);

    if (json_array_size(pair) != 2 || !json_is_string(json_array_get(pair, 0))
        || !json_is_string(json_array_get(pair, 1)))
    {
        check_fault(c, name, "type", "must be [\"Name\",\"value\"]");

    } else if (http_header_check(pair_part(list, i, 0), pair_part(list, i, 1),
                   &why) != RESULT_OK)
    {
        check_fault(c, name, "header", "%s", why);

    } else {
        header_keep(c, list, i, out);
    }
}


void
check_headers(struct check *c)
{
    const json_t  *list = json_object_get(c->in, "headers");
    json_t        *out = json_array();

    (void) json_object_set_new(c->out, "headers", out);

    if (list == NULL) {
        return;
    }

    if (!json_is_array(list) || json_array_size(list) > SEND_MAX_HEADERS) {
        check_fault(c, "headers", "type", "must be a list of at most %d pairs "
            "[\"Name\",\"value\"]", SEND_MAX_HEADERS);
        return;
    }

    for (size_t i = 0; i < json_array_size(list); i++) {
        header_check(c, list, i, out);
    }
}


/* -- what clients see ------------------------------------------------------ */

/* A document that was stored before its secrets were sealed. */
static void
show_masked(json_t *doc)
{
    struct redact  r;
    struct buf     masked;
    json_t        *list = json_object_get(doc, "headers");

    redact_init(&r, NULL, NULL);

    for (size_t i = 0; i < INTEGRATION_FIELDS; i++) {
        const struct field  *f = &integration_fields[i];

        buf_init(&masked, MAX_PLAIN);

        if ((f->type == F_URL || f->type == F_PROXY)
            && redact_url(&r, json_slice(json_object_get(doc, f->name)),
                   &masked))
        {
            (void) json_object_set_new(doc, f->name,
                json_stringn(masked.p, masked.n));
        }

        buf_cleanup(&masked);
    }

    for (size_t i = 0; i < json_array_size(list); i++) {
        if (pair_part(list, i, 1).n > 0
            && redact_header(&r, pair_part(list, i, 0)))
        {
            (void) json_array_set_new(json_array_get(list, i), 1,
                json_string(REDACT_MASK));
        }
    }
}


json_t *
integration_public(const json_t *stored)
{
    json_t        *out = json_deep_copy(stored), *list, *item;
    const json_t  *v;
    size_t         i;

    if (out == NULL) {
        return NULL;
    }

    for (i = 0; i < INTEGRATION_FIELDS; i++) {
        if (integration_fields[i].type == F_SECRET) {
            v = json_object_get(out, integration_fields[i].name);
            (void) json_object_set_new(out, integration_fields[i].name,
                json_pack("{s:b}", "set", json_string_length(v) > 0));
        }
    }

    show_masked(out);
    (void) json_object_del(out, SEALED);
    list = json_object_get(out, "signing_secrets");

    json_array_foreach(list, i, item) {
        (void) json_object_del(item, "sealed");
    }

    return out;
}
