/* The table of settings: values, traps of the grammar, complaints. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "config.h"

static char            err[1024];
static struct config  *conf;


static enum result
load(const char *text)
{
    char         path[] = "/tmp/config.XXXXXX";
    int          fd = mkstemp(path);
    enum result  r;

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);

    err[0] = '\0';
    conf = NULL;
    r = config_load(path, &conf, err, sizeof(err));
    unlink(path);
    return r;
}


static void
refuses(const char *text, const char *line, const char *what)
{
    assert_int_equal(load(text), RESULT_INVALID);
    assert_non_null(strstr(err, line));
    assert_non_null(strstr(err, what));
}


static void
test_defaults(void **state)
{
    (void) state;
    assert_int_equal(config_load(NULL, &conf, err, sizeof(err)), RESULT_OK);
    assert_string_equal(conf->capture_stream, "idash:capture");
    assert_int_equal(conf->roles, CONFIG_ROLE_DRAIN | CONFIG_ROLE_DISPATCH | CONFIG_ROLE_API);
    assert_int_equal(conf->drain_batch, 500);
    assert_int_equal(conf->drain_batch_bytes, 4 * 1024 * 1024);
    assert_int_equal(conf->retention_ok_us, INT64_C(30) * 86400 * 1000000);
    assert_null(conf->secret_file);
    config_destroy(conf);
}


static void
test_values(void **state)
{
    (void) state;
    assert_int_equal(load("store = 'sqlite:/tmp/x.db'\n"
        "roles = \"api\"\ndrain_batch = 7\napi_body_max = 64K\n"
        "sse_ping = 1500ms # why\nredis = /tmp/r.sock\nlog_format=json\n"),
        RESULT_OK);
    assert_string_equal(conf->store, "sqlite:/tmp/x.db");
    assert_int_equal(conf->roles, CONFIG_ROLE_API);
    assert_int_equal(conf->drain_batch, 7);
    assert_int_equal(conf->api_body_max, 65536);
    assert_int_equal(conf->sse_ping_us, 1500000);
    assert_string_equal(conf->log_format, "json");
    config_destroy(conf);
}


static void
test_refused(void **state)
{
    (void) state;
    refuses("\n\ndrain_batch = 0\n", ":3: drain_batch:", "from 1 to 5000");
    refuses("drain_batch = 12x\n", ":1: drain_batch:", "drain_batch = 500");
    refuses("sse_ping = 5\n", ":1: sse_ping:", "is not a time");
    refuses("api_body_max = 99999999999999999999m\n", ":1:", "is not a size");
    refuses("drain_batch = 1\nredis_db = 0\ndrain_batch = 2\n",
        ":3: drain_batch:", "first in line 1");
    refuses("drain_batcg = 1\n", ":1:", "no such option 'drain_batcg'");
    refuses("roles = \"drain,apy\"\n", ":1: roles:", "apy");
    refuses("log_level = loud\n", ":1: log_level:", "error|warn|notice");
    refuses("log_level = err\n", ":1: log_level:", "is not one of");
    refuses("redis = \"${NOT_SET_ANYWHERE}\"\n", ":1: redis:", "empty");
    refuses("\nredis = localhost\n", ":2: redis:", "has no port");
    refuses("store = sqlite:relative.db\n", ":1: store:", "absolute");
    refuses("store = 'mongodb://h/d'\n", ":1: secret_file:", "required");
    refuses("listen = 0.0.0.0:80\n", ":1: listen:", "loopback");
    refuses("listen_mode = rw\n", ":1: listen_mode:", "0660");
    refuses("drain_batch 3\n", ":1:", "a line is key");
    refuses("drain_batch = \"3\n", ":", "a line is key");
    refuses("}\n", ":1:", "a line is key");
    refuses("redis = \"\xff\"\n", ":1: redis:", "not UTF-8");
}


static void
test_files(void **state)
{
    (void) state;
    assert_int_equal(config_load("/nowhere/x.conf", &conf, err, sizeof(err)),
        RESULT_INVALID);
    assert_non_null(strstr(err, "No such file"));
    assert_int_equal(config_load("/tmp", &conf, err, sizeof(err)),
        RESULT_INVALID);
    assert_non_null(strstr(err, "regular file"));
}


static void
test_environment(void **state)
{
    (void) state;
    setenv("INTEGRATIOND_DRAIN_BATCH", "9", 1);
    assert_int_equal(load("drain_batch = 7\n"), RESULT_OK);
    assert_int_equal(conf->drain_batch, 9);
    config_destroy(conf);

    setenv("INTEGRATIOND_DRAIN_BATCH", "x", 1);
    refuses("", "environment: INTEGRATIOND_DRAIN_BATCH", "whole number");
    unsetenv("INTEGRATIOND_DRAIN_BATCH");
}


static void
test_restart(void **state)
{
    struct config  *before;
    const char     *name = NULL;

    (void) state;
    assert_int_equal(load("log_level = info\n"), RESULT_OK);
    before = conf;
    assert_int_equal(load("retention_ok = 1d\n"), RESULT_OK);
    assert_false(config_needs_restart(before, conf, &name));
    config_destroy(conf);
    assert_int_equal(load("drain_batch = 3\n"), RESULT_OK);
    assert_true(config_needs_restart(before, conf, &name));
    assert_string_equal(name, "drain_batch");
    config_destroy(conf);
    config_destroy(before);
}


int
main(void)
{
    const struct CMUnitTest  tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_environment),
        cmocka_unit_test(test_restart),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
