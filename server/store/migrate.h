/* migrate.h: brings a database to the binary's schema, one step after the other.
 * Room: server/store, private to it and its tests. May use: base, SQLite.
 * Threads: the opening thread, before anything else is started. */
#ifndef QD_STORE_MIGRATE_H
#define QD_STORE_MIGRATE_H

#include "store/sql.h"

/* One step; `version` is the user_version it leads to. */
typedef struct qd_migration {
    int version;
    const char *name;
    const char *sql;
} qd_migration;

/* The tree's steps (schema/sql), ascending. */
extern const qd_migration qd_migrations[];
extern const size_t qd_migration_count;

/* The schema version of a database; 0 = it has none. QD_ECONFLICT for one above `newest`. */
qd_code qd_migrate_version(qd_connection *c, const char *path, int newest, int *out, qd_error *err);
/* Runs the steps above the database's user_version, each in a transaction of its own with its new version. Before the
 * first step on a database that holds something, a copy is made beside it: PATH.backup-vN. QD_ECONFLICT for a
 * database newer than the last step. */
qd_code qd_migrate(qd_connection *c, const char *path, const qd_migration *steps, size_t count, qd_error *err);
/* QD_ECONFLICT unless the database is at the last step already. */
qd_code qd_migrate_check(qd_connection *c, const char *path, const qd_migration *steps, size_t count, qd_error *err);

#endif
