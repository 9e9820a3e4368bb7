/*
 * SQLite as the store: opening, what its errors mean, small helpers of the
 * backend's other files, and the ops table.
 */

#include "store_sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"

#define SQLITE_SCHEME       "sqlite:"
#define SQLITE_PROGRESS     1000           /* VM steps between looks at time */
#define SQLITE_READERS_MAX  64
#define DOC_STMT_COUNT      (STORE_COLL_COUNT * SQLITE_DOC_STMTS)

/* Locks of a network file system do not hold WAL's shared memory together. */
static const struct {
    unsigned long  magic;
    const char    *name;
} network_filesystems[] = {
    { 0x6969, "NFS" }, { 0x517b, "SMB" }, { 0xff534d42, "CIFS" },
    { 0xfe534d42, "SMB2" }, { 0x00c36400, "Ceph" }, { 0x5346414f, "AFS" },
    { 0x73757245, "Coda" }, { 0x0bd00bd0, "Lustre" }, { 0x01161970, "GFS2" },
    { 0x7461636f, "OCFS2" }, { 0x01021997, "9P" },
};

struct sqlite_meaning {
    int          rc;                       /* primary code */
    enum result  result;
    const char  *advice;
};

static const struct sqlite_meaning  meanings[] = {
    { SQLITE_FULL, RESULT_UNAVAILABLE,
      "no space is left: free some on its file system" },
    { SQLITE_BUSY, RESULT_UNAVAILABLE,
      "another process holds its lock: look for an open sqlite3 shell" },
    { SQLITE_LOCKED, RESULT_UNAVAILABLE, "a table is locked: try again" },
    { SQLITE_READONLY, RESULT_UNAVAILABLE,
      "it is read-only: check owner and mode of file and directory" },
    { SQLITE_CANTOPEN, RESULT_UNAVAILABLE,
      "it cannot be opened: check that file and directory are there and owned "
      "by this user" },
    { SQLITE_PERM, RESULT_UNAVAILABLE, "access is denied: check its mode" },
    { SQLITE_IOERR, RESULT_UNAVAILABLE,
      "the disk failed or a limit on file size was reached: look at the kernel "
      "log" },
    { SQLITE_PROTOCOL, RESULT_UNAVAILABLE, "locking failed: try again" },
    { SQLITE_NOMEM, RESULT_MEMORY, "out of memory" },
    { SQLITE_TOOBIG, RESULT_TOO_BIG, "a value is larger than SQLite takes" },
    { SQLITE_CONSTRAINT, RESULT_CONFLICT, "a constraint refuses it" },
    { SQLITE_CORRUPT, RESULT_INTERNAL,
      "the file is damaged: stop, keep a copy, run sqlite3 FILE .recover" },
    { SQLITE_NOTADB, RESULT_INTERNAL,
      "the file is no SQLite database: point `store` elsewhere" },
};


static const struct sqlite_meaning *
meaning_of(int rc)
{
    for (size_t i = 0; i < sizeof(meanings) / sizeof(meanings[0]); i++) {
        if (meanings[i].rc == (rc & 0xff)) {
            return &meanings[i];
        }
    }

    return NULL;
}


enum result
sqlite_result(struct sqlite_conn *c, int rc, const char *what)
{
    const struct sqlite_meaning  *m;

    if (rc == SQLITE_OK || rc == SQLITE_DONE || rc == SQLITE_ROW) {
        return RESULT_OK;
    }

    if ((rc & 0xff) == SQLITE_INTERRUPT) {
        return RESULT_TIMEOUT;
    }

    m = meaning_of(rc);

    if (m != NULL && m->rc == SQLITE_CONSTRAINT) {
        return m->result;
    }

    log_rate(LOG_ERROR, "store", "%s: %s: %s (%d): %s", c->store->path, what,
        sqlite3_errmsg(c->db), rc, m == NULL ? "not expected" : m->advice);

    return m == NULL ? RESULT_INTERNAL : m->result;
}


sqlite3_stmt *
sqlite_stmt_get(struct sqlite_conn *c, enum sqlite_stmt which, int *rc)
{
    sqlite3_stmt  *st = c->stmts[which];

    *rc = SQLITE_OK;

    if (st == NULL) {
        *rc = sqlite3_prepare_v3(c->db, sqlite_stmt_text[which], -1,
            SQLITE_PREPARE_PERSISTENT, &c->stmts[which], NULL);
        return c->stmts[which];
    }

    sqlite3_reset(st);
    sqlite3_clear_bindings(st);
    return st;
}


