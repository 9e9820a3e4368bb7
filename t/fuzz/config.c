/* The configuration's reader: any file is taken or refused with a reason. */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config  *c = NULL;
    char            path[64], err[512];
    int             fd;
    enum result     r;

    fd = memfd_create("config", MFD_CLOEXEC);
    if (fd < 0 || write(fd, data, size) != (ssize_t) size) {
        abort();
    }

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    memset(err, 'x', sizeof(err));
    r = config_load(path, &c, err, sizeof(err));

    if (r == RESULT_OK) {
        if (c->store == NULL || c->roles == 0 || c->drain_batch < 1) {
            abort();
        }

        config_destroy(c);

    } else if (memchr(err, '\0', sizeof(err)) == NULL || err[0] == '\0') {
        abort();
    }

    close(fd);
    return 0;
}
