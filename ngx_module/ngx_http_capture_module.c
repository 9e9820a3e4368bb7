/*
 * ngx_http_capture_module: one record a request to a Redis stream.  It only
 * observes: it never routes, delays, changes or fails a request.
 */

#include "ngx_http_capture_module.h"


#define NGX_HTTP_CAPTURE_CONF  (NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF          \
                                |NGX_HTTP_LOC_CONF|NGX_HTTP_LIF_CONF)
#define NGX_HTTP_CAPTURE_BODY        (64 * 1024)
#define NGX_HTTP_CAPTURE_EVENTS      (4 * 1024)


static ngx_int_t ngx_http_capture_preconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_http_capture_postconfiguration(ngx_conf_t *cf);
static void *ngx_http_capture_create_main_conf(ngx_conf_t *cf);
static char *ngx_http_capture_init_main_conf(ngx_conf_t *cf, void *conf);
static void *ngx_http_capture_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_capture_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);


static ngx_command_t  ngx_http_capture_commands[] = {

    { ngx_string("capture"),
      NGX_HTTP_CAPTURE_CONF|NGX_CONF_TAKE1,
      ngx_http_capture,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("capture_if"),
      NGX_HTTP_CAPTURE_CONF|NGX_CONF_1MORE,
      ngx_http_capture_if,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("capture_kind"),
      NGX_HTTP_CAPTURE_CONF|NGX_CONF_TAKE1,
      ngx_http_capture_kind,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("capture_action"),
      NGX_HTTP_CAPTURE_CONF|NGX_CONF_TAKE1,
      ngx_http_capture_action,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("capture_key"),
      NGX_HTTP_CAPTURE_CONF|NGX_CONF_TAKE1,
      ngx_http_capture_value,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_capture_loc_conf_t, key),
      NULL },

    { ngx_string("capture_ref"),
      NGX_HTTP_CAPTURE_CONF|NGX_CONF_TAKE2,
      ngx_http_capture_pair,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_capture_loc_conf_t, refs),
      NULL },

    { ngx_string("capture_field"),
      NGX_HTTP_CAPTURE_CONF|NGX_CONF_TAKE2,
      ngx_http_capture_pair,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_capture_loc_conf_t, fields),
      NULL },

    { ngx_string("capture_route"),
      NGX_HTTP_CAPTURE_CONF|NGX_CONF_TAKE1,
      ngx_http_capture_value,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_capture_loc_conf_t, route),
      NULL },

    { ngx_string("capture_request_body"),
      NGX_HTTP_CAPTURE_CONF|NGX_CONF_TAKE1,
      ngx_http_capture_limit,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_capture_loc_conf_t, request_body),
      NULL },

    { ngx_string("capture_response_body"),
      NGX_HTTP_CAPTURE_CONF|NGX_CONF_TAKE1,
      ngx_http_capture_limit,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_capture_loc_conf_t, response_body),
      NULL },

    { ngx_string("capture_body_types"),
      NGX_HTTP_CAPTURE_CONF|NGX_CONF_1MORE,
      ngx_http_capture_types,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("capture_redact_headers"),
      NGX_HTTP_CAPTURE_CONF|NGX_CONF_1MORE,
      ngx_http_capture_redact,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_capture_loc_conf_t, redact_headers),
      NULL },

    { ngx_string("capture_redact_args"),
      NGX_HTTP_CAPTURE_CONF|NGX_CONF_1MORE,
      ngx_http_capture_redact,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_capture_loc_conf_t, redact_args),
      NULL },

    { ngx_string("capture_redis"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_http_capture_redis,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("capture_buffer"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE123,
      ngx_http_capture_buffer,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("capture_spool"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1234,
      ngx_http_capture_spool,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("capture_drain"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_capture_drain,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("capture_status"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_capture_status,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_capture_module_ctx = {
    ngx_http_capture_preconfiguration,     /* preconfiguration */
    ngx_http_capture_postconfiguration,    /* postconfiguration */

    ngx_http_capture_create_main_conf,     /* create main configuration */
    ngx_http_capture_init_main_conf,       /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_capture_create_loc_conf,      /* create location configuration */
    ngx_http_capture_merge_loc_conf        /* merge location configuration */
};


ngx_module_t  ngx_http_capture_module = {
    NGX_MODULE_V1,
    &ngx_http_capture_module_ctx,          /* module context */
    ngx_http_capture_commands,             /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    ngx_http_capture_init_module,          /* init module */
    ngx_http_capture_init_process,         /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_http_capture_exit_process,         /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static void *
ngx_http_capture_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_capture_main_conf_t  *mcf;

    mcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_capture_main_conf_t));
    if (mcf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&mcf->rules, cf->pool, 4,
                       sizeof(ngx_http_capture_rules_t))
        != NGX_OK)
    {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     mcf->enabled = 0;
     *     mcf->request_limit = 0;
     *     mcf->ship.redis.naddrs = 0; and its user, password, db
     *     mcf->drop_old = 0;
     */

    mcf->ship.redis.timeout_ms = 5000;
    ngx_str_set(&mcf->stream, RECORD_STREAM);

    mcf->ring_size = NGX_CONF_UNSET_SIZE;
    mcf->inprogress = 16 * 1024 * 1024;
    ngx_str_set(&mcf->ring_path, "/dev/shm");

    mcf->spool = NGX_CONF_UNSET_PTR;
    mcf->spool_max = 1024 * 1024 * 1024;
    mcf->spool_segment = 32 * 1024 * 1024;
    mcf->drain = NGX_CONF_UNSET_MSEC;

    return mcf;
}


static char *
ngx_http_capture_init_main_conf(ngx_conf_t *cf, void *conf)
{
    ngx_http_capture_main_conf_t  *mcf = conf;

    ngx_conf_init_size_value(mcf->ring_size, 32 * 1024 * 1024);
    ngx_conf_init_ptr_value(mcf->spool, NULL);
    ngx_conf_init_msec_value(mcf->drain, 3000);

    return NGX_CONF_OK;
}


static void *
ngx_http_capture_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_capture_loc_conf_t  *lcf;

    lcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_capture_loc_conf_t));
    if (lcf == NULL) {
        return NULL;
    }

    lcf->mode = NGX_CONF_UNSET_UINT;
    lcf->conditions = NGX_CONF_UNSET_PTR;
    lcf->kind = NGX_CONF_UNSET_UINT;
    lcf->action = NGX_CONF_UNSET_PTR;
    lcf->key = NGX_CONF_UNSET_PTR;
    lcf->route = NGX_CONF_UNSET_PTR;
    lcf->refs = NGX_CONF_UNSET_PTR;
    lcf->fields = NGX_CONF_UNSET_PTR;
    lcf->request_body = NGX_CONF_UNSET_SIZE;
    lcf->response_body = NGX_CONF_UNSET_SIZE;
    lcf->stream_body = NGX_CONF_UNSET_SIZE;
    lcf->types = NGX_CONF_UNSET_PTR;
    lcf->redact_headers = NGX_CONF_UNSET_PTR;
    lcf->redact_args = NGX_CONF_UNSET_PTR;

    return lcf;
}


static char *
ngx_http_capture_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_capture_loc_conf_t  *prev = parent;
    ngx_http_capture_loc_conf_t  *conf = child;

    if (conf->mode == NGX_CONF_UNSET_UINT) {
        conf->capture = prev->capture;
        ngx_conf_merge_uint_value(conf->mode, prev->mode,
                                  NGX_HTTP_CAPTURE_OFF);
    }

    ngx_conf_merge_ptr_value(conf->conditions, prev->conditions, NULL);
    ngx_conf_merge_uint_value(conf->kind, prev->kind, 0);
    ngx_conf_merge_ptr_value(conf->action, prev->action, NULL);
    ngx_conf_merge_ptr_value(conf->key, prev->key, NULL);
    ngx_conf_merge_ptr_value(conf->route, prev->route, NULL);
    ngx_conf_merge_ptr_value(conf->refs, prev->refs, NULL);
    ngx_conf_merge_ptr_value(conf->fields, prev->fields, NULL);

    /* an idle stream of events must not hold 64k: it keeps less by default */

    if (prev->stream_body == NGX_CONF_UNSET_SIZE) {
        prev->stream_body = prev->response_body;
    }

    conf->stream_body = conf->response_body;

    ngx_conf_merge_size_value(conf->stream_body, prev->stream_body,
                              NGX_HTTP_CAPTURE_EVENTS);
    ngx_conf_merge_size_value(conf->request_body, prev->request_body,
                              NGX_HTTP_CAPTURE_BODY);
    ngx_conf_merge_size_value(conf->response_body, prev->response_body,
                              NGX_HTTP_CAPTURE_BODY);

    if (prev->types == NGX_CONF_UNSET_PTR) {
        prev->types = ngx_http_capture_default_types(cf);
    }

    if (prev->redact_headers == NGX_CONF_UNSET_PTR) {
        prev->redact_headers = ngx_http_capture_default_headers(cf);
    }

    if (prev->redact_args == NGX_CONF_UNSET_PTR) {
        prev->redact_args = ngx_http_capture_default_args(cf);
    }

    if (prev->types == NULL || prev->redact_headers == NULL
        || prev->redact_args == NULL)
    {
        return NGX_CONF_ERROR;
    }

    ngx_conf_merge_ptr_value(conf->types, prev->types, NULL);
    ngx_conf_merge_ptr_value(conf->redact_headers, prev->redact_headers, NULL);
    ngx_conf_merge_ptr_value(conf->redact_args, prev->redact_args, NULL);

    conf->main = ngx_http_conf_get_module_main_conf(cf,
                                                    ngx_http_capture_module);

    if (conf->mode == NGX_HTTP_CAPTURE_OFF) {
        return NGX_CONF_OK;
    }

    conf->main->enabled = 1;
    conf->main->request_limit = ngx_max(conf->main->request_limit,
                                        conf->request_body);

    return ngx_http_capture_rule_set(cf, conf);
}


