/* Words for results. */

#include "result.h"

static const char *const  texts[] = {
    [RESULT_OK] = "ok",
    [RESULT_AGAIN] = "nothing there yet",
    [RESULT_NOT_FOUND] = "not found",
    [RESULT_CONFLICT] = "conflict",
    [RESULT_INVALID] = "invalid",
    [RESULT_TOO_BIG] = "too big",
    [RESULT_UNAVAILABLE] = "unavailable",
    [RESULT_TIMEOUT] = "timed out",
    [RESULT_MEMORY] = "out of memory",
    [RESULT_INTERNAL] = "internal error"
};

const char *
result_text(enum result r)
{
    return texts[r];
}
