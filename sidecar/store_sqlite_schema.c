/*
 * The schema and its version, and the text of the writer's statements.  A
 * change adds a step to the table of migrations and raises STORE_SCHEMA; a
 * step runs in one transaction with the change of user_version.
 */

#include "store_sqlite.h"

#include <stdio.h>

#define SCHEMA_APPLICATION  0x69644173     /* "idAs": what the file is */

/* since: its place in the lane; held: it failed and its lane waits */
#define SCHEMA_DELIVERY                                                       \
    "CREATE TABLE delivery(uid BLOB NOT NULL PRIMARY KEY, id INT NOT NULL,"   \
    " due INT NOT NULL, priority INT NOT NULL, token INT NOT NULL,"           \
    " leased INT NOT NULL, since INT NOT NULL, lane BLOB, flags INT NOT NULL,"\
    " bytes INT NOT NULL, batch BLOB, held INT NOT NULL)"                     \
    " STRICT, WITHOUT ROWID;"                                                 \
    "CREATE INDEX delivery_due ON delivery(due, uid);"                        \
    "CREATE INDEX delivery_lane ON delivery(lane, since, uid)"                \
    " WHERE lane NOT NULL;"                                                   \
    "CREATE INDEX delivery_batch ON delivery(batch, since, uid)"              \
    " WHERE batch NOT NULL;"

/* error groups and open counts without a look at the table; with "status IN"
 * each insert would fill a table of the three values first */
#define SCHEMA_TROUBLE                                                        \
    "CREATE INDEX dir_trouble ON integration_directory(status, id, bump, org,"\
    " lab, kind, error) WHERE " SQLITE_TROUBLE("") ";"

/* filters inside one lab, the most usual ones, without a look at the table */
#define SCHEMA_LAB                                                            \
    "CREATE INDEX dir_lab ON integration_directory(lab, id, bump, org, kind," \
    " status, http, action, category, endpoint, developer, integration)"      \
    " WHERE lab NOT NULL;"

static const char  schema_logs[] =
    "CREATE TABLE dict(id INTEGER PRIMARY KEY, kind INT NOT NULL,"
    " text BLOB NOT NULL, UNIQUE(kind, text)) STRICT;"

    "CREATE TABLE integration_directory(id INTEGER PRIMARY KEY,"
    " bump INT NOT NULL, uid BLOB NOT NULL, org INT, lab INT,"
    " kind INT NOT NULL, status INT NOT NULL, action INT, category INT,"
    " developer INT, integration INT, endpoint INT, method INT, http INT,"
    " error INT, dur INT, attempts INT, flags INT NOT NULL,"
    " part INT NOT NULL, expires INT) STRICT;"
    "CREATE TABLE detail(id INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT;"
    "CREATE TABLE body(id INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT;"

    "CREATE UNIQUE INDEX dir_uid ON integration_directory(uid);"
    "CREATE INDEX dir_kind ON integration_directory(kind);"
    "CREATE INDEX dir_status ON integration_directory(status);"
    "CREATE INDEX dir_org ON integration_directory(org) WHERE org NOT NULL;"
    SCHEMA_LAB
    "CREATE INDEX dir_action ON integration_directory(action)"
    " WHERE action NOT NULL;"
    "CREATE INDEX dir_endpoint ON integration_directory(endpoint)"
    " WHERE endpoint NOT NULL;"
    "CREATE INDEX dir_developer ON integration_directory(developer)"
    " WHERE developer NOT NULL;"
    "CREATE INDEX dir_integration ON integration_directory(integration)"
    " WHERE integration NOT NULL;"
    "CREATE INDEX dir_http ON integration_directory(http)"
    " WHERE http NOT NULL;"
    "CREATE INDEX dir_error ON integration_directory(error)"
    " WHERE error NOT NULL;"
    "CREATE INDEX dir_expires ON integration_directory(expires)"
    " WHERE expires NOT NULL;"
    SCHEMA_TROUBLE
    SCHEMA_DELIVERY
    "CREATE TABLE integration_retry_log(id INT NOT NULL, n INT NOT NULL,"
    " started INT, dur INT, connect INT, first INT, http INT, next INT,"
    " outcome BLOB, code BLOB, message BLOB, req_bytes INT, res_bytes INT,"
    " res_cut BLOB, body BLOB, PRIMARY KEY(id, n)) STRICT, WITHOUT ROWID;"

    "CREATE TABLE ref(part INT NOT NULL, key INT NOT NULL, id INT NOT NULL,"
    " PRIMARY KEY(part, key, id)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE ref_part(part INTEGER PRIMARY KEY, entries INT NOT NULL,"
    " low INT NOT NULL, high INT NOT NULL) STRICT;";

