/*
 * The event-loop half of the capture module: what its files share.  The loop
 * copies body bytes as they pass, writes one raw frame a request into the
 * worker's ring in the log phase, and does no I/O that can wait.  Redacting,
 * Redis and the spool are the shipper's (ngx_http_capture_ship.h).
 */

#ifndef NGX_HTTP_CAPTURE_MODULE_H
#define NGX_HTTP_CAPTURE_MODULE_H

#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_capture_ring.h"
#include "ngx_http_capture_ship.h"

typedef struct ngx_http_capture_chunk_s  ngx_http_capture_chunk_t;

/* capture off | on | $var */
#define NGX_HTTP_CAPTURE_OFF       0
#define NGX_HTTP_CAPTURE_ON        1
#define NGX_HTTP_CAPTURE_VAR       2

/* a worker's rule set: masks of one location */
typedef struct {
    u_char                        *blob;
    size_t                         len;
    ngx_int_t                      number;       /* in the worker's ring */
} ngx_http_capture_rules_t;

typedef struct {
    ngx_uint_t                     enabled;      /* capture is on somewhere */
    size_t                         request_limit;    /* of all locations */

    struct capture_ship_conf       ship;         /* strings in cf->pool */
    ngx_str_t                      stream;

    size_t                         ring_size;
    size_t                         inprogress;
    ngx_str_t                      ring_path;    /* path= */
    ngx_str_t                      ring_dir;     /* below it, this nginx' own */

    ngx_path_t                    *spool;
    size_t                         spool_max;
    size_t                         spool_segment;
    ngx_uint_t                     drop_old;
    ngx_msec_t                     drain;

    ngx_shm_zone_t                *shm_zone;
    ngx_array_t                    rules;        /* ngx_http_capture_rules_t */
} ngx_http_capture_main_conf_t;

/* a capture_ref or capture_field */
typedef struct {
    ngx_str_t                      name;
    ngx_http_complex_value_t       value;
} ngx_http_capture_pair_t;

typedef struct {
    ngx_http_capture_main_conf_t  *main;

    ngx_uint_t                     mode;         /* NGX_HTTP_CAPTURE_OFF .. */
    ngx_http_complex_value_t      *capture;
    ngx_array_t                   *conditions;   /* ngx_http_complex_value_t */
    ngx_uint_t                     kind;         /* 0, CAPTURE_WEBHOOK */
    ngx_http_complex_value_t      *action;
    ngx_http_complex_value_t      *key;
    ngx_http_complex_value_t      *route;
    ngx_array_t                   *refs;         /* ngx_http_capture_pair_t */
    ngx_array_t                   *fields;

    size_t                         request_body; /* 0: off */
    size_t                         response_body;
    size_t                         stream_body;  /* of text/event-stream */
    ngx_array_t                   *types;        /* ngx_str_t, lower case */

    ngx_array_t                   *redact_headers;   /* ngx_str_t */
    ngx_array_t                   *redact_args;
    ngx_uint_t                     rules;        /* in main->rules */
} ngx_http_capture_loc_conf_t;

/* the kept prefix of a body and what is known of the whole */
typedef struct {
    ngx_http_capture_chunk_t      *first;
    ngx_http_capture_chunk_t      *last;
    size_t                         kept;
    size_t                         limit;
    off_t                          total;        /* bytes seen */
    ngx_uint_t                     chunks;
    unsigned                       cut:4;        /* enum record_cut */
    unsigned                       ended:1;      /* the last byte was seen */
} ngx_http_capture_body_t;

/* A main request's; lives in the worker's memory, freed with the request. */
typedef struct ngx_http_capture_ctx_s  ngx_http_capture_ctx_t;

struct ngx_http_capture_ctx_s {
    ngx_http_capture_loc_conf_t   *conf;         /* set by the decision */
    ngx_str_t                      location;     /* its name */
    ngx_http_capture_body_t        request;
    ngx_http_capture_body_t        response;
    int64_t                        start_us;     /* since 1970 */
    int64_t                        start_mono;   /* the same instant, us */
    int64_t                        first_byte;   /* us from start, -1: none */
    int64_t                        end;          /* us from start, -1: none */
    off_t                          declared;     /* Content-Length, -1: none */
    time_t                         header_sec;   /* for the Date header */
    uint8_t                        id[16];
    unsigned                       decided:1;
    unsigned                       captured:1;   /* what was decided */
    unsigned                       has_body:1;   /* the client sends one */
    unsigned                       limited:1;    /* request.limit is final */
    unsigned                       encoded:1;    /* before gzip */
    unsigned                       logged:1;
    unsigned                       state:3;      /* of $capture_state */
};

#define NGX_HTTP_CAPTURE_PENDING   0
#define NGX_HTTP_CAPTURE_CAPTURED  1
#define NGX_HTTP_CAPTURE_DROPPED   2
#define NGX_HTTP_CAPTURE_SAMPLED   3
#define NGX_HTTP_CAPTURE_FILTERED  4
#define NGX_HTTP_CAPTURE_NONE      5

