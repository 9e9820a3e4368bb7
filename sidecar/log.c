/*
 * Log lines.  One write(2) a line, so that lines of threads never mix; a full
 * disk loses lines, not the caller.  Everything that is not printable text is
 * escaped here, once, whatever the caller passed.
 */

#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "buf.h"
#include "clock.h"

#define LOG_MAX_TEXT  1024                 /* of a message, before escaping */
#define LOG_MAX_LINE  (LOG_MAX_TEXT * 6 + 256)

struct log_word {
    const char  *name;
    char         syslog;                   /* the journal's digit */
};

static const struct log_word  log_words[] = {
    [LOG_ERROR]  = { "error",  '3' },
    [LOG_WARN]   = { "warn",   '4' },
    [LOG_NOTICE] = { "notice", '5' },
    [LOG_INFO]   = { "info",   '6' },
    [LOG_DEBUG]  = { "debug",  '7' }
};

/* the process has one log; everything in it is under the lock but the level */
static struct {
    pthread_mutex_t  lock;
    char            *path;
    int              fd;
    _Atomic int      level;
    bool             json;
    bool             journal;
} log_state = {
    .lock = PTHREAD_MUTEX_INITIALIZER, .fd = STDERR_FILENO, .level = LOG_NOTICE
};


/* systemd names device and inode of the stream that goes to the journal. */
static bool
log_is_journal(int fd)
{
    unsigned long long  dev, ino;
    const char         *env;
    struct stat         st;

    env = getenv("JOURNAL_STREAM");

    return env != NULL && sscanf(env, "%llu:%llu", &dev, &ino) == 2
           && fstat(fd, &st) == 0 && st.st_dev == (dev_t) dev
           && st.st_ino == (ino_t) ino;
}


static int
log_open_file(const char *path)
{
    return open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW,
        0640);
}


int
log_open(const char *path, enum log_level level, bool json)
{
    char  *copy = NULL;
    int    fd = STDERR_FILENO;

    if (path != NULL) {
        copy = strdup(path);
        fd = copy == NULL ? -1 : log_open_file(path);

        if (fd < 0) {
            free(copy);
            return -1;
        }
    }

    (void) pthread_mutex_lock(&log_state.lock);

    if (log_state.fd != STDERR_FILENO) {
        (void) close(log_state.fd);
    }

    free(log_state.path);
    log_state.path = copy;
    log_state.fd = fd;
    log_state.level = (int) level;
    log_state.json = json;
    log_state.journal = path == NULL && log_is_journal(fd);

    (void) pthread_mutex_unlock(&log_state.lock);
    return 0;
}


void
log_reopen(void)
{
    int  fd;

    (void) pthread_mutex_lock(&log_state.lock);

    if (log_state.path != NULL) {
        fd = log_open_file(log_state.path);

        if (fd >= 0) {
            (void) close(log_state.fd);
            log_state.fd = fd;
        }
    }

    (void) pthread_mutex_unlock(&log_state.lock);
}


void
log_close(void)
{
    (void) pthread_mutex_lock(&log_state.lock);

    if (log_state.fd != STDERR_FILENO) {
        (void) close(log_state.fd);
        log_state.fd = STDERR_FILENO;
    }

    free(log_state.path);
    log_state.path = NULL;
    (void) pthread_mutex_unlock(&log_state.lock);
}


/*
 * How many bytes at P must not reach a terminal as they are: C0, DEL, C1
 * (U+0080..9F), and what reorders text (U+200E, 200F, 202A..2E, 2066..69).
 */
static size_t
log_unsafe(const unsigned char *p, size_t n, bool utf8)
{
    if (p[0] < 0x20 || p[0] == 0x7f || (p[0] >= 0x80 && !utf8)) {
        return 1;
    }

    if (n >= 2 && p[0] == 0xc2 && p[1] < 0xa0) {
        return 2;
    }

    if (n < 3 || p[0] != 0xe2) {
        return 0;
    }

    if ((p[1] == 0x80
            && (p[2] == 0x8e || p[2] == 0x8f
                || (p[2] >= 0xaa && p[2] <= 0xae)))
        || (p[1] == 0x81 && p[2] >= 0xa6 && p[2] <= 0xa9))
    {
        return 3;
    }

    return 0;
}


