/*
 * The context of a captured request: made at its first hook, found again after
 * an internal redirect has wiped r->ctx, decided once.  Also the clock, the
 * ids and the variables.
 */

#include "ngx_http_capture_module.h"

#include <sys/random.h>


#define NGX_HTTP_CAPTURE_IDS   32    /* 256 bytes: no signal cuts them short */
#define NGX_HTTP_CAPTURE_UUID  36


static ngx_http_capture_ctx_t *ngx_http_capture_create(ngx_http_request_t *r);
static void ngx_http_capture_start(ngx_http_request_t *r,
    ngx_http_capture_ctx_t *ctx);
static void ngx_http_capture_cleanup(void *data);
static int64_t ngx_http_capture_clock(clockid_t clock);
static ngx_int_t ngx_http_capture_variable_id(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_capture_variable_state(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);


static ngx_http_variable_t  ngx_http_capture_variables[] = {

    { ngx_string("capture_id"), NULL, ngx_http_capture_variable_id, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("capture_state"), NULL, ngx_http_capture_variable_state, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

      ngx_http_null_variable
};


/* indexed by NGX_HTTP_CAPTURE_PENDING .. */

static ngx_str_t  ngx_http_capture_states[] = {
    ngx_string("pending"),
    ngx_string("captured"),
    ngx_string("dropped"),
    ngx_string("sampled_out"),
    ngx_string("filtered"),
    ngx_string("off")
};


/* random bytes of ids to come; init_process empties what a fork copied */

static uint8_t     ngx_http_capture_random[NGX_HTTP_CAPTURE_IDS][8];
static ngx_uint_t  ngx_http_capture_random_left;


ngx_int_t
ngx_http_capture_post_read_handler(ngx_http_request_t *r)
{
    /* where the request's start is still known better than to a millisecond */

    (void) ngx_http_capture_get(r);

    return NGX_DECLINED;
}


ngx_http_capture_ctx_t *
ngx_http_capture_find(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t      *cln;
    ngx_http_capture_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_capture_module);

    if (ctx || !(r->internal || r->filter_finalize)) {
        return ctx;
    }

    for (cln = r->pool->cleanup; cln; cln = cln->next) {
        if (cln->handler == ngx_http_capture_cleanup) {
            ngx_http_set_ctx(r, cln->data, ngx_http_capture_module);
            return cln->data;
        }
    }

    return NULL;
}


ngx_http_capture_ctx_t *
ngx_http_capture_get(ngx_http_request_t *r)
{
    ngx_http_capture_ctx_t  *ctx;

    ctx = ngx_http_capture_find(r);

    return ctx ? ctx : ngx_http_capture_create(r);
}


static ngx_http_capture_ctx_t *
ngx_http_capture_create(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t      *cln;
    ngx_http_capture_ctx_t  *ctx;

    if (ngx_http_capture_worker.ring == NULL) {
        return NULL;
    }

    ctx = ngx_http_capture_alloc(sizeof(ngx_http_capture_ctx_t));
    if (ctx == NULL) {
        return NULL;
    }

    cln = ngx_pool_cleanup_add(r->pool, 0);
    if (cln == NULL) {
        ngx_http_capture_free(ctx, sizeof(ngx_http_capture_ctx_t));
        return NULL;
    }

    ngx_memzero(ctx, sizeof(ngx_http_capture_ctx_t));

    ctx->first_byte = -1;
    ctx->end = -1;
    ctx->declared = -1;

    /* content_length_n counts down while a body is discarded */

    if (r->headers_in.content_length) {
        ctx->declared = ngx_atoof(r->headers_in.content_length->value.data,
                                  r->headers_in.content_length->value.len);
    }

    ctx->has_body = ctx->declared > 0 || r->headers_in.chunked;

    ngx_http_capture_start(r, ctx);

    cln->handler = ngx_http_capture_cleanup;
    cln->data = ctx;

    ngx_http_set_ctx(r, ctx, ngx_http_capture_module);

    return ctx;
}


/*
 * nginx knows a request's start to the millisecond of its cached time.  When
 * that is still the time of this turn of the loop, now is the better start.
 */

static void
ngx_http_capture_start(ngx_http_request_t *r, ngx_http_capture_ctx_t *ctx)
{
    int64_t      age;
    ngx_time_t  *tp;

    tp = ngx_timeofday();

    age = (int64_t) (tp->sec - r->start_sec) * 1000
          + ((int64_t) tp->msec - (int64_t) r->start_msec);
    age = age > 0 ? age * 1000 : 0;

    ctx->start_us = ngx_http_capture_clock(CLOCK_REALTIME) - age;
    ctx->start_mono = ngx_http_capture_clock(CLOCK_MONOTONIC) - age;
}


static void
ngx_http_capture_cleanup(void *data)
{
    ngx_http_capture_ctx_t  *ctx = data;

    ngx_http_capture_body_free(&ctx->request);
    ngx_http_capture_body_free(&ctx->response);
    ngx_http_capture_free(ctx, sizeof(ngx_http_capture_ctx_t));
}


ngx_uint_t
ngx_http_capture_located(ngx_http_request_t *r)
{
    ngx_http_core_srv_conf_t  *cscf;

    cscf = ngx_http_get_module_srv_conf(r, ngx_http_core_module);

    return r->loc_conf != cscf->ctx->loc_conf;
}


ngx_uint_t
ngx_http_capture_decide(ngx_http_request_t *r, ngx_http_capture_ctx_t *ctx)
{
    ngx_str_t                     value;
    ngx_http_core_loc_conf_t     *clcf;
    ngx_http_capture_loc_conf_t  *lcf;

    if (ctx->decided) {
        return ctx->captured;
    }

    lcf = ngx_http_get_module_loc_conf(r, ngx_http_capture_module);
    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    ctx->decided = 1;
    ctx->conf = lcf;
    ctx->location = clcf->name;

    switch (lcf->mode) {

    case NGX_HTTP_CAPTURE_ON:
        ctx->captured = 1;
        break;

    case NGX_HTTP_CAPTURE_VAR:
        ctx->captured = ngx_http_complex_value(r, lcf->capture, &value)
                        == NGX_OK
                        && ngx_http_capture_truth(&value);

        if (!ctx->captured) {
            ctx->state = NGX_HTTP_CAPTURE_SAMPLED;
        }

        break;

    default:
        ctx->state = NGX_HTTP_CAPTURE_NONE;
    }

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "http capture decided: %ud, location \"%V\"",
                   ctx->captured, &ctx->location);

    if (!ctx->captured) {
        ngx_http_capture_body_free(&ctx->request);
    }

    return ctx->captured;
}