static const char  schema_heatmap[] =
    /* at: start of the bucket, hour: of its hour, both in units of 5 min;
     * the lab comes first in an hour, so that one lab is a short range; -1:
     * the log has none */
    "CREATE TABLE heatmap(hour INT NOT NULL, lab INT NOT NULL,"
    " org INT NOT NULL, at INT NOT NULL, kind INT NOT NULL,"
    " action INT NOT NULL, endpoint INT NOT NULL, developer INT NOT NULL,"
    " ok INT NOT NULL, fail INT NOT NULL, hist BLOB NOT NULL,"
    " PRIMARY KEY(hour, lab, org, at, kind, action, endpoint, developer))"
    " STRICT, WITHOUT ROWID;"
    /* level: enum sqlite_level; -2: not split by it */
    "CREATE TABLE heatmap_roll(level INT NOT NULL, at INT NOT NULL,"
    " lab INT NOT NULL, org INT NOT NULL, dim INT NOT NULL, kind INT NOT NULL,"
    " label INT NOT NULL, cells BLOB NOT NULL, PRIMARY KEY(level, at, lab,"
    " org, dim, kind, label)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE heatmap_done(level INT NOT NULL, at INT NOT NULL,"
    " PRIMARY KEY(level, at)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE heatmap_todo(level INT NOT NULL, at INT NOT NULL,"
    " gen INT NOT NULL, touched INT NOT NULL, PRIMARY KEY(level, at))"
    " STRICT, WITHOUT ROWID;"

    "CREATE TABLE counter(name TEXT PRIMARY KEY, value INT NOT NULL)"
    " STRICT, WITHOUT ROWID;";

/*
 * Entries of the audit log are written once.  The one thing that may remove
 * them is retention, and the trigger itself asks the clock whether it is due:
 * no connection can be told to look away.
 */
static const char  schema_audit[] =
    "CREATE TRIGGER audit_update BEFORE UPDATE ON audit_log BEGIN"
    " SELECT RAISE(ABORT, 'the audit log cannot be changed'); END;"
    "CREATE TRIGGER audit_delete BEFORE DELETE ON audit_log"
    " WHEN old.expires IS NULL OR old.expires >"
    " CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER) BEGIN"
    " SELECT RAISE(ABORT, 'the audit log cannot be deleted'); END;";

/*
 * SQLITE_ROWS rows.  FAIL keeps those before the one that has no place, and
 * neither it nor IGNORE can undo the statement: ABORT could, and to be able
 * to it would copy every page first, which costs more than all the rest.
 */
#define FOUR(row)   row "," row "," row "," row
#define ROWS(row)   FOUR(FOUR(row))
#define ROW_OF_LOG  "(" FOUR("?,?,?,?,?") ")"

