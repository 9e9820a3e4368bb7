/*
 * The log phase: a finished request becomes one raw frame in the worker's ring.
 * Nothing is masked or encoded here, and no header is changed or added: what
 * the lists hold is copied, once.
 */

#include "ngx_http_capture_module.h"


#define NGX_HTTP_CAPTURE_FIXED   16    /* pieces beside refs, fields, blocks */


typedef struct {
    uint16_t                   type;
    uint16_t                   name_len;
    u_char                    *name;
    size_t                     len;
    u_char                    *data;
} ngx_http_capture_piece_t;

/* What a frame is made of; the blocks and bodies are copied by their makers. */
typedef struct {
    ngx_http_capture_piece_t   pieces[NGX_HTTP_CAPTURE_FIXED
                                      + RECORD_MAX_PAIRS];
    ngx_uint_t                 n;
    size_t                     request_headers;
    size_t                     response_headers;
} ngx_http_capture_parts_t;

/* A header block: measured with P NULL, then written. */
typedef struct {
    u_char                    *p;
    size_t                     len;
} ngx_http_capture_block_t;


static void ngx_http_capture_record(ngx_http_request_t *r,
    ngx_http_capture_ctx_t *ctx);
static ngx_uint_t ngx_http_capture_wanted(ngx_http_request_t *r,
    ngx_http_capture_ctx_t *ctx);
static ngx_int_t ngx_http_capture_parts(ngx_http_request_t *r,
    ngx_http_capture_ctx_t *ctx, ngx_http_capture_parts_t *parts);
static void ngx_http_capture_part(ngx_http_capture_parts_t *parts,
    ngx_uint_t type, ngx_str_t *value, size_t max);
static ngx_int_t ngx_http_capture_pairs(ngx_http_request_t *r,
    ngx_array_t *list, ngx_uint_t type, ngx_http_capture_parts_t *parts);
static void ngx_http_capture_line(ngx_http_request_t *r,
    ngx_http_capture_parts_t *parts);
static ngx_int_t ngx_http_capture_upstream(ngx_http_request_t *r,
    ngx_http_capture_parts_t *parts);
static void ngx_http_capture_mark(ngx_str_t *lists, const char *mark,
    size_t len);
static void ngx_http_capture_peer(ngx_str_t *lists,
    ngx_http_upstream_state_t *state);
static void ngx_http_capture_time(ngx_str_t *s, ngx_msec_t ms);
static u_char *ngx_http_capture_number(u_char *p, uint64_t n);
static void ngx_http_capture_header(ngx_http_capture_block_t *block,
    ngx_str_t *name, ngx_str_t *value);
static void ngx_http_capture_request_headers(ngx_http_request_t *r,
    ngx_http_capture_block_t *block);
static void ngx_http_capture_response_headers(ngx_http_request_t *r,
    ngx_http_capture_ctx_t *ctx, ngx_http_capture_block_t *block);
static void ngx_http_capture_own_headers(ngx_http_request_t *r,
    ngx_http_capture_ctx_t *ctx, ngx_http_capture_block_t *block);
static void ngx_http_capture_head(ngx_http_request_t *r,
    ngx_http_capture_ctx_t *ctx, struct capture_frame *f);
static void ngx_http_capture_request_end(ngx_http_request_t *r,
    ngx_http_capture_ctx_t *ctx, struct capture_frame *f);
static ngx_uint_t ngx_http_capture_all_sent(ngx_http_request_t *r);
static ngx_uint_t ngx_http_capture_status_code(ngx_http_request_t *r);
static u_char *ngx_http_capture_put(u_char *p, ngx_uint_t type, u_char *name,
    size_t name_len, size_t len);


