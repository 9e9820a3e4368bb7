/*
 * Setters of the directives.  Each checks its value when the configuration is
 * read, so that a mistake fails "nginx -t" with a line that says what to write
 * instead.  Nothing here asks whether Redis is up.
 */

#include "ngx_http_capture_module.h"
#include "ngx_http_capture_redact.h"
#include "record_fields.h"


#define NGX_HTTP_CAPTURE_MIN_RING      (64 * 1024)
#define NGX_HTTP_CAPTURE_MIN_SEGMENT   (64 * 1024)
#define NGX_HTTP_CAPTURE_MAX_PASSWORD  4096
#define NGX_HTTP_CAPTURE_MAX_ACTION    10        /* digits */


static char *ngx_http_capture_complex(ngx_conf_t *cf, ngx_str_t *value,
    ngx_http_complex_value_t *cv);
static ngx_int_t ngx_http_capture_size(ngx_conf_t *cf, ngx_str_t *value,
    size_t prefix, size_t min, size_t max, size_t *size);
static ngx_array_t *ngx_http_capture_list(ngx_conf_t *cf,
    const char *const *names);
static ngx_int_t ngx_http_capture_redis_addr(ngx_conf_t *cf,
    struct capture_redis_conf *redis, ngx_str_t *value);
static ngx_int_t ngx_http_capture_redis_option(ngx_conf_t *cf,
    ngx_http_capture_main_conf_t *mcf, ngx_str_t *value);
static char *ngx_http_capture_password(ngx_conf_t *cf, ngx_str_t *name);
static ngx_int_t ngx_http_capture_spool_path(ngx_conf_t *cf,
    ngx_http_capture_main_conf_t *mcf, ngx_str_t *name);
static ngx_int_t ngx_http_capture_spool_option(ngx_conf_t *cf,
    ngx_http_capture_main_conf_t *mcf, ngx_str_t *value);
static unsigned ngx_http_capture_names(ngx_array_t *list,
    struct capture_name *names);
static ngx_int_t ngx_http_capture_add_rules(ngx_conf_t *cf,
    ngx_http_capture_main_conf_t *mcf, u_char *blob, size_t len);


static const char *const  ngx_http_capture_types_default[] = {
    "application/json", "*+json", "application/x-ndjson",
    "application/json-seq", "application/xml", "*+xml", "text/*",
    "application/x-www-form-urlencoded", "application/hl7-v2",
    "application/edi-hl7", "x-application/hl7-v2+er7", NULL
};


#define ngx_http_capture_is(value, text)                                      \
    ((value)->len == sizeof(text) - 1                                         \
     && ngx_strncmp((value)->data, text, sizeof(text) - 1) == 0)

#define ngx_http_capture_has(value, text)                                     \
    ((value)->len > sizeof(text) - 1                                          \
     && ngx_strncmp((value)->data, text, sizeof(text) - 1) == 0)


char *
ngx_http_capture(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_capture_loc_conf_t  *lcf = conf;

    ngx_str_t  *value;

    if (lcf->mode != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_http_capture_is(&value[1], "off")) {
        lcf->mode = NGX_HTTP_CAPTURE_OFF;
        return NGX_CONF_OK;
    }

    if (ngx_http_capture_is(&value[1], "on")) {
        lcf->mode = NGX_HTTP_CAPTURE_ON;
        return NGX_CONF_OK;
    }

    if (ngx_http_script_variables_count(&value[1]) == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" in \"capture\", it must be "
                           "\"on\", \"off\" or hold a $variable", &value[1]);
        return NGX_CONF_ERROR;
    }

    lcf->mode = NGX_HTTP_CAPTURE_VAR;
    lcf->capture = ngx_palloc(cf->pool, sizeof(ngx_http_complex_value_t));

    return ngx_http_capture_complex(cf, &value[1], lcf->capture);
}


