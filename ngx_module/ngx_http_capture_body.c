/*
 * Copies the first bytes of both bodies as they pass, as filters, and counts
 * the rest.  Buffers are only read: none is moved, held, flagged or changed,
 * and what the next filter returns is returned.  The copies lie in chunks of
 * the worker's own memory, under one bound for all requests, so that r->pool
 * does not pin them and an idle stream of events costs little.
 */

#include "ngx_http_capture_module.h"

#include <sys/uio.h>


#define NGX_HTTP_CAPTURE_SIZES  4


struct ngx_http_capture_chunk_s {
    ngx_http_capture_chunk_t  *next;
    size_t                     used;
    size_t                     size;             /* of data and this head */
};

typedef struct ngx_http_capture_slot_s  ngx_http_capture_slot_t;

struct ngx_http_capture_slot_s {
    ngx_http_capture_slot_t   *next;
};

/* Freed memory of one size, kept for the next request. */
typedef struct {
    size_t                     size;
    ngx_uint_t                 max;              /* at most so many kept */
    ngx_uint_t                 n;
    ngx_http_capture_slot_t   *free;
} ngx_http_capture_sizes_t;


static ngx_int_t ngx_http_capture_request_body_filter(ngx_http_request_t *r,
    ngx_chain_t *in);
static ngx_int_t ngx_http_capture_header_filter(ngx_http_request_t *r);
static ngx_int_t ngx_http_capture_body_filter(ngx_http_request_t *r,
    ngx_chain_t *in);
static void ngx_http_capture_response_limit(ngx_http_request_t *r,
    ngx_http_capture_ctx_t *ctx);
static ngx_uint_t ngx_http_capture_type(ngx_array_t *types, ngx_str_t *value);
static void ngx_http_capture_append(ngx_http_capture_body_t *body, u_char *p,
    size_t n);
static void ngx_http_capture_read(ngx_http_capture_body_t *body,
    ngx_buf_t *b);
static u_char *ngx_http_capture_room(ngx_http_capture_body_t *body,
    size_t wanted, size_t *n);


/* behind the first entry: chunks; less than a page of malloc each */

static ngx_http_capture_sizes_t  ngx_http_capture_sizes[] = {
    { sizeof(ngx_http_capture_ctx_t), 512, 0, NULL },
    { 1024 - 16, 256, 0, NULL },
    { 4096 - 16, 64, 0, NULL },
    { 16384 - 16, 32, 0, NULL }
};


static ngx_http_request_body_filter_pt   ngx_http_next_request_body_filter;
static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;
static ngx_http_output_body_filter_pt    ngx_http_next_body_filter;


static ngx_int_t
ngx_http_capture_request_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_chain_t                   *cl;
    ngx_http_capture_ctx_t        *ctx;
    ngx_http_capture_main_conf_t  *mcf;

    if (r != r->main || in == NULL) {
        return ngx_http_next_request_body_filter(r, in);
    }

    ctx = ngx_http_capture_get(r);

    if (ctx == NULL || (ctx->decided && !ctx->captured)) {
        return ngx_http_next_request_body_filter(r, in);
    }

    if (!ctx->decided && ngx_http_capture_located(r)
        && !ngx_http_capture_decide(r, ctx))
    {
        return ngx_http_next_request_body_filter(r, in);
    }

    if (ctx->decided) {
        ngx_http_capture_request_limit(r, ctx);

    } else {

        /* client_body_early_read: which location is not known yet */

        mcf = ngx_http_get_module_main_conf(r, ngx_http_capture_module);
        ctx->request.limit = mcf->request_limit;
    }

    for (cl = in; cl; cl = cl->next) {

        if (ngx_buf_in_memory(cl->buf)) {
            ngx_http_capture_append(&ctx->request, cl->buf->pos,
                                    cl->buf->last - cl->buf->pos);

        } else if (cl->buf->in_file) {
            ngx_http_capture_read(&ctx->request, cl->buf);
        }

        ctx->request.total += ngx_buf_size(cl->buf);

        if (cl->buf->last_buf) {
            ctx->request.ended = 1;
        }
    }

    return ngx_http_next_request_body_filter(r, in);
}


