/*
 * integrationd-jq: runs the jq programs of integrations, one job at a time, in
 * a process that a runaway program may ruin: no environment, no files (seccomp
 * allows reading and writing open descriptors and memory), 256 MB of address
 * space.  Its parent kills it at the time limit and starts another.
 */

#include <errno.h>
#include <fcntl.h>
#include <jq.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "jq_wire.h"

#define CACHE_SLOTS  32                    /* compiled programs, about 2 MB */

struct compiled {
    char      *program;
    jq_state  *jq;
    unsigned   used;                       /* for the least recently used */
};

static struct compiled  cache[CACHE_SLOTS];
static unsigned         clock_hand;
static char             message[4096];     /* of the last error */


static bool
read_all(void *p, size_t n)
{
    ssize_t  got;

    for ( /* void */ ; n > 0; p = (char *) p + got, n -= (size_t) got) {
        got = read(STDIN_FILENO, p, n);
        if (got <= 0) {
            return false;
        }
    }

    return true;
}


static void
write_all(const void *p, size_t n)
{
    ssize_t  put;

    for ( /* void */ ; n > 0; p = (const char *) p + put, n -= (size_t) put) {
        put = write(STDOUT_FILENO, p, n);
        if (put <= 0) {
            _exit(0);
        }
    }
}


static void
answer(enum jq_status status, const char *text, size_t n)
{
    struct jq_answer  head = { status, (uint32_t) n };

    write_all(&head, sizeof(head));
    write_all(text, n);
}


static void
on_error(void *data, jv error)
{
    jv      text = jq_format_error(error);
    size_t  n = strlen(message);

    (void) data;

    if (jv_get_kind(text) == JV_KIND_STRING) {
        (void) snprintf(message + n, sizeof(message) - n, "%s%s",
            n > 0 ? "\n" : "", jv_string_value(text));
    }

    jv_free(text);
}


/* What debug and stderr would print is nobody's to read. */
static void
on_debug(void *data, jv value)
{
    (void) data;
    jv_free(value);
}


/* Directives that read files stand first in a program, if at all. */
static bool
reads_files(const char *p)
{
    static const char *const  words[] = { "import", "include", "module" };
    size_t                    n;

    for ( ;; ) {
        p += strspn(p, " \t\r\n");
        if (*p != '#') {
            break;
        }

        p += strcspn(p, "\n");
    }

    for (size_t i = 0; i < 3; i++) {
        n = strlen(words[i]);
        if (strncmp(p, words[i], n) == 0
            && strspn(p + n, "abcdefghijklmnopqrstuvwxyz_:0123456789") == 0)
        {
            return true;
        }
    }

    return false;
}


static jq_state *
compile(const char *program)
{
    jq_state  *jq;

    message[0] = '\0';

    if (reads_files(program)) {
        (void) snprintf(message, sizeof(message),
            "import, include and module are not allowed here");
        return NULL;
    }

    jq = jq_init();
    if (jq == NULL) {
        abort();
    }

    jq_set_error_cb(jq, on_error, NULL);
    jq_set_debug_cb(jq, on_debug, NULL);
    jq_set_attr(jq, jv_string("JQ_LIBRARY_PATH"), jv_array());
    jq_set_attr(jq, jv_string("JQ_ORIGIN"), jv_string("/"));
    jq_set_attr(jq, jv_string("PROGRAM_ORIGIN"), jv_string("/"));

    if (!jq_compile(jq, program)) {
        jq_teardown(&jq);
        return NULL;
    }

    return jq;
}


static jq_state *
cached(const char *program)
{
    struct compiled  *oldest = &cache[0];

    clock_hand++;

    for (size_t i = 0; i < CACHE_SLOTS; i++) {
        if (cache[i].jq != NULL && strcmp(cache[i].program, program) == 0) {
            cache[i].used = clock_hand;
            return cache[i].jq;
        }

        if (cache[i].used < oldest->used) {
            oldest = &cache[i];
        }
    }

    if (oldest->jq != NULL) {
        jq_teardown(&oldest->jq);
        free(oldest->program);
    }

    oldest->jq = compile(program);
    oldest->used = clock_hand;
    oldest->program = oldest->jq == NULL ? NULL : strdup(program);

    if (oldest->jq != NULL && oldest->program == NULL) {
        abort();
    }

    return oldest->jq;
}


/* The program's own error, or why it ended without one. */
static void
answer_failed(jq_state *jq, jv end)
{
    jv      text;
    size_t  n;

    if (jq_halted(jq)) {
        answer(JQ_OUTPUTS, "the program halted", 18);
        return;
    }

    text = jv_invalid_get_msg(jv_copy(end));

    if (jv_get_kind(text) == JV_KIND_NULL) {
        answer(JQ_OUTPUTS, "the program gave no output", 26);

    } else {
        if (jv_get_kind(text) != JV_KIND_STRING) {
            text = jv_dump_string(text, 0);
        }

        n = (size_t) jv_string_length_bytes(jv_copy(text));
        answer(JQ_FAILED, jv_string_value(text), n < 1000 ? n : 1000);
    }

    jv_free(text);
}


static void
answer_filter(jq_state *jq)
{
    jv    v = jq_next(jq);
    bool  has_error, holds;

    if (!jv_is_valid(v)) {
        has_error = jv_invalid_has_msg(jv_copy(v));

        if (has_error) {
            answer_failed(jq, v);
        } else {
            answer(JQ_OK, "false", 5);
        }

        jv_free(v);
        return;
    }

    holds = jv_get_kind(v) != JV_KIND_FALSE && jv_get_kind(v) != JV_KIND_NULL;
    jv_free(v);
    answer(JQ_OK, holds ? "true" : "false", holds ? 4 : 5);
}


