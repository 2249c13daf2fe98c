//! The one clock that all processes share: the database's.
//!
//! Every statement that compares with "now" takes it as a parameter read by `NOW` in its own transaction. Test builds
//! (feature `fault-points`) can move it for every process on the database at once.

use chrono::{DateTime, Utc};

use super::{Db, DbError, Row, Sql};

/// The clock as an expression of SQLite, for statements that read it on the way.
#[cfg(not(feature = "fault-points"))]
macro_rules! sqlite_now {
    () => {
        "CAST(unixepoch('subsec') * 1000 AS INTEGER) * 1000"
    };
}

/// The clock as an expression of PostgreSQL.
#[cfg(not(feature = "fault-points"))]
macro_rules! postgres_now {
    () => {
        "clock_timestamp()"
    };
}

/// The clock, moved by what the test asked for.
#[cfg(feature = "fault-points")]
macro_rules! sqlite_now {
    () => {
        "CAST(unixepoch('subsec') * 1000 AS INTEGER) * 1000 + (SELECT offset_us FROM test_clock)"
    };
}

/// The clock, moved by what the test asked for.
#[cfg(feature = "fault-points")]
macro_rules! postgres_now {
    () => {
        "clock_timestamp() + (SELECT make_interval(secs => offset_us / 1e6) FROM test_clock)"
    };
}

pub(crate) use {postgres_now, sqlite_now};

/// Reads the clock.
pub(crate) const NOW: Sql = Sql::each(
    concat!("-- now\nSELECT ", sqlite_now!(), " AS now"),
    concat!("-- now\nSELECT ", postgres_now!(), " AS now"),
);

pub(super) fn read(row: Option<Row>) -> Result<DateTime<Utc>, DbError> {
    row.ok_or_else(|| DbError::other("the database's clock gave no row"))?
        .get("now")
}

#[cfg(not(feature = "fault-points"))]
#[expect(clippy::unused_async, reason = "test builds make the clock's table here")]
pub(super) async fn prepare(_: &Db) -> Result<(), DbError> {
    Ok(())
}

#[cfg(feature = "fault-points")]
pub(super) async fn prepare(db: &Db) -> Result<(), DbError> {
    let mut tx = db.begin().await?;
    // PostgreSQL looks whether the table is there before it makes it: two that open a new database at once would both make it.
    tx.fetch_all(
        Sql::each(
            "SELECT 1",
            "SELECT pg_advisory_xact_lock(hashtextextended('test_clock', 0))",
        ),
        &[],
    )
    .await?;
    tx.execute("CREATE TABLE IF NOT EXISTS test_clock (offset_us BIGINT NOT NULL)", &[])
        .await?;
    tx.execute(
        "INSERT INTO test_clock (offset_us) SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM test_clock)",
        &[],
    )
    .await?;
    note_by_it(&mut tx).await?;
    tx.commit().await
}

/// What triggers note is dated by this clock as well.
#[cfg(feature = "fault-points")]
async fn note_by_it(tx: &mut super::Tx) -> Result<(), DbError> {
    const IS_TO_DO: Sql = Sql::each(
        "SELECT 1 FROM sqlite_master WHERE name = 'queue_clock' AND sql NOT LIKE '%test_clock%'",
        "SELECT 1 FROM pg_proc WHERE oid = to_regprocedure('aftercall_now()') AND prosrc NOT LIKE '%test_clock%'",
    );
    const TAKE_AWAY: Sql = Sql::each("DROP VIEW queue_clock", "SELECT 1");
    const MAKE: Sql = Sql::each(
        concat!("CREATE VIEW queue_clock AS SELECT ", sqlite_now!(), " AS now"),
        concat!(
            "CREATE OR REPLACE FUNCTION aftercall_now() RETURNS timestamptz LANGUAGE sql VOLATILE AS 'SELECT ",
            postgres_now!(),
            "'"
        ),
    );
    if tx.fetch_optional(IS_TO_DO, &[]).await?.is_some() {
        tx.execute(TAKE_AWAY, &[]).await?;
        tx.execute(MAKE, &[]).await?;
    }
    Ok(())
}

#[cfg(feature = "fault-points")]
impl Db {
    /// Moves the clock of every process on this database forward.
    ///
    /// # Errors
    /// When the database cannot be written.
    ///
    /// # Panics
    /// When the step is longer than 292,000 years.
    pub async fn advance_clock(&self, by: std::time::Duration) -> Result<(), DbError> {
        let micros = i64::try_from(by.as_micros()).expect("a test moves the clock by less than 292,000 years");
        let mut tx = self.begin().await?;
        tx.execute(
            "UPDATE test_clock SET offset_us = offset_us + $1",
            &crate::params![micros],
        )
        .await?;
        tx.commit().await?;
        self.wake();
        Ok(())
    }
}
