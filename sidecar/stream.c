/* Non-blocking TCP and TLS; OpenSSL does the TLS and checks the host. */

#include "stream.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct stream {
    int       fd;
    short     events;
    bool      connected;                   /* TCP is */
    SSL      *ssl;                         /* NULL: plain */
    SSL_CTX  *ctx;
    char      why[200];
};


static bool
use_certificate(SSL_CTX *ctx, struct slice cert, struct slice key)
{
    BIO       *in;
    X509      *x509;
    EVP_PKEY  *pkey;
    bool       ok;

    in = BIO_new_mem_buf(cert.p, (int) cert.n);
    x509 = in == NULL ? NULL : PEM_read_bio_X509(in, NULL, NULL, NULL);
    ok = x509 != NULL && SSL_CTX_use_certificate(ctx, x509) == 1;
    X509_free(x509);

    /* the rest of the chain */
    while (ok && (x509 = PEM_read_bio_X509(in, NULL, NULL, NULL)) != NULL) {
        ok = SSL_CTX_add0_chain_cert(ctx, x509) == 1;
    }

    BIO_free(in);
    in = BIO_new_mem_buf(key.p, (int) key.n);
    pkey = in == NULL ? NULL : PEM_read_bio_PrivateKey(in, NULL, NULL, NULL);
    ok = ok && pkey != NULL && SSL_CTX_use_PrivateKey(ctx, pkey) == 1
         && SSL_CTX_check_private_key(ctx) == 1;
    EVP_PKEY_free(pkey);
    BIO_free(in);
    ERR_clear_error();
    return ok;
}


static bool
use_ca(SSL_CTX *ctx, struct slice pem)
{
    X509  *x509;
    BIO   *in;
    int    n = 0;

    in = BIO_new_mem_buf(pem.p, (int) pem.n);

    while (in != NULL
           && (x509 = PEM_read_bio_X509(in, NULL, NULL, NULL)) != NULL)
    {
        n += X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), x509) == 1;
        X509_free(x509);
    }

    BIO_free(in);
    ERR_clear_error();
    return n > 0;
}


static bool
is_address(const char *host)
{
    ASN1_OCTET_STRING  *ip = a2i_IPADDRESS(host);

    ASN1_OCTET_STRING_free(ip);
    ERR_clear_error();
    return ip != NULL;
}


static enum result
tls_setup(struct stream *s, const struct stream_tls *tls, const char **why)
{
    s->ctx = SSL_CTX_new(TLS_client_method());

    if (s->ctx == NULL
        || SSL_CTX_set_min_proto_version(s->ctx, TLS1_2_VERSION) != 1)
    {
        *why = "TLS cannot be set up";
        return RESULT_INTERNAL;
    }

    SSL_CTX_set_verify(s->ctx, SSL_VERIFY_PEER, NULL);

    if (tls->ca_pem.n > 0 ? !use_ca(s->ctx, tls->ca_pem)
                          : SSL_CTX_set_default_verify_paths(s->ctx) != 1)
    {
        *why = "the CA certificate cannot be used";
        return RESULT_INVALID;
    }

    if (tls->cert_pem.n > 0
        && !use_certificate(s->ctx, tls->cert_pem, tls->key_pem))
    {
        *why = "the client certificate or its key cannot be used";
        return RESULT_INVALID;
    }

    s->ssl = SSL_new(s->ctx);

    if (s->ssl == NULL || SSL_set_fd(s->ssl, s->fd) != 1
        || (is_address(tls->host)
                ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(s->ssl),
                      tls->host) != 1
                : SSL_set1_host(s->ssl, tls->host) != 1
                  || SSL_set_tlsext_host_name(s->ssl, tls->host) != 1))
    {
        *why = "TLS cannot be set up";
        return RESULT_INTERNAL;
    }

    SSL_set_connect_state(s->ssl);
    (void) SSL_set_mode(s->ssl, SSL_MODE_ENABLE_PARTIAL_WRITE
        | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    return RESULT_OK;
}


enum result
stream_open(const struct sockaddr *sa, socklen_t len,
    const struct stream_tls *tls, struct stream **out, const char **why)
{
    struct stream  *s;
    int             one = 1;
    enum result     r;

    s = calloc(1, sizeof(*s));
    if (s == NULL) {
        *why = "out of memory";
        return RESULT_MEMORY;
    }

    s->events = POLLOUT;
    s->fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
        0);

    if (s->fd == -1) {
        *why = "no socket can be opened";
        r = RESULT_UNAVAILABLE;
        goto out;
    }

    (void) setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    (void) setsockopt(s->fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));

    r = tls == NULL ? RESULT_OK : tls_setup(s, tls, why);
    if (r != RESULT_OK) {
        goto out;
    }

    if (connect(s->fd, sa, len) == -1 && errno != EINPROGRESS) {
        *why = "the connection was refused";
        r = RESULT_UNAVAILABLE;
    }