ngx_uint_t
ngx_http_capture_truth(ngx_str_t *value)
{
    if (value->len == 0 || (value->len == 1 && value->data[0] == '0')) {
        return 0;
    }

    return !(value->len == 3 && ngx_strncmp(value->data, "off", 3) == 0);
}


static int64_t
ngx_http_capture_clock(clockid_t clock)
{
    struct timespec  ts;

    (void) clock_gettime(clock, &ts);

    return (int64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}


int64_t
ngx_http_capture_elapsed(ngx_http_capture_ctx_t *ctx)
{
    return ngx_http_capture_clock(CLOCK_MONOTONIC) - ctx->start_mono;
}


void
ngx_http_capture_seed(void)
{
    ngx_http_capture_random_left = 0;
}


/* UUIDv7: milliseconds, the microseconds within in rand_a, 62 random bits */

ngx_int_t
ngx_http_capture_make_id(ngx_http_capture_ctx_t *ctx)
{
    uint64_t    ms;
    ngx_uint_t  i, us;

    if (ctx->id[6]) {
        return NGX_OK;
    }

    if (ngx_http_capture_random_left == 0) {

        /* cannot wait: the flag makes it fail before the kernel is seeded */

        if (getrandom(ngx_http_capture_random,
                      sizeof(ngx_http_capture_random), GRND_NONBLOCK)
            != (ssize_t) sizeof(ngx_http_capture_random))
        {
            return NGX_ERROR;
        }

        ngx_http_capture_random_left = NGX_HTTP_CAPTURE_IDS;
    }

    ngx_memcpy(&ctx->id[8],
               ngx_http_capture_random[--ngx_http_capture_random_left], 8);

    ms = (uint64_t) ctx->start_us / 1000;
    us = (ngx_uint_t) ((uint64_t) ctx->start_us % 1000);

    for (i = 0; i < 6; i++) {
        ctx->id[i] = (uint8_t) (ms >> (40 - 8 * i));
    }

    ctx->id[6] = (uint8_t) (0x70 | us >> 8);
    ctx->id[7] = (uint8_t) us;
    ctx->id[8] = (uint8_t) (0x80 | (ctx->id[8] & 0x3f));

    return NGX_OK;
}


ngx_int_t
ngx_http_capture_add_variables(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    for (v = ngx_http_capture_variables; v->name.len; v++) {
        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


/*
 * The id that the record will have.  Used in a location it decides; before one
 * is found (a server's "set") it must not, and gives the id all the same.
 */

static ngx_int_t
ngx_http_capture_variable_id(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    u_char                        *p;
    ngx_uint_t                     i;
    ngx_http_capture_ctx_t        *ctx;
    ngx_http_capture_main_conf_t  *mcf;

    v->not_found = 1;

    mcf = ngx_http_get_module_main_conf(r, ngx_http_capture_module);
    ctx = mcf->enabled ? ngx_http_capture_get(r->main) : NULL;

    if (ctx == NULL) {
        return NGX_OK;
    }

    if (ngx_http_capture_located(r->main)) {
        (void) ngx_http_capture_decide(r->main, ctx);
    }

    if ((ctx->decided && !ctx->captured)
        || ngx_http_capture_make_id(ctx) != NGX_OK)
    {
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, NGX_HTTP_CAPTURE_UUID);
    if (p == NULL) {
        return NGX_ERROR;
    }

    v->len = NGX_HTTP_CAPTURE_UUID;
    v->data = p;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    for (i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            *p++ = '-';
        }

        p = ngx_hex_dump(p, &ctx->id[i], 1);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_capture_variable_state(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_str_t                     *state;
    ngx_http_capture_ctx_t        *ctx;
    ngx_http_capture_main_conf_t  *mcf;

    mcf = ngx_http_get_module_main_conf(r, ngx_http_capture_module);
    ctx = mcf->enabled ? ngx_http_capture_find(r->main) : NULL;

    if (ctx && ngx_http_capture_located(r->main)) {
        (void) ngx_http_capture_decide(r->main, ctx);
    }

    state = &ngx_http_capture_states[ctx ? ctx->state
                                         : NGX_HTTP_CAPTURE_NONE];

    v->len = state->len;
    v->data = state->data;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}
