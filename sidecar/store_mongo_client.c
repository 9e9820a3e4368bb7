/*
 * Pool, clients and errors of the store that speaks the Mongo protocol.
 *
 * Every write is w=majority and never retried by the driver: an unknown outcome
 * goes to the caller, whose next try is absorbed by _id.  Log lines name hosts,
 * never the URI, for that may hold a password.
 */

#include "store_mongo_client.h"

#include <stdio.h>
#include <stdlib.h>

#include "clock.h"
#include "log.h"

#define POOL_MAX       16
#define SELECTION_MS   5000
#define CONNECT_MS     5000
#define WAIT_MS        5000                /* for a client of the pool */
#define DEFAULT_DB     "idash"

/* Settings that are ours unless the URI has its own. */
static const struct {
    const char  *name;
    int32_t      value;
}  defaults[] = {
    { MONGOC_URI_SERVERSELECTIONTIMEOUTMS, SELECTION_MS },
    { MONGOC_URI_CONNECTTIMEOUTMS, CONNECT_MS },
    { MONGOC_URI_SOCKETTIMEOUTMS, MONGO_SOCKET_MS },
    { MONGOC_URI_WAITQUEUETIMEOUTMS, WAIT_MS },
    { MONGOC_URI_MAXPOOLSIZE, POOL_MAX }
};

/* Server codes that say "not now": a primary that left, a cursor that went
 * with it, an overloaded node. */
static const uint32_t  transient_codes[] = {
    6, 7, 43, 63, 64, 79, 89, 91, 100, 112, 150, 175, 189, 202, 234, 237, 251,
    262, 9001, 10058, 10107, 11600, 11602, 13388, 13435, 13436, 14031, 16500
};

static pthread_once_t  driver_once = PTHREAD_ONCE_INIT;


static void
driver_log(mongoc_log_level_t level, const char *domain, const char *message,
    void *data)
{
    (void) data;

    /* what fails is told by the call that failed; this is for the curious */
    if (level <= MONGOC_LOG_LEVEL_WARNING) {
        log_rate(LOG_INFO, "store", "mongo driver, %s: %s", domain, message);
    }
}


static void
driver_init(void)
{
    mongoc_init();
    mongoc_log_set_handler(driver_log, NULL);
    (void) atexit(mongoc_cleanup);
}


static void
hosts_text(const mongoc_uri_t *uri, char *text, size_t len)
{
    const mongoc_host_list_t  *h;
    size_t                     n = 0;

    text[0] = '\0';

    for (h = mongoc_uri_get_hosts(uri); h != NULL && n < len; h = h->next) {
        n += (size_t) snprintf(text + n, len - n, "%s%s", n > 0 ? "," : "",
                               h->host_and_port);
    }

    if (text[0] == '\0') {
        snprintf(text, len, "mongodb+srv");
    }
}


static enum result
uri_settings(mongoc_uri_t *uri, char *err, size_t errlen)
{
    mongoc_write_concern_t  *wc;
    bool                     set = true;

    for (size_t i = 0; i < sizeof(defaults) / sizeof(defaults[0]); i++) {
        if (!mongoc_uri_has_option(uri, defaults[i].name)) {
            set &= mongoc_uri_set_option_as_int32(uri, defaults[i].name,
                                                  defaults[i].value);
        }
    }

    set &= mongoc_uri_set_option_as_bool(uri, MONGOC_URI_RETRYWRITES, false);
    set &= mongoc_uri_set_appname(uri, "integrationd");

    if (!set) {
        snprintf(err, errlen, "store: the driver refuses a setting");
        return RESULT_INTERNAL;
    }

    wc = mongoc_write_concern_copy(mongoc_uri_get_write_concern(uri));
    if (mongoc_write_concern_get_w(wc) == MONGOC_WRITE_CONCERN_W_DEFAULT) {
        mongoc_write_concern_set_w(wc, MONGOC_WRITE_CONCERN_W_MAJORITY);
    }

    mongoc_uri_set_write_concern(uri, wc);
    set = mongoc_write_concern_is_acknowledged(wc);
    mongoc_write_concern_destroy(wc);

    if (!set) {
        snprintf(err, errlen, "store: w=0 loses logs unnoticed; leave w out of "
                 "the URI (majority) or write w=1 or more");
        return RESULT_INVALID;
    }

    return RESULT_OK;
}


