/*
 * What only the SQLite store has: one file that several processes share, that
 * may be killed, locked, full, damaged or of another version.  The rest is in
 * store.c, which both stores run.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <ftw.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clock.h"
#include "store.h"

#define BATCH    20
#define BATCHES  400                       /* more than a child ever writes */
#define BASE_US  INT64_C(1700000000000000)

static const struct scope  everybody = { .platform = true };
static char                dir[64], path[96], uri[128];
static struct logdoc       docs[BATCH];


static int
setup(void **state)
{
    (void) state;
    snprintf(dir, sizeof(dir), "/tmp/sqlite.XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/dash.db", dir);
    snprintf(uri, sizeof(uri), "sqlite:%s", path);
    return 0;
}


static int
file_remove(const char *name, const struct stat *st, int type,
    struct FTW *ftw)
{
    (void) st;
    (void) type;
    (void) ftw;
    return remove(name);
}


static int
teardown(void **state)
{
    (void) state;
    return nftw(dir, file_remove, 8, FTW_DEPTH | FTW_PHYS);
}


static enum result
open_as(bool read_only, struct store **s, char *err)
{
    struct store_options  o = {
        .uri = uri, .readers = 2, .read_only = read_only
    };

    err[0] = '\0';
    return store_open(&o, s, err, 512);
}


static struct store *
open_store(void)
{
    struct store  *s;
    char           err[512];

    if (open_as(false, &s, err) != RESULT_OK) {
        fail_msg("%s", err);
    }

    return s;
}


/* Batch N always holds the same logs. */
static void
batch_make(unsigned n)
{
    static char  body[4096];

    memset(body, 'x', sizeof(body));

    for (unsigned i = 0; i < BATCH; i++) {
        struct logdoc  *d = &docs[i];
        unsigned        number = n * BATCH + i;

        logdoc_init(d);
        d->started_us = BASE_US + (int64_t) number * 1000;
        uuid_make(d->id, d->started_us);
        memset(d->id + 8, 0, 8);
        d->id[15] = (uint8_t) number;
        d->id[14] = (uint8_t) (number >> 8);
        d->status = LOG_SUCCESS;
        d->org_id = 1;
        d->lab_id = 1;
        d->endpoint = SLICE_LIT("GET /a");
        d->trace_id = SLICE_LIT("one trace for all");
        d->duration_us = 100;
        d->request.data = (struct slice) { body, sizeof(body) };
    }
}


static enum result
batch_insert(struct store *s, unsigned n, unsigned *fresh)
{
    enum store_insert  outcome[BATCH];
    enum result        r;

    batch_make(n);
    r = store_logs_insert(s, docs, BATCH, outcome);

    for (unsigned i = 0; i < BATCH && r == RESULT_OK; i++) {
        *fresh += outcome[i] == STORE_NEW;
    }

    return r;
}


static int64_t
sql_number(const char *sql)
{
    sqlite3       *db;
    sqlite3_stmt  *st;
    int64_t        n;

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    n = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    sqlite3_close(db);
    return n;
}


static int
sql_exec(const char *sql)
{
    sqlite3  *db;
    int       rc;

    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
    sqlite3_close(db);
    return rc;
}


/* The file is whole, and its tables speak of the same logs. */
static void
file_check(int64_t at_least)
{
    int64_t  n = sql_number("SELECT count(*) FROM integration_directory");

    assert_int_equal(sql_number("SELECT count(*)=1 AND"
        " max(integrity_check)='ok' FROM pragma_integrity_check"), 1);
    assert_true(n >= at_least);
    assert_int_equal(sql_number("SELECT count(*) FROM detail"), n);
    assert_int_equal(sql_number("SELECT count(*) FROM body"), n);
    assert_int_equal(sql_number("SELECT count(*) FROM ref"), n);
    assert_int_equal(sql_number("SELECT sum(entries) FROM ref_part"), n);
    assert_int_equal(sql_number("SELECT sum(ok+fail) FROM heatmap"), n);
}


/* Writes batches from FIRST on and tells each that was acknowledged. */
static void
child_write(unsigned first, int out)
{
    struct store  *s;
    unsigned       fresh = 0;
    char           err[512];

    if (open_as(false, &s, err) != RESULT_OK) {
        _exit(2);
    }

    for (unsigned n = first; n < BATCHES; n++) {
        if (batch_insert(s, n, &fresh) != RESULT_OK
            || write(out, &n, sizeof(n)) != sizeof(n))
        {
            _exit(3);
        }
    }

    _exit(0);
}


