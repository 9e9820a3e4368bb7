/*
 * Cursors: the input as a text that a client made up, which must never pass,
 * and as the content of one of ours, which must come back.
 */

#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cursor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static struct secret *
secret_make(void)
{
    static const uint8_t   key[32] = "thirty-two bytes, always the one";
    static struct secret  *s;
    char                   path[] = "/tmp/cursor.XXXXXX", err[256];
    int                    fd;

    if (s != NULL) {
        return s;
    }

    fd = mkstemp(path);
    if (fd < 0 || write(fd, key, sizeof(key)) != (ssize_t) sizeof(key)
        || fchmod(fd, 0400) != 0)
    {
        abort();
    }

    if (secret_load(path, 0, &s, err, sizeof(err)) != RESULT_OK) {
        abort();
    }

    (void) unlink(path);
    close(fd);
    return s;
}


static void
take(uint8_t *to, size_t n, const uint8_t **data, size_t *size)
{
    size_t  have = n < *size ? n : *size;

    memcpy(to, *data, have);
    *data += have;
    *size -= have;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct secret  *s = secret_make();
    struct cursor   made, got;
    uint8_t         flip = 0;
    char            text[CURSOR_TEXT];
    size_t          n;

    if (cursor_parse(s, (struct slice) { (const char *) data, size }, &got)
        == RESULT_OK)
    {
        cursor_print(s, &got, text);       /* one cursor has one text */
        if (strlen(text) != size || memcmp(text, data, size) != 0) {
            abort();
        }
    }

    memset(&made, 0, sizeof(made));
    take(&flip, 1, &data, &size);
    take((uint8_t *) &made.hash, sizeof(made.hash), &data, &size);
    take((uint8_t *) &made.us, sizeof(made.us), &data, &size);
    take(made.id, sizeof(made.id), &data, &size);
    made.back = flip & 1;
    made.name_n = size < CURSOR_MAX_NAME ? size : CURSOR_MAX_NAME;
    take((uint8_t *) made.name, made.name_n, &data, &size);

    cursor_print(s, &made, text);
    n = strlen(text);
    if (n >= CURSOR_TEXT
        || cursor_parse(s, (struct slice) { text, n }, &got) != RESULT_OK
        || got.back != made.back || got.hash != made.hash || got.us != made.us
        || memcmp(got.id, made.id, sizeof(got.id)) != 0
        || got.name_n != made.name_n
        || memcmp(got.name, made.name, made.name_n) != 0)
    {
        abort();
    }

    text[flip % n] = text[flip % n] == 'A' ? 'B' : 'A';
    if (cursor_parse(s, (struct slice) { text, n }, &got) == RESULT_OK) {
        abort();
    }

    return 0;
}