out:
    if (r != RESULT_OK) {
        stream_close(s);
        s = NULL;
    }

    *out = s;
    return r;
}


void
stream_close(struct stream *s)
{
    if (s == NULL) {
        return;
    }

    if (s->ssl != NULL && SSL_is_init_finished(s->ssl)) {
        (void) SSL_shutdown(s->ssl);
    }

    SSL_free(s->ssl);
    SSL_CTX_free(s->ctx);
    ERR_clear_error();

    if (s->fd != -1) {
        (void) close(s->fd);
    }

    free(s);
}


static enum result
tcp_connected(struct stream *s, const char **why)
{
    struct pollfd  p = { s->fd, POLLOUT, 0 };
    socklen_t      len = sizeof(int);
    int            error = 0;

    if (poll(&p, 1, 0) <= 0) {
        s->events = POLLOUT;
        return RESULT_AGAIN;
    }

    (void) getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &error, &len);

    if (error != 0) {
        (void) snprintf(s->why, sizeof(s->why), "%s", strerror(error));
        *why = s->why;
        return RESULT_UNAVAILABLE;
    }

    s->connected = true;
    return RESULT_OK;
}


/* AGAIN with the events to wait for, NOT_FOUND at the peer's end, or broken. */
static enum result
ssl_result(struct stream *s, int n)
{
    switch (SSL_get_error(s->ssl, n)) {

    case SSL_ERROR_WANT_READ:
        s->events = POLLIN;
        return RESULT_AGAIN;

    case SSL_ERROR_WANT_WRITE:
        s->events = POLLOUT;
        return RESULT_AGAIN;

    case SSL_ERROR_ZERO_RETURN:
        return RESULT_NOT_FOUND;

    default:
        return RESULT_UNAVAILABLE;
    }
}


enum result
stream_connect(struct stream *s, const char **why)
{
    enum result  r;
    long         verified;
    int          n;

    r = s->connected ? RESULT_OK : tcp_connected(s, why);
    if (r != RESULT_OK || s->ssl == NULL) {
        return r;
    }

    ERR_clear_error();
    n = SSL_do_handshake(s->ssl);
    if (n == 1) {
        return RESULT_OK;
    }

    r = ssl_result(s, n);
    if (r == RESULT_AGAIN) {
        return r;
    }

    verified = SSL_get_verify_result(s->ssl);
    (void) snprintf(s->why, sizeof(s->why), "TLS: %s",
        verified != X509_V_OK ? X509_verify_cert_error_string(verified)
                              : "the handshake failed");
    *why = s->why;
    ERR_clear_error();
    return RESULT_UNAVAILABLE;
}


enum result
stream_write(struct stream *s, struct slice data, size_t *n)
{
    ssize_t      put;
    int          i;
    enum result  r;

    *n = 0;

    if (s->ssl != NULL) {
        ERR_clear_error();
        i = SSL_write(s->ssl, data.p, (int) data.n);
        *n = i > 0 ? (size_t) i : 0;
        r = i > 0 ? RESULT_OK : ssl_result(s, i);
        return r == RESULT_NOT_FOUND ? RESULT_UNAVAILABLE : r;
    }

    put = send(s->fd, data.p, data.n, MSG_NOSIGNAL);
    if (put > 0) {
        *n = (size_t) put;
        return RESULT_OK;
    }

    s->events = POLLOUT;
    return put == -1 && (errno == EAGAIN || errno == EINTR)
               ? RESULT_AGAIN : RESULT_UNAVAILABLE;
}


enum result
stream_read(struct stream *s, void *p, size_t size, size_t *n)
{
    ssize_t  got;
    int      i;

    *n = 0;

    if (s->ssl != NULL) {
        ERR_clear_error();
        i = SSL_read(s->ssl, p, (int) size);
        *n = i > 0 ? (size_t) i : 0;
        return i > 0 ? RESULT_OK : ssl_result(s, i);
    }

    got = recv(s->fd, p, size, 0);
    if (got > 0) {
        *n = (size_t) got;
        return RESULT_OK;
    }

    if (got == 0) {
        return RESULT_NOT_FOUND;
    }

    s->events = POLLIN;
    return errno == EAGAIN || errno == EINTR ? RESULT_AGAIN
                                             : RESULT_UNAVAILABLE;
}


int
stream_fd(const struct stream *s)
{
    return s->fd;
}


short
stream_events(const struct stream *s)
{
    return s->events;
}