static void
test_r51_killed_in_commit(void **state)
{
    unsigned  acked = 0, n, kills = 0;
    int       pipes[2], status;
    pid_t     pid;

    (void) state;
    store_close(open_store());

    for (unsigned round = 0; round < 12; round++) {
        assert_int_equal(pipe(pipes), 0);
        pid = fork();
        assert_true(pid >= 0);

        if (pid == 0) {
            close(pipes[0]);
            child_write(acked, pipes[1]);
        }

        close(pipes[1]);

        /* the first acknowledged, then somewhere in the next ones */
        if (read(pipes[0], &n, sizeof(n)) == sizeof(n)) {
            acked = n + 1;
            usleep(round * 1700);
        }

        kill(pid, SIGKILL);
        while (read(pipes[0], &n, sizeof(n)) == sizeof(n)) {
            acked = n + 1;
        }

        close(pipes[0]);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        kills += WIFSIGNALED(status);
        file_check((int64_t) acked * BATCH);
    }

    assert_true(kills > 0);
    assert_true(acked > 0);
    printf("# r51.kills %u kills\n# r51.acked %u logs\n", kills,
        acked * BATCH);
}


static void
test_processes_share_a_file(void **state)
{
    const unsigned  batches = 60;
    unsigned        fresh = 0, each;
    int             pipes[2], status;
    pid_t           pids[3];

    (void) state;
    assert_int_equal(pipe(pipes), 0);

    for (int i = 0; i < 3; i++) {
        pids[i] = fork();
        assert_true(pids[i] >= 0);

        if (pids[i] == 0) {
            struct store  *s;
            char           err[512];

            each = 0;

            /* all make the file, then write the same */
            if (open_as(false, &s, err) != RESULT_OK) {
                fprintf(stderr, "# %s\n", err);
                _exit(2);
            }

            for (unsigned n = 0; n < batches; n++) {
                if (batch_insert(s, n, &each) != RESULT_OK) {
                    _exit(3);
                }
            }

            store_close(s);
            _exit(write(pipes[1], &each, sizeof(each)) != sizeof(each));
        }
    }

    for (int i = 0; i < 3; i++) {
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
        assert_int_equal(read(pipes[0], &each, sizeof(each)), sizeof(each));
        fresh += each;
    }

    close(pipes[0]);
    close(pipes[1]);
    assert_int_equal(fresh, batches * BATCH);
    file_check((int64_t) batches * BATCH);
    assert_int_equal(sql_number("SELECT count(*) FROM dict"), 1);
}


static void
test_locked_by_another(void **state)
{
    struct store       *s = open_store();
    struct store_stats  stats;
    sqlite3            *other;
    unsigned            fresh = 0;

    (void) state;
    assert_int_equal(batch_insert(s, 0, &fresh), RESULT_OK);
    assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL,
        NULL), SQLITE_OK);

    assert_int_equal(batch_insert(s, 1, &fresh), RESULT_UNAVAILABLE);
    assert_int_equal(store_ping(s), RESULT_UNAVAILABLE);
    assert_int_equal(store_stats(s, &stats), RESULT_OK);
    assert_int_equal(stats.logs, BATCH);

    assert_int_equal(sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL),
        SQLITE_OK);
    sqlite3_close(other);
    assert_int_equal(batch_insert(s, 1, &fresh), RESULT_OK);
    assert_int_equal(fresh, 2 * BATCH);
    store_close(s);
    file_check(2 * BATCH);
}


static void
test_full_disk(void **state)
{
    struct store   *s = open_store();
    struct rlimit   had, small;
    unsigned        fresh = 0, n, refused = 0;
    enum result     r;

    (void) state;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &had), 0);
    small = had;
    small.rlim_cur = 1024 * 1024;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);

    for (n = 0; n < BATCHES && refused < 3; n++) {
        r = batch_insert(s, n - refused, &fresh);

        if (r != RESULT_OK) {
            assert_int_equal(r, RESULT_UNAVAILABLE);
            refused++;
        }
    }

    assert_int_equal(setrlimit(RLIMIT_FSIZE, &had), 0);
    assert_int_equal(refused, 3);

    /* it takes records again, those that were refused too */
    for (n = 0; n < 20; n++) {
        assert_int_equal(batch_insert(s, n, &fresh), RESULT_OK);
    }

    store_close(s);
    file_check(fresh);
}


