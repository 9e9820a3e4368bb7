/*
 * capture_status: the counters of all workers, old and new, as JSON or as the
 * text that Prometheus reads.
 */

#include "ngx_http_capture_module.h"


/* X(member, name, help): one line a counter of struct capture_totals */
#define NGX_HTTP_CAPTURE_TOTALS(X)                                            \
    X(captured, "captured", "Records that were to be shipped.")               \
    X(acked, "acked", "Records that Redis has acknowledged.")                 \
    X(queued, "queued", "Records in rings.")                                  \
    X(spooled, "spooled", "Records in the spool.")                            \
    X(dropped, "dropped", "Records lost, for all reasons.")                   \
    X(loop.seen, "seen", "Requests where capture is set.")                    \
    X(loop.sampled_out, "sampled_out", "Requests that capture declined.")     \
    X(loop.filtered, "filtered", "Requests that capture_if declined.")        \
    X(loop.request_cut, "request_cut", "Request bodies not kept whole.")      \
    X(loop.response_cut, "response_cut", "Response bodies not kept whole.")   \
    X(ship.resent, "resent", "Records sent again after an unknown outcome.")  \
    X(ship.replayed, "replayed", "Records sent from the spool.")              \
    X(ship.errors, "errors", "Error answers of Redis.")                       \
    X(ship.reconnects, "reconnects", "Connections to Redis after the first.") \
    X(ship.bytes, "bytes", "Bytes sent to Redis.")

typedef struct {
    size_t       offset;
    const char  *name;
    const char  *help;
} ngx_http_capture_total_t;


static ngx_int_t ngx_http_capture_status_handler(ngx_http_request_t *r);
static u_char *ngx_http_capture_json(u_char *p, struct capture_totals *totals,
    uint64_t age);
static u_char *ngx_http_capture_prometheus(u_char *p,
    struct capture_totals *totals, uint64_t age);
static uint64_t ngx_http_capture_age(struct capture_totals *totals);


#define NGX_HTTP_CAPTURE_TOTAL_(member, name, help)                           \
    { offsetof(struct capture_totals, member), name, help },

static const ngx_http_capture_total_t  ngx_http_capture_totals[] = {
    NGX_HTTP_CAPTURE_TOTALS(NGX_HTTP_CAPTURE_TOTAL_)
};

#undef NGX_HTTP_CAPTURE_TOTAL_


#define NGX_HTTP_CAPTURE_DROP_(symbol, word)  word,

static const char  *ngx_http_capture_reasons[] = {
    CAPTURE_DROPS(NGX_HTTP_CAPTURE_DROP_)
};

#undef NGX_HTTP_CAPTURE_DROP_


#define NGX_HTTP_CAPTURE_NTOTALS                                              \
    (sizeof(ngx_http_capture_totals) / sizeof(ngx_http_capture_totals[0]))

#define ngx_http_capture_number(totals, i)                                    \
    (*(uint64_t *) ((u_char *) (totals) + ngx_http_capture_totals[i].offset))


char *
ngx_http_capture_status(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->handler) {
        return "is duplicate or beside another content handler";
    }

    clcf->handler = ngx_http_capture_status_handler;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_capture_status_handler(ngx_http_request_t *r)
{
    size_t                         size;
    u_char                        *(*print)(u_char *, struct capture_totals *,
                                            uint64_t);
    ngx_buf_t                     *b;
    ngx_int_t                      rc;
    ngx_str_t                      format;
    ngx_chain_t                    out;
    struct capture_totals          totals;
    ngx_http_capture_main_conf_t  *mcf;

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    print = ngx_http_capture_json;
    ngx_str_set(&r->headers_out.content_type, "application/json");

    if (ngx_http_arg(r, (u_char *) "format", 6, &format) == NGX_OK) {

        if (format.len == 10
            && ngx_strncmp(format.data, "prometheus", 10) == 0)
        {
            print = ngx_http_capture_prometheus;
            ngx_str_set(&r->headers_out.content_type,
                        "text/plain; version=0.0.4");

        } else if (format.len != 4
                   || ngx_strncmp(format.data, "json", 4) != 0)
        {
            return NGX_HTTP_BAD_REQUEST;
        }
    }

    mcf = ngx_http_get_module_main_conf(r, ngx_http_capture_module);

    if (capture_zone_totals((char *) mcf->ring_dir.data,
                            capture_zone_attach(mcf->shm_zone->data), &totals)
        != 0)
    {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "capture: the counters in \"%V\" cannot be read",
                      &mcf->ring_dir);
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    /* a name, its help twice named and a number a line */

    size = (NGX_HTTP_CAPTURE_NTOTALS + CAPTURE_DROP_COUNT + 2)
           * (256 + NGX_INT64_LEN);

    b = ngx_create_temp_buf(r->pool, size);
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    b->last = print(b->last, &totals, ngx_http_capture_age(&totals));
    b->last_buf = (r == r->main);
    b->last_in_chain = 1;

    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = b->last - b->pos;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}