enum result
mongo_client_init(struct mongo_store *m, const char *text, char *err,
    size_t errlen)
{
    mongoc_uri_t  *uri;
    bson_error_t   e;
    const char    *db;
    enum result    result;

    (void) pthread_once(&driver_once, driver_init);

    uri = mongoc_uri_new_with_error(text, &e);
    if (uri == NULL) {
        /* the driver's text may quote the URI: only shown without a user */
        snprintf(err, errlen, "store: the mongodb URI is malformed%s%.200s; "
                 "write mongodb://[user:password@]host[:port]/database with "
                 "reserved characters as %%XX",
                 strchr(text, '@') == NULL ? ": " : "",
                 strchr(text, '@') == NULL ? e.message : "");
        return RESULT_INVALID;
    }

    result = uri_settings(uri, err, errlen);
    if (result != RESULT_OK) {
        goto out;
    }

    hosts_text(uri, m->hosts, sizeof(m->hosts));
    m->stale_us = 2000 * (int64_t) mongoc_uri_get_option_as_int32(uri,
        MONGOC_URI_SOCKETTIMEOUTMS, MONGO_SOCKET_MS);
    db = mongoc_uri_get_database(uri);
    m->db = strdup(db == NULL || db[0] == '\0' ? DEFAULT_DB : db);
    m->pool = m->db == NULL ? NULL
                            : mongoc_client_pool_new_with_error(uri, &e);

    if (m->db == NULL) {
        result = RESULT_MEMORY;
        snprintf(err, errlen, "store: out of memory");

    } else if (m->pool == NULL) {
        result = RESULT_INVALID;
        snprintf(err, errlen, "store: %s: %.300s", m->hosts, e.message);

    } else if (!mongoc_client_pool_set_error_api(m->pool,
                                                 MONGOC_ERROR_API_VERSION_2))
    {
        result = RESULT_INTERNAL;
        snprintf(err, errlen, "store: the driver has no error API 2");
    }

out:

    mongoc_uri_destroy(uri);
    return result;
}


void
mongo_client_cleanup(struct mongo_store *m)
{
    if (m->pool != NULL) {
        mongoc_client_pool_destroy(m->pool);
        m->pool = NULL;
    }

    free(m->db);
    m->db = NULL;
}


enum result
mongo_begin(struct mongo_store *m, const char *coll, struct mongo_call *call)
{
    call->coll = NULL;
    call->client = mongoc_client_pool_pop(m->pool);

    if (call->client == NULL) {
        log_rate(LOG_WARN, "store", "mongo %s: no free connection in time; "
                 "raise maxPoolSize in the URI or lower the threads",
                 m->hosts);
        return RESULT_UNAVAILABLE;
    }

    call->coll = mongoc_client_get_collection(call->client, m->db, coll);
    return RESULT_OK;
}


void
mongo_end(struct mongo_store *m, struct mongo_call *call)
{
    mongoc_collection_destroy(call->coll);
    mongoc_client_pool_push(m->pool, call->client);
}


static bool
code_is_transient(uint32_t code)
{
    for (size_t i = 0;
         i < sizeof(transient_codes) / sizeof(transient_codes[0]); i++)
    {
        if (transient_codes[i] == code) {
            return true;
        }
    }

    return false;
}


static enum result
server_result(uint32_t code)
{
    switch (code) {
    case 11000:
    case 11001:
    case 12582:
        return RESULT_CONFLICT;
    case 50:                               /* MaxTimeMSExpired */
        return RESULT_TIMEOUT;
    case 10334:                            /* BSONObjectTooLarge */
        return RESULT_TOO_BIG;
    case 13:                               /* Unauthorized */
    case 18:                               /* AuthenticationFailed */
    case 8000:
        return RESULT_UNAVAILABLE;
    default:
        return code_is_transient(code) ? RESULT_UNAVAILABLE
                                       : RESULT_INVALID;
    }
}


enum result
mongo_result(const bson_error_t *e)
{
    switch (e->domain) {
    case MONGOC_ERROR_SERVER:
    case MONGOC_ERROR_COLLECTION:
        return server_result(e->code);
    case MONGOC_ERROR_BSON:
    case MONGOC_ERROR_COMMAND:
        return e->code == MONGOC_ERROR_BSON_INVALID ? RESULT_TOO_BIG
                                                    : RESULT_INVALID;
    default:
        /* network, selection, authentication, write concern: unknown */
        return RESULT_UNAVAILABLE;
    }
}