char *
ngx_http_capture_if(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_capture_loc_conf_t  *lcf = conf;

    char                      *rv;
    ngx_str_t                 *value;
    ngx_uint_t                 i;
    ngx_http_complex_value_t  *cv;

    if (lcf->conditions != NGX_CONF_UNSET_PTR) {
        return "is duplicate: name all variables in one directive";
    }

    value = cf->args->elts;
    lcf->conditions = ngx_array_create(cf->pool, cf->args->nelts - 1,
                                       sizeof(ngx_http_complex_value_t));
    if (lcf->conditions == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_http_script_variables_count(&value[i]) == 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"%V\" in \"capture_if\" never changes, "
                               "write a $variable", &value[i]);
            return NGX_CONF_ERROR;
        }

        cv = ngx_array_push(lcf->conditions);
        rv = ngx_http_capture_complex(cf, &value[i], cv);
        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    return NGX_CONF_OK;
}


char *
ngx_http_capture_kind(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_capture_loc_conf_t  *lcf = conf;

    ngx_str_t  *value;

    if (lcf->kind != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_http_capture_is(&value[1], "api")) {
        lcf->kind = 0;
        return NGX_CONF_OK;
    }

    if (ngx_http_capture_is(&value[1], "webhook")) {
        lcf->kind = CAPTURE_WEBHOOK;
        return NGX_CONF_OK;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid value \"%V\" in \"capture_kind\", it must be "
                       "\"api\" or \"webhook\"", &value[1]);
    return NGX_CONF_ERROR;
}


char *
ngx_http_capture_action(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_capture_loc_conf_t  *lcf = conf;

    ngx_str_t  *value;

    if (lcf->action != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_http_script_variables_count(&value[1]) == 0
        && (value[1].len > NGX_HTTP_CAPTURE_MAX_ACTION
            || ngx_atoi(value[1].data, value[1].len) <= 0
            || ngx_atoi(value[1].data, value[1].len) > NGX_MAX_INT32_VALUE))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid Action ID \"%V\" in \"capture_action\", "
                           "it must be a number from 1 to %d or a $variable",
                           &value[1], (int) NGX_MAX_INT32_VALUE);
        return NGX_CONF_ERROR;
    }

    lcf->action = ngx_palloc(cf->pool, sizeof(ngx_http_complex_value_t));

    return ngx_http_capture_complex(cf, &value[1], lcf->action);
}


char *
ngx_http_capture_pair(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_array_t              **list;
    ngx_str_t                 *value;
    ngx_uint_t                 i;
    ngx_http_capture_pair_t   *pair;

    value = cf->args->elts;
    list = (ngx_array_t **) ((char *) conf + cmd->offset);

    if (*list == NGX_CONF_UNSET_PTR) {
        *list = ngx_array_create(cf->pool, 4, sizeof(ngx_http_capture_pair_t));
        if (*list == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    for (i = 0; i < value[1].len; i++) {
        if ((value[1].data[i] < 'a' || value[1].data[i] > 'z')
            && (value[1].data[i] < 'A' || value[1].data[i] > 'Z')
            && (value[1].data[i] < '0' || value[1].data[i] > '9')
            && value[1].data[i] != '_' && value[1].data[i] != '-')
        {
            break;
        }
    }

    if (i < value[1].len || i == 0 || i > RECORD_MAX_NAME) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid name \"%V\" in \"%V\", it must be 1 to %d "
                           "letters, digits, \"_\" or \"-\"",
                           &value[1], &cmd->name, RECORD_MAX_NAME);
        return NGX_CONF_ERROR;
    }

    pair = (*list)->elts;

    for (i = 0; i < (*list)->nelts; i++) {
        if (pair[i].name.len == value[1].len
            && ngx_strncmp(pair[i].name.data, value[1].data, value[1].len)
               == 0)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "duplicate name \"%V\" in \"%V\"",
                               &value[1], &cmd->name);
            return NGX_CONF_ERROR;
        }
    }

    if (i == RECORD_MAX_PAIRS / 2) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "more than %d \"%V\" in one place",
                           RECORD_MAX_PAIRS / 2, &cmd->name);
        return NGX_CONF_ERROR;
    }

    pair = ngx_array_push(*list);
    if (pair == NULL) {
        return NGX_CONF_ERROR;
    }

    pair->name = value[1];

    return ngx_http_capture_complex(cf, &value[2], &pair->value);
}


