/*
 * Runs a fuzz target over files: `make test` replays every seed with gcc, where
 * libFuzzer is not there.  Each file is copied to memory of its exact size, so
 * that a sanitizer sees a read behind its end.
 */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static int
replay_file(const char *path)
{
    uint8_t  *data;
    FILE     *f;
    long      size;
    int       rc;

    rc = -1;
    data = NULL;

    f = fopen(path, "rb");
    if (f == NULL) {
        perror(path);
        return -1;
    }

    if (fseek(f, 0, SEEK_END) != 0 || (size = ftell(f)) < 0
        || fseek(f, 0, SEEK_SET) != 0)
    {
        perror(path);
        goto out;
    }

    data = malloc(size > 0 ? (size_t) size : 1);
    if (data == NULL || fread(data, 1, (size_t) size, f) != (size_t) size) {
        perror(path);
        goto out;
    }

    (void) LLVMFuzzerTestOneInput(data, (size_t) size);
    rc = 0;

out:

    free(data);
    fclose(f);
    return rc;
}


int
main(int argc, char **argv)
{
    int  i;

    for (i = 1; i < argc; i++) {
        if (replay_file(argv[i]) != 0) {
            return 1;
        }
    }

    printf("%d inputs\n", argc - 1);
    return 0;
}
