//! In which condition a database is, for people. Changes nothing.

use chrono::{DateTime, Utc};

use super::{Db, DbError, Sql};
use crate::params;

/// How an embedded database keeps its journal: `wal`, unless somebody changed it.
///
/// # Errors
/// When the database cannot answer.
pub async fn journal_mode(db: &Db) -> Result<String, DbError> {
    let sql = Sql::each("PRAGMA journal_mode", "-- journal_mode\nSELECT 'wal' AS journal_mode");
    db.fetch_optional(sql, &[])
        .await?
        .ok_or_else(|| DbError::other("PRAGMA journal_mode gave no row"))?
        .get("journal_mode")
}

/// The first thing that is wrong with the pages of an embedded database. Reads all of it.
///
/// # Errors
/// When the database cannot answer, because it is damaged or for another reason.
pub async fn first_damage(db: &Db) -> Result<Option<String>, DbError> {
    let sql = Sql::each("PRAGMA quick_check(1)", "-- quick_check\nSELECT 'ok' AS quick_check");
    let said: String = db
        .fetch_optional(sql, &[])
        .await?
        .ok_or_else(|| DbError::other("PRAGMA quick_check gave no row"))?
        .get("quick_check")?;
    Ok((said != "ok").then_some(said))
}

/// Takes the write lock and gives it back: nothing is written.
///
/// # Errors
/// When the file cannot be written, or another process holds the lock for too long.
pub async fn take_write_lock(db: &Db) -> Result<(), DbError> {
    drop(db.begin().await?);
    Ok(())
}

/// A PostgreSQL server as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// `15.18 (Debian …)`.
    pub version: String,
    /// The same as a number: 150018.
    pub version_num: u32,
    /// Sessions on it, and how many there may be.
    pub sessions: (u32, u32),
    /// It only answers questions: a standby, or made read-only.
    pub read_only: bool,
    /// Whether our role may write the tables of the queue.
    pub may_write: bool,
    /// Whether our role sees what the sessions of other roles do.
    pub sees_all: bool,
}

/// The server.
///
/// # Errors
/// When it cannot answer.
pub async fn server(db: &Db) -> Result<Server, DbError> {
    let row = db
        .fetch_optional(
            "-- server
             SELECT current_setting('server_version') AS version, current_setting('server_version_num')::bigint AS version_num,
                    (SELECT count(*) FROM pg_stat_activity) AS sessions, current_setting('max_connections')::bigint AS most,
                    pg_is_in_recovery() OR current_setting('default_transaction_read_only')::boolean AS read_only,
                    to_regclass('jobs') IS NULL OR (has_table_privilege(to_regclass('jobs'), 'INSERT')
                        AND has_table_privilege(to_regclass('jobs'), 'UPDATE') AND has_table_privilege(to_regclass('jobs'), 'DELETE')) AS may_write,
                    pg_has_role('pg_read_all_stats', 'USAGE') AS sees_all",
            &[],
        )
        .await?
        .ok_or_else(|| DbError::other("statement `server` gave no row"))?;
    Ok(Server {
        version: row.get("version")?,
        version_num: row.get("version_num")?,
        sessions: (row.get("sessions")?, row.get("most")?),
        read_only: row.get("read_only")?,
        may_write: row.get("may_write")?,
        sees_all: row.get("sees_all")?,
    })
}

/// A session whose transaction has been open for long: as long as it is, what the queue's rows were before cannot be cleaned
/// away, and every claim walks past it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenTransaction {
    /// For `pg_terminate_backend`.
    pub pid: u32,
    /// Whose.
    pub user: String,
    /// What it calls itself.
    pub application: String,
    /// `active`, `idle in transaction` …
    pub state: String,
    /// For how long, in seconds.
    pub seconds: u64,
}

/// Transactions that have been open for longer than so many seconds, the oldest first, of those sessions that our role sees.
///
/// # Errors
/// When the server cannot answer.
pub async fn open_transactions(db: &Db, seconds: u32) -> Result<Vec<OpenTransaction>, DbError> {
    db.fetch_all(
        "-- open_transactions
         SELECT pid, COALESCE(usename, '') AS usename, COALESCE(application_name, '') AS application_name,
                COALESCE(state, '') AS state,
                extract(epoch FROM clock_timestamp() - xact_start)::bigint AS seconds
         FROM pg_stat_activity
         WHERE xact_start < clock_timestamp() - $1 * interval '1 second' AND pid <> pg_backend_pid()
            AND backend_type = 'client backend' AND (datname = current_database() OR backend_xmin IS NOT NULL)
         ORDER BY xact_start LIMIT 10",
        &params![seconds],
    )
    .await?
    .iter()
    .map(|row| {
        Ok(OpenTransaction {
            pid: row.get("pid")?,
            user: row.get("usename")?,
            application: row.get("application_name")?,
            state: row.get("state")?,
            seconds: row.get("seconds")?,
        })
    })
    .collect()
}

/// How much a database takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Space {
    /// On its disk.
    pub bytes: u64,
    /// Of that, pages of an embedded database that hold nothing.
    pub free_bytes: Option<u64>,
    /// The tables of a server that change most.
    pub tables: Vec<TableRows>,
}