char *
ngx_http_capture_value(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t                  *value;
    ngx_http_complex_value_t  **cv;

    cv = (ngx_http_complex_value_t **) ((char *) conf + cmd->offset);

    if (*cv != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;
    *cv = ngx_palloc(cf->pool, sizeof(ngx_http_complex_value_t));

    return ngx_http_capture_complex(cf, &value[1], *cv);
}


static char *
ngx_http_capture_complex(ngx_conf_t *cf, ngx_str_t *value,
    ngx_http_complex_value_t *cv)
{
    ngx_http_compile_complex_value_t  ccv;

    if (cv == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));
    ngx_memzero(cv, sizeof(ngx_http_complex_value_t));

    ccv.cf = cf;
    ccv.value = value;
    ccv.complex_value = cv;

    return ngx_http_compile_complex_value(&ccv) == NGX_OK ? NGX_CONF_OK
                                                          : NGX_CONF_ERROR;
}


/* "64k", or the part of "max=64k" behind PREFIX bytes */

static ngx_int_t
ngx_http_capture_size(ngx_conf_t *cf, ngx_str_t *value, size_t prefix,
    size_t min, size_t max, size_t *size)
{
    ssize_t    n;
    off_t      big;
    ngx_str_t  s;

    s.data = value->data + prefix;
    s.len = value->len - prefix;

    /* ngx_parse_size knows no "g" */
    big = ngx_parse_offset(&s);
    n = (ssize_t) big;

    if (big == NGX_ERROR || n < 0 || (size_t) n < min || (size_t) n > max) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid size \"%V\", it must be from %uz to %uz "
                           "bytes, with k, m or g if you like",
                           value, min, max);
        return NGX_ERROR;
    }

    *size = n;

    return NGX_OK;
}


char *
ngx_http_capture_limit(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    size_t     *limit;
    ngx_str_t  *value;

    limit = (size_t *) ((char *) conf + cmd->offset);

    if (*limit != NGX_CONF_UNSET_SIZE) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_http_capture_is(&value[1], "off")) {
        *limit = 0;
        return NGX_CONF_OK;
    }

    if (ngx_http_capture_size(cf, &value[1], 0, 1, RECORD_MAX_BODY, limit)
        != NGX_OK)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "write \"%V 64k\" or \"%V off\"",
                           &cmd->name, &cmd->name);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


char *
ngx_http_capture_types(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_capture_loc_conf_t  *lcf = conf;

    u_char      *star;
    ngx_str_t   *value, *type;
    ngx_uint_t   i;

    if (lcf->types != NGX_CONF_UNSET_PTR) {
        return "is duplicate: name all types in one directive";
    }

    value = cf->args->elts;
    lcf->types = ngx_array_create(cf->pool, cf->args->nelts - 1,
                                  sizeof(ngx_str_t));
    if (lcf->types == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = 1; i < cf->args->nelts; i++) {
        ngx_strlow(value[i].data, value[i].data, value[i].len);
        star = ngx_strlchr(value[i].data, value[i].data + value[i].len, '*');

        if (star == NULL
            ? ngx_strlchr(value[i].data, value[i].data + value[i].len, '/')
              == NULL
            : !(value[i].len == 1
                || (star == value[i].data && star[1] == '+')
                || (star == value[i].data + value[i].len - 1
                    && star > value[i].data + 1 && star[-1] == '/')))
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid type \"%V\" in \"capture_body_types\","
                               " write \"application/json\", \"text/*\", "
                               "\"*+json\" or \"*\"", &value[i]);
            return NGX_CONF_ERROR;
        }

        type = ngx_array_push(lcf->types);
        *type = value[i];
    }

    return NGX_CONF_OK;
}