static void
test_one_start_for_thousands(void **state)
{
    static struct logdoc      same[1000];
    static enum store_insert  outcome[1000];
    struct store             *s = open_store();
    struct filter             f;
    int64_t                   n;
    bool                      capped;

    (void) state;

    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 1000; i++) {
            logdoc_init(&same[i]);
            same[i].started_us = BASE_US;
            uuid_make(same[i].id, BASE_US);
        }

        assert_int_equal(store_logs_insert(s, same, 1000, outcome),
            RESULT_OK);

        for (int i = 0; i < 1000; i++) {
            assert_int_equal(outcome[i], STORE_NEW);
        }
    }

    filter_init(&f, &everybody);
    f.from_us = BASE_US;
    f.to_us = BASE_US + 1;
    assert_int_equal(store_logs_count(s, &f, 10000, clock_mono_us()
        + 10000000, &n, &capped), RESULT_OK);
    assert_int_equal(n, 3000);
    store_close(s);
}


static void
refuses(const char *text)
{
    struct store  *s = NULL;
    char           err[512];

    assert_int_not_equal(open_as(false, &s, err), RESULT_OK);
    assert_null(s);

    if (strstr(err, text) == NULL || strstr(err, path) == NULL) {
        fail_msg("'%s' says nothing of '%s'", err, text);
    }
}


static void
test_files_that_are_not_ours(void **state)
{
    FILE  *f;

    (void) state;

    f = fopen(path, "w");
    assert_non_null(f);
    for (int i = 0; i < 500; i++) {
        fputs("this is no database\n", f);
    }
    assert_int_equal(fclose(f), 0);
    refuses("no SQLite database");

    assert_int_equal(unlink(path), 0);
    assert_int_equal(sql_exec("CREATE TABLE a(b)"), SQLITE_OK);
    refuses("is not a file of integrationd");

    assert_int_equal(unlink(path), 0);
    unlink("dash.db-wal");
    store_close(open_store());
    assert_int_equal(sql_exec("PRAGMA user_version=99"), SQLITE_OK);
    refuses("newer integrationd");

    snprintf(path, sizeof(path), "%s/none/dash.db", dir);
    snprintf(uri, sizeof(uri), "sqlite:%s", path);
    snprintf(path, sizeof(path), "%s/none", dir);
    refuses("make the directory");
}


/* The file of a version that knew no lanes: what was open is still open. */
static void
test_an_older_schema_is_brought_up(void **state)
{
    struct store         *s = open_store();
    struct logdoc         d;
    struct store_due     *due;
    struct scope          scope = { .platform = true };
    struct arena          a;
    enum store_insert     outcome;
    uint8_t               none[UUID_BYTES] = { 0 };
    int64_t               pending, retrying;
    char                  err[512];
    size_t                n;

    (void) state;
    logdoc_init(&d);
    d.started_us = clock_wall_us();
    uuid_make(d.id, d.started_us);
    d.kind = LOG_KIND_WEBHOOK;
    d.status = LOG_PENDING;
    d.next_attempt_us = d.started_us;
    d.priority = 2;
    assert_int_equal(store_logs_insert(s, &d, 1, &outcome), RESULT_OK);
    store_close(s);

    assert_int_equal(sql_exec("DROP INDEX delivery_lane;"
        "DROP INDEX delivery_batch;"
        "ALTER TABLE delivery DROP COLUMN since;"
        "ALTER TABLE delivery DROP COLUMN lane;"
        "ALTER TABLE delivery DROP COLUMN flags;"
        "ALTER TABLE delivery DROP COLUMN bytes;"
        "ALTER TABLE delivery DROP COLUMN batch;"
        "ALTER TABLE delivery DROP COLUMN held;"
        "DROP INDEX dir_trouble;"
        "CREATE INDEX dir_trouble ON integration_directory(status, id, bump,"
        " org, lab, kind, error) WHERE status IN (0, 2, 3);"
        "DROP INDEX dir_lab;"
        "CREATE INDEX dir_lab ON integration_directory(lab)"
        " WHERE lab NOT NULL;"
        "PRAGMA user_version=1"), SQLITE_OK);

    assert_int_equal(open_as(true, &s, err), RESULT_INVALID);
    assert_non_null(strstr(err, "run integrationd migrate"));

    s = open_store();
    arena_init(&a, 1024 * 1024);
    assert_int_equal(store_due(s, INT64_MAX, 0, none, 10, &a, &due, &n),
        RESULT_OK);
    assert_int_equal(n, 1);
    assert_memory_equal(due[0].id, d.id, UUID_BYTES);
    assert_int_equal(due[0].due_us, d.next_attempt_us);
    assert_int_equal(due[0].priority, 2);
    assert_int_equal(store_open_counts(s, &scope, &pending, &retrying),
        RESULT_OK);
    assert_int_equal(pending, 1);
    arena_cleanup(&a);
    store_close(s);
    assert_int_equal(sql_number("SELECT count(*) FROM"
        " pragma_index_info('dir_lab') WHERE name='http'"), 1);
}