static void
log_escape(struct buf *b, const char *text, bool json)
{
    const unsigned char  *p = (const unsigned char *) text;
    size_t                n = strlen(text), unsafe;
    bool                  utf8 = slice_utf8(slice_of(text));

    while (n > 0) {
        unsafe = log_unsafe(p, n, utf8);

        if (unsafe == 0) {
            if (json && (*p == '"' || *p == '\\')) {
                buf_add(b, "\\", 1);
            }

            buf_add(b, p, 1);
            unsafe = 1;

        } else {
            for (size_t i = 0; i < unsafe; i++) {
                buf_addf(b, json ? "\\u%04x" : "\\x%02x", p[i]);
            }
        }

        p += unsafe;
        n -= unsafe;
    }
}


static void
log_prefix(struct buf *b, enum log_level level, const char *area)
{
    char       text[32], zoned[CLOCK_RFC3339 + 1];
    long       tid = syscall(SYS_gettid);
    time_t     now;
    struct tm  tm;

    if (log_state.json) {
        clock_text(clock_wall_us(), zoned);
        buf_addf(b, "{\"time\":\"%s\",\"level\":\"%s\",\"pid\":%ld,"
            "\"tid\":%ld,\"area\":\"%s\",\"message\":\"", zoned,
            log_words[level].name, (long) getpid(), tid, area);
        return;
    }

    if (log_state.journal) {
        buf_addf(b, "<%c>", log_words[level].syslog);
    }

    now = time(NULL);
    (void) localtime_r(&now, &tm);
    (void) strftime(text, sizeof(text), "%Y/%m/%d %H:%M:%S", &tm);
    buf_addf(b, "%s [%s] %ld#%ld: %s: ", text, log_words[level].name,
        (long) getpid(), tid, area);
}


static void
log_vwrite(enum log_level level, const char *area, const char *fmt,
    va_list ap) __attribute__((format(printf, 3, 0)));

static void
log_vwrite(enum log_level level, const char *area, const char *fmt,
    va_list ap)
{
    char        text[LOG_MAX_TEXT + 1];
    struct buf  line;
    int         n;

    n = vsnprintf(text, sizeof(text), fmt, ap);

    if (n >= (int) sizeof(text)) {
        memcpy(text + sizeof(text) - 4, "...", 4);
    }

    buf_init(&line, LOG_MAX_LINE);

    (void) pthread_mutex_lock(&log_state.lock);

    log_prefix(&line, level, area);
    log_escape(&line, text, log_state.json);
    buf_adds(&line, log_state.json ? "\"}\n" : "\n");

    if (!line.failed && write(log_state.fd, line.p, line.n) < 0) {
        /* a log that cannot be written has nowhere to say so */
    }

    (void) pthread_mutex_unlock(&log_state.lock);
    buf_cleanup(&line);
}


void
log_write(enum log_level level, const char *area, const char *fmt, ...)
{
    va_list  ap;

    if ((int) level > log_state.level) {
        return;
    }

    va_start(ap, fmt);
    log_vwrite(level, area, fmt, ap);
    va_end(ap);
}


void
log_write_rate(struct log_site *site, enum log_level level, const char *area,
    const char *fmt, ...)
{
    char       text[LOG_MAX_TEXT + 1];
    unsigned   left_out;
    long long  next, now;
    va_list    ap;

    if ((int) level > log_state.level) {
        return;
    }

    now = clock_mono_us();
    next = site->next_us;

    if (now < next
        || !__atomic_compare_exchange_n((long long *) &site->next_us, &next,
               now + 1000000, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
    {
        site->left_out++;
        return;
    }

    left_out = __atomic_exchange_n((unsigned *) &site->left_out, 0,
        __ATOMIC_RELAXED);

    va_start(ap, fmt);
    (void) vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);

    if (left_out > 0) {
        log_write(level, area, "%s (%u like it left out)", text, left_out);

    } else {
        log_write(level, area, "%s", text);
    }
}
