/* Opens the one listening socket of the API. */

#include "http_listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define LISTEN_BACKLOG  1024


static enum result
listen_fail(int fd, char *err, size_t errlen, const char *address,
    const char *what)
{
    int  code = errno;

    (void) snprintf(err, errlen, "listen %s: %s: %s", address, what,
        strerror(code));

    if (fd >= 0) {
        (void) close(fd);
    }

    return RESULT_UNAVAILABLE;
}


/* True when somebody answers on the socket file. */
static bool
unix_alive(const struct sockaddr_un *sun)
{
    bool  alive;
    int   fd;

    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return true;
    }

    alive = connect(fd, (const struct sockaddr *) sun, sizeof(*sun)) == 0
            || errno == EAGAIN;
    (void) close(fd);
    return alive;
}


static enum result
listen_unix(const char *path, unsigned mode, int *out, char *err,
    size_t errlen)
{
    struct sockaddr_un  sun = { .sun_family = AF_UNIX };
    struct stat         st;
    int                 fd;

    if (strlen(path) >= sizeof(sun.sun_path)) {
        (void) snprintf(err, errlen,
            "listen %s: a socket's path has at most %zu bytes", path,
            sizeof(sun.sun_path) - 1);
        return RESULT_INVALID;
    }

    memcpy(sun.sun_path, path, strlen(path) + 1);

    if (lstat(path, &st) == 0) {
        if (!S_ISSOCK(st.st_mode) || unix_alive(&sun)) {
            (void) snprintf(err, errlen, "listen %s: %s", path,
                S_ISSOCK(st.st_mode) ? "another process listens there"
                                     : "is there and is no socket");
            return RESULT_CONFLICT;
        }

        (void) unlink(path);
    }

    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return listen_fail(fd, err, errlen, path, "socket");
    }

    if (bind(fd, (struct sockaddr *) &sun, sizeof(sun)) != 0) {
        return listen_fail(fd, err, errlen, path, "bind");
    }

    /* nobody can connect before listen: the mode is set in time */
    if (chmod(path, (mode_t) mode) != 0 || listen(fd, LISTEN_BACKLOG) != 0) {
        return listen_fail(fd, err, errlen, path, "chmod or listen");
    }

    *out = fd;
    return RESULT_OK;
}


/* "127.0.0.1:80" or "[::1]:80". */
static enum result
loopback_parse(const char *address, struct sockaddr_storage *ss, socklen_t *len)
{
    struct sockaddr_in6  *six = (struct sockaddr_in6 *) ss;
    struct sockaddr_in   *four = (struct sockaddr_in *) ss;
    const char           *colon = strrchr(address, ':');
    char                 *end;
    unsigned long         port;

    memset(ss, 0, sizeof(*ss));

    if (colon == NULL || colon[1] < '0' || colon[1] > '9') {
        return RESULT_INVALID;
    }

    port = strtoul(colon + 1, &end, 10);
    if (*end != '\0' || port > 65535) {
        return RESULT_INVALID;
    }

    if (strncmp(address, "127.0.0.1:", 10) == 0
        || strncmp(address, "localhost:", 10) == 0)
    {
        four->sin_family = AF_INET;
        four->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        four->sin_port = htons((uint16_t) port);
        *len = sizeof(*four);
        return colon == address + 9 ? RESULT_OK : RESULT_INVALID;
    }

    if (strncmp(address, "[::1]:", 6) == 0 && colon == address + 5) {
        six->sin6_family = AF_INET6;
        six->sin6_addr = in6addr_loopback;
        six->sin6_port = htons((uint16_t) port);
        *len = sizeof(*six);
        return RESULT_OK;
    }

    return RESULT_INVALID;
}


static enum result
listen_tcp(const char *address, int *out, unsigned *port, char *err,
    size_t errlen)
{
    struct sockaddr_storage  ss;
    socklen_t                len;
    int                      fd, one = 1;

    if (loopback_parse(address, &ss, &len) != RESULT_OK) {
        (void) snprintf(err, errlen, "listen %s: write /path/to.sock, "
            "127.0.0.1:port or [::1]:port; nginx serves the outside", address);
        return RESULT_INVALID;
    }

    fd = socket(ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return listen_fail(fd, err, errlen, address, "socket");
    }

    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0
        || bind(fd, (struct sockaddr *) &ss, len) != 0
        || listen(fd, LISTEN_BACKLOG) != 0
        || getsockname(fd, (struct sockaddr *) &ss, &len) != 0)
    {
        return listen_fail(fd, err, errlen, address, "bind or listen");
    }

    /* the port stands at the same place in both families */
    *port = ntohs(((struct sockaddr_in *) &ss)->sin_port);
    *out = fd;
    return RESULT_OK;
}


enum result
http_listen(const char *address, unsigned mode, int *fd, unsigned *port,
    char *err, size_t errlen)
{
    *fd = -1;
    *port = 0;

    if (strncmp(address, "unix:", 5) == 0) {
        address += 5;
    }

    return address[0] == '/' ? listen_unix(address, mode, fd, err, errlen)
                             : listen_tcp(address, fd, port, err, errlen);
}
