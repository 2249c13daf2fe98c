//! The database: there, sound, up to date and writable.

use std::time::Duration;

use super::{Depth, Finding, Look, bloat, bounded, clock, counters, disk, server, work};
use crate::{
    config::{Config, duration},
    db::{Db, DbErrorKind, Location, applied_version, condition, latest_version, may_work_beside},
};

const CHECK: &str = "database";
/// A write that waits longer for its turn is worth a word.
const LOCK_WAIT: Duration = Duration::from_secs(2);

/// Everything that is read from the database and its folder.
pub(super) fn looks(config: &Config, depth: Depth, timeout: Duration) -> Vec<Look<'_>> {
    let location = config.database.location();
    let Location::Sqlite { path, .. } = location.clone() else {
        return vec![bounded(CHECK, timeout, async move {
            on_server(config, &location, depth).await
        })];
    };
    if !path.exists() {
        let found = format!("there is no database {} yet", path.display());
        let absent = Finding::warn(CHECK, found, "`aftercall run` makes one, as does `aftercall migrate`");
        return vec![
            Box::pin(async move { vec![absent] }),
            bounded("disk", timeout, disk::look(path)),
        ];
    }
    vec![
        bounded(CHECK, timeout, {
            let location = location.clone();
            async move { opened(config, &location, depth, timeout).await }
        }),
        bounded("disk", timeout, disk::look(path)),
    ]
}

async fn opened(config: &Config, location: &Location, depth: Depth, timeout: Duration) -> Vec<Finding> {
    let db = match Db::open_as_is(location).await {
        Ok(db) => db,
        Err(error) => {
            let advice = match error.kind {
                DbErrorKind::Damaged => "restore a backup, or choose another file with `database.path` or --db",
                DbErrorKind::Busy => "another process holds it: try again",
                _ => "look at the file's and its folder's owner and mode",
            };
            return vec![Finding::fail(CHECK, error.to_string(), advice)];
        }
    };
    let mut findings = vec![schema(&db).await];
    // An older schema may lack what the next questions ask for.
    let current = findings.iter().all(|finding| finding.level == super::Level::Ok);
    let (sound, journal, lock) = tokio::join!(soundness(&db, timeout / 2), journal(&db), lock(&db));
    findings.extend([sound, journal, lock]);
    if current {
        findings.push(clock::of_database(&db).await);
        findings.extend(bloat::look(&db).await);
        findings.extend(work::look(config, &db).await);
        findings.extend(counters::look(&db, depth).await);
    }
    findings
}

async fn on_server(config: &Config, location: &Location, depth: Depth) -> Vec<Finding> {
    let db = match Db::open_as_is(location).await {
        Ok(db) => db,
        Err(error) => return vec![Finding::fail(CHECK, error.to_string(), "look at `database.url`")],
    };
    let mut findings = server::look(&db, location).await;
    if findings.iter().any(|finding| finding.level == super::Level::Fail) {
        return findings;
    }
    let schema = schema(&db).await;
    // An older schema may lack what the next questions ask for.
    let current = schema.level == super::Level::Ok;
    findings.push(schema);
    if current {
        findings.push(clock::of_database(&db).await);
        findings.extend(bloat::look(&db).await);
        findings.extend(work::look(config, &db).await);
        findings.extend(counters::look(&db, depth).await);
    }
    findings
}

async fn schema(db: &Db) -> Finding {
    let latest = latest_version();
    match applied_version(db).await {
        Ok(applied) if applied == latest => Finding::ok(CHECK, format!("opens; its schema is up to date ({latest})")),
        Ok(applied) if applied > latest && may_work_beside(db).await => Finding::warn(
            CHECK,
            format!("its schema {applied} is of a newer aftercall, which this one ({latest}) may work beside"),
            "bring this aftercall up to date as well",
        ),
        Ok(applied) if applied > latest => Finding::fail(
            CHECK,
            format!("its schema {applied} is newer than this aftercall knows ({latest})"),
            "run the newer aftercall, or choose another database with --db",
        ),
        Ok(applied) => Finding::warn(
            CHECK,
            format!("its schema is {applied}, this aftercall's {latest}"),
            "`aftercall migrate` brings it up to date, as does `aftercall run`; back it up before",
        ),
        Err(error) if error.kind == DbErrorKind::Damaged => Finding::fail(
            CHECK,
            error.to_string(),
            "restore a backup, or choose another file with `database.path` or --db",
        ),
        Err(error) => Finding::fail(
            CHECK,
            format!("it has no schema of aftercall: {error}"),
            "`aftercall migrate` makes it; if the database is somebody else's, choose another with --db",
        ),
    }
}

async fn soundness(db: &Db, timeout: Duration) -> Finding {
    const RESTORE: &str = "stop aftercall, keep a copy of the file, and restore a backup";
    match tokio::time::timeout(timeout, condition::first_damage(db)).await {
        Ok(Ok(None)) => Finding::ok(CHECK, "its pages are sound (quick_check)"),
        Ok(Ok(Some(damage))) => Finding::fail(CHECK, format!("it is damaged: {damage}"), RESTORE),
        Ok(Err(error)) => Finding::fail(CHECK, format!("its pages cannot be checked: {error}"), RESTORE),
        // A large file never is read through in this time: that is nothing to be warned of each time.
        Err(_) => Finding::ok(
            CHECK,
            format!(
                "no damage was found within {}; a longer --timeout looks at more of its pages",
                duration::format(timeout)
            ),
        ),
    }
}

async fn journal(db: &Db) -> Finding {
    match condition::journal_mode(db).await {
        Ok(mode) if mode == "wal" => Finding::ok(CHECK, "journal mode wal"),
        Ok(mode) => Finding::warn(
            CHECK,
            format!("journal mode {mode}: readers and the writer block each other"),
            "`aftercall run` sets it to wal, unless the file is on a network file system: move it to a local disk",
        ),
        Err(error) => Finding::fail(CHECK, error.to_string(), "see the first line of this check"),
    }
}

async fn lock(db: &Db) -> Finding {
    match tokio::time::timeout(LOCK_WAIT, condition::take_write_lock(db)).await {
        Ok(Ok(())) => Finding::ok(CHECK, "can be written"),
        Ok(Err(error)) if error.kind != DbErrorKind::Busy => Finding::fail(
            CHECK,
            format!("cannot be written: {error}"),
            "give this user the file and its folder to write, or choose another with --db",
        ),
        Ok(Err(_)) | Err(_) => Finding::warn(
            CHECK,
            format!(
                "another process has held its write lock for {}",
                duration::format(LOCK_WAIT)
            ),
            "if it stays so, look for a program beside aftercall that has the file open",
        ),
    }
}
