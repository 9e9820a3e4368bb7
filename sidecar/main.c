/*
 * The spine of `integrationd run`: open, start, wait, stop in reverse.  Signals
 * come by a file descriptor to this thread alone.
 *   HUP   reads the configuration anew and takes over what may change
 *   USR1  opens the log file anew
 *   TERM, INT, QUIT  stop within shutdown_timeout; a second one ends at once
 */

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "api.h"
#include "catalog.h"
#include "catalog_seed.h"
#include "cli.h"
#include "clock.h"
#include "config.h"
#include "dispatch.h"
#include "drain.h"
#include "intake.h"
#include "log.h"
#include "outbound.h"
#include "processes.h"
#include "replay_run.h"
#include "retry_run.h"
#include "upkeep.h"

#define MAIN_TICK_MS   1000
#define MAIN_STUCK_US  25000000            /* a loop stands: no watchdog */
#define MAIN_GRACE_S   5                   /* beyond shutdown_timeout */

struct server {
    struct cli       *cli;
    struct config    *config;
    struct store     *store;
    struct catalog   *catalog;
    struct drain     *drain;
    struct upkeep    *upkeep;
    struct outbound  *outbound;
    struct dispatch  *dispatch;
    struct intake    *intake;
    struct retry_run *retries;
    struct replay_run  *replays;
    struct processes *processes;
    struct api       *api;
    int               signals;
    bool              watchdog;
};

static const char *const  level_words[] = {
    [LOG_ERROR] = "error", [LOG_WARN] = "warn", [LOG_NOTICE] = "notice",
    [LOG_INFO] = "info", [LOG_DEBUG] = "debug"
};


/* sd_notify(3): one datagram to the socket that systemd names. */
static void
server_notify(const char *text)
{
    struct sockaddr_un   addr;
    const char          *path = getenv("NOTIFY_SOCKET");
    size_t               n = path == NULL ? 0 : strlen(path);
    int                  fd;

    if (n < 2 || n >= sizeof(addr.sun_path)) {
        return;
    }

    memset(&addr, 0, sizeof(addr));
    addr.sun_family = AF_UNIX;
    memcpy(addr.sun_path, path, n);

    if (path[0] == '@') {
        addr.sun_path[0] = '\0';           /* the abstract namespace */
    }

    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd >= 0) {
        (void) sendto(fd, text, strlen(text), MSG_NOSIGNAL,
            (struct sockaddr *) &addr,
            (socklen_t) (offsetof(struct sockaddr_un, sun_path) + n));
        (void) close(fd);
    }
}


static int
server_open_log(const struct config *c)
{
    enum log_level  level = LOG_NOTICE;

    for (int i = LOG_ERROR; i <= LOG_DEBUG; i++) {
        if (strcmp(level_words[i], c->log_level) == 0) {
            level = (enum log_level) i;
        }
    }

    if (log_open(c->log_file, level, strcmp(c->log_format, "json") == 0) != 0) {
        return cli_complain(CLI_USAGE, "log_file: %s: %s", c->log_file,
            strerror(errno));
    }

    return CLI_OK;
}


/* Before any thread: each inherits the mask, none is interrupted. */
static int
server_signals(struct server *s)
{
    sigset_t  set;

    (void) sigemptyset(&set);
    (void) sigaddset(&set, SIGHUP);
    (void) sigaddset(&set, SIGUSR1);
    (void) sigaddset(&set, SIGTERM);
    (void) sigaddset(&set, SIGINT);
    (void) sigaddset(&set, SIGQUIT);
    (void) signal(SIGPIPE, SIG_IGN);
    (void) signal(SIGXFSZ, SIG_IGN);       /* a full disk is an error code */

    if (pthread_sigmask(SIG_BLOCK, &set, NULL) != 0) {
        return CLI_FAILED;
    }

    s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return s->signals < 0 ? cli_complain(CLI_FAILED, "signalfd: %s",
                                strerror(errno))
                          : CLI_OK;
}


/* No secret or body may end in a core file. */
static void
server_limits(void)
{
    const struct rlimit  none = { 0, 0 };

    (void) setrlimit(RLIMIT_CORE, &none);

    /* an arena a thread would hold what only the last burst needed */
    (void) mallopt(M_ARENA_MAX, 2);
    (void) mallopt(M_TRIM_THRESHOLD, 1024 * 1024);
    (void) mallopt(M_MMAP_THRESHOLD, 256 * 1024);
}


static int
server_roles(struct cli *cli)
{
    if (cli_value(cli, "roles") != NULL
        && setenv("INTEGRATIOND_ROLES", cli_value(cli, "roles"), 1) != 0)
    {
        return CLI_FAILED;
    }

    return CLI_OK;
}


