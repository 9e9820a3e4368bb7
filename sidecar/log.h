/*
 * Log lines: "2026/11/23 15:09:03 [warn] 123#4: drain: text".  Identity, never
 * payload: what came from outside is escaped and cut at 1 KB.
 */

#ifndef LOG_H
#define LOG_H

#include <stdbool.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_NOTICE, LOG_INFO, LOG_DEBUG };

/* PATH NULL: stderr.  JSON: one object a line.  Reopen is for SIGUSR1. */
int log_open(const char *path, enum log_level level, bool json);
void log_reopen(void);
void log_close(void);

/* AREA is the noun that speaks: "drain", "store". */
void log_write(enum log_level level, const char *area, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/*
 * At most one line a second of this call site; the next one tells how many
 * were left out.
 */
#define log_rate(level, area, ...)                                            \
    do {                                                                      \
        static struct log_site  site_;                                        \
        log_write_rate(&site_, (level), (area), __VA_ARGS__);                 \
    } while (0)

struct log_site {
    _Atomic long long  next_us;
    _Atomic unsigned   left_out;
};

void log_write_rate(struct log_site *site, enum log_level level,
    const char *area, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

#endif /* LOG_H */
