//! Scripted trouble: what goes wrong, where, and for how long.

use chrono::{DateTime, Utc};

use super::route::Endpoint;

/// What a request gets instead of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// 429 with these seconds in `Retry-After`, in the shape of the newer releases.
    RateLimited(u32),
    /// The same as older releases of v3 say it: plain text.
    RateLimitedPlain(u32),
    /// This status in the server's usual shape: 422, 500, 503, …
    Status(u16),
    /// This status with a page for people, as something in front of the server answers.
    Html(u16),
    /// The right answer, which breaks off in the middle with the connection.
    CutBody,
    /// The right answer with half of its JSON, as if it were whole.
    CutJson,
    /// No answer until the server stops or the client gives up.
    Hang,
}

/// For how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// The next so many requests.
    Next(u32),
    /// Every request from the first instant on and before the second, on the server's clock.
    Between(DateTime<Utc>, DateTime<Utc>),
    /// Until [`super::FakeLangfuse::heal`].
    Always,
}

#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Scripted>);

#[derive(Debug)]
struct Scripted {
    fault: Fault,
    when: When,
    endpoint: Option<Endpoint>,
}

impl Fault {
    /// Comes after the keys were looked at, and never for what is exempt from rate limits.
    pub(super) fn is_rate_limit(self) -> bool {
        matches!(self, Self::RateLimited(_) | Self::RateLimitedPlain(_))
    }
}

impl Faults {
    pub(super) fn script(&mut self, fault: Fault, when: When, endpoint: Option<Endpoint>) {
        self.0.push(Scripted { fault, when, endpoint });
    }

    pub(super) fn heal(&mut self) {
        self.0.clear();
    }

    /// The fault that this request meets, if any. The one that was scripted first goes first.
    pub(super) fn meet(&mut self, endpoint: Endpoint, now: DateTime<Utc>) -> Option<Fault> {
        let exempt = matches!(endpoint, Endpoint::Health | Endpoint::Projects);
        let due = self.0.iter_mut().find(|scripted| {
            let here = scripted.endpoint.is_none_or(|only| only == endpoint);
            let now = match scripted.when {
                When::Next(left) => left > 0,
                When::Between(from, to) => from <= now && now < to,
                When::Always => true,
            };
            here && now && !(exempt && scripted.fault.is_rate_limit())
        })?;
        if let When::Next(left) = &mut due.when {
            *left -= 1;
        }
        Some(due.fault)
    }
}
