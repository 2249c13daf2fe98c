//! The machine's own clock. Nothing is reckoned by it: it is told with each sign of life, so that people see when it is wrong.

use chrono::{DateTime, Utc};

#[expect(
    clippy::disallowed_methods,
    reason = "the machine's own clock is what is told here, to be compared"
)]
pub(super) fn clock() -> DateTime<Utc> {
    Utc::now()
}