/* Pages overwritten with noise: a result, no crash, nothing invented. */
static void
test_damaged_file(void **state)
{
    struct store       *s = open_store();
    struct store_page   p = { .limit = 1000 };
    struct store_rows   rows;
    struct filter       f;
    struct arena        a;
    unsigned            fresh = 0;
    char                noise[4096], err[512];
    FILE               *file;
    long                size;
    enum result         r;

    (void) state;
    for (unsigned n = 0; n < 40; n++) {
        assert_int_equal(batch_insert(s, n, &fresh), RESULT_OK);
    }
    store_close(s);

    memset(noise, 0xa5, sizeof(noise));
    file = fopen(path, "r+");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    size = ftell(file);

    /* the schema stays, so that it opens */
    for (long at = 200 * 1024; at < size; at += 3 * (long) sizeof(noise)) {
        assert_int_equal(fseek(file, at, SEEK_SET), 0);
        assert_int_equal(fwrite(noise, sizeof(noise), 1, file), 1);
    }
    assert_int_equal(fclose(file), 0);

    if (open_as(false, &s, err) != RESULT_OK) {
        assert_non_null(strstr(err, path));
        return;
    }

    arena_init(&a, 64 * 1024 * 1024);
    filter_init(&f, &everybody);
    p.deadline_us = clock_mono_us() + 10000000;
    r = store_logs_find(s, &f, &p, &a, &rows);
    assert_int_equal(r, RESULT_INTERNAL);
    r = batch_insert(s, 41, &fresh);
    assert_true(r == RESULT_INTERNAL || r == RESULT_OK);
    arena_cleanup(&a);
    store_close(s);
}


static void
test_read_only(void **state)
{
    struct store       *s = open_store(), *reader;
    struct store_stats  stats;
    unsigned            fresh = 0;
    char                err[512];

    (void) state;
    assert_int_equal(batch_insert(s, 0, &fresh), RESULT_OK);
    assert_int_equal(open_as(true, &reader, err), RESULT_OK);
    assert_int_equal(store_stats(reader, &stats), RESULT_OK);
    assert_int_equal(stats.logs, BATCH);
    assert_int_equal(batch_insert(reader, 1, &fresh), RESULT_UNAVAILABLE);

    /* with the writer gone too */
    store_close(reader);
    store_close(s);
    assert_int_equal(open_as(true, &reader, err), RESULT_OK);
    assert_int_equal(store_ping(reader), RESULT_OK);
    assert_int_equal(store_stats(reader, &stats), RESULT_OK);
    assert_int_equal(stats.logs, BATCH);
    store_close(reader);

    assert_int_equal(unlink(path), 0);
    assert_int_equal(open_as(true, &reader, err), RESULT_UNAVAILABLE);
    assert_int_equal(access(path, F_OK), -1);
}


static struct store_doc
audit_entry(const char *id, int64_t expires_us)
{
    return (struct store_doc) {
        .id = slice_of(id), .body = SLICE_LIT("{\"what\":\"login\"}"),
        .org_id = 1, .created_us = 1, .updated_us = 1,
        .expires_us = expires_us
    };
}