ngx_int_t
ngx_http_capture_log_handler(ngx_http_request_t *r)
{
    ngx_http_capture_ctx_t        *ctx;
    ngx_http_capture_loc_conf_t   *lcf;
    struct capture_loop_counters  *counters;

    if (r != r->main || ngx_http_capture_worker.ring == NULL) {
        return NGX_OK;
    }

    ngx_log_debug0(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "http capture log handler");

    ctx = ngx_http_capture_get(r);

    if (ctx == NULL) {
        lcf = ngx_http_get_module_loc_conf(r, ngx_http_capture_module);

        if (lcf->mode != NGX_HTTP_CAPTURE_OFF) {
            counters = capture_ring_loop_begin(ngx_http_capture_worker.ring);
            counters->seen++;
            counters->drops[CAPTURE_DROP_MEMORY]++;
            capture_ring_loop_end(ngx_http_capture_worker.ring);
        }

        return NGX_OK;
    }

    if (ctx->logged) {
        return NGX_OK;
    }

    ctx->logged = 1;

    if (ngx_http_capture_wanted(r, ctx)) {
        ngx_http_capture_record(r, ctx);
    }

    ngx_http_capture_body_free(&ctx->request);
    ngx_http_capture_body_free(&ctx->response);

    return NGX_OK;
}


/* Counts the request; 1 when a record is to be made of it. */

static ngx_uint_t
ngx_http_capture_wanted(ngx_http_request_t *r, ngx_http_capture_ctx_t *ctx)
{
    ngx_str_t                      value;
    ngx_uint_t                     i;
    ngx_http_complex_value_t      *cv;
    struct capture_loop_counters  *counters;

    if (ngx_http_capture_decide(r, ctx) && ctx->conf->conditions) {
        cv = ctx->conf->conditions->elts;

        for (i = 0; i < ctx->conf->conditions->nelts; i++) {
            if (ngx_http_complex_value(r, &cv[i], &value) == NGX_OK
                && ngx_http_capture_truth(&value))
            {
                break;
            }
        }

        if (i == ctx->conf->conditions->nelts) {
            ctx->state = NGX_HTTP_CAPTURE_FILTERED;
        }
    }

    if (ctx->state == NGX_HTTP_CAPTURE_NONE) {
        return 0;
    }

    counters = capture_ring_loop_begin(ngx_http_capture_worker.ring);

    counters->seen++;
    counters->sampled_out += ctx->state == NGX_HTTP_CAPTURE_SAMPLED;
    counters->filtered += ctx->state == NGX_HTTP_CAPTURE_FILTERED;

    capture_ring_loop_end(ngx_http_capture_worker.ring);

    return ctx->state == NGX_HTTP_CAPTURE_PENDING;
}


