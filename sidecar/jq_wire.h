/*
 * What integrationd and its child integrationd-jq say to each other over a
 * pair of pipes, in host order.  A job: head, program, input.  The answer: one
 * byte JQ_COMPILED as soon as the program is compiled, then a head and text.
 */

#ifndef JQ_WIRE_H
#define JQ_WIRE_H

#include <stdint.h>

#define JQ_MAX_PROGRAM  (64 * 1024)
#define JQ_MAX_INPUT    (2 * 1024 * 1024)
#define JQ_MAX_OUTPUT   (1024 * 1024)
#define JQ_MAX_DEPTH    256                /* libjq's own, of what it reads */
#define JQ_MEMORY       (256 * 1024 * 1024)

#define JQ_COMPILED     'c'

enum jq_mode {
    JQ_CHECK,                              /* compile only */
    JQ_FILTER,                             /* true or false */
    JQ_TRANSFORM                           /* exactly one output, printed */
};

enum jq_status {
    JQ_OK,                                 /* text: the output */
    JQ_BAD_PROGRAM,                        /* text: the compiler's message */
    JQ_BAD_INPUT,                          /* not JSON */
    JQ_FAILED,                             /* text: the program's error */
    JQ_OUTPUTS,                            /* none, more than one, too deep */
    JQ_LARGE                               /* output over JQ_MAX_OUTPUT */
};

struct jq_job {
    uint32_t  mode, program_len, input_len;
};

struct jq_answer {
    uint32_t  status, len;
};

#endif /* JQ_WIRE_H */