const char *const  sqlite_stmt_text[SQL_STMT_COUNT] = {
    [SQL_BEGIN] = "BEGIN IMMEDIATE",
    [SQL_COMMIT] = "COMMIT",
    [SQL_ROLLBACK] = "ROLLBACK",
    [SQL_LOG_INSERT] =
        "INSERT INTO integration_directory VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,"
        "?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20)"
        " ON CONFLICT(uid) DO NOTHING",
    [SQL_DETAIL_INSERT] = "INSERT INTO detail VALUES(?1,?2)",
    [SQL_BODY_INSERT] = "INSERT INTO body VALUES(?1,?2)",
    [SQL_REF_INSERT] =
        "INSERT INTO ref VALUES(?1,?2,?3) ON CONFLICT DO NOTHING",
    [SQL_LOG_INSERT_MANY] =
        "INSERT OR FAIL INTO integration_directory VALUES" ROWS(ROW_OF_LOG),
    [SQL_DETAIL_INSERT_MANY] =
        "INSERT OR FAIL INTO detail VALUES" ROWS("(?,?)"),
    [SQL_BODY_INSERT_MANY] = "INSERT OR FAIL INTO body VALUES" ROWS("(?,?)"),
    [SQL_REF_INSERT_MANY] = "INSERT OR IGNORE INTO ref VALUES" ROWS("(?,?,?)"),
    [SQL_DIGEST] =
        "SELECT substr(t.data,1,16) FROM integration_directory d"
        " JOIN detail t ON t.id=d.id WHERE d.uid=?1",
    [SQL_DICT_FIND] = "SELECT id FROM dict WHERE kind=?1 AND text=?2",
    [SQL_DICT_INSERT] = "INSERT INTO dict(kind,text) VALUES(?1,?2)",
    [SQL_PART_LAST] = "SELECT part,entries,low,high FROM ref_part"
        " ORDER BY part DESC LIMIT 1",
    [SQL_PART_PUT] = "INSERT OR REPLACE INTO ref_part VALUES(?1,?2,?3,?4)",
    [SQL_HEAT_ADD] =
        "INSERT INTO heatmap VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11)"
        " ON CONFLICT DO UPDATE SET ok=ok+excluded.ok,"
        " fail=fail+excluded.fail, hist=idash_hist(hist,excluded.hist)",
    [SQL_HEAT_UNDONE] = "DELETE FROM heatmap_done WHERE level=?1 AND at=?2",
    [SQL_HEAT_TODO] =
        "INSERT INTO heatmap_todo VALUES(?1,?2,1,?3)"
        " ON CONFLICT DO UPDATE SET gen=gen+1,touched=?3",
    [SQL_COUNTER_ADD] =
        "INSERT INTO counter VALUES(?1,1)"
        " ON CONFLICT DO UPDATE SET value=value+1",
    [SQL_DELIVERY_READ] =
        "SELECT id,due,token,leased,since,flags,held,lane,batch FROM delivery"
        " WHERE uid=?1",
    [SQL_DELIVERY_INSERT] = "INSERT INTO delivery"
        " VALUES(?1,?2,?3,?4,?9,?10,?5,?6,?7,?8,NULL,0)",
    [SQL_DELIVERY_CLAIM] =
        "UPDATE delivery SET due=?2,leased=?2,token=token+1 WHERE uid=?1",
    [SQL_DELIVERY_RENEW] = "UPDATE delivery SET due=?3,leased=?3"
        " WHERE uid=?1 AND token=?2 AND leased>0 AND batch IS NULL",
    [SQL_BATCH_RENEW] = "UPDATE delivery SET due=?3,leased=?3"
        " WHERE batch=?1 AND token=?2 AND leased>0",
    [SQL_DELIVERY_HOLD] = "UPDATE delivery SET due=?2,leased=0,held=1"
        " WHERE uid=?1",
    [SQL_LANE_FIRST] = "SELECT uid,due,priority,held,batch FROM delivery"
        " WHERE lane=?1 ORDER BY since,uid LIMIT 1",
    [SQL_LANE_WAITING] = "SELECT uid,due,bytes FROM delivery WHERE lane=?1"
        " AND batch IS NULL AND held=0 AND since<=?2 ORDER BY since,uid"
        " LIMIT ?3",
    [SQL_LANE_TAKE] = "UPDATE delivery SET batch=?2,due=?3 WHERE uid=?1",
    [SQL_LANE_TAKE_OVER] = "UPDATE delivery SET since=?2 WHERE uid=?1",
    [SQL_BATCH_CLAIM] =
        "UPDATE delivery SET due=?2,leased=?2,token=token+1 WHERE batch=?1",
    [SQL_BATCH_ATTEMPT] = "UPDATE integration_directory"
        " SET attempts=coalesce(attempts,0)+1"
        " WHERE id IN (SELECT id FROM delivery WHERE batch=?1)",
    [SQL_BATCH_LET_GO] = "DELETE FROM delivery WHERE batch=?1 AND held=1",
    [SQL_DELIVERY_MOVE] = "UPDATE delivery SET due=?2,leased=0 WHERE uid=?1",
    [SQL_DELIVERY_DELETE] = "DELETE FROM delivery WHERE uid=?1",
    [SQL_LOG_ATTEMPT] = "UPDATE integration_directory"
        " SET attempts=coalesce(attempts,0)+?2 WHERE id=?1",
    [SQL_LOG_UPDATE] = "UPDATE integration_directory SET status=?2,http=?3,"
        "error=?4,dur=?5,attempts=?6,flags=?7,expires=?8 WHERE id=?1",
    [SQL_DETAIL_PUT] = "INSERT OR REPLACE INTO detail VALUES(?1,?2)",
    [SQL_BODY_PUT] = "INSERT OR REPLACE INTO body VALUES(?1,?2)",
    [SQL_LOG_ROW] = "SELECT " SQLITE_ROW_COLUMNS
        " FROM integration_directory d JOIN detail t ON t.id=d.id"
        " WHERE d.uid=?1",
    [SQL_LOG_BODY] = "SELECT data FROM body WHERE id=?1",
    [SQL_READ_BEGIN] = "BEGIN",
    [SQL_READ_END] = "COMMIT",
    [SQL_ATTEMPT_INSERT] = "INSERT INTO integration_retry_log"
        " VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15)"
        " ON CONFLICT DO NOTHING",
};