/* Milliseconds that the oldest unsent record has waited. */

static uint64_t
ngx_http_capture_age(struct capture_totals *totals)
{
    uint64_t     now;
    ngx_time_t  *tp;

    if (totals->ship.oldest_us == 0) {
        return 0;
    }

    tp = ngx_timeofday();
    now = (uint64_t) tp->sec * 1000 + tp->msec;

    return now > totals->ship.oldest_us / 1000
           ? now - totals->ship.oldest_us / 1000 : 0;
}


static u_char *
ngx_http_capture_json(u_char *p, struct capture_totals *totals, uint64_t age)
{
    ngx_uint_t  i;

    *p++ = '{';

    for (i = 0; i < NGX_HTTP_CAPTURE_NTOTALS; i++) {
        p = ngx_sprintf(p, "\"%s\":%uL,", ngx_http_capture_totals[i].name,
                        ngx_http_capture_number(totals, i));
    }

    p = ngx_sprintf(p, "\"age_ms\":%uL,\"drops\":{", age);

    for (i = 0; i < CAPTURE_DROP_COUNT; i++) {
        p = ngx_sprintf(p, "%s\"%s\":%uL", i ? "," : "",
                        ngx_http_capture_reasons[i],
                        totals->loop.drops[i] + totals->ship.drops[i]);
    }

    return ngx_sprintf(p, "}}\n");
}


static u_char *
ngx_http_capture_prometheus(u_char *p, struct capture_totals *totals,
    uint64_t age)
{
    ngx_uint_t   i;
    const char  *name, *kind;

    for (i = 0; i < NGX_HTTP_CAPTURE_NTOTALS; i++) {
        name = ngx_http_capture_totals[i].name;

        /* the split by reason says it all: a sum would count twice */

        if (ngx_strcmp(name, "dropped") == 0) {
            continue;
        }

        if (ngx_strcmp(name, "queued") == 0
            || ngx_strcmp(name, "spooled") == 0)
        {
            kind = "gauge";

        } else {
            kind = "counter";
        }

        p = ngx_sprintf(p, "# HELP nginx_capture_%s%s %s\n"
                           "# TYPE nginx_capture_%s%s %s\n"
                           "nginx_capture_%s%s %uL\n",
                        name, *kind == 'c' ? "_total" : "",
                        ngx_http_capture_totals[i].help,
                        name, *kind == 'c' ? "_total" : "", kind,
                        name, *kind == 'c' ? "_total" : "",
                        ngx_http_capture_number(totals, i));
    }

    p = ngx_sprintf(p, "# HELP nginx_capture_dropped_total Records lost.\n"
                       "# TYPE nginx_capture_dropped_total counter\n");

    for (i = 0; i < CAPTURE_DROP_COUNT; i++) {
        p = ngx_sprintf(p, "nginx_capture_dropped_total{reason=\"%s\"} %uL\n",
                        ngx_http_capture_reasons[i],
                        totals->loop.drops[i] + totals->ship.drops[i]);
    }

    return ngx_sprintf(p, "# HELP nginx_capture_age_seconds Age of the oldest "
                          "unsent record.\n"
                          "# TYPE nginx_capture_age_seconds gauge\n"
                          "nginx_capture_age_seconds %uL.%03uL\n",
                       age / 1000, age % 1000);
}
