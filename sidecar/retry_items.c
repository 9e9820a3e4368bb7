/* Items of batch retries as documents. */

#include "retry_items.h"

#include <stdio.h>
#include <stdlib.h>

static const char *const  state_text[RETRY_STATES] = {
    [RETRY_WAITING] = "waiting",
    [RETRY_SENT] = "sent",
    [RETRY_SUCCEEDED] = "succeeded",
    [RETRY_FAILED] = "failed",
    [RETRY_SKIPPED] = "skipped",
    [RETRY_CANCELLED] = "cancelled"
};


const char *
retry_state_text(enum retry_state s)
{
    return state_text[s];
}


int
retry_state_parse(struct slice s)
{
    for (int i = 0; i < RETRY_STATES; i++) {
        if (slice_eq(s, slice_of(state_text[i]))) {
            return i;
        }
    }

    return -1;
}


static void
item_from(struct retry_item *it, const json_t *v)
{
    const json_t  *sent = json_object_get(v, "sent_us");
    const char    *copy = json_string_value(json_object_get(v, "copy"));
    const char    *text;
    int            state;

    memset(it, 0, sizeof(*it));
    it->sent_us = json_is_integer(sent) ? json_integer_value(sent)
                                        : LOGDOC_NONE;
    state = retry_state_parse(slice_of(
        json_string_value(json_object_get(v, "state"))));
    it->state = state < 0 ? RETRY_WAITING : (enum retry_state) state;

    if (uuid_parse(slice_of(json_string_value(json_object_get(v, "log"))),
            it->log) != RESULT_OK
        || (copy != NULL && uuid_parse(slice_of(copy), it->copy) != RESULT_OK))
    {
        it->state = RETRY_SKIPPED;         /* a damaged one sends nothing */
    }

    text = json_string_value(json_object_get(v, "why"));
    (void) snprintf(it->why, sizeof(it->why), "%s", text == NULL ? "" : text);
    text = json_string_value(json_object_get(v, "endpoint"));
    (void) snprintf(it->endpoint, sizeof(it->endpoint), "%s",
        text == NULL ? "" : text);
}


static json_t *
item_to(const struct retry_item *it)
{
    char     id[UUID_TEXT + 1];
    json_t  *v = json_object();

    uuid_text(it->log, id);
    (void) json_object_set_new(v, "log", json_string(id));
    (void) json_object_set_new(v, "state",
        json_string(state_text[it->state]));

    if (!uuid_is_null(it->copy)) {
        uuid_text(it->copy, id);
        (void) json_object_set_new(v, "copy", json_string(id));
    }

    if (it->why[0] != '\0') {
        (void) json_object_set_new(v, "why", json_string(it->why));
    }

    if (it->endpoint[0] != '\0') {
        (void) json_object_set_new(v, "endpoint", json_string(it->endpoint));
    }

    if (it->sent_us != LOGDOC_NONE) {
        (void) json_object_set_new(v, "sent_us", json_integer(it->sent_us));
    }

    return v;
}


static enum result
read_plan(struct store *s, const char *plan, struct retry_items *c)
{
    struct retry_doc  d;
    json_t           *ids, *id;
    size_t            i;
    enum result       r;

    retry_doc_id(&d, "ids", plan, c->n);
    r = retry_doc_get(s, &d);
    c->doc.org_id = d.org_id;
    ids = json_object_get(d.v, "ids");

    json_array_foreach(ids, i, id) {
        json_t  *v = json_pack("{s:O}", "log", id);

        if (c->count < RETRY_CHUNK) {
            item_from(&c->item[c->count++], v);
        }

        json_decref(v);
    }

    retry_doc_cleanup(&d);
    return r;
}


enum result
retry_items_get(struct store *s, const char *job, const char *plan, int64_t n,
    struct retry_items **out)
{
    struct retry_items  *c = calloc(1, sizeof(*c));
    json_t              *items, *v;
    size_t               i;
    enum result          r;

    *out = NULL;
    if (c == NULL) {
        return RESULT_MEMORY;
    }

    c->n = n;
    retry_doc_id(&c->doc, "items", job, n);
    r = retry_doc_get(s, &c->doc);

    if (r == RESULT_NOT_FOUND) {
        r = read_plan(s, plan, c);

    } else if (r == RESULT_OK) {
        items = json_object_get(c->doc.v, "items");
        json_array_foreach(items, i, v) {
            if (c->count < RETRY_CHUNK) {
                item_from(&c->item[c->count++], v);
            }
        }
    }

    if (r != RESULT_OK) {
        retry_items_free(c);
        return r;
    }

    *out = c;
    return RESULT_OK;
}


enum result
retry_items_put(struct store *s, struct retry_items *c)
{
    json_t  *items = json_array();

    for (size_t i = 0; i < c->count; i++) {
        (void) json_array_append_new(items, item_to(&c->item[i]));
    }

    json_decref(c->doc.v);
    c->doc.v = json_pack("{s:o}", "items", items);
    return retry_doc_put(s, &c->doc);
}


void
retry_items_free(struct retry_items *c)
{
    if (c != NULL) {
        retry_doc_cleanup(&c->doc);
        free(c);
    }
}