int
sqlite_stmt_done(sqlite3_stmt *st)
{
    int  rc = sqlite3_step(st);

    sqlite3_reset(st);
    return rc == SQLITE_ROW ? SQLITE_DONE : rc;
}


/* Empty ones are zero bytes, never NULL.  A failed bind leaves NULL, which the
 * columns' NOT NULL then refuses. */
void
sqlite_bind_slice(sqlite3_stmt *st, int i, struct slice s)
{
    (void) sqlite3_bind_blob64(st, i, s.p == NULL ? "" : s.p, s.n,
        SQLITE_STATIC);
}


void
sqlite_bind_blob(sqlite3_stmt *st, int i, const void *p, size_t n)
{
    (void) sqlite3_bind_blob64(st, i, p == NULL ? "" : p, n, SQLITE_STATIC);
}


void
sqlite_bind_int(sqlite3_stmt *st, int i, int64_t v)
{
    if (v != LOGDOC_NONE) {
        (void) sqlite3_bind_int64(st, i, v);
    }
}


int64_t
sqlite_column_int(sqlite3_stmt *st, int i)
{
    return sqlite3_column_type(st, i) == SQLITE_NULL
        ? LOGDOC_NONE : sqlite3_column_int64(st, i);
}


struct slice
sqlite_column_slice(sqlite3_stmt *st, int i)
{
    struct slice  s;

    s.p = sqlite3_column_blob(st, i);
    s.n = (size_t) sqlite3_column_bytes(st, i);
    return s;
}


static int
conn_progress(void *arg)
{
    struct sqlite_conn  *c = arg;

    if (c->deadline_us != 0 && clock_mono_us() >= c->deadline_us) {
        c->expired = true;
        return 1;
    }

    return 0;
}


/* idash_seen(id): always true; tells how far an ordered walk has come. */
static void
function_seen(sqlite3_context *ctx, int argc, sqlite3_value **argv)
{
    struct sqlite_conn  *c = sqlite3_user_data(ctx);

    (void) argc;
    c->seen = sqlite3_value_int64(argv[0]);
    c->any_seen = true;
    sqlite3_result_int(ctx, 1);
}


/* idash_hist(a, b): the sum of two packed histograms. */
static void
function_hist(sqlite3_context *ctx, int argc, sqlite3_value **argv)
{
    uint32_t  hist[HIST_SLOTS];
    uint8_t   packed[HEATMAP_HIST_MAX];
    size_t    n;

    memset(hist, 0, sizeof(hist));

    for (int i = 0; i < argc; i++) {
        if (heatmap_hist_merge_packed(hist, sqlite3_value_blob(argv[i]),
                (size_t) sqlite3_value_bytes(argv[i])) != RESULT_OK)
        {
            sqlite3_result_error_code(ctx, SQLITE_CORRUPT);
            return;
        }
    }

    n = heatmap_hist_pack(hist, packed);
    sqlite3_result_blob(ctx, packed, (int) n, SQLITE_TRANSIENT);
}


static int
conn_functions(struct sqlite_conn *c)
{
    int  rc;

    rc = sqlite3_create_function_v2(c->db, "idash_seen", 1, SQLITE_UTF8, c,
        function_seen, NULL, NULL, NULL);

    if (rc == SQLITE_OK) {
        rc = sqlite3_create_function_v2(c->db, "idash_hist", 2,
            SQLITE_UTF8 | SQLITE_DETERMINISTIC, c, function_hist, NULL, NULL,
            NULL);
    }

    return rc;
}


static int
conn_pragmas(struct sqlite_conn *c, bool write)
{
    /* page size and vacuum count only before the file turns to WAL */
    static const char  writer[] =
        "PRAGMA page_size=8192; PRAGMA auto_vacuum=INCREMENTAL;"
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
        "PRAGMA cache_size=-16384;"
        "PRAGMA journal_size_limit=268435456; PRAGMA secure_delete=FAST;"
        "PRAGMA foreign_keys=OFF; PRAGMA trusted_schema=OFF";
    static const char  reader[] =
        "PRAGMA cache_size=-2048; PRAGMA query_only=ON;"
        "PRAGMA trusted_schema=OFF";

    return sqlite3_exec(c->db, write ? writer : reader, NULL, NULL, NULL);
}