char *
ngx_http_capture_redact(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t     *value, *name;
    ngx_uint_t     i;
    ngx_array_t  **list;

    list = (ngx_array_t **) ((char *) conf + cmd->offset);

    if (*list != NGX_CONF_UNSET_PTR) {
        return "is duplicate: name all in one directive";
    }

    value = cf->args->elts;
    *list = ngx_array_create(cf->pool, cf->args->nelts - 1, sizeof(ngx_str_t));
    if (*list == NULL) {
        return NGX_CONF_ERROR;
    }

    if (cf->args->nelts == 2 && ngx_http_capture_is(&value[1], "off")) {
        return NGX_CONF_OK;
    }

    for (i = 1; i < cf->args->nelts; i++) {

        if (value[i].len == 0 || value[i].len > CAPTURE_MAX_RULE
            || i > CAPTURE_MAX_RULES
            || ngx_strlchr(value[i].data, value[i].data + value[i].len, '$'))
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid name \"%V\" in \"%V\", write up to %d "
                               "names of 1 to %d bytes without $variables, or "
                               "\"off\"", &value[i], &cmd->name,
                               CAPTURE_MAX_RULES, CAPTURE_MAX_RULE);
            return NGX_CONF_ERROR;
        }

        name = ngx_array_push(*list);
        *name = value[i];
    }

    return NGX_CONF_OK;
}


ngx_array_t *
ngx_http_capture_default_types(ngx_conf_t *cf)
{
    return ngx_http_capture_list(cf, ngx_http_capture_types_default);
}


ngx_array_t *
ngx_http_capture_default_headers(ngx_conf_t *cf)
{
    return ngx_http_capture_list(cf, capture_default_headers);
}


ngx_array_t *
ngx_http_capture_default_args(ngx_conf_t *cf)
{
    return ngx_http_capture_list(cf, capture_default_args);
}


static ngx_array_t *
ngx_http_capture_list(ngx_conf_t *cf, const char *const *names)
{
    ngx_str_t    *name;
    ngx_array_t  *list;

    list = ngx_array_create(cf->pool, 16, sizeof(ngx_str_t));
    if (list == NULL) {
        return NULL;
    }

    for ( /* void */ ; *names; names++) {
        name = ngx_array_push(list);
        if (name == NULL) {
            return NULL;
        }

        name->data = (u_char *) *names;
        name->len = ngx_strlen(*names);
    }

    return list;
}


char *
ngx_http_capture_redis(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_capture_main_conf_t  *mcf = conf;

    ngx_int_t    rc;
    ngx_str_t   *value;
    ngx_uint_t   i;

    if (mcf->ship.redis.naddrs) {
        return "is duplicate: name all addresses in one directive";
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_strlchr(value[i].data, value[i].data + value[i].len, '=')) {
            rc = ngx_http_capture_redis_option(cf, mcf, &value[i]);

        } else {
            rc = ngx_http_capture_redis_addr(cf, &mcf->ship.redis, &value[i]);
        }

        if (rc != NGX_OK) {
            return NGX_CONF_ERROR;
        }
    }

    if (mcf->ship.redis.naddrs == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "no address in \"capture_redis\", write "
                           "\"127.0.0.1:6379\" or \"unix:/path\" first");
        return NGX_CONF_ERROR;
    }

    if (mcf->ship.redis.user && mcf->ship.redis.password == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"user=\" in \"capture_redis\" needs "
                           "\"password_file=\"");
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_capture_redis_addr(ngx_conf_t *cf,
    struct capture_redis_conf *redis, ngx_str_t *value)
{
    u_char                     *p;
    size_t                      len;
    ngx_url_t                   u;
    struct capture_redis_addr  *addr;