/* What nobody's parser takes, libjq's own neither. */
static bool
too_deep(const char *text)
{
    unsigned  depth = 0;
    bool      quoted = false;

    for (const char *p = text; *p != '\0' && depth <= JQ_MAX_DEPTH; p++) {
        if (quoted) {
            quoted = *p != '"';
            p += *p == '\\';

        } else if (*p == '"') {
            quoted = true;

        } else if (*p == '[' || *p == '{') {
            depth++;

        } else if (*p == ']' || *p == '}') {
            depth--;
        }
    }

    return depth > JQ_MAX_DEPTH;
}


static void
answer_transform(jq_state *jq)
{
    jv      first = jq_next(jq), second;
    size_t  n;

    if (!jv_is_valid(first)) {
        answer_failed(jq, first);
        jv_free(first);
        return;
    }

    second = jq_next(jq);

    if (jv_is_valid(second)) {
        answer(JQ_OUTPUTS, "the program gave more than one output", 37);

    } else if (jv_invalid_has_msg(jv_copy(second))) {
        answer_failed(jq, second);

    } else {
        first = jv_dump_string(first, 0);
        n = (size_t) jv_string_length_bytes(jv_copy(first));

        if (n > JQ_MAX_OUTPUT) {
            answer(JQ_LARGE, "the output is longer than 1 MB", 30);

        } else if (too_deep(jv_string_value(first))) {
            answer(JQ_OUTPUTS, "the output is nested deeper than 256", 36);

        } else {
            answer(JQ_OK, jv_string_value(first), n);
        }
    }

    jv_free(second);
    jv_free(first);
}


static void
answer_input(jv end)
{
    jv    text = jv_invalid_get_msg(end);
    bool  deep = jv_get_kind(text) == JV_KIND_STRING
                 && strstr(jv_string_value(text), "depth limit") != NULL;

    answer(JQ_BAD_INPUT, deep ? "the input is nested too deep"
                              : "the input is not JSON", deep ? 28 : 21);
    jv_free(text);
}


static void
run(enum jq_mode mode, const char *program, const char *input, size_t n)
{
    jq_state  *jq = cached(program);
    jv         value;
    char       byte = JQ_COMPILED;

    write_all(&byte, 1);

    if (jq == NULL) {
        answer(JQ_BAD_PROGRAM, message, strlen(message));
        return;
    }

    if (mode == JQ_CHECK) {
        answer(JQ_OK, "", 0);
        return;
    }

    value = jv_parse_sized(input, (int) n);

    if (!jv_is_valid(value)) {
        answer_input(value);
        return;
    }

    jq_start(jq, value, 0);

    if (mode == JQ_FILTER) {
        answer_filter(jq);
    } else {
        answer_transform(jq);
    }

    /* drops what the program still holds of this input */
    jq_start(jq, jv_null(), 0);
}


static void
limit_resources(void)
{
    struct rlimit  memory = { JQ_MEMORY, JQ_MEMORY };
    struct rlimit  none = { 0, 0 };

    (void) setrlimit(RLIMIT_AS, &memory);
    (void) setrlimit(RLIMIT_CORE, &none);
    (void) setrlimit(RLIMIT_FSIZE, &none);
}


/* Everything else answers EPERM, so that libjq says "could not open". */
static bool
limit_calls(void)
{
#define ALLOW(name)                                                           \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_##name, 0, 1),                   \
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

    static struct sock_filter  filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        ALLOW(read),
        ALLOW(write),
        ALLOW(brk),
        ALLOW(mmap),
        ALLOW(munmap),
        ALLOW(mremap),
        ALLOW(madvise),
        ALLOW(mprotect),
        ALLOW(futex),
        ALLOW(getrandom),
        ALLOW(clock_gettime),
        ALLOW(rt_sigprocmask),
        ALLOW(rt_sigaction),
        ALLOW(rt_sigreturn),
        ALLOW(getpid),
        ALLOW(gettid),
        ALLOW(tgkill),
        ALLOW(exit),
        ALLOW(exit_group),
        BPF_STMT(BPF_RET | BPF_K,
            SECCOMP_RET_ERRNO | (EPERM & SECCOMP_RET_DATA)),
    };
    struct sock_fprog  program = {
        .len = sizeof(filter) / sizeof(filter[0]), .filter = filter
    };

    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
           && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}


int
main(void)
{
    struct jq_job  job;
    char          *program, *input;
    int            null;

    /* the parent's end of the pipe is our life line */
    (void) prctl(PR_SET_PDEATHSIG, 9);
    null = open("/dev/null", O_RDWR);

    if (null == -1 || dup2(null, STDERR_FILENO) == -1) {
        return 1;
    }

    limit_resources();

    /* built-ins are compiled once before anything is asked or forbidden */
    if (cached(".") == NULL || !limit_calls()) {
        return 1;
    }

    while (read_all(&job, sizeof(job))) {
        if (job.program_len > JQ_MAX_PROGRAM || job.input_len > JQ_MAX_INPUT
            || job.mode > JQ_TRANSFORM)
        {
            return 2;
        }

        program = malloc((size_t) job.program_len + 1);
        input = malloc((size_t) job.input_len + 1);

        if (program == NULL || input == NULL
            || !read_all(program, job.program_len)
            || !read_all(input, job.input_len))
        {
            return 2;
        }

        program[job.program_len] = '\0';
        input[job.input_len] = '\0';
        run((enum jq_mode) job.mode, program, input, job.input_len);
        free(program);
        free(input);
    }

    return 0;
}
