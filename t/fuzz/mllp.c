/* Foreign bytes into the MLLP reader, in two reads cut by the first byte. */

#include <stdint.h>
#include <stdlib.h>

#include "mllp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mllp_reader  r;
    struct slice        in;
    const char         *why;
    size_t              used, left;
    enum result         result;

    if (size < 2) {
        return 0;
    }

    mllp_reader_init(&r, data[0] & 1);
    in = (struct slice) { (const char *) data + 1, size - 1 };
    left = data[0] % in.n;
    result = RESULT_OK;

    while (in.n > 0 && result != RESULT_INVALID) {
        struct slice  some = { in.p, left == 0 ? in.n : left };

        result = mllp_feed(&r, some, &used, &why);
        if (used > some.n || r.payload.n > MLLP_MAX_PAYLOAD) {
            abort();
        }

        if (result == RESULT_OK) {
            mllp_reader_reset(&r);
        }

        in.p += used;
        in.n -= used;
        left = 0;
    }

    mllp_reader_cleanup(&r);
    return 0;
}