/// What a server knows of a table's rows. Estimates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableRows {
    /// Its name.
    pub table: String,
    /// Rows.
    pub live: u64,
    /// Rows that are gone or were changed, and not cleaned away yet.
    pub dead: u64,
    /// When it was cleaned last by the server itself.
    pub last_autovacuum: Option<DateTime<Utc>>,
}

/// How much the database takes.
///
/// # Errors
/// When it cannot answer.
pub async fn space(db: &Db) -> Result<Space, DbError> {
    const SIZE: Sql = Sql::each(
        "-- size_of_database
         SELECT page_count * page_size AS bytes, freelist_count * page_size AS free_bytes
         FROM pragma_page_count(), pragma_page_size(), pragma_freelist_count()",
        "-- size_of_database\nSELECT pg_database_size(current_database()) AS bytes, CAST(NULL AS bigint) AS free_bytes",
    );
    let size = db
        .fetch_optional(SIZE, &[])
        .await?
        .ok_or_else(|| DbError::other("statement `size_of_database` gave no row"))?;
    Ok(Space {
        bytes: size.get("bytes")?,
        free_bytes: size.get("free_bytes")?,
        tables: if db.is_server() { tables(db).await? } else { Vec::new() },
    })
}

async fn tables(db: &Db) -> Result<Vec<TableRows>, DbError> {
    db.fetch_all(
        "-- rows_of_tables
         SELECT relname::text AS name, n_live_tup AS live, n_dead_tup AS dead, last_autovacuum
         FROM pg_stat_user_tables
         WHERE relid IN (to_regclass('jobs'), to_regclass('job_attempts'), to_regclass('rate_starts'), to_regclass('sessions'))
         ORDER BY relname",
        &[],
    )
    .await?
    .iter()
    .map(|row| {
        Ok(TableRows {
            table: row.get("name")?,
            live: row.get("live")?,
            dead: row.get("dead")?,
            last_autovacuum: row.get("last_autovacuum")?,
        })
    })
    .collect()
}

/// What our role may do in the schema of our tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Privileges {
    /// The role.
    pub role: String,
    /// The schema.
    pub schema: String,
    /// Tables in it that are ours.
    pub tables: u32,
    /// What it may not do: `jobs: DELETE`.
    pub lacks: Vec<String>,
    /// Whether it may change the schema, as a migration does.
    pub may_migrate: bool,
}

/// What our role may do on a server; `None`: our tables are not there.
///
/// # Errors
/// When the server cannot answer.
pub async fn privileges(db: &Db) -> Result<Option<Privileges>, DbError> {
    let row = db
        .fetch_optional(
            "-- privileges
             WITH ours AS (
                 SELECT c.oid, c.relname, n.nspname, n.oid AS schema_oid, c.relowner
                 FROM pg_class jobs JOIN pg_class c ON c.relnamespace = jobs.relnamespace AND c.relowner = jobs.relowner
                 JOIN pg_namespace n ON n.oid = c.relnamespace
                 WHERE jobs.oid = to_regclass('jobs') AND c.relkind = 'r')
             SELECT current_user::text AS role, min(nspname)::text AS schema, count(*) AS tables,
                    bool_and(pg_has_role(relowner, 'USAGE')) AND bool_and(has_schema_privilege(schema_oid, 'CREATE')) AS may_migrate,
                    (SELECT COALESCE(jsonb_agg(lacking.what ORDER BY lacking.what), '[]') FROM (
                        SELECT relname || ': ' || string_agg(privilege, ', ' ORDER BY privilege) AS what
                        FROM ours CROSS JOIN (VALUES ('SELECT'), ('INSERT'), ('UPDATE'), ('DELETE')) AS needed (privilege)
                        WHERE NOT has_table_privilege(oid, privilege) GROUP BY relname) AS lacking) AS lacks
             FROM ours HAVING count(*) > 0",
            &[],
        )
        .await?;
    row.map(|row| {
        let lacks: serde_json::Value = row.get("lacks")?;
        Ok(Privileges {
            role: row.get("role")?,
            schema: row.get("schema")?,
            tables: row.get("tables")?,
            lacks: serde_json::from_value(lacks).map_err(|error| row.bad_json("lacks", &error))?,
            may_migrate: row.get("may_migrate")?,
        })
    })
    .transpose()
}

/// What else than an open transaction keeps a server from cleaning up, in words with what ends it: replication slots that nobody
/// reads, and transactions that were prepared and left.
///
/// # Errors
/// When the server cannot answer.
pub async fn forgotten(db: &Db) -> Result<Vec<(String, String)>, DbError> {
    db.fetch_all(
        "-- forgotten_holders
         SELECT 'the replication slot ' || slot_name || ' holds rows for a standby that is not there' AS what,
                'SELECT pg_drop_replication_slot(' || quote_literal(slot_name) || ')' AS cure
         FROM pg_replication_slots WHERE xmin IS NOT NULL AND NOT active
         UNION ALL
         SELECT 'the transaction ' || quote_literal(gid) || ' of ' || owner || ' was prepared at ' || prepared::text || ' and left',
                'ROLLBACK PREPARED ' || quote_literal(gid)
         FROM pg_prepared_xacts WHERE database = current_database() AND prepared < clock_timestamp() - interval '1 minute'
         ORDER BY 1",
        &[],
    )
    .await?
    .iter()
    .map(|row| Ok((row.get("what")?, row.get("cure")?)))
    .collect()
}