static void
test_audit_log_is_written_once(void **state)
{
    struct store      *s = open_store();
    struct store_doc   old = audit_entry("a", clock_wall_us() - 1000000);
    struct store_doc   kept = audit_entry("b", clock_wall_us()
        + HEATMAP_DAY_US);
    struct store_doc   ever = audit_entry("c", LOGDOC_NONE);
    unsigned           done;
    int64_t            v;

    (void) state;
    assert_int_equal(store_doc_put(s, STORE_AUDIT, &old, 0, &v), RESULT_OK);
    assert_int_equal(store_doc_put(s, STORE_AUDIT, &kept, 0, &v), RESULT_OK);
    assert_int_equal(store_doc_put(s, STORE_AUDIT, &ever, 0, &v), RESULT_OK);

    assert_int_equal(store_doc_put(s, STORE_AUDIT, &kept, -1, &v),
        RESULT_CONFLICT);
    assert_int_equal(store_doc_delete(s, STORE_AUDIT, kept.id, -1),
        RESULT_CONFLICT);
    assert_int_equal(store_doc_delete(s, STORE_AUDIT, ever.id, -1),
        RESULT_CONFLICT);

    /* by hand neither */
    assert_int_equal(sql_exec("UPDATE audit_log SET body=x'00'"),
        SQLITE_CONSTRAINT);
    assert_int_equal(sql_exec("DELETE FROM audit_log WHERE id=x'62'"),
        SQLITE_CONSTRAINT);

    /* retention takes what is over by the clock, whatever it is told */
    assert_int_equal(store_expire(s, clock_wall_us() + 9 * HEATMAP_DAY_US,
        100, &done), RESULT_OK);
    assert_int_equal(done, 1);
    assert_int_equal(sql_number("SELECT count(*) FROM audit_log"), 2);
    store_close(s);
}


static void
test_expiry_gives_space_back(void **state)
{
    struct store  *s = open_store();
    unsigned       fresh = 0, done;
    int64_t        before, after;

    (void) state;

    for (unsigned n = 0; n < 60; n++) {
        enum store_insert  outcome[BATCH];

        batch_make(n);
        for (unsigned i = 0; i < BATCH; i++) {
            docs[i].expires_us = BASE_US + HEATMAP_DAY_US;
        }

        assert_int_equal(store_logs_insert(s, docs, BATCH, outcome),
            RESULT_OK);
    }

    before = sql_number("SELECT page_count FROM pragma_page_count");

    do {
        assert_int_equal(store_expire(s, BASE_US + 3 * HEATMAP_DAY_US, 1000,
            &done), RESULT_OK);
        fresh += done;
    } while (done > 0);

    assert_int_equal(fresh, 60 * BATCH);
    after = sql_number("SELECT page_count FROM pragma_page_count");
    assert_true(after < before);
    assert_int_equal(sql_number("SELECT (SELECT count(*) FROM ref)+"
        "(SELECT count(*) FROM body)+(SELECT count(*) FROM detail)"), 0);
    store_close(s);
}


static off_t
size_of(const char *suffix)
{
    struct stat  st;
    char         name[128];

    snprintf(name, sizeof(name), "%s%s", path, suffix);
    return stat(name, &st) == 0 ? st.st_size : -1;
}


/*
 * A writer that never rests: the WAL stays within its bound and goes into the
 * file meanwhile, and who closes the store leaves none.
 */
static void
test_checkpoints_behind_a_writer(void **state)
{
    static char         body[512 * 1024];
    const off_t         most = (off_t) 26000 * (8192 + 24);
    enum store_insert   outcome[BATCH];
    struct store       *s = open_store();
    FILE               *random = fopen("/dev/urandom", "r");
    int64_t             version;

    (void) state;
    assert_non_null(random);
    assert_int_equal(fread(body, 1, sizeof(body), random), sizeof(body));
    fclose(random);
    assert_int_equal(store_config_version(s, &version), RESULT_OK);

    for (unsigned n = 0; n < 24; n++) {
        batch_make(n);

        for (unsigned i = 0; i < BATCH; i++) {
            docs[i].request.data = (struct slice) { body, sizeof(body) };
        }

        assert_int_equal(store_logs_insert(s, docs, BATCH, outcome),
            RESULT_OK);
        assert_true(size_of("-wal") <= most);
    }

    assert_true(size_of("") > most / 4);
    store_close(s);
    assert_int_equal(size_of("-wal"), -1);
    assert_true(size_of("") > (off_t) 24 * BATCH * (off_t) sizeof(body));
}


#define SQLITE_TEST(f)  cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    const struct CMUnitTest  tests[] = {
        SQLITE_TEST(test_r51_killed_in_commit),
        SQLITE_TEST(test_processes_share_a_file),
        SQLITE_TEST(test_locked_by_another),
        SQLITE_TEST(test_full_disk),
        SQLITE_TEST(test_one_start_for_thousands),
        SQLITE_TEST(test_files_that_are_not_ours),
        SQLITE_TEST(test_an_older_schema_is_brought_up),
        SQLITE_TEST(test_damaged_file),
        SQLITE_TEST(test_read_only),
        SQLITE_TEST(test_audit_log_is_written_once),
        SQLITE_TEST(test_expiry_gives_space_back),
        SQLITE_TEST(test_checkpoints_behind_a_writer),
    };

    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
