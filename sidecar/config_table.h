/*
 * The table of settings itself: what config_load.c reads and config_print.c
 * prints. No other file needs it.
 */

#ifndef CONFIG_TABLE_H
#define CONFIG_TABLE_H

#include "config.h"

enum config_type {
    CONFIG_TEXT,                           /* char *, never empty */
    CONFIG_OPTIONAL,                       /* char *, NULL when not given */
    CONFIG_INT,
    CONFIG_SIZE,                           /* bytes: k m g */
    CONFIG_TIME,                           /* microseconds: us ms s m h d */
    CONFIG_ROLES,
    CONFIG_WORD                            /* char *, one of words */
};

struct config_key {
    const char        *name;
    enum config_type   type;
    size_t             offset;
    int64_t            min, max;           /* numbers, sizes, times (us) */
    const char        *text;               /* the default, NULL: not set */
    bool               reload;             /* taken over by SIGHUP */
    const char        *words;              /* "a|b|c" of CONFIG_WORD */
    const char        *sentence;
};

#define CONFIG_KEYS  57                    /* rows; checked where it is made */

/* in the order in which a reader wants them: sample and reference follow it */
extern const struct config_key  config_keys[CONFIG_KEYS];

struct config_unit {
    const char  *name;
    int64_t      factor;
};

/* ascending, ends with a NULL name */
extern const struct config_unit  config_time_units[], config_size_units[];

char **config_string(struct config *c, const struct config_key *k);
int64_t *config_number(struct config *c, const struct config_key *k);
bool config_is_string(const struct config_key *k);

/* A time, size or number as a person writes it. */
void config_show(const struct config_key *k, int64_t n, char *text,
    size_t len);

#endif /* CONFIG_TABLE_H */
