/* Time and its text form. */

#include "clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>


static int64_t
clock_read(clockid_t id)
{
    struct timespec  ts;

    (void) clock_gettime(id, &ts);
    return (int64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}


int64_t
clock_wall_us(void)
{
    return clock_read(CLOCK_REALTIME);
}


int64_t
clock_mono_us(void)
{
    return clock_read(CLOCK_MONOTONIC);
}


void
clock_text(int64_t us, char text[CLOCK_RFC3339 + 1])
{
    int64_t    ms = us / 1000 - (us % 1000 < 0);
    int64_t    rest = ms % 1000;
    struct tm  tm;
    time_t     sec;

    rest += rest < 0 ? 1000 : 0;
    sec = (time_t) ((ms - rest) / 1000);

    /* four digits of year are all that RFC 3339 has */
    if (sec < -62167219200 || sec > 253402300799) {
        sec = 0;
        rest = 0;
    }

    (void) gmtime_r(&sec, &tm);
    (void) strftime(text, 20, "%Y-%m-%dT%H:%M:%S", &tm);
    text[19] = '.';
    text[20] = (char) ('0' + rest / 100);
    text[21] = (char) ('0' + rest / 10 % 10);
    text[22] = (char) ('0' + rest % 10);
    text[23] = 'Z';
    text[24] = '\0';
}


/* ".123456789" as microseconds; the rest of the text, or NULL. */
static const char *
fraction_parse(const char *p, int64_t *us)
{
    int64_t  unit = 100000;
    int      digits = 0;

    *us = 0;

    if (*p != '.') {
        return p;
    }

    for (p++; *p >= '0' && *p <= '9'; p++, digits++) {
        *us += (*p - '0') * unit;
        unit /= 10;
    }

    return digits >= 1 && digits <= 9 ? p : NULL;
}


/* "Z" or "+05:30" as seconds east. */
static enum result
offset_parse(const char *p, int64_t *seconds)
{
    int   hours, minutes, end = 0;
    char  sign[2];

    if (strcmp(p, "Z") == 0 || strcmp(p, "z") == 0) {
        *seconds = 0;
        return RESULT_OK;
    }

    if (strlen(p) != 6
        || sscanf(p, "%1[+-]%2d:%2d%n", sign, &hours, &minutes, &end) != 3
        || end != 6 || hours > 23 || minutes > 59)
    {
        return RESULT_INVALID;
    }

    *seconds = (hours * 60 + minutes) * 60 * (p[0] == '-' ? -1 : 1);
    return RESULT_OK;
}


enum result
clock_parse(const char *text, int64_t *us)
{
    struct tm    tm;
    const char  *p;
    int64_t      fraction, offset;
    time_t       sec;
    int          day;

    memset(&tm, 0, sizeof(tm));

    /* strptime takes short fields and spaces: the shape is checked first */
    for (int i = 0; i < 19; i++) {
        char  want = "dddd-dd-ddTdd:dd:dd"[i];
        char  c = text[i];

        if (want == 'd' ? (c < '0' || c > '9')
                        : (c != want && !(want == 'T' && c == 't')))
        {
            return RESULT_INVALID;
        }
    }

    p = strptime(text, "%Y-%m-%d", &tm);
    p = p == NULL ? NULL : strptime(p + 1, "%H:%M:%S", &tm);
    p = p == NULL ? NULL : fraction_parse(p, &fraction);

    if (p == NULL || offset_parse(p, &offset) != RESULT_OK) {
        return RESULT_INVALID;
    }

    /* 30 February becomes 2 March, in tm too; a leap second the next minute */
    day = tm.tm_sec < 60 ? tm.tm_mday : 0;
    sec = timegm(&tm);

    if (day != 0 && day != tm.tm_mday) {
        return RESULT_INVALID;
    }

    *us = ((int64_t) sec - offset) * 1000000 + fraction;
    return RESULT_OK;
}