static int
schema_number(struct sqlite_conn *c, const char *pragma, int *out)
{
    sqlite3_stmt  *st;
    int            rc;

    rc = sqlite3_prepare_v2(c->db, pragma, -1, &st, NULL);
    if (rc != SQLITE_OK) {
        return rc;
    }

    rc = sqlite3_step(st);
    if (rc == SQLITE_ROW) {
        *out = sqlite3_column_int(st, 0);
        rc = SQLITE_OK;
    }

    sqlite3_finalize(st);
    return rc;
}


static int
schema_documents(struct sqlite_conn *c)
{
    const char  *t;
    char         sql[1024];
    int          rc = SQLITE_OK;

    for (int i = 0; i < STORE_COLL_COUNT && rc == SQLITE_OK; i++) {
        t = store_coll_name((enum store_coll) i);
        snprintf(sql, sizeof(sql),
            "CREATE TABLE %s(id BLOB NOT NULL PRIMARY KEY,"
            " version INT NOT NULL, org INT, created INT NOT NULL,"
            " updated INT NOT NULL, expires INT, body BLOB NOT NULL) STRICT;"
            "CREATE INDEX %s_org ON %s(org, id) WHERE org NOT NULL;"
            "CREATE INDEX %s_expires ON %s(expires) WHERE expires NOT NULL;",
            t, t, t, t, t);
        rc = sqlite3_exec(c->db, sql, NULL, NULL, NULL);
    }

    return rc;
}


/* What makes the schema of version i + 2 of the one before. */
static const char *const  schema_steps[STORE_SCHEMA - 1] = {
    /* 2: lanes and batches; what was open stood in none */
    "ALTER TABLE delivery RENAME TO delivery_before;"
    "DROP INDEX delivery_due;"
    SCHEMA_DELIVERY
    "INSERT INTO delivery SELECT uid, id, due, priority, token, leased, due,"
    " NULL, 0, 0, NULL, 0 FROM delivery_before;"
    "DROP TABLE delivery_before;",
    /* 3: the same index, cheaper to keep */
    "DROP INDEX dir_trouble;" SCHEMA_TROUBLE,
    /* 4: what filters inside a lab ask */
    "DROP INDEX dir_lab;" SCHEMA_LAB
};