static void
ngx_http_capture_record(ngx_http_request_t *r, ngx_http_capture_ctx_t *ctx)
{
    u_char                        *p, *start;
    size_t                         size;
    ngx_uint_t                     i, drop;
    struct capture_ring           *ring;
    struct capture_frame          *f;
    ngx_http_capture_piece_t      *piece;
    ngx_http_capture_block_t       block;
    ngx_http_capture_parts_t       parts;
    struct capture_loop_counters  *counters;

    ring = ngx_http_capture_worker.ring;
    f = NULL;

    if (ctx->conf->main != ngx_http_capture_worker.conf) {

        /* one process, reloaded: the ring has no rules for this location */

        drop = CAPTURE_DROP_EXIT;
        goto done;
    }

    drop = CAPTURE_DROP_MEMORY;

    ngx_http_capture_request_limit(r, ctx);

    if (ngx_http_capture_make_id(ctx) != NGX_OK
        || ngx_http_capture_parts(r, ctx, &parts) != NGX_OK)
    {
        goto done;
    }

    size = sizeof(struct capture_frame);

    for (i = 0; i < parts.n; i++) {
        size += sizeof(struct capture_piece) + parts.pieces[i].name_len
                + parts.pieces[i].len;
    }

    size += 4 * sizeof(struct capture_piece) + parts.request_headers
            + parts.response_headers + ctx->request.kept + ctx->response.kept;

    f = capture_ring_reserve(ring, size);
    if (f == NULL) {
        drop = capture_ring_full_reason(ring);
        goto done;
    }

    ngx_http_capture_head(r, ctx, f);

    start = (u_char *) f + sizeof(struct capture_frame);
    p = start;

    for (i = 0; i < parts.n; i++) {
        piece = &parts.pieces[i];
        p = ngx_http_capture_put(p, piece->type, piece->name, piece->name_len,
                                 piece->len);
        p = ngx_cpymem(p, piece->data, piece->len);
    }

    block.p = ngx_http_capture_put(p, CAPTURE_PIECE_REQ_HEADERS, NULL, 0,
                                   parts.request_headers);
    block.len = 0;
    ngx_http_capture_request_headers(r, &block);

    block.p = ngx_http_capture_put(block.p, CAPTURE_PIECE_RES_HEADERS, NULL, 0,
                                   parts.response_headers);
    block.len = 0;
    ngx_http_capture_response_headers(r, ctx, &block);

    p = ngx_http_capture_put(block.p, CAPTURE_PIECE_REQ_BODY, NULL, 0,
                             ctx->request.kept);
    p = ngx_http_capture_body_copy(&ctx->request, p, ctx->request.kept);

    p = ngx_http_capture_put(p, CAPTURE_PIECE_RES_BODY, NULL, 0,
                             ctx->response.kept);
    p = ngx_http_capture_body_copy(&ctx->response, p, ctx->response.kept);

    f->pieces = parts.n + 4;
    f->pieces_len = p - start;

done:

    counters = capture_ring_loop_begin(ring);

    if (f) {
        counters->request_cut += f->request_cut != RECORD_CUT_NONE;
        counters->response_cut += f->response_cut != RECORD_CUT_NONE;

    } else {
        counters->drops[drop]++;
    }

    capture_ring_loop_end(ring);

    if (f == NULL) {
        ctx->state = NGX_HTTP_CAPTURE_DROPPED;
        return;
    }

    ctx->state = NGX_HTTP_CAPTURE_CAPTURED;
    capture_ring_commit(ring, f);

    ngx_http_capture_wake();
}


static u_char *
ngx_http_capture_put(u_char *p, ngx_uint_t type, u_char *name, size_t name_len,
    size_t len)
{
    struct capture_piece  head;

    head.type = (uint16_t) type;
    head.name_len = (uint16_t) name_len;
    head.len = (uint32_t) len;

    p = ngx_cpymem(p, &head, sizeof(struct capture_piece));

    return name_len ? ngx_cpymem(p, name, name_len) : p;
}


