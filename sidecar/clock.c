/* Time and its text form. */

#include "clock.h"

#include <stdbool.h>
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


/* N digits and AFTER; where to go on. */
static char *
digits_put(char *p, int value, int n, char after)
{
    for (int i = n - 1; i >= 0; i--, value /= 10) {
        p[i] = (char) ('0' + value % 10);
    }

    p[n] = after;
    return p + n + 1;
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

    /* by hand: strftime pads no year before 1000 */
    (void) gmtime_r(&sec, &tm);
    text = digits_put(text, tm.tm_year + 1900, 4, '-');
    text = digits_put(text, tm.tm_mon + 1, 2, '-');
    text = digits_put(text, tm.tm_mday, 2, 'T');
    text = digits_put(text, tm.tm_hour, 2, ':');
    text = digits_put(text, tm.tm_min, 2, ':');
    text = digits_put(text, tm.tm_sec, 2, '.');
    text = digits_put(text, (int) rest, 3, 'Z');
    *text = '\0';
}


static bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
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

    for (p++; is_digit(*p); p++, digits++) {
        *us += (*p - '0') * unit;
        unit /= 10;
    }

    return digits >= 1 && digits <= 9 ? p : NULL;
}


/* "Z" or "+05:30" as seconds east. */
static enum result
offset_parse(const char *p, int64_t *seconds)
{
    int  hours, minutes;

    if (strcmp(p, "Z") == 0 || strcmp(p, "z") == 0) {
        *seconds = 0;
        return RESULT_OK;
    }

    if (strlen(p) != 6 || (p[0] != '+' && p[0] != '-') || p[3] != ':'
        || !is_digit(p[1]) || !is_digit(p[2]) || !is_digit(p[4])
        || !is_digit(p[5]))
    {
        return RESULT_INVALID;
    }

    hours = (p[1] - '0') * 10 + p[2] - '0';
    minutes = (p[4] - '0') * 10 + p[5] - '0';

    if (hours > 23 || minutes > 59) {
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
    int          day, leap;

    memset(&tm, 0, sizeof(tm));

    /* strptime takes short fields and spaces: the shape is checked first */
    for (int i = 0; i < 19; i++) {
        char  want = "dddd-dd-ddTdd:dd:dd"[i];
        char  c = text[i];

        if (want == 'd' ? !is_digit(c)
                        : (c != want && !(want == 'T' && c == 't')))
        {
            return RESULT_INVALID;
        }
    }

    p = strptime(text, "%Y-%m-%d", &tm);
    p = p == NULL ? NULL : strptime(p + 1, "%H:%M:%S", &tm);
    p = p == NULL ? NULL : fraction_parse(p, &fraction);

    if (p == NULL || offset_parse(p, &offset) != RESULT_OK
        || tm.tm_sec > 60)
    {
        return RESULT_INVALID;
    }

    /* a leap second is the next minute; 30 February would be 2 March */
    leap = tm.tm_sec == 60;
    tm.tm_sec -= leap;
    day = tm.tm_mday;
    sec = timegm(&tm) + leap;

    if (tm.tm_mday != day) {
        return RESULT_INVALID;
    }

    *us = ((int64_t) sec - offset) * 1000000 + fraction;
    return RESULT_OK;
}