static int
server_open(struct server *s)
{
    struct store_options  o;
    unsigned              added = 0;
    char                  err[1024] = "";
    int                   status;
    enum result           r;

    status = cli_load_secret(s->cli);
    if (status != CLI_OK) {
        return status;
    }

    memset(&o, 0, sizeof(o));
    o.uri = s->config->store;
    o.readers = (unsigned) s->config->api_threads;
    r = store_open(&o, &s->store, err, sizeof(err));

    if (r == RESULT_OK) {
        r = store_migrate(s->store, err, sizeof(err));
    }

    if (r != RESULT_OK) {
        /* it names the store, without the credentials of its URI */
        log_write(LOG_ERROR, "main", "%s", err);
        return CLI_FAILED;
    }

    r = catalog_seed(s->store, &added);
    r = r == RESULT_OK ? catalog_create(s->store, s->cli->secret, &s->catalog)
                       : r;

    if (r != RESULT_OK) {
        log_write(LOG_ERROR, "main", "the catalogue cannot be opened: %s",
            result_text(r));
        return CLI_FAILED;
    }

    return CLI_OK;
}


static void
server_wake(void *dispatch)
{
    dispatch_wake(dispatch);
}


static bool
server_offer(void *dispatch, struct logdoc *d)
{
    return dispatch_offer(dispatch, d);
}


static void
server_take(void *dispatch, const struct logdoc *d, bool kept)
{
    dispatch_take(dispatch, d, kept);
}


/* -- parts, in the order in which they start ------------------------------- */

static enum result
start_drain(struct server *s, char *err, size_t errlen)
{
    enum result  r;

    (void) err;
    (void) errlen;
    r = drain_start(s->config, s->store, s->catalog, s->cli->secret, &s->drain);
    return r == RESULT_OK ? upkeep_start(s->config, s->store, &s->upkeep) : r;
}


static enum result
start_outbound(struct server *s, char *err, size_t errlen)
{
    (void) err;
    (void) errlen;
    return outbound_create(s->config, s->store, s->cli->secret,
        (unsigned) s->config->api_threads, &s->outbound);
}


static enum result
start_dispatch(struct server *s, char *err, size_t errlen)
{
    enum result  r;

    r = dispatch_start(s->config, s->store, outbound_routes(s->outbound),
        s->cli->secret, &s->dispatch, err, errlen);

    if (r == RESULT_OK) {
        outbound_on_work(s->outbound, server_wake, s->dispatch);
    }

    return r;
}


static enum result
start_intake(struct server *s, char *err, size_t errlen)
{
    struct event_taker  taker = { server_offer, server_take, s->dispatch };
    enum result         r;

    (void) err;
    (void) errlen;
    outbound_taker(s->outbound, &taker);
    r = intake_start(s->config, s->store, outbound_routes(s->outbound),
        s->cli->secret, server_wake, s->dispatch, &taker,
        outbound_counters(s->outbound), &s->intake);

    if (r == RESULT_OK) {
        outbound_intake(s->outbound, s->intake);
    }

    return r;
}


static enum result
start_retries(struct server *s, char *err, size_t errlen)
{
    (void) err;
    (void) errlen;
    return retry_run_start(s->config, s->store, s->outbound, &s->retries);
}


static enum result
start_replays(struct server *s, char *err, size_t errlen)
{
    (void) err;
    (void) errlen;
    return replay_run_start(s->config, s->store, s->cli->secret, &s->replays);
}


static enum result
start_processes(struct server *s, char *err, size_t errlen)
{
    (void) err;
    (void) errlen;
    return processes_start(s->config, s->store, s->drain, s->dispatch,
        &s->processes);
}


static enum result
start_api(struct server *s, char *err, size_t errlen)
{
    return api_start(s->config, s->store, s->catalog, s->cli->secret, s->drain,
        s->outbound, s->dispatch, &s->api, err, errlen);
}


#define ROLES_ALL  (CONFIG_ROLE_DRAIN | CONFIG_ROLE_DISPATCH | CONFIG_ROLE_API)

static const struct server_part {
    unsigned      roles;                   /* any of them wants it */
    enum result (*start)(struct server *s, char *err, size_t errlen);
    const char   *name;
}  server_parts[] = {
    { CONFIG_ROLE_DRAIN, start_drain, "drain" },
    { CONFIG_ROLE_DISPATCH | CONFIG_ROLE_API, start_outbound, "integrations" },
    { CONFIG_ROLE_DISPATCH, start_dispatch, "dispatch" },
    { CONFIG_ROLE_DISPATCH, start_intake, "intake of events" },
    { CONFIG_ROLE_DISPATCH, start_retries, "batch retries" },
    { CONFIG_ROLE_DISPATCH, start_replays, "replays" },
    { ROLES_ALL, start_processes, "list of processes" },
    { CONFIG_ROLE_API, start_api, "API" },
};


static int
server_start(struct server *s)
{
    const struct server_part  *p = server_parts;
    const struct server_part  *end = p + sizeof(server_parts) / sizeof(*p);
    char                       err[1024];
    enum result                r;

    for ( /* void */ ; p < end; p++) {
        if (!(s->config->roles & p->roles)) {
            continue;
        }

        err[0] = '\0';
        r = p->start(s, err, sizeof(err));

        if (r != RESULT_OK) {
            log_write(LOG_ERROR, "main", "%s: cannot start: %s", p->name,
                err[0] == '\0' ? result_text(r) : err);
            return CLI_FAILED;
        }
    }

    return CLI_OK;
}


