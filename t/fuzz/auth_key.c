/* Keys of the API and hex digests as a client or an import sends them. */

#include <stdint.h>
#include <stdlib.h>

#include "auth_key.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice  s = { (const char *) data, size }, id;
    uint8_t       digest[32];
    char          text[2 * sizeof(digest) + 1];

    if (auth_key_parse(s, &id) == RESULT_OK) {
        if (size != AUTH_KEY_TEXT || id.n != AUTH_KEY_ID || id.p != s.p + 6
            || memcmp(s.p, "idash_", 6) != 0
            || s.p[6 + AUTH_KEY_ID] != '_' || memchr(s.p, '\0', size) != NULL)
        {
            abort();
        }
    }

    if (auth_unhex(s, digest, sizeof(digest)) == RESULT_OK) {
        auth_hex(digest, sizeof(digest), text);
        if (!slice_eq_nocase(s, slice_of(text))) {
            abort();
        }
    }

    return 0;
}
