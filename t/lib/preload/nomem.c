/*
 * Preloaded into a unit program: lets allocations fail, and says where it
 * crashed.  NOMEM_AT=n NOMEM_EVERY=m fails the nth, n+mth, n+2mth ..; with
 * NOMEM_AT=0 none.  NOMEM_OUT names the file for the count and the crash.
 *
 * Not counted: what the test's own libraries ask for (they do not look), and
 * libbson, which ends the process by design.
 */

#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define RANGES_MAX  16
#define FRAMES_MAX  48

extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t n);

static const char *const  others[] = {
    "libcmocka", "libbson", "libmongoc", "ld-linux", "libgcc_s", "nomem"
};

static struct {
    uintptr_t  from, to;
} ranges[RANGES_MAX];

static unsigned               nranges;
static _Atomic unsigned long  count, failed;
static unsigned long          first, every;
static int                    out = -1, armed;
static pid_t                  self;


static int
range_add(struct dl_phdr_info *info, size_t size, void *ctx)
{
    (void) size;
    (void) ctx;

    for (unsigned i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        if (strstr(info->dlpi_name, others[i]) == NULL) {
            continue;
        }

        for (int k = 0; k < info->dlpi_phnum && nranges < RANGES_MAX; k++) {
            if (info->dlpi_phdr[k].p_type == PT_LOAD
                && (info->dlpi_phdr[k].p_flags & PF_X) != 0)
            {
                ranges[nranges].from = info->dlpi_addr
                                       + info->dlpi_phdr[k].p_vaddr;
                ranges[nranges].to = ranges[nranges].from
                                     + info->dlpi_phdr[k].p_memsz;
                nranges++;
            }
        }
    }

    return 0;
}


static int
fails(void *caller)
{
    uintptr_t      at = (uintptr_t) caller;
    unsigned long  n;

    if (!armed) {
        return 0;
    }

    for (unsigned i = 0; i < nranges; i++) {
        if (at >= ranges[i].from && at < ranges[i].to) {
            return 0;
        }
    }

    n = atomic_fetch_add(&count, 1) + 1;
    if (first == 0 || n < first || (n - first) % every != 0) {
        return 0;
    }

    atomic_fetch_add(&failed, 1);
    errno = ENOMEM;
    return 1;
}


void *
malloc(size_t n)
{
    return fails(__builtin_return_address(0)) ? NULL : __libc_malloc(n);
}


void *
calloc(size_t n, size_t size)
{
    return fails(__builtin_return_address(0)) ? NULL : __libc_calloc(n, size);
}


void *
realloc(void *p, size_t n)
{
    return fails(__builtin_return_address(0)) ? NULL : __libc_realloc(p, n);
}


static void
say(const char *what, int number)
{
    char  text[128];
    int   n;

    n = snprintf(text, sizeof(text), "%s %d counted %lu failed %lu\n", what,
                 number, atomic_load(&count), atomic_load(&failed));
    (void) !write(out, text, (size_t) n);
}


/* cmocka would make a failed test of it. */
static void
crashed(int number)
{
    void     *frames[FRAMES_MAX];
    Dl_info   info;
    char      text[512];
    int       n, len;

    armed = 0;
    say("CRASH", number);
    n = backtrace(frames, FRAMES_MAX);

    for (int i = 0; i < n; i++) {
        if (dladdr(frames[i], &info) == 0) {
            continue;
        }

        len = snprintf(text, sizeof(text), "FRAME %.300s %lx\n",
                       info.dli_fname, (unsigned long)
                       ((char *) frames[i] - (char *) info.dli_fbase));
        (void) !write(out, text, (size_t) len);
    }

    _exit(139);
}


static int
is_crash(int number)
{
    return number == SIGSEGV || number == SIGBUS || number == SIGILL
           || number == SIGFPE || number == SIGABRT;
}


sighandler_t
signal(int number, sighandler_t handler)
{
    struct sigaction  sa, old;

    if (out != -1 && is_crash(number)) {
        return SIG_DFL;
    }

    memset(&sa, 0, sizeof(sa));
    sa.sa_handler = handler;
    sa.sa_flags = SA_RESTART;
    return sigaction(number, &sa, &old) == -1 ? SIG_ERR : old.sa_handler;
}


__attribute__((constructor)) static void
begin(void)
{
    static const int  numbers[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT };
    struct sigaction  sa;
    const char       *path;
    void             *frame;

    path = getenv("NOMEM_OUT");
    if (path == NULL) {
        return;
    }

    (void) unsetenv("LD_PRELOAD");
    first = strtoul(getenv("NOMEM_AT"), NULL, 10);
    every = strtoul(getenv("NOMEM_EVERY"), NULL, 10);
    out = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    self = getpid();

    (void) backtrace(&frame, 1);           /* loads what it needs */
    (void) dl_iterate_phdr(range_add, NULL);

    memset(&sa, 0, sizeof(sa));
    sa.sa_handler = crashed;
    for (unsigned i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        (void) sigaction(numbers[i], &sa, NULL);
    }

    armed = 1;
}


__attribute__((destructor)) static void
end(void)
{
    armed = 0;
    if (out != -1 && getpid() == self) {
        say("END", 0);
    }
}
