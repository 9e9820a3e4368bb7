/*
 * What a worker owns: its ring, its shipper, a timer that logs what the shipper
 * has to say, and an event that wakes it once a turn of the loop.  All timers
 * are cancelable: nothing here keeps an old worker from leaving.
 */

#include "ngx_http_capture_module.h"

#include <sys/stat.h>


#define NGX_HTTP_CAPTURE_TICK     1000
#define NGX_HTTP_CAPTURE_MESSAGE  512
#define NGX_HTTP_CAPTURE_BURST    16     /* messages a tick */


static ngx_int_t ngx_http_capture_init_zone(ngx_shm_zone_t *zone, void *data);
static ngx_int_t ngx_http_capture_ring_dir(ngx_cycle_t *cycle,
    ngx_http_capture_main_conf_t *mcf);
static void ngx_http_capture_make_dir(ngx_cycle_t *cycle,
    ngx_http_capture_main_conf_t *mcf, ngx_uid_t user);
static ngx_int_t ngx_http_capture_start_worker(ngx_cycle_t *cycle,
    ngx_http_capture_main_conf_t *mcf);
static ngx_int_t ngx_http_capture_start_ring(ngx_cycle_t *cycle,
    ngx_http_capture_main_conf_t *mcf);
static void ngx_http_capture_wake_handler(ngx_event_t *ev);
static void ngx_http_capture_timer_handler(ngx_event_t *ev);
static void ngx_http_capture_log_drops(ngx_log_t *log);


ngx_http_capture_worker_t  ngx_http_capture_worker;

/* of this worker, that a line of the log has told */
static uint64_t            ngx_http_capture_told[CAPTURE_DROP_COUNT];


#define CAPTURE_DROP_WORD_(symbol, word)  word,
static const char         *ngx_http_capture_drops[] = {
    CAPTURE_DROPS(CAPTURE_DROP_WORD_)
};
#undef CAPTURE_DROP_WORD_


ngx_int_t
ngx_http_capture_add_zone(ngx_conf_t *cf, ngx_http_capture_main_conf_t *mcf)
{
    size_t     size;
    ngx_str_t  name = ngx_string("ngx_http_capture");

    size = ngx_align(capture_zone_size(), ngx_pagesize) + 8 * ngx_pagesize;

    mcf->shm_zone = ngx_shared_memory_add(cf, &name, size,
                                          &ngx_http_capture_module);
    if (mcf->shm_zone == NULL) {
        return NGX_ERROR;
    }

    mcf->shm_zone->init = ngx_http_capture_init_zone;

    return NGX_OK;
}


/* A reload hands the old zone on, with what it has counted. */

static ngx_int_t
ngx_http_capture_init_zone(ngx_shm_zone_t *zone, void *data)
{
    ngx_slab_pool_t  *shpool;

    shpool = (ngx_slab_pool_t *) zone->shm.addr;

    if (data) {
        zone->data = data;
        return NGX_OK;
    }

    if (shpool->data == NULL) {
        shpool->data = ngx_slab_calloc(shpool, capture_zone_size());
    }

    zone->data = shpool->data;

    return zone->data ? NGX_OK : NGX_ERROR;
}


ngx_int_t
ngx_http_capture_init_module(ngx_cycle_t *cycle)
{
    ngx_http_capture_main_conf_t  *mcf;

    if (ngx_test_config) {
        return NGX_OK;
    }

    mcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_capture_module);

    if (mcf && ngx_http_capture_ring_dir(cycle, mcf) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_http_capture_worker.ring == NULL) {
        return NGX_OK;
    }

    /* "master_process off", reloaded: this process is the worker as well */

    ngx_http_capture_exit_process(cycle);

    return mcf ? ngx_http_capture_start_worker(cycle, mcf) : NGX_OK;
}


/*
 * Rings lie in a directory of this nginx alone, made by whoever may set its
 * owner; a worker without one falls back to memory, with a warning.
 */