    if (redis->naddrs == CAPTURE_MAX_REDIS) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "more than %d addresses in \"capture_redis\"",
                           CAPTURE_MAX_REDIS);
        return NGX_ERROR;
    }

    ngx_memzero(&u, sizeof(ngx_url_t));

    u.url = *value;
    u.default_port = 6379;
    u.no_resolve = 1;

    if (ngx_parse_url(cf->pool, &u) != NGX_OK || u.uri.len) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "%s in address \"%V\" of \"capture_redis\", write "
                           "\"127.0.0.1:6379\", \"host:port\", \"[::1]:6379\""
                           " or \"unix:/path\"",
                           u.err ? u.err : "a path", value);
        return NGX_ERROR;
    }

    addr = &redis->addrs[redis->naddrs++];

    if (u.family == AF_UNIX) {
        p = value->data + sizeof("unix:") - 1;
        len = value->len - (sizeof("unix:") - 1);

    } else {
        p = u.host.data;
        len = u.host.len;
        addr->port = u.port;

        if (len > 2 && *p == '[') {
            p++;
            len -= 2;
        }
    }

    value->data = ngx_pnalloc(cf->pool, len + 1);
    if (value->data == NULL) {
        return NGX_ERROR;
    }

    (void) ngx_cpystrn(value->data, p, len + 1);

    if (u.family == AF_UNIX) {
        addr->path = (char *) value->data;

    } else {
        addr->host = (char *) value->data;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_capture_redis_option(ngx_conf_t *cf,
    ngx_http_capture_main_conf_t *mcf, ngx_str_t *value)
{
    ngx_int_t   n;
    ngx_str_t   s;

    /* words of a directive end in a NUL */

    if (ngx_http_capture_has(value, "user=")) {
        mcf->ship.redis.user = (char *) value->data + 5;
        return NGX_OK;
    }

    if (ngx_http_capture_has(value, "password_file=")) {
        s.data = value->data + 14;
        s.len = value->len - 14;
        mcf->ship.redis.password = ngx_http_capture_password(cf, &s);
        return mcf->ship.redis.password ? NGX_OK : NGX_ERROR;
    }

    if (ngx_http_capture_has(value, "db=")) {
        n = ngx_atoi(value->data + 3, value->len - 3);
        if (n != NGX_ERROR && n < 65536) {
            mcf->ship.redis.db = n;
            return NGX_OK;
        }
    }

    if (ngx_http_capture_has(value, "stream=")) {
        mcf->stream.data = value->data + 7;
        mcf->stream.len = value->len - 7;
        return NGX_OK;
    }

    if (ngx_http_capture_has(value, "timeout=")) {
        s.data = value->data + 8;
        s.len = value->len - 8;
        n = ngx_parse_time(&s, 0);
        if (n != NGX_ERROR && n >= 100 && n <= 60000) {
            mcf->ship.redis.timeout_ms = n;
            return NGX_OK;
        }
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid parameter \"%V\" in \"capture_redis\", it "
                       "takes user=name, password_file=path, db=0..65535, "
                       "stream=key and timeout=100ms..60s", value);
    return NGX_ERROR;
}


/* Read by the master, so the file may be root's alone. */

static char *
ngx_http_capture_password(ngx_conf_t *cf, ngx_str_t *name)
{
    char     *p;
    ssize_t   n;
    ngx_fd_t  fd;

    if (ngx_conf_full_name(cf->cycle, name, 1) != NGX_OK) {
        return NULL;
    }

    fd = ngx_open_file(name->data, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);
    if (fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_open_file_n " \"%V\" of \"password_file=\" "
                           "failed", name);
        return NULL;
    }

    n = -1;
    p = ngx_pnalloc(cf->pool, NGX_HTTP_CAPTURE_MAX_PASSWORD + 1);

    if (p) {
        n = ngx_read_fd(fd, p, NGX_HTTP_CAPTURE_MAX_PASSWORD + 1);
    }

    if (ngx_close_file(fd) == NGX_FILE_ERROR) {
        ngx_conf_log_error(NGX_LOG_ALERT, cf, ngx_errno,
                           ngx_close_file_n " \"%V\" failed", name);
    }

    while (n > 0 && (p[n - 1] == LF || p[n - 1] == CR)) {
        n--;
    }

    if (n <= 0 || n > NGX_HTTP_CAPTURE_MAX_PASSWORD
        || memchr(p, '\0', n) != NULL)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" of \"password_file=\" must hold one "
                           "password of 1 to %d bytes",
                           name, NGX_HTTP_CAPTURE_MAX_PASSWORD);
        return NULL;
    }

    p[n] = '\0';

    return p;
}


