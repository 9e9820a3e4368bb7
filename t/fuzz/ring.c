/*
 * Foreign bytes as a frame that an adopter finds: encoded within bounds into
 * one well-formed command, or refused.
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ngx_http_capture_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct capture_encoder  *encoder;
    struct capture_out              out = { NULL, 0, 0 };
    struct capture_frame           *f;
    struct capture_rules            rules;
    int                             rc;

    if (encoder == NULL) {
        encoder = capture_encoder_create("idash:capture");
    }

    if (encoder == NULL || size < sizeof(*f)) {
        return 0;
    }

    /* the ring has checked this much: the pieces lie within the frame */
    f = malloc(size);
    if (f == NULL) {
        return 0;
    }

    memcpy(f, data, size);
    if (f->pieces_len > size - sizeof(*f)) {
        f->pieces_len = (uint32_t) (size - sizeof(*f));
    }

    (void) capture_rules_parse(&rules, NULL, 0);
    rules.all = (int) (size & 1);

    rc = capture_record_encode(encoder, f, &rules, &out);
    if (rc == 0 && (out.n > CAPTURE_MAX_COMMAND
                    || !capture_record_check(out.p, out.n)))
    {
        abort();
    }

    if (rc != 0 && out.n != 0) {
        abort();
    }

    (void) capture_record_check((const char *) data, size);
    capture_out_free(&out);
    free(f);
    return 0;
}