static ngx_int_t
ngx_http_capture_ring_dir(ngx_cycle_t *cycle,
    ngx_http_capture_main_conf_t *mcf)
{
    u_char           *p;
    size_t            i;
    uint64_t          hash;
    ngx_uid_t         user;
    ngx_core_conf_t  *ccf;

    ccf = (ngx_core_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_core_module);

    /* one process keeps root's rights; workers change to their user */

    user = geteuid() == 0 && ccf->master ? ccf->user : geteuid();

    /* FNV-1a over both names and the NUL between */

    hash = 0xcbf29ce484222325ull;

    for (i = 0; i < ccf->pid.len; i++) {
        hash = (hash ^ ccf->pid.data[i]) * 0x100000001b3ull;
    }

    hash *= 0x100000001b3ull;

    for (i = 0; i < mcf->stream.len; i++) {
        hash = (hash ^ mcf->stream.data[i]) * 0x100000001b3ull;
    }

    mcf->ring_dir.data = ngx_pnalloc(cycle->pool, mcf->ring_path.len
                                     + sizeof("/ngx-capture--")
                                     + NGX_INT64_LEN + 16);
    if (mcf->ring_dir.data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_sprintf(mcf->ring_dir.data, "%V/ngx-capture-%ui-%016xL%Z",
                    &mcf->ring_path, (ngx_uint_t) user, hash);
    mcf->ring_dir.len = p - mcf->ring_dir.data - 1;

    if (mcf->enabled) {
        ngx_http_capture_make_dir(cycle, mcf, user);
    }

    return NGX_OK;
}


/* The parent is writable by all: what was there before is not trusted. */

static void
ngx_http_capture_make_dir(ngx_cycle_t *cycle,
    ngx_http_capture_main_conf_t *mcf, ngx_uid_t user)
{
    int          fd;
    char        *name;
    struct stat  st;

    name = (char *) mcf->ring_dir.data;

    if (mkdir(name, 0700) == -1 && ngx_errno != NGX_EEXIST) {
        ngx_log_error(NGX_LOG_WARN, cycle->log, ngx_errno,
                      "capture: mkdir \"%s\" failed", name);
        return;
    }

    fd = open(name, O_RDONLY|O_DIRECTORY|O_NOFOLLOW|O_CLOEXEC);
    if (fd == -1) {
        ngx_log_error(NGX_LOG_WARN, cycle->log, ngx_errno,
                      "capture: open \"%s\" failed", name);
        return;
    }

    if (fstat(fd, &st) == 0 && st.st_uid != user
        && (geteuid() != 0 || st.st_uid != 0
            || fchown(fd, user, (gid_t) -1) == -1))
    {
        ngx_log_error(NGX_LOG_WARN, cycle->log, 0,
                      "capture: \"%s\" belongs to user %d, not to the "
                      "workers' %d: remove it", name, (int) st.st_uid,
                      (int) user);
    }

    (void) close(fd);
}


ngx_int_t
ngx_http_capture_init_process(ngx_cycle_t *cycle)
{
    ngx_http_capture_main_conf_t  *mcf;

    if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    /* NULL without http{} */

    mcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_capture_module);

    return mcf ? ngx_http_capture_start_worker(cycle, mcf) : NGX_OK;
}


/* A worker that cannot capture serves all the same. */

static ngx_int_t
ngx_http_capture_start_worker(ngx_cycle_t *cycle,
    ngx_http_capture_main_conf_t *mcf)
{
    char                        err[NGX_HTTP_CAPTURE_MESSAGE];
    struct capture_ship_conf   *conf;
    ngx_http_capture_worker_t  *w;

    if (!mcf->enabled) {
        return NGX_OK;
    }

    w = &ngx_http_capture_worker;

    ngx_http_capture_seed();

    if (ngx_http_capture_start_ring(cycle, mcf) != NGX_OK) {
        return NGX_OK;
    }

    conf = &mcf->ship;

    conf->stream = (char *) mcf->stream.data;
    conf->ring_dir = (char *) mcf->ring_dir.data;
    conf->spool = mcf->spool ? (char *) mcf->spool->name.data : NULL;
    conf->spool_max = mcf->spool_max;
    conf->spool_segment = mcf->spool_segment;
    conf->spool_drop_old = mcf->drop_old;
    conf->drain_ms = mcf->drain;

    w->ship = capture_ship_start(conf, w->ring,
                                 capture_zone_attach(mcf->shm_zone->data),
                                 err, sizeof(err));

    if (w->ship == NULL) {
        ngx_log_error(NGX_LOG_ALERT, cycle->log, 0,
                      "capture: nothing is captured: %s", err);
        capture_ring_destroy(w->ring);
        w->ring = NULL;
        return NGX_OK;
    }

    w->conf = mcf;
    w->inprogress_max = mcf->inprogress;

    ngx_memzero(ngx_http_capture_told, sizeof(ngx_http_capture_told));

    ngx_memzero(&w->wake, sizeof(ngx_event_t));
    w->wake.handler = ngx_http_capture_wake_handler;
    w->wake.log = cycle->log;

    ngx_memzero(&w->timer, sizeof(ngx_event_t));
    w->timer.handler = ngx_http_capture_timer_handler;
    w->timer.log = cycle->log;
    w->timer.data = &w->dummy;
    w->timer.cancelable = 1;
    w->dummy.fd = (ngx_socket_t) -1;

    ngx_add_timer(&w->timer, NGX_HTTP_CAPTURE_TICK);

    return NGX_OK;
}


