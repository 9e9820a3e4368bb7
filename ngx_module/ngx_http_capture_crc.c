/* CRC-32C by the SSE 4.2 instruction, else by a table of 16 entries. */

#include "ngx_http_capture_crc.h"

#include <string.h>

/* remainders of the reflected polynomial 0x82f63b78 for each nibble */
static const uint32_t  crc_nibbles[16] = {
    0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1,
    0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
    0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
    0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75
};


static uint32_t
crc_soft(uint32_t crc, const uint8_t *p, size_t len)
{
    while (len-- > 0) {
        crc ^= *p++;
        crc = (crc >> 4) ^ crc_nibbles[crc & 15];
        crc = (crc >> 4) ^ crc_nibbles[crc & 15];
    }

    return crc;
}


#if defined(__x86_64__)

__attribute__((target("sse4.2")))
static uint32_t
crc_hard(uint32_t crc, const uint8_t *p, size_t len)
{
    uint64_t  wide, word;

    wide = crc;

    for ( /* void */ ; len >= 8; len -= 8, p += 8) {
        memcpy(&word, p, 8);
        wide = __builtin_ia32_crc32di(wide, word);
    }

    crc = (uint32_t) wide;

    while (len-- > 0) {
        crc = __builtin_ia32_crc32qi(crc, *p++);
    }

    return crc;
}


static uint32_t
crc_run(uint32_t crc, const uint8_t *p, size_t len)
{
    if (__builtin_cpu_supports("sse4.2")) {
        return crc_hard(crc, p, len);
    }

    return crc_soft(crc, p, len);
}

#else

static uint32_t
crc_run(uint32_t crc, const uint8_t *p, size_t len)
{
    return crc_soft(crc, p, len);
}

#endif


uint32_t
capture_crc32c(uint32_t crc, const void *p, size_t len)
{
    return ~crc_run(~crc, p, len);
}