static ngx_int_t
ngx_http_capture_parts(ngx_http_request_t *r, ngx_http_capture_ctx_t *ctx,
    ngx_http_capture_parts_t *parts)
{
    ngx_int_t                     action;
    ngx_str_t                     value;
    ngx_http_capture_block_t      block;
    ngx_http_capture_loc_conf_t  *lcf;

    lcf = ctx->conf;
    parts->n = 0;

    ngx_http_capture_line(r, parts);

    value = ctx->location;

    if (lcf->route && ngx_http_complex_value(r, lcf->route, &value) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_http_capture_part(parts, CAPTURE_PIECE_ROUTE, &value,
                          RECORD_MAX_VALUE);

    if (lcf->action) {
        if (ngx_http_complex_value(r, lcf->action, &value) != NGX_OK) {
            return NGX_ERROR;
        }

        /* a variable may hold anything: what is no id is left out */

        action = ngx_atoi(value.data, value.len);

        if (action > 0 && action <= NGX_MAX_INT32_VALUE) {
            ngx_http_capture_part(parts, CAPTURE_PIECE_ACTION, &value, 16);
        }
    }

    if (lcf->key) {
        if (ngx_http_complex_value(r, lcf->key, &value) != NGX_OK) {
            return NGX_ERROR;
        }

        ngx_http_capture_part(parts, CAPTURE_PIECE_KEY, &value,
                              RECORD_MAX_HEADERS);
    }

    ngx_http_capture_part(parts, CAPTURE_PIECE_CLIENT_IP,
                          &r->connection->addr_text, RECORD_MAX_VALUE);

    if (ngx_http_capture_upstream(r, parts) != NGX_OK
        || ngx_http_capture_pairs(r, lcf->refs, CAPTURE_PIECE_REF, parts)
           != NGX_OK
        || ngx_http_capture_pairs(r, lcf->fields, CAPTURE_PIECE_FIELD, parts)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_memzero(&block, sizeof(ngx_http_capture_block_t));
    ngx_http_capture_request_headers(r, &block);
    parts->request_headers = block.len;

    block.len = 0;
    ngx_http_capture_response_headers(r, ctx, &block);
    parts->response_headers = block.len;

    return NGX_OK;
}


static void
ngx_http_capture_part(ngx_http_capture_parts_t *parts, ngx_uint_t type,
    ngx_str_t *value, size_t max)
{
    ngx_http_capture_piece_t  *piece;

    if (value->len == 0) {
        return;
    }

    piece = &parts->pieces[parts->n++];

    piece->type = (uint16_t) type;
    piece->name_len = 0;
    piece->name = NULL;
    piece->len = ngx_min(value->len, max);
    piece->data = value->data;
}


static ngx_int_t
ngx_http_capture_pairs(ngx_http_request_t *r, ngx_array_t *list,
    ngx_uint_t type, ngx_http_capture_parts_t *parts)
{
    ngx_str_t                  value;
    ngx_uint_t                 i, n;
    ngx_http_capture_pair_t   *pair;
    ngx_http_capture_piece_t  *piece;

    if (list == NULL) {
        return NGX_OK;
    }

    pair = list->elts;

    for (i = 0; i < list->nelts; i++) {

        if (ngx_http_complex_value(r, &pair[i].value, &value) != NGX_OK) {
            return NGX_ERROR;
        }

        n = parts->n;
        ngx_http_capture_part(parts, type, &value, RECORD_MAX_VALUE);

        if (parts->n > n) {
            piece = &parts->pieces[n];
            piece->name = pair[i].name.data;
            piece->name_len = (uint16_t) pair[i].name.len;
        }
    }

    return NGX_OK;
}


/* The request line as the client sent it: error_page makes a GET of all. */

static void
ngx_http_capture_line(ngx_http_request_t *r, ngx_http_capture_parts_t *parts)
{
    u_char     *p;
    ngx_str_t   value, *host;

    /* an early 400 or 414 has no method and may hold no complete line */

    if (r->method_name.len) {
        value = r->method_name;

        if (r->request_line.len) {
            p = ngx_strlchr(r->request_line.data,
                            r->request_line.data + r->request_line.len, ' ');
            if (p) {
                value.data = r->request_line.data;
                value.len = p - r->request_line.data;
            }
        }

        ngx_http_capture_part(parts, CAPTURE_PIECE_METHOD, &value, 64);
    }

    host = r->headers_in.host ? &r->headers_in.host->value
                              : &r->headers_in.server;
    ngx_http_capture_part(parts, CAPTURE_PIECE_HOST, host, RECORD_MAX_VALUE);
    ngx_http_capture_part(parts, CAPTURE_PIECE_URI, &r->unparsed_uri,
                          RECORD_MAX_URI);

    value = r->http_protocol;

    if (value.len == 0 && r->method_name.len
        && r->http_version == NGX_HTTP_VERSION_9)
    {
        ngx_str_set(&value, "HTTP/0.9");
    }

    ngx_http_capture_part(parts, CAPTURE_PIECE_PROTOCOL, &value, 16);
}


/*
 * As $upstream_addr and $upstream_status, where a state without a peer divides
 * the upstreams of internal redirects; times are lists without such marks.
 */

static ngx_int_t
ngx_http_capture_upstream(ngx_http_request_t *r,
    ngx_http_capture_parts_t *parts)
{
    u_char                     *p;
    size_t                      len;
    ngx_str_t                   lists[5];
    ngx_uint_t                  i, n, first;
    ngx_http_upstream_state_t  *state;

    if (r->upstream_states == NULL || r->upstream_states->nelts == 0) {
        return NGX_OK;
    }

    state = r->upstream_states->elts;
    n = r->upstream_states->nelts;

    len = 0;

    for (i = 0; i < n; i++) {
        len += 3 + (state[i].peer ? state[i].peer->len : 0);
    }

    /* a time is ms with three zeros behind, or "-", and a comma */

    p = ngx_pnalloc(r->pool, len + n * (3 + NGX_INT_T_LEN)
                             + 3 * n * (NGX_INT64_LEN + 4));
    if (p == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < 5; i++) {
        lists[i].data = p;
        lists[i].len = 0;
        p += i == 0 ? len : i == 1 ? n * (3 + NGX_INT_T_LEN)
                                   : n * (NGX_INT64_LEN + 4);
    }

    first = 1;

    for (i = 0; i < n; i++) {

        if (state[i].peer == NULL) {
            if (i + 1 < n && !first) {
                ngx_http_capture_mark(lists, " : ", 3);
                first = 1;
            }

            continue;
        }

        if (!first) {
            ngx_http_capture_mark(lists, ", ", 2);
        }

        first = 0;
        ngx_http_capture_peer(lists, &state[i]);
        ngx_http_capture_time(&lists[2], state[i].connect_time);
        ngx_http_capture_time(&lists[3], state[i].header_time);
        ngx_http_capture_time(&lists[4], state[i].response_time);
    }

    for (i = 0; i < 5; i++) {
        ngx_http_capture_part(parts, CAPTURE_PIECE_UP_ADDR + i, &lists[i],
                              RECORD_MAX_VALUE);
    }

    return NGX_OK;
}


/* Between two peers, in the lists of addresses and of statuses. */

static void
ngx_http_capture_mark(ngx_str_t *lists, const char *mark, size_t len)
{
    ngx_uint_t  i;

    for (i = 0; i < 2; i++) {
        ngx_memcpy(lists[i].data + lists[i].len, mark, len);
        lists[i].len += len;
    }
}


static void
ngx_http_capture_peer(ngx_str_t *lists, ngx_http_upstream_state_t *state)
{
    u_char     *p;
    ngx_str_t  *addr, *status;

    addr = &lists[0];
    status = &lists[1];

    ngx_memcpy(addr->data + addr->len, state->peer->data, state->peer->len);
    addr->len += state->peer->len;

    if (state->status) {
        p = ngx_http_capture_number(status->data + status->len, state->status);
        status->len = p - status->data;

    } else {
        status->data[status->len++] = '-';
    }
}


static void
ngx_http_capture_time(ngx_str_t *s, ngx_msec_t ms)
{
    u_char  *p;

    p = s->data + s->len;

    if (s->len) {
        *p++ = ',';
    }

    if (ms == (ngx_msec_t) -1) {
        *p++ = '-';

    } else {
        p = ngx_http_capture_number(p, ms);

        if (ms) {
            p = ngx_cpymem(p, "000", 3);
        }
    }

    s->len = p - s->data;
}


/* ngx_sprintf() is a fifth of a record's cost */

static u_char *
ngx_http_capture_number(u_char *p, uint64_t n)
{
    u_char  *start, text[NGX_INT64_LEN];

    start = text + NGX_INT64_LEN;

    do {
        *--start = (u_char) ('0' + n % 10);
        n /= 10;
    } while (n);

    return ngx_cpymem(p, start, text + NGX_INT64_LEN - start);
}


/* A line feed in a value (add_header can do that) must not make a new line. */

static void
ngx_http_capture_header(ngx_http_capture_block_t *block, ngx_str_t *name,
    ngx_str_t *value)
{
    size_t   len;
    u_char  *p, *last;

    len = name->len + value->len + 4;

    if (block->len + len > RECORD_MAX_HEADERS) {
        return;
    }

    block->len += len;

    if (block->p == NULL) {
        return;
    }

    p = ngx_cpymem(block->p, name->data, name->len);
    *p++ = ':'; *p++ = ' ';

    last = ngx_cpymem(p, value->data, value->len);

    while ((p = memchr(p, LF, last - p)) != NULL) {
        *p++ = ' ';
    }

    *last++ = CR; *last++ = LF;

    block->p = last;
}


static void
ngx_http_capture_request_headers(ngx_http_request_t *r,
    ngx_http_capture_block_t *block)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *header;

    /* HTTP/0.9 and an early 400 have no list: its part is zero */

    for (part = &r->headers_in.headers.part; part; part = part->next) {
        header = part->elts;

        for (i = 0; i < part->nelts; i++) {
            ngx_http_capture_header(block, &header[i].key, &header[i].value);
        }
    }
}


static void
ngx_http_capture_response_headers(ngx_http_request_t *r,
    ngx_http_capture_ctx_t *ctx, ngx_http_capture_block_t *block)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *header;

    if (ctx->first_byte == -1) {
        return;
    }

    ngx_http_capture_own_headers(r, ctx, block);

    for (part = &r->headers_out.headers.part; part; part = part->next) {
        header = part->elts;

        for (i = 0; i < part->nelts; i++) {

            /* absolute_redirect zeroes the Location that it rewrites */

            if (header[i].hash == 0 && &header[i] != r->headers_out.location) {
                continue;
            }

            /* the body was taken before gzip: so is its encoding */

            if (&header[i] == r->headers_out.content_encoding
                && !ctx->encoded)
            {
                continue;
            }

            ngx_http_capture_header(block, &header[i].key, &header[i].value);
        }
    }
}