static ngx_int_t
ngx_http_capture_preconfiguration(ngx_conf_t *cf)
{
    return ngx_http_capture_add_variables(cf);
}


/* Where no location captures nothing is hooked: it costs nothing at all. */

static ngx_int_t
ngx_http_capture_postconfiguration(ngx_conf_t *cf)
{
    ngx_http_handler_pt           *h;
    ngx_http_core_main_conf_t     *cmcf;
    ngx_http_capture_main_conf_t  *mcf;

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_capture_module);
    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    if (ngx_http_capture_add_zone(cf, mcf) != NGX_OK) {
        return NGX_ERROR;
    }

    if (!mcf->enabled) {
        return NGX_OK;
    }

    if (mcf->ship.redis.naddrs == 0) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"capture\" is on, but no \"capture_redis\" says where "
                      "to: write \"capture_redis 127.0.0.1:6379;\" in http{}");
        return NGX_ERROR;
    }

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_POST_READ_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_capture_post_read_handler;

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_LOG_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    /* before access_log, which may log $capture_state */

    h = cmcf->phases[NGX_HTTP_LOG_PHASE].handlers.elts;
    ngx_memmove(&h[1], &h[0],
                (cmcf->phases[NGX_HTTP_LOG_PHASE].handlers.nelts - 1)
                * sizeof(ngx_http_handler_pt));
    h[0] = ngx_http_capture_log_handler;

    ngx_http_capture_body_init();

    return NGX_OK;
}
