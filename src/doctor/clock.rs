//! Whether two clocks agree. The machine's own clock is read here and nowhere else: it is what is compared.

use chrono::{DateTime, TimeDelta, Utc};

use super::Finding;
use crate::{config::duration, db::Db};

/// Clocks that differ by less agree: an HTTP date has whole seconds, and answers take time.
const TOLERATED: TimeDelta = TimeDelta::seconds(30);

/// The machine's clock.
#[expect(
    clippy::disallowed_methods,
    reason = "the machine's own clock is what is compared here"
)]
pub(super) fn machine() -> DateTime<Utc> {
    Utc::now()
}

/// Compares a clock that was read some time between two looks at the machine's.
pub(super) fn compare(
    check: &str,
    whose: &str,
    read: DateTime<Utc>,
    before: DateTime<Utc>,
    after: DateTime<Utc>,
) -> Finding {
    let (distance, side) = if read > after {
        (read - after, "ahead of")
    } else if read < before {
        (before - read, "behind")
    } else {
        (TimeDelta::zero(), "at")
    };
    if distance <= TOLERATED {
        return Finding::ok(check, format!("{whose} clock agrees with this machine's"));
    }
    Finding::warn(
        check,
        format!("{whose} clock is {} {side} this machine's", words(distance)),
        "set both clocks by NTP: windows of a scan and waits are reckoned on them",
    )
}

/// A distance in words; `None`: it is none to speak of.
pub(super) fn apart(one: DateTime<Utc>, other: DateTime<Utc>) -> Option<String> {
    let distance = (one - other).abs();
    (distance > TOLERATED).then(|| {
        let side = if one > other { "ahead of" } else { "behind" };
        format!("{} {side}", words(distance))
    })
}

fn words(distance: TimeDelta) -> String {
    duration::format(std::time::Duration::from_secs(distance.num_seconds().unsigned_abs()))
}

/// Compares the clock that all processes share with the machine's.
pub(super) async fn of_database(db: &Db) -> Finding {
    let before = machine();
    match db.now().await {
        Ok(read) => compare("clock", "the database's", read, before, machine()),
        Err(error) => Finding::fail("clock", error.to_string(), "see the check `database`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn a_clock_warns_from_30_seconds_on_in_either_direction() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();
        for (read, level, says) in [
            (1_000, Level::Ok, "agrees"),
            (1_005, Level::Ok, "agrees"),
            (1_040, Level::Ok, "agrees"),
            (1_041, Level::Warn, "31s ahead of"),
            (970, Level::Ok, "agrees"),
            (910, Level::Warn, "1m30s behind"),
        ] {
            // The look took ten seconds: anywhere in them is no difference.
            let finding = compare("x", "its", at(read), at(1_000), at(1_010));
            assert_eq!(finding.level, level, "{finding:?}");
            assert!(finding.found.contains(says), "{finding:?}");
        }
    }
}