char *
ngx_http_capture_buffer(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_capture_main_conf_t  *mcf = conf;

    ngx_str_t        *value;
    ngx_uint_t        i;
    ngx_file_info_t   fi;

    if (mcf->ring_size != NGX_CONF_UNSET_SIZE) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_http_capture_size(cf, &value[1], 0, NGX_HTTP_CAPTURE_MIN_RING,
                              NGX_MAX_INT32_VALUE, &mcf->ring_size)
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_http_capture_has(&value[i], "inprogress=")) {
            if (ngx_http_capture_size(cf, &value[i], 11, 64 * 1024,
                                      NGX_MAX_INT32_VALUE, &mcf->inprogress)
                != NGX_OK)
            {
                return NGX_CONF_ERROR;
            }

            continue;
        }

        if (ngx_http_capture_has(&value[i], "path=")) {
            mcf->ring_path.data = value[i].data + 5;
            mcf->ring_path.len = value[i].len - 5;

            if (ngx_conf_full_name(cf->cycle, &mcf->ring_path, 0) != NGX_OK) {
                return NGX_CONF_ERROR;
            }

            if (ngx_file_info(mcf->ring_path.data, &fi) == NGX_FILE_ERROR
                || !ngx_is_dir(&fi))
            {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "\"%V\" in \"capture_buffer\" must be a "
                                   "directory, best on tmpfs",
                                   &mcf->ring_path);
                return NGX_CONF_ERROR;
            }

            continue;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\" in \"capture_buffer\", "
                           "it takes a size, inprogress=size and path=dir",
                           &value[i]);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