/* In the reverse order of server_open and server_start. */
static void
server_stop(struct server *s)
{
    if (s->api != NULL) {
        api_stop(s->api);
    }

    processes_stop(s->processes);
    intake_stop(s->intake);
    replay_run_stop(s->replays);
    retry_run_stop(s->retries);
    dispatch_stop(s->dispatch);
    outbound_destroy(s->outbound);
    drain_stop(s->drain);
    upkeep_stop(s->upkeep);
    catalog_destroy(s->catalog);

    if (s->store != NULL) {
        store_close(s->store);
    }

    if (s->signals >= 0) {
        (void) close(s->signals);
    }
}


/* A bad file changes nothing. */
static void
server_reload(struct server *s)
{
    struct config  *fresh;
    const char     *name;
    char            err[1024];

    server_notify("RELOADING=1");

    if (config_load(s->cli->path, &fresh, err, sizeof(err)) != RESULT_OK) {
        log_write(LOG_ERROR, "main", "reload: %s; the old configuration "
            "stays", err);
        server_notify("READY=1");
        return;
    }

    if (config_needs_restart(s->config, fresh, &name)) {
        log_write(LOG_WARN, "main", "reload: %s changes with a restart only",
            name);
    }

    if (server_open_log(fresh) != CLI_OK) {
        log_write(LOG_ERROR, "main", "reload: log_file: %s",
            strerror(errno));
    }

    if (s->drain != NULL) {
        drain_set_retention(s->drain, fresh->retention_ok_us,
            fresh->retention_fail_us, fresh->retention_dead_us);
        upkeep_set_dead_max(s->upkeep, fresh->dead_letter_max_bytes);
    }

    log_write(LOG_NOTICE, "main", "configuration read anew");
    config_destroy(fresh);
    server_notify("READY=1");
}


/* Systemd restarts what does not turn; an outage turns, though in vain. */
static void
server_tick(const struct server *s)
{
    struct drain_stats  stats;

    if (!s->watchdog) {
        return;
    }

    if (s->drain != NULL) {
        drain_stats(s->drain, &stats);

        if (clock_mono_us() - stats.beat_us > MAIN_STUCK_US) {
            log_rate(LOG_ERROR, "main", "a thread of the drain is stuck");
            return;
        }
    }

    server_notify("WATCHDOG=1");
}


static void
server_wait(struct server *s)
{
    struct pollfd            pfd = { .fd = s->signals, .events = POLLIN };
    struct signalfd_siginfo  info;

    for ( ;; ) {
        (void) poll(&pfd, 1, MAIN_TICK_MS);
        server_tick(s);

        while (read(s->signals, &info, sizeof(info)) == sizeof(info)) {
            if (info.ssi_signo == SIGHUP) {
                server_reload(s);

            } else if (info.ssi_signo == SIGUSR1) {
                log_reopen();

            } else {
                log_write(LOG_NOTICE, "main", "signal %u: stopping",
                    info.ssi_signo);
                return;
            }
        }
    }
}


/* From now on the default actions: a second TERM, or time, ends all. */
static void
server_let_go(const struct server *s)
{
    sigset_t  set;

    (void) sigemptyset(&set);
    (void) sigaddset(&set, SIGTERM);
    (void) sigaddset(&set, SIGINT);
    (void) sigaddset(&set, SIGQUIT);
    (void) pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    (void) alarm((unsigned) (s->config->shutdown_timeout_us / 1000000)
                 + MAIN_GRACE_S);
}


static int
server_run(struct cli *cli)
{
    struct server  s = { .cli = cli, .signals = -1 };
    int            status;

    status = server_roles(cli);
    status = status == CLI_OK ? cli_load_config(cli) : status;
    s.config = cli->config;
    status = status == CLI_OK ? server_open_log(s.config) : status;

    if (status == CLI_OK) {
        server_limits();
        s.watchdog = getenv("WATCHDOG_USEC") != NULL;
        status = server_signals(&s);
    }

    status = status == CLI_OK ? server_open(&s) : status;
    status = status == CLI_OK ? server_start(&s) : status;

    if (status == CLI_OK) {
        log_write(LOG_NOTICE, "main", "up: store %s, redis %s, listen %s",
            store_name(s.store), s.config->redis, s.config->listen);
        server_notify("READY=1");
        server_wait(&s);
        server_notify("STOPPING=1");
        server_let_go(&s);
    }

    server_stop(&s);

    if (status == CLI_OK) {
        log_write(LOG_NOTICE, "main", "stopped");
    }

    log_close();
    return status;
}


int
main(int argc, char **argv)
{
    return cli_main(argc, argv, server_run);
}
