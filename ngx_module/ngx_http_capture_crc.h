/* CRC-32C (Castagnoli, RFC 3720 appendix B.4), by the CPU where it can. */

#ifndef NGX_HTTP_CAPTURE_CRC_H
#define NGX_HTTP_CAPTURE_CRC_H

#include <stddef.h>
#include <stdint.h>

/* Continues CRC (0 at first) over LEN bytes. */
uint32_t capture_crc32c(uint32_t crc, const void *p, size_t len);

#endif /* NGX_HTTP_CAPTURE_CRC_H */