/* The headers that nginx writes without having them in the list. */

static void
ngx_http_capture_own_headers(ngx_http_request_t *r,
    ngx_http_capture_ctx_t *ctx, ngx_http_capture_block_t *block)
{
    u_char                     text[NGX_OFF_T_LEN + 32];
    ngx_str_t                  value;
    ngx_http_core_loc_conf_t  *clcf;

    static ngx_str_t  server = ngx_string("Server");
    static ngx_str_t  date = ngx_string("Date");
    static ngx_str_t  type = ngx_string("Content-Type");
    static ngx_str_t  length = ngx_string("Content-Length");
    static ngx_str_t  modified = ngx_string("Last-Modified");
    static ngx_str_t  encoding = ngx_string("Transfer-Encoding");
    static ngx_str_t  chunked = ngx_string("chunked");
    static ngx_str_t  connection = ngx_string("Connection");
    static ngx_str_t  upgrade = ngx_string("upgrade");

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (r->headers_out.server == NULL) {
        if (clcf->server_tokens == NGX_HTTP_SERVER_TOKENS_ON) {
            ngx_str_set(&value, NGINX_VER);

        } else if (clcf->server_tokens == NGX_HTTP_SERVER_TOKENS_BUILD) {
            ngx_str_set(&value, NGINX_VER_BUILD);

        } else {
            ngx_str_set(&value, "nginx");
        }

        ngx_http_capture_header(block, &server, &value);
    }

    value.data = text;

    if (r->headers_out.date == NULL) {
        if (ctx->header_sec == ngx_time()) {
            ngx_http_capture_header(block, &date,
                                    (ngx_str_t *) &ngx_cached_http_time);

        } else {
            value.len = ngx_http_time(text, ctx->header_sec) - text;
            ngx_http_capture_header(block, &date, &value);
        }
    }

    if (r->headers_out.content_type.len) {
        ngx_http_capture_header(block, &type, &r->headers_out.content_type);
    }

    if (r->headers_out.content_length == NULL
        && r->headers_out.content_length_n >= 0)
    {
        value.len = ngx_http_capture_number(text,
                                            r->headers_out.content_length_n)
                    - text;
        ngx_http_capture_header(block, &length, &value);
    }

    if (r->headers_out.last_modified == NULL
        && r->headers_out.last_modified_time != -1)
    {
        value.len = ngx_http_time(text, r->headers_out.last_modified_time)
                    - text;
        ngx_http_capture_header(block, &modified, &value);
    }

    if (r->chunked) {
        ngx_http_capture_header(block, &encoding, &chunked);
    }

    if (r->headers_out.status == NGX_HTTP_SWITCHING_PROTOCOLS) {
        ngx_http_capture_header(block, &connection, &upgrade);
    }
}


