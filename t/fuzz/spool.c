/*
 * Foreign bytes as a segment of the spool: as they are, and with a valid head
 * put before them.  Each command that comes out is one XADD.
 */

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ngx_http_capture_record.h"
#include "ngx_http_capture_segment.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int   dir = -1;
static char  name[32];


static void
read_all(void)
{
    struct capture_segment  g;
    const char             *p;
    size_t                  len;
    uint64_t                torn = 0, last = 0;

    if (capture_segment_open(&g, dir, name) != 0) {
        return;
    }

    while (capture_segment_next(&g, &p, &len, &torn) == 1) {
        if (g.off <= last || !capture_record_check(p, len)) {
            abort();
        }
        last = g.off;
    }

    capture_segment_note(&g);
    capture_segment_close(&g);
}


static void
put(const uint8_t *data, size_t size, off_t at)
{
    int  fd;

    fd = openat(dir, name, O_WRONLY | O_CREAT | (at == 0 ? O_TRUNC : 0), 0600);
    if (fd == -1 || pwrite(fd, data, size, at) != (ssize_t) size
        || ftruncate(fd, at + (off_t) size) != 0)
    {
        abort();
    }
    (void) close(fd);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char       command[] =
        "*5\r\n$4\r\nXADD\r\n$1\r\ns\r\n$1\r\n*\r\n$1\r\na\r\n$1\r\nb\r\n";
    static const uint8_t    id[16] = { 1 };
    struct capture_segment  g;

    if (dir == -1) {
        dir = open("/dev/shm", O_RDONLY | O_DIRECTORY);
        (void) snprintf(name, sizeof(name), "fuzz-%d.seg", (int) getpid());
    }

    put(data, size, 0);
    read_all();
    (void) unlinkat(dir, name, 0);

    if (capture_segment_create(&g, dir, name, 65536, 1) != 0
        || capture_segment_append(&g, id, command, sizeof(command) - 1) != 0)
    {
        abort();
    }

    capture_segment_finish(&g);
    put(data, size, 288);
    read_all();

    (void) unlinkat(dir, name, 0);
    return 0;
}