static ngx_int_t
ngx_http_capture_header_filter(ngx_http_request_t *r)
{
    ngx_http_capture_ctx_t  *ctx;

    if (r != r->main) {
        return ngx_http_next_header_filter(r);
    }

    ctx = ngx_http_capture_get(r);

    if (ctx == NULL || !ngx_http_capture_decide(r, ctx)) {
        return ngx_http_next_header_filter(r);
    }

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "http capture header filter: %ui", r->headers_out.status);

    /* a second header (an error_page) starts the response again */

    ngx_http_capture_body_free(&ctx->response);
    ngx_memzero(&ctx->response, sizeof(ngx_http_capture_body_t));

    ctx->end = -1;
    ctx->first_byte = ngx_http_capture_elapsed(ctx);
    ctx->header_sec = ngx_time();
    ctx->encoded = r->headers_out.content_encoding
                   && r->headers_out.content_encoding->value.len;

    ngx_http_capture_response_limit(r, ctx);

    return ngx_http_next_header_filter(r);
}


static ngx_int_t
ngx_http_capture_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_int_t                 rc;
    ngx_chain_t              *cl;
    ngx_http_capture_ctx_t   *ctx;
    ngx_http_capture_body_t  *body;

    if (r != r->main || in == NULL) {
        return ngx_http_next_body_filter(r, in);
    }

    ctx = ngx_http_capture_find(r);

    if (ctx == NULL || !ctx->captured || ctx->logged) {
        return ngx_http_next_body_filter(r, in);
    }

    body = &ctx->response;

    for (cl = in; cl; cl = cl->next) {

        if (ngx_buf_in_memory(cl->buf)) {
            ngx_http_capture_append(body, cl->buf->pos,
                                    cl->buf->last - cl->buf->pos);

        } else if (cl->buf->in_file) {

            if (r->upstream) {
                ngx_http_capture_read(body, cl->buf);

            } else if (body->cut == RECORD_CUT_NONE) {
                body->cut = RECORD_CUT_FILE;
            }
        }

        body->total += ngx_buf_size(cl->buf);

        if (cl->buf->last_buf) {
            body->ended = 1;
            ctx->end = ngx_http_capture_elapsed(ctx);
        }
    }

    rc = ngx_http_next_body_filter(r, in);

    /* the end of a response that the client does not wait for is no end */

    if (rc == NGX_ERROR || r->connection->error) {
        body->ended = 0;
    }

    return rc;
}


void
ngx_http_capture_request_limit(ngx_http_request_t *r,
    ngx_http_capture_ctx_t *ctx)
{
    ngx_str_t                *type;
    ngx_http_capture_body_t  *body;

    if (ctx->limited) {
        return;
    }

    ctx->limited = 1;
    body = &ctx->request;
    type = r->headers_in.content_type ? &r->headers_in.content_type->value
                                      : NULL;
    body->limit = ctx->conf->request_body;

    if (body->limit == 0) {
        body->cut = RECORD_CUT_OFF;

    } else if (!ngx_http_capture_type(ctx->conf->types, type)) {
        body->cut = RECORD_CUT_TYPE;

    } else if (body->kept > body->limit) {
        body->kept = body->limit;
        body->cut = RECORD_CUT_SIZE;
        return;

    } else {
        return;
    }

    ngx_http_capture_body_free(body);
    body->limit = 0;
}


static void
ngx_http_capture_response_limit(ngx_http_request_t *r,
    ngx_http_capture_ctx_t *ctx)
{
    ngx_str_t                *type;
    ngx_http_capture_body_t  *body;

    body = &ctx->response;
    type = &r->headers_out.content_type;
    body->limit = ctx->conf->response_body;

    if (r->headers_out.status == NGX_HTTP_SWITCHING_PROTOCOLS) {
        body->cut = RECORD_CUT_UPGRADE;
        return;
    }

    if (type->len >= sizeof("text/event-stream") - 1
        && ngx_strncasecmp(type->data, (u_char *) "text/event-stream",
                           sizeof("text/event-stream") - 1)
           == 0)
    {
        body->limit = ctx->conf->stream_body;
    }

    if (body->limit == 0) {
        body->cut = RECORD_CUT_OFF;

    } else if (!ngx_http_capture_type(ctx->conf->types, type)) {
        body->cut = RECORD_CUT_TYPE;
    }
}