static const char *
error_advice(const bson_error_t *e)
{
    switch (e->domain) {
    case MONGOC_ERROR_SERVER_SELECTION:
        return "; is the server up, the address right and the port open?";
    case MONGOC_ERROR_CLIENT:
        return "; check user, password and authSource in the store's URI";
    case MONGOC_ERROR_WRITE_CONCERN:
        return "; too few members answer, the write is sent again";
    case MONGOC_ERROR_STREAM:
        return "; the connection broke, the call is tried again";
    case MONGOC_ERROR_SERVER:
        return e->code == 13 || e->code == 18
               ? "; give the user readWrite on the store's database" : "";
    default:
        return "";
    }
}


void
mongo_error_text(const struct mongo_store *m, const bson_error_t *e,
    char *text, size_t len)
{
    snprintf(text, len, "%s: %.300s%s", m->hosts, e->message,
             error_advice(e));
}


enum result
mongo_failed(const struct mongo_store *m, const char *what,
    const bson_error_t *e)
{
    enum result  result = mongo_result(e);
    char         text[700];

    if (result != RESULT_TIMEOUT && result != RESULT_CONFLICT) {
        mongo_error_text(m, e, text, sizeof(text));
        log_rate(LOG_ERROR, "store", "mongo %s: error %u: %s", what, e->code,
                 text);
    }

    return result;
}


/* Severity of what one document's error means for the whole write. */
static int
result_weight(enum result r)
{
    switch (r) {
    case RESULT_OK:
        return 0;
    case RESULT_CONFLICT:
        return 1;
    case RESULT_UNAVAILABLE:
    case RESULT_TIMEOUT:
        return 3;
    default:
        return 2;
    }
}


static enum result
write_error(const bson_iter_t *at, mongo_write_error_pt each, void *data)
{
    bson_iter_t   it;
    int64_t       index = -1, code = 0;
    const char   *message = "";
    enum result   r;

    if (!BSON_ITER_HOLDS_DOCUMENT(at) || !bson_iter_recurse(at, &it)) {
        return RESULT_UNAVAILABLE;
    }

    while (bson_iter_next(&it)) {
        if (strcmp(bson_iter_key(&it), "index") == 0) {
            index = bson_iter_as_int64(&it);

        } else if (strcmp(bson_iter_key(&it), "code") == 0) {
            code = bson_iter_as_int64(&it);

        } else if (strcmp(bson_iter_key(&it), "errmsg") == 0
                   && BSON_ITER_HOLDS_UTF8(&it))
        {
            message = bson_iter_utf8(&it, NULL);
        }
    }

    if (index < 0 || index > UINT32_MAX || code < 0 || code > UINT32_MAX) {
        return RESULT_UNAVAILABLE;
    }

    r = server_result((uint32_t) code);
    if (each != NULL) {
        each((uint32_t) index, r, message, data);
    }

    return r;
}


enum result
mongo_reply_result(const bson_t *reply, mongo_write_error_pt each, void *data)
{
    bson_iter_t  it, list;
    enum result  r, worst = RESULT_OK;

    if (bson_iter_init_find(&it, reply, "writeConcernErrors")
        && BSON_ITER_HOLDS_ARRAY(&it) && bson_iter_recurse(&it, &list)
        && bson_iter_next(&list))
    {
        worst = RESULT_UNAVAILABLE;
    }

    if (!bson_iter_init_find(&it, reply, "writeErrors")
        || !BSON_ITER_HOLDS_ARRAY(&it) || !bson_iter_recurse(&it, &list))
    {
        return worst;
    }

    while (bson_iter_next(&list)) {
        r = write_error(&list, each, data);
        if (result_weight(r) > result_weight(worst)) {
            worst = r;
        }
    }

    return worst;
}


void
mongo_opts_time(bson_t *opts, int64_t deadline_us)
{
    int64_t  ms = MONGO_READ_MS;

    if (deadline_us > 0) {
        ms = (deadline_us - clock_mono_us()) / 1000;
        ms = ms < 1 ? 1 : ms;
        ms = ms > MONGO_READ_MS ? MONGO_READ_MS : ms;
    }

    BSON_APPEND_INT64(opts, "maxTimeMS", ms);
}
