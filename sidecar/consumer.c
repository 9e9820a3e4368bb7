/*
 * The name's file is locked while the process lives: of several processes on
 * one store each takes the first free number.
 */

#include "consumer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <unistd.h>

#include "log.h"

#define CONSUMER_SLOTS  64
#define CONSUMER_NAME   128

struct consumer {
    int   fd;                              /* holds the lock; -1: no file */
    char  name[CONSUMER_NAME];
};


static void
consumer_make_name(char name[CONSUMER_NAME])
{
    char      host[65] = "host";
    uint32_t  random = 0;

    (void) gethostname(host, sizeof(host) - 1);

    if (getrandom(&random, sizeof(random), 0) != (ssize_t) sizeof(random)) {
        random = (uint32_t) getpid() * 2654435761u;
    }

    (void) snprintf(name, CONSUMER_NAME, "%s-%ld-%08x", host, (long) getpid(),
        random);
}


static bool
consumer_is_name(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (text[i] <= 0x20 || text[i] >= 0x7f) {
            return false;
        }
    }

    return n > 0 && n < CONSUMER_NAME;
}


/* The kept name, or a new one written down. */
static enum result
consumer_keep(struct consumer *c)
{
    char     text[CONSUMER_NAME + 1];
    ssize_t  n;

    n = pread(c->fd, text, sizeof(text), 0);

    if (n > 0 && consumer_is_name(text, (size_t) n)) {
        memcpy(c->name, text, (size_t) n);
        c->name[n] = '\0';
        return RESULT_OK;
    }

    consumer_make_name(c->name);
    n = (ssize_t) strlen(c->name);

    return ftruncate(c->fd, 0) == 0
           && pwrite(c->fd, c->name, (size_t) n, 0) == n
           && fsync(c->fd) == 0 ? RESULT_OK : RESULT_INTERNAL;
}


/* AGAIN: another process has this one. */
static enum result
consumer_try(struct consumer *c, const char *path)
{
    c->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (c->fd < 0) {
        return RESULT_INTERNAL;
    }

    if (flock(c->fd, LOCK_EX | LOCK_NB) == 0) {
        return consumer_keep(c);
    }

    (void) close(c->fd);
    c->fd = -1;
    return errno == EWOULDBLOCK ? RESULT_AGAIN : RESULT_INTERNAL;
}


/* What the files' names begin with; false when there is no place. */
static bool
consumer_base(const struct config *conf, char *base, size_t len)
{
    const char  *state = getenv("STATE_DIRECTORY");
    int          n;

    if (strncmp(conf->store, "sqlite:", 7) == 0) {
        n = snprintf(base, len, "%s.consumer", conf->store + 7);

    } else if (state != NULL) {
        n = snprintf(base, len, "%.*s/consumer", (int) strcspn(state, ":"),
            state);

    } else {
        return false;
    }

    return n > 0 && (size_t) n < len;
}


enum result
consumer_create(const struct config *conf, struct consumer **out)
{
    struct consumer  *c;
    char              base[3072], path[4096];
    enum result       r = RESULT_AGAIN;

    c = calloc(1, sizeof(*c));
    if (c == NULL) {
        return RESULT_MEMORY;
    }

    c->fd = -1;
    *out = c;

    if (conf->consumer != NULL) {
        (void) snprintf(c->name, sizeof(c->name), "%s", conf->consumer);
        return RESULT_OK;
    }

    if (consumer_base(conf, base, sizeof(base))) {
        for (int i = 0; i < CONSUMER_SLOTS && r == RESULT_AGAIN; i++) {
            (void) snprintf(path, sizeof(path), "%s.%d", base, i);
            r = consumer_try(c, path);
        }
    }

    if (r != RESULT_OK) {
        consumer_make_name(c->name);
        log_write(LOG_WARN, "drain", "the consumer's name %s is not kept: what "
            "is pending at a crash waits for drain_min_idle; set consumer",
            c->name);
    }

    return RESULT_OK;
}


void
consumer_destroy(struct consumer *c)
{
    if (c != NULL) {
        if (c->fd >= 0) {
            (void) close(c->fd);
        }

        free(c);
    }
}


const char *
consumer_name(const struct consumer *c)
{
    return c->name;
}