/* Step by step, in the transaction of the one who found it old. */
static int
schema_migrate(struct sqlite_conn *c, int *version)
{
    char  sql[64];
    int   rc = SQLITE_OK;

    while (rc == SQLITE_OK && *version < STORE_SCHEMA) {
        rc = sqlite3_exec(c->db, schema_steps[*version - 1], NULL, NULL, NULL);
        (*version)++;
    }

    if (rc == SQLITE_OK) {
        (void) snprintf(sql, sizeof(sql), "PRAGMA user_version=%d", *version);
        rc = sqlite3_exec(c->db, sql, NULL, NULL, NULL);
    }

    return rc;
}


static int
schema_create(struct sqlite_conn *c)
{
    static const char *const  parts[] = {
        schema_logs, schema_heatmap, schema_audit
    };
    char  sql[128];
    int   rc;

    rc = schema_documents(c);

    for (size_t i = 0; i < 3 && rc == SQLITE_OK; i++) {
        rc = sqlite3_exec(c->db, parts[i], NULL, NULL, NULL);
    }

    if (rc == SQLITE_OK) {
        snprintf(sql, sizeof(sql), "PRAGMA application_id=%d;"
            "PRAGMA user_version=%d", SCHEMA_APPLICATION, STORE_SCHEMA);
        rc = sqlite3_exec(c->db, sql, NULL, NULL, NULL);
    }

    return rc;
}


/* In a transaction: two processes may find the same empty file. */
static int
schema_enter(struct sqlite_conn *c, bool create, int *version, int *app,
    int *objects)
{
    int  rc;

    rc = sqlite3_exec(c->db, create ? "BEGIN IMMEDIATE" : "SAVEPOINT look",
        NULL, NULL, NULL);

    if (rc == SQLITE_OK) {
        rc = schema_number(c, "PRAGMA user_version", version);
    }

    if (rc == SQLITE_OK) {
        rc = schema_number(c, "PRAGMA application_id", app);
    }

    if (rc == SQLITE_OK) {
        rc = schema_number(c, "SELECT count(*) FROM sqlite_schema", objects);
    }

    if (rc == SQLITE_OK && create && *objects == 0) {
        rc = schema_create(c);
        *version = STORE_SCHEMA;
        *app = SCHEMA_APPLICATION;

    } else if (rc == SQLITE_OK && create && *app == SCHEMA_APPLICATION
               && *version >= 1 && *version < STORE_SCHEMA)
    {
        rc = schema_migrate(c, version);
    }

    if (rc == SQLITE_OK) {
        rc = sqlite3_exec(c->db, create ? "COMMIT" : "RELEASE look", NULL,
            NULL, NULL);
    }

    if (rc != SQLITE_OK && create) {
        (void) sqlite3_exec(c->db, "ROLLBACK", NULL, NULL, NULL);
    }

    return rc;
}


enum result
sqlite_schema_check(struct sqlite_conn *c, bool create, char *err,
    size_t errlen)
{
    const char  *path = c->store->path;
    int          version = 0, app = 0, objects = 0, rc;
    char         why[256];

    rc = schema_enter(c, create, &version, &app, &objects);

    if (rc != SQLITE_OK) {
        snprintf(why, sizeof(why), "%s", sqlite3_errmsg(c->db));
        snprintf(err, errlen, "store: %s: schema: %s", path, why);
        return sqlite_result(c, rc, "schema");
    }

    if (app != SCHEMA_APPLICATION) {
        snprintf(err, errlen, "store: %s: is not a file of integrationd: "
            "point `store` at a path of its own", path);
        return RESULT_INVALID;
    }

    if (version != STORE_SCHEMA) {
        snprintf(err, errlen, "store: %s: has schema %d, this integrationd "
            "knows %d: %s", path, version, STORE_SCHEMA,
            version > STORE_SCHEMA ? "use a newer integrationd"
                                   : "run integrationd migrate");
        return RESULT_INVALID;
    }

    return RESULT_OK;
}
