/*
 * A bare libcurl-multi loop: posts the same body to URLs in turn, keep-alive,
 * so many at once, and does nothing else.  What dispatch is held against.
 *
 *   post N BYTES CONNECTIONS CA|- URL ..         prints N/s, us of CPU each
 */

#include <curl/curl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static char               *body;
static size_t              bytes;
static const char         *ca;
static struct curl_slist  *headers;


static double
seconds(clockid_t clock)
{
    struct timespec  t;

    clock_gettime(clock, &t);
    return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}


static size_t
on_body(char *p, size_t size, size_t n, void *data)
{
    (void) p;
    (void) data;
    return size * n;
}


static void
begin(CURLM *multi, CURL *e, const char *url)
{
    curl_easy_reset(e);
    curl_easy_setopt(e, CURLOPT_URL, url);
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_PROXY, "");
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(e, CURLOPT_POST, 1L);
    curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE, (long) bytes);
    curl_easy_setopt(e, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt(e, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);

    if (ca[0] != '-') {
        curl_easy_setopt(e, CURLOPT_CAINFO, ca);
    }

    curl_multi_add_handle(multi, e);
}


int
main(int argc, char **argv)
{
    CURLM    *multi;
    CURLMsg  *m;
    double    from, cpu;
    long      n, started = 0, ended = 0, failed = 0, status;
    int       connections, running, left, urls = argc - 5;

    if (argc < 6) {
        fprintf(stderr, "post: N BYTES CONNECTIONS CA|- URL ..\n");
        return 1;
    }

    n = atol(argv[1]);
    bytes = strtoul(argv[2], NULL, 10);
    connections = atoi(argv[3]);
    ca = argv[4];
    body = malloc(bytes + 1);

    if (body == NULL) {
        return 1;
    }

    memset(body, 'x', bytes);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    headers = curl_slist_append(NULL, "Content-Type: application/json");
    headers = curl_slist_append(headers, "Expect:");
    multi = curl_multi_init();
    curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, 2048L);
    from = seconds(CLOCK_MONOTONIC);
    cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);

    for (int i = 0; i < connections && started < n; i++) {
        begin(multi, curl_easy_init(), argv[5 + started++ % urls]);
    }

    while (ended < n) {
        curl_multi_perform(multi, &running);

        while ((m = curl_multi_info_read(multi, &left)) != NULL) {
            CURL  *e = m->easy_handle;

            curl_easy_getinfo(e, CURLINFO_RESPONSE_CODE, &status);
            failed += m->data.result != CURLE_OK || status != 200;
            ended++;
            curl_multi_remove_handle(multi, e);

            if (started < n) {
                begin(multi, e, argv[5 + started++ % urls]);
            }
        }

        curl_multi_poll(multi, NULL, 0, 1000, NULL);
    }

    from = seconds(CLOCK_MONOTONIC) - from;
    cpu = seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    printf("%.0f %.2f\n", (double) n / from, cpu * 1e6 / (double) n);
    return failed > 0;
}