/* What a worker owns; everything but the ring and the ship is zero before. */
typedef struct {
    struct capture_ring           *ring;         /* NULL: not a worker */
    struct capture_ship           *ship;
    ngx_http_capture_main_conf_t  *conf;
    size_t                         inprogress;   /* bytes in use */
    size_t                         inprogress_max;
    ngx_event_t                    wake;
    ngx_event_t                    timer;
    ngx_connection_t               dummy;        /* its fd is logged */
} ngx_http_capture_worker_t;

extern ngx_module_t               ngx_http_capture_module;
extern ngx_http_capture_worker_t  ngx_http_capture_worker;


/* conf.c: setters of directives; a phrase for core on error */

char *ngx_http_capture(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_capture_if(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_capture_kind(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_capture_action(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
/* of capture_ref and capture_field; CMD->offset is the array's */
char *ngx_http_capture_pair(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
/* of capture_key and capture_route */
char *ngx_http_capture_value(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
/* of capture_request_body and capture_response_body */
char *ngx_http_capture_limit(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_capture_types(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
/* of capture_redact_headers and capture_redact_args */
char *ngx_http_capture_redact(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_capture_redis(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_capture_buffer(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_capture_spool(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_capture_drain(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
/* lists of the defaults; NULL without memory */
ngx_array_t *ngx_http_capture_default_types(ngx_conf_t *cf);
ngx_array_t *ngx_http_capture_default_headers(ngx_conf_t *cf);
ngx_array_t *ngx_http_capture_default_args(ngx_conf_t *cf);
/* Sets conf->rules to the rule set of its two lists; equal sets are one. */
char *ngx_http_capture_rule_set(ngx_conf_t *cf,
    ngx_http_capture_loc_conf_t *conf);

/* context.c */

/*
 * The main request's context, found again after an internal redirect; NULL
 * when there is none yet.
 */
ngx_http_capture_ctx_t *ngx_http_capture_find(ngx_http_request_t *r);
/* The same, made when there is none; NULL without memory. */
ngx_http_capture_ctx_t *ngx_http_capture_get(ngx_http_request_t *r);
/* 1 when the request is captured; asks `capture` on the first call only. */
ngx_uint_t ngx_http_capture_decide(ngx_http_request_t *r,
    ngx_http_capture_ctx_t *ctx);
/* 1 when the request is in a location of its server, not before. */
ngx_uint_t ngx_http_capture_located(ngx_http_request_t *r);
/* 1 unless the value is empty, "0" or "off". */
ngx_uint_t ngx_http_capture_truth(ngx_str_t *value);
/* Gives ctx->id once; NGX_ERROR without entropy. */
ngx_int_t ngx_http_capture_make_id(ngx_http_capture_ctx_t *ctx);
/* From init_process: forgets random bytes that a fork may have copied. */
void ngx_http_capture_seed(void);
/* Microseconds from the request's start to now. */
int64_t ngx_http_capture_elapsed(ngx_http_capture_ctx_t *ctx);
ngx_int_t ngx_http_capture_post_read_handler(ngx_http_request_t *r);
ngx_int_t ngx_http_capture_add_variables(ngx_conf_t *cf);

/* body.c */

void ngx_http_capture_body_init(void);
/* From exit_process: gives kept memory back. */
void ngx_http_capture_body_cleanup(void);
/* Bytes of the kept prefix to DST, at most LEN; returns the end. */
u_char *ngx_http_capture_body_copy(ngx_http_capture_body_t *body, u_char *dst,
    size_t len);
void ngx_http_capture_body_free(ngx_http_capture_body_t *body);
/* What the location says of the request's body: none, type or size. */
void ngx_http_capture_request_limit(ngx_http_request_t *r,
    ngx_http_capture_ctx_t *ctx);
/* Memory under the bound inprogress=; NULL beyond it. */
void *ngx_http_capture_alloc(size_t size);
void ngx_http_capture_free(void *p, size_t size);

/* frame.c: the log phase */

ngx_int_t ngx_http_capture_log_handler(ngx_http_request_t *r);

/* worker.c */

ngx_int_t ngx_http_capture_add_zone(ngx_conf_t *cf,
    ngx_http_capture_main_conf_t *mcf);
ngx_int_t ngx_http_capture_init_module(ngx_cycle_t *cycle);
ngx_int_t ngx_http_capture_init_process(ngx_cycle_t *cycle);
void ngx_http_capture_exit_process(ngx_cycle_t *cycle);
/* The shipper has something to do: told once a turn of the loop. */
void ngx_http_capture_wake(void);

/* status.c */

char *ngx_http_capture_status(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

#endif /* NGX_HTTP_CAPTURE_MODULE_H */