/* 1 when VALUE, a Content-Type, is one of the types; parameters are ignored */

static ngx_uint_t
ngx_http_capture_type(ngx_array_t *types, ngx_str_t *value)
{
    u_char      *p;
    size_t       len, n;
    ngx_str_t   *type;
    ngx_uint_t   i;

    len = 0;
    type = types->elts;

    /* most values are one of the types as it stands */

    for (i = 0; value && i < types->nelts; i++) {
        if (type[i].len == value->len
            && ngx_memcmp(type[i].data, value->data, value->len) == 0)
        {
            return 1;
        }
    }

    if (value) {
        for (len = 0; len < value->len; len++) {
            if (value->data[len] == ';' || value->data[len] == ' ') {
                break;
            }
        }
    }

    for (i = 0; i < types->nelts; i++) {
        p = type[i].data;
        n = type[i].len;

        if (n == 1 && *p == '*') {
            return 1;
        }

        if (len == 0) {
            continue;
        }

        if (*p == '*') {
            if (len >= n && ngx_strncasecmp(value->data + len - (n - 1), p + 1,
                                            n - 1)
                            == 0)
            {
                return 1;
            }

            continue;
        }

        if (p[n - 1] == '*') {
            if (len >= n && ngx_strncasecmp(value->data, p, n - 1) == 0) {
                return 1;
            }

            continue;
        }

        if (len == n && ngx_strncasecmp(value->data, p, n) == 0) {
            return 1;
        }
    }

    return 0;
}


static void
ngx_http_capture_append(ngx_http_capture_body_t *body, u_char *p, size_t n)
{
    u_char  *dst;
    size_t   part;

    if (n == 0 || body->cut != RECORD_CUT_NONE) {
        return;
    }

    if (n > body->limit - body->kept) {
        n = body->limit - body->kept;
        body->cut = RECORD_CUT_SIZE;
    }

    while (n) {
        dst = ngx_http_capture_room(body, n, &part);
        if (dst == NULL) {
            body->cut = RECORD_CUT_MEMORY;
            return;
        }

        ngx_memcpy(dst, p, part);

        body->last->used += part;
        body->kept += part;
        p += part;
        n -= part;
    }
}


/*
 * Bytes that lie in a file only.  The one read of the event loop: it cannot
 * wait, so what is not in the page cache, or lies on a file system that does
 * not know the flag, ends the prefix.
 */

static void
ngx_http_capture_read(ngx_http_capture_body_t *body, ngx_buf_t *b)
{
#ifdef RWF_NOWAIT
    off_t         offset, size;
    size_t        part;
    ssize_t       n;
    struct iovec  iov;
#endif

    if (body->cut != RECORD_CUT_NONE || b->file_last == b->file_pos) {
        return;
    }

#ifdef RWF_NOWAIT

    offset = b->file_pos;
    size = b->file_last - b->file_pos;

    if (size > (off_t) (body->limit - body->kept)) {
        size = body->limit - body->kept;
        body->cut = RECORD_CUT_SIZE;
    }

    while (size > 0) {
        iov.iov_base = ngx_http_capture_room(body, size, &part);
        if (iov.iov_base == NULL) {
            body->cut = RECORD_CUT_MEMORY;
            return;
        }

        iov.iov_len = part;
        n = preadv2(b->file->fd, &iov, 1, offset, RWF_NOWAIT);

        if (n <= 0) {
            body->cut = RECORD_CUT_FILE;
            return;
        }

        body->last->used += n;
        body->kept += n;
        offset += n;
        size -= n;
    }

#else

    body->cut = RECORD_CUT_FILE;

#endif
}