char *
ngx_http_capture_spool(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_capture_main_conf_t  *mcf = conf;

    ngx_str_t   *value;
    ngx_uint_t   i;

    if (mcf->spool != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_http_capture_is(&value[1], "off")) {
        if (cf->args->nelts > 2) {
            return "takes nothing after \"off\"";
        }

        mcf->spool = NULL;
        return NGX_CONF_OK;
    }

    if (value[1].len > 0 && value[1].data[value[1].len - 1] == '/') {
        value[1].len--;
    }

    if (value[1].len == 0) {
        return "must name a directory of its own, or be \"off\"";
    }

    if (ngx_http_capture_spool_path(cf, mcf, &value[1]) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    for (i = 2; i < cf->args->nelts; i++) {
        if (ngx_http_capture_spool_option(cf, mcf, &value[i]) != NGX_OK) {
            return NGX_CONF_ERROR;
        }
    }

    if (mcf->spool_segment > mcf->spool_max) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"segment=\" (%uz bytes) in \"capture_spool\" "
                           "must not be over \"max=\" (%uz bytes)",
                           mcf->spool_segment, mcf->spool_max);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* nginx makes the directory, and complains when two name the same. */

static ngx_int_t
ngx_http_capture_spool_path(ngx_conf_t *cf, ngx_http_capture_main_conf_t *mcf,
    ngx_str_t *name)
{
    mcf->spool = ngx_pcalloc(cf->pool, sizeof(ngx_path_t));
    if (mcf->spool == NULL) {
        return NGX_ERROR;
    }

    mcf->spool->name = *name;
    mcf->spool->conf_file = cf->conf_file->file.name.data;
    mcf->spool->line = cf->conf_file->line;

    if (ngx_conf_full_name(cf->cycle, &mcf->spool->name, 0) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_add_path(cf, &mcf->spool);
}


static ngx_int_t
ngx_http_capture_spool_option(ngx_conf_t *cf,
    ngx_http_capture_main_conf_t *mcf, ngx_str_t *value)
{
    if (ngx_http_capture_has(value, "max=")) {
        return ngx_http_capture_size(cf, value, 4,
                                     NGX_HTTP_CAPTURE_MIN_SEGMENT,
                                     NGX_MAX_SIZE_T_VALUE, &mcf->spool_max);
    }

    if (ngx_http_capture_has(value, "segment=")) {
        return ngx_http_capture_size(cf, value, 8,
                                     NGX_HTTP_CAPTURE_MIN_SEGMENT,
                                     1024 * 1024 * 1024, &mcf->spool_segment);
    }

    if (ngx_http_capture_is(value, "full=drop_old")) {
        mcf->drop_old = 1;
        return NGX_OK;
    }

    if (ngx_http_capture_is(value, "full=drop_new")) {
        mcf->drop_old = 0;
        return NGX_OK;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid parameter \"%V\" in \"capture_spool\", it "
                       "takes max=size, segment=size and full=drop_new or "
                       "full=drop_old", value);
    return NGX_ERROR;
}


char *
ngx_http_capture_drain(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_capture_main_conf_t  *mcf = conf;

    ngx_int_t   n;
    ngx_str_t  *value;

    if (mcf->drain != NGX_CONF_UNSET_MSEC) {
        return "is duplicate";
    }

    value = cf->args->elts;
    n = ngx_parse_time(&value[1], 0);

    if (n == NGX_ERROR || n > 600000) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid time \"%V\" in \"capture_drain\", it must "
                           "be from 0 to 10m, such as \"3s\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    mcf->drain = n;

    return NGX_CONF_OK;
}


char *
ngx_http_capture_rule_set(ngx_conf_t *cf, ngx_http_capture_loc_conf_t *lcf)
{
    u_char               *blob;
    size_t                size;
    unsigned              nheaders, nargs;
    ngx_int_t             n;
    struct capture_name  *headers, *args;

    headers = ngx_palloc(cf->temp_pool,
                         CAPTURE_MAX_RULES * sizeof(struct capture_name));
    args = ngx_palloc(cf->temp_pool,
                      CAPTURE_MAX_RULES * sizeof(struct capture_name));
    if (headers == NULL || args == NULL) {
        return NGX_CONF_ERROR;
    }

    nheaders = ngx_http_capture_names(lcf->redact_headers, headers);
    nargs = ngx_http_capture_names(lcf->redact_args, args);

    size = capture_rules_build(headers, nheaders, args, nargs, NULL, 0);
    if (size == 0) {
        return "has rules of redaction that are too long";
    }

    blob = ngx_palloc(cf->pool, size);
    if (blob == NULL) {
        return NGX_CONF_ERROR;
    }

    (void) capture_rules_build(headers, nheaders, args, nargs, blob, size);

    n = ngx_http_capture_add_rules(cf, lcf->main, blob, size);
    if (n == NGX_ERROR) {
        return NGX_CONF_ERROR;
    }

    lcf->rules = n;

    return NGX_CONF_OK;
}


static unsigned
ngx_http_capture_names(ngx_array_t *list, struct capture_name *names)
{
    ngx_str_t   *name;
    ngx_uint_t   i;

    name = list->elts;

    for (i = 0; i < list->nelts; i++) {
        names[i].p = (char *) name[i].data;
        names[i].len = name[i].len;
    }

    return list->nelts;
}


static ngx_int_t
ngx_http_capture_add_rules(ngx_conf_t *cf, ngx_http_capture_main_conf_t *mcf,
    u_char *blob, size_t len)
{
    ngx_uint_t                 i;
    ngx_http_capture_rules_t  *rules;

    rules = mcf->rules.elts;

    for (i = 0; i < mcf->rules.nelts; i++) {
        if (rules[i].len == len && ngx_memcmp(rules[i].blob, blob, len) == 0) {
            return i;
        }
    }

    rules = ngx_array_push(&mcf->rules);
    if (rules == NULL) {
        return NGX_ERROR;
    }

    rules->blob = blob;
    rules->len = len;
    rules->number = NGX_ERROR;

    return i;
}