static void
ngx_http_capture_head(ngx_http_request_t *r, ngx_http_capture_ctx_t *ctx,
    struct capture_frame *f)
{
    ngx_uint_t                 bodyless;
    ngx_connection_t          *c;
    ngx_http_capture_rules_t  *rules;

    c = r->connection;
    rules = ctx->conf->main->rules.elts;

    ngx_memcpy(f->id, ctx->id, 16);

    f->rules = rules[ctx->conf->rules].number;
    f->start_us = ctx->start_us;
    f->first_byte_us = ctx->first_byte;
    f->status = ngx_http_capture_status_code(r);
    f->sent_bytes = c->sent;
    f->flags = ctx->conf->kind;
    f->client_port = ngx_inet_get_port(c->sockaddr);

#if (NGX_HTTP_SSL)
    if (c->ssl) {
        f->flags |= CAPTURE_TLS;
    }
#endif

    bodyless = r->method == NGX_HTTP_HEAD
               || f->status == NGX_HTTP_NO_CONTENT
               || f->status == NGX_HTTP_NOT_MODIFIED
               || f->status == NGX_HTTP_SWITCHING_PROTOCOLS;

    /* lingering close may delay the log phase by half a minute */

    if (ctx->end == -1 && bodyless
        && f->status != NGX_HTTP_SWITCHING_PROTOCOLS)
    {
        ctx->end = ctx->first_byte;
    }