enum result
sqlite_conn_open(struct store_sqlite *s, bool write, struct sqlite_conn *c,
    char *err, size_t errlen)
{
    const struct sqlite_meaning  *m;
    int                           flags, rc;

    memset(c, 0, sizeof(*c));
    c->store = s;

    flags = SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE
        | (write ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY);

    rc = sqlite3_open_v2(s->path, &c->db, flags, NULL);

    if (rc == SQLITE_OK) {
        (void) sqlite3_extended_result_codes(c->db, 1);
        (void) sqlite3_busy_timeout(c->db, SQLITE_BUSY_MS);
        rc = conn_functions(c);
    }

    if (rc == SQLITE_OK) {
        rc = conn_pragmas(c, write);
    }

    if (rc == SQLITE_OK) {
        c->stmts = calloc(SQL_STMT_COUNT, sizeof(c->stmts[0]));
        c->docs = calloc(DOC_STMT_COUNT, sizeof(c->docs[0]));
        rc = c->stmts == NULL || c->docs == NULL ? SQLITE_NOMEM : SQLITE_OK;
    }

    if (rc == SQLITE_OK) {
        sqlite3_progress_handler(c->db, SQLITE_PROGRESS, conn_progress, c);
        return RESULT_OK;
    }

    m = meaning_of(rc);
    snprintf(err, errlen, "store: %s: %s: %s", s->path,
        c->db == NULL ? "out of memory" : sqlite3_errmsg(c->db),
        m == NULL ? "not expected" : m->advice);
    sqlite_conn_close(c);

    return m == NULL || m->result == RESULT_CONFLICT ? RESULT_INTERNAL
                                                     : m->result;
}


void
sqlite_conn_close(struct sqlite_conn *c)
{
    for (unsigned i = 0; c->stmts != NULL && i < SQL_STMT_COUNT; i++) {
        sqlite3_finalize(c->stmts[i]);
    }

    for (unsigned i = 0; c->docs != NULL && i < DOC_STMT_COUNT; i++) {
        sqlite3_finalize(c->docs[i]);
    }

    free(c->stmts);
    free(c->docs);
    sqlite3_close(c->db);
    memset(c, 0, sizeof(*c));
}


/* Refuses file systems whose locks do not hold; the file may not exist yet. */
static enum result
path_check(const char *path, char *err, size_t errlen)
{
    struct statfs  fs;
    const char    *slash;
    char           dir[4096];

    slash = strrchr(path, '/');

    if (slash == NULL) {
        snprintf(dir, sizeof(dir), ".");

    } else {
        snprintf(dir, sizeof(dir), "%.*s",
            slash == path ? 1 : (int) (slash - path), path);
    }

    if (statfs(dir, &fs) != 0) {
        snprintf(err, errlen, "store: %s: %s: make the directory, owned by "
            "this user", dir, strerror(errno));
        return RESULT_UNAVAILABLE;
    }

    for (size_t i = 0; i < sizeof(network_filesystems)
                           / sizeof(network_filesystems[0]); i++)
    {
        if (((unsigned long) fs.f_type & 0xffffffff)
            == network_filesystems[i].magic)
        {
            snprintf(err, errlen, "store: %s: is on %s, where SQLite's locks "
                "do not hold: use a local disk, or mongodb://", path,
                network_filesystems[i].name);
            return RESULT_INVALID;
        }
    }

    return RESULT_OK;
}


/* An empty file of mode 0600 when there is none: bodies are confidential. */
static enum result
path_make(const char *path, char *err, size_t errlen)
{
    int  fd;

    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    if (fd == -1) {
        snprintf(err, errlen, "store: %s: %s: check owner and mode of file and "
            "directory", path, strerror(errno));
        return RESULT_UNAVAILABLE;
    }

    close(fd);
    return RESULT_OK;
}


static void
store_sqlite_close(struct store *base)
{
    struct store_sqlite  *s = (struct store_sqlite *) base;

    /* who closes last empties the WAL into the file, which no reader may */
    sqlite_readers_destroy(s);
    sqlite_writer_stop(s);
    sqlite_dict_destroy(s);
    sqlite_packer_destroy(s);
    free(s->path);
    free(s);
}