/* Place for *n bytes, 1 to WANTED; chunks grow: 1k, 4k, then 16k */

static u_char *
ngx_http_capture_room(ngx_http_capture_body_t *body, size_t wanted, size_t *n)
{
    size_t                     size;
    ngx_uint_t                 i;
    ngx_http_capture_chunk_t  *chunk;

    chunk = body->last;

    if (chunk == NULL
        || chunk->used + sizeof(ngx_http_capture_chunk_t) == chunk->size)
    {
        i = ngx_min(body->chunks + 1, NGX_HTTP_CAPTURE_SIZES - 1);

        while (i < NGX_HTTP_CAPTURE_SIZES - 1
               && ngx_http_capture_sizes[i].size
                  < wanted + sizeof(ngx_http_capture_chunk_t))
        {
            i++;
        }

        size = ngx_http_capture_sizes[i].size;

        chunk = ngx_http_capture_alloc(size);
        if (chunk == NULL) {
            return NULL;
        }

        chunk->next = NULL;
        chunk->used = 0;
        chunk->size = size;

        if (body->last) {
            body->last->next = chunk;

        } else {
            body->first = chunk;
        }

        body->last = chunk;
        body->chunks++;
    }

    *n = ngx_min(wanted, chunk->size - sizeof(ngx_http_capture_chunk_t)
                         - chunk->used);

    return (u_char *) (chunk + 1) + chunk->used;
}


u_char *
ngx_http_capture_body_copy(ngx_http_capture_body_t *body, u_char *dst,
    size_t len)
{
    size_t                     n;
    ngx_http_capture_chunk_t  *chunk;

    for (chunk = body->first; chunk && len; chunk = chunk->next) {
        n = ngx_min(len, chunk->used);
        dst = ngx_cpymem(dst, chunk + 1, n);
        len -= n;
    }

    return dst;
}


void
ngx_http_capture_body_free(ngx_http_capture_body_t *body)
{
    ngx_http_capture_chunk_t  *chunk, *next;

    for (chunk = body->first; chunk; chunk = next) {
        next = chunk->next;
        ngx_http_capture_free(chunk, chunk->size);
    }

    body->first = NULL;
    body->last = NULL;
    body->chunks = 0;
    body->kept = 0;
}


void *
ngx_http_capture_alloc(size_t size)
{
    void                       *p;
    ngx_http_capture_sizes_t   *s;
    ngx_http_capture_worker_t  *w;

    w = &ngx_http_capture_worker;

    if (size > w->inprogress_max - w->inprogress) {
        return NULL;
    }

    for (s = ngx_http_capture_sizes; s->size != size; s++) { /* void */ }

    p = s->free;

    if (p) {
        s->free = s->free->next;
        s->n--;

    } else {
        p = malloc(size);
        if (p == NULL) {
            return NULL;
        }
    }

    w->inprogress += size;

    return p;
}


void
ngx_http_capture_free(void *p, size_t size)
{
    ngx_http_capture_slot_t   *slot = p;
    ngx_http_capture_sizes_t  *s;

    ngx_http_capture_worker.inprogress -= size;

    for (s = ngx_http_capture_sizes; s->size != size; s++) { /* void */ }

    if (s->n == s->max) {
        free(p);
        return;
    }

    slot->next = s->free;
    s->free = slot;
    s->n++;
}


void
ngx_http_capture_body_init(void)
{
    ngx_http_next_request_body_filter = ngx_http_top_request_body_filter;
    ngx_http_top_request_body_filter = ngx_http_capture_request_body_filter;

    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_capture_header_filter;

    ngx_http_next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = ngx_http_capture_body_filter;
}


void
ngx_http_capture_body_cleanup(void)
{
    ngx_uint_t                 i;
    ngx_http_capture_slot_t   *slot;
    ngx_http_capture_sizes_t  *s;

    for (i = 0; i < NGX_HTTP_CAPTURE_SIZES; i++) {
        s = &ngx_http_capture_sizes[i];

        while (s->free) {
            slot = s->free;
            s->free = slot->next;
            free(slot);
        }

        s->n = 0;
    }
}