    f->duration_us = ctx->end != -1 ? ctx->end : ngx_http_capture_elapsed(ctx);

    /* reading on after the response (lingering close) may fail: no matter */

    if (ctx->first_byte != -1 && (ctx->response.ended || bodyless)
        && ((!c->error && !c->timedout) || ngx_http_capture_all_sent(r)))
    {
        f->flags |= CAPTURE_COMPLETE;
    }

    f->response_bytes = ctx->response.total;
    f->response_cut = ctx->response.total ? ctx->response.cut
                                          : RECORD_CUT_NONE;

    if (f->status == NGX_HTTP_SWITCHING_PROTOCOLS) {
        f->response_bytes = -1;
        f->response_cut = RECORD_CUT_UPGRADE;
    }

    ngx_http_capture_request_end(r, ctx, f);
}


static void
ngx_http_capture_request_end(ngx_http_request_t *r,
    ngx_http_capture_ctx_t *ctx, struct capture_frame *f)
{
    ngx_uint_t                ended;
    ngx_http_capture_body_t  *body;

    body = &ctx->request;
    ended = body->ended
            || (ctx->declared >= 0 && body->total >= ctx->declared);

    if (!ctx->has_body && body->total == 0) {
        f->request_bytes = 0;
        f->request_cut = RECORD_CUT_NONE;
        return;
    }

    f->request_bytes = ended ? body->total : ctx->declared;
    f->request_cut = body->cut;

    if (!ended && (body->total == 0 || body->cut == RECORD_CUT_NONE)) {
        f->request_cut = RECORD_CUT_NOT_READ;

    } else if (body->total == 0) {
        f->request_cut = RECORD_CUT_NONE;
    }
}


/* limit_rate holds the empty last buffer back; the client may be gone then. */

static ngx_uint_t
ngx_http_capture_all_sent(ngx_http_request_t *r)
{
    ngx_chain_t  *cl;

    if (r->connection->buffered & ~NGX_HTTP_WRITE_BUFFERED) {
        return 0;
    }

    for (cl = r->out; cl; cl = cl->next) {
        if (ngx_buf_size(cl->buf)) {
            return 0;
        }
    }

    return 1;
}


/* as $status of access_log */

static ngx_uint_t
ngx_http_capture_status_code(ngx_http_request_t *r)
{
    return r->err_status ? r->err_status : r->headers_out.status;
}
