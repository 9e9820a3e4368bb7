/*
 * The text of hl7_map.jq, put into the binary by the assembler.
 */

#include "hl7_map.h"

__asm__(".pushsection .rodata\n"
        "hl7_map_text: .incbin \"sidecar/hl7_map.jq\"\n"
        "hl7_map_end: .byte 0\n"
        ".popsection\n");

extern const char  hl7_map_text[], hl7_map_end[];


struct slice
hl7_map(void)
{
    return (struct slice) { hl7_map_text,
        (size_t) (hl7_map_end - hl7_map_text) };
}