static enum result
store_sqlite_start(struct store_sqlite *s, const struct store_options *o,
    char *err, size_t errlen)
{
    struct sqlite_conn  *c;
    enum result          result;

    s->path = strdup(o->uri + sizeof(SQLITE_SCHEME) - 1);
    s->read_only = o->read_only;

    if (s->path == NULL || sqlite_packer_create(s) != RESULT_OK
        || sqlite_dict_create(s) != RESULT_OK
        || sqlite_readers_create(s, o->readers == 0 ? 1
               : o->readers > SQLITE_READERS_MAX ? SQLITE_READERS_MAX
               : o->readers) != RESULT_OK)
    {
        snprintf(err, errlen, "store: out of memory");
        return RESULT_MEMORY;
    }

    if (s->path[0] == '\0') {
        snprintf(err, errlen, "store: sqlite: needs a path, as "
            "sqlite:/var/lib/integrationd/dash.db");
        return RESULT_INVALID;
    }

    result = path_check(s->path, err, errlen);

    if (result == RESULT_OK && !o->read_only) {
        result = path_make(s->path, err, errlen);

        if (result == RESULT_OK) {
            result = sqlite_writer_start(s, err, errlen);
        }

        return result;
    }

    if (result == RESULT_OK) {
        result = sqlite_read_begin(s, 0, &c);

        if (result != RESULT_OK) {
            snprintf(err, errlen, "store: %s: cannot be read: check that it is "
                "there and readable by this user", s->path);
            return result;
        }

        result = sqlite_schema_check(c, false, err, errlen);
        sqlite_read_end(c);
    }

    return result;
}


/* Counting its memory takes a lock of the process at every allocation. */
static void
library_init(void)
{
    (void) sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}


static enum result
store_sqlite_open(const struct store_options *o, struct store **out, char *err,
    size_t errlen)
{
    static pthread_once_t  once = PTHREAD_ONCE_INIT;
    struct store_sqlite   *s;
    enum result            result;

    (void) pthread_once(&once, library_init);

    s = calloc(1, sizeof(*s));
    if (s == NULL) {
        snprintf(err, errlen, "store: out of memory");
        return RESULT_MEMORY;
    }

    result = store_sqlite_start(s, o, err, errlen);

    if (result != RESULT_OK) {
        store_sqlite_close(&s->base);
        return result;
    }

    *out = &s->base;
    return RESULT_OK;
}


/* Opening has brought the schema up to date already. */
static enum result
store_sqlite_migrate(struct store *base, char *err, size_t len)
{
    struct store_sqlite  *s = (struct store_sqlite *) base;
    struct sqlite_conn   *c;
    enum result           result;

    result = sqlite_read_begin(s, 0, &c);

    if (result != RESULT_OK) {
        snprintf(err, len, "store: %s: %s", s->path, result_text(result));
        return result;
    }

    result = sqlite_schema_check(c, false, err, len);
    sqlite_read_end(c);
    return result;
}


static enum result
ping_job(struct sqlite_conn *c, void *arg)
{
    (void) c;
    (void) arg;
    return RESULT_OK;
}


/* Through the writer when there is one: it must be able to take the lock. */
static enum result
store_sqlite_ping(struct store *base)
{
    struct store_sqlite  *s = (struct store_sqlite *) base;
    int64_t               version;

    return s->writer == NULL ? sqlite_config_version(base, &version)
                             : sqlite_write(s, ping_job, NULL);
}


const struct store_ops  store_sqlite = {
    .name = "sqlite",
    .schemes = { SQLITE_SCHEME, NULL },
    .open = store_sqlite_open,
    .close = store_sqlite_close,
    .migrate = store_sqlite_migrate,
    .ping = store_sqlite_ping,
    .logs_insert = sqlite_logs_insert,
    .log_get = sqlite_log_get,
    .attempts = sqlite_attempts,
    .claim = sqlite_claim,
    .finish = sqlite_finish,
    .renew = sqlite_renew,
    .move = sqlite_move,
    .due = sqlite_due,
    .batch_close = sqlite_batch_close,
    .batch_get = sqlite_batch_get,
    .logs_find = sqlite_logs_find,
    .logs_count = sqlite_logs_count,
    .cells = sqlite_cells,
    .cells_exact = sqlite_cells_exact,
    .error_groups = sqlite_error_groups,
    .open_counts = sqlite_open_counts,
    .recount = sqlite_recount,
    .doc_put = sqlite_doc_put,
    .doc_get = sqlite_doc_get,
    .doc_delete = sqlite_doc_delete,
    .doc_list = sqlite_doc_list,
    .config_version = sqlite_config_version,
    .event_put = sqlite_event_put,
    .expire = sqlite_expire,
    .stats = sqlite_stats,
};