static ngx_int_t
ngx_http_capture_start_ring(ngx_cycle_t *cycle,
    ngx_http_capture_main_conf_t *mcf)
{
    const char                 *warning;
    ngx_uint_t                  i;
    ngx_http_capture_rules_t   *rules;
    ngx_http_capture_worker_t  *w;

    w = &ngx_http_capture_worker;

    w->ring = capture_ring_create((char *) mcf->ring_dir.data, mcf->ring_size,
                                  &warning);

    if (w->ring == NULL) {
        ngx_log_error(NGX_LOG_ALERT, cycle->log, ngx_errno,
                      "capture: nothing is captured: no memory for a ring of "
                      "%uz bytes, lower \"capture_buffer\"", mcf->ring_size);
        return NGX_ERROR;
    }

    if (warning) {
        ngx_log_error(NGX_LOG_WARN, cycle->log, 0, "capture: %s, in \"%V\"",
                      warning, &mcf->ring_dir);
    }

    rules = mcf->rules.elts;

    for (i = 0; i < mcf->rules.nelts; i++) {
        rules[i].number = capture_ring_add_rules(w->ring, rules[i].blob,
                                                 rules[i].len);

        if (rules[i].number < 0) {
            ngx_log_error(NGX_LOG_ALERT, cycle->log, 0,
                          "capture: nothing is captured: too many different "
                          "\"capture_redact_headers\" and "
                          "\"capture_redact_args\"");
            capture_ring_destroy(w->ring);
            w->ring = NULL;
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


void
ngx_http_capture_wake(void)
{
    ngx_http_capture_worker_t  *w;

    w = &ngx_http_capture_worker;

    if (!w->wake.posted) {
        ngx_post_event(&w->wake, &ngx_posted_events);
    }
}


static void
ngx_http_capture_wake_handler(ngx_event_t *ev)
{
    if (ngx_http_capture_worker.ship) {
        capture_ship_wake(ngx_http_capture_worker.ship);
    }
}


static void
ngx_http_capture_timer_handler(ngx_event_t *ev)
{
    int                         level;
    char                        text[NGX_HTTP_CAPTURE_MESSAGE];
    ngx_uint_t                  i;
    ngx_http_capture_worker_t  *w;

    w = &ngx_http_capture_worker;

    if (ngx_exiting || ngx_quit) {
        capture_ship_hurry(w->ship);
    }

    for (i = 0; i < NGX_HTTP_CAPTURE_BURST; i++) {
        if (!capture_ship_message(w->ship, &level, text, sizeof(text))) {
            break;
        }

        ngx_log_error((ngx_uint_t) level, ngx_cycle->log, 0, "capture: %s",
                      text);
    }

    ngx_http_capture_log_drops(ngx_cycle->log);

    ngx_add_timer(ev, NGX_HTTP_CAPTURE_TICK);
}


/* A line a second at most, whatever the rate of requests. */

static void
ngx_http_capture_log_drops(ngx_log_t *log)
{
    ngx_uint_t                 i;
    uint64_t                   n;
    struct capture_ring_state  state;

    capture_ring_state(ngx_http_capture_worker.ring, &state);

    for (i = 0; i < CAPTURE_DROP_COUNT; i++) {
        n = state.loop.drops[i] - ngx_http_capture_told[i];

        if (n) {
            ngx_log_error(NGX_LOG_ERR, log, 0,
                          "capture: %uL records dropped: %s", n,
                          ngx_http_capture_drops[i]);
            ngx_http_capture_told[i] += n;
        }
    }
}


void
ngx_http_capture_exit_process(ngx_cycle_t *cycle)
{
    int                         level;
    char                        text[NGX_HTTP_CAPTURE_MESSAGE];
    ngx_uint_t                  i;
    ngx_http_capture_worker_t  *w;

    w = &ngx_http_capture_worker;

    if (w->ring == NULL) {
        return;
    }

    if (w->timer.timer_set) {
        ngx_del_timer(&w->timer);
    }

    if (w->wake.posted) {
        ngx_delete_posted_event(&w->wake);
    }

    ngx_http_capture_log_drops(cycle->log);

    for (i = 0; i < NGX_HTTP_CAPTURE_BURST; i++) {
        if (!capture_ship_message(w->ship, &level, text, sizeof(text))) {
            break;
        }

        ngx_log_error((ngx_uint_t) level, cycle->log, 0, "capture: %s", text);
    }

    /* TERM is followed by a KILL in a second and a half */

    capture_ship_stop(w->ship, ngx_terminate ? 0 : w->conf->drain);

    w->ship = NULL;
    w->ring = NULL;
    w->conf = NULL;

    ngx_http_capture_body_cleanup();
}
