//! What a process does for the fleet.

/// What a process does for the fleet, as its row in `workers` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Role {
    /// Everything: it serves queues and fires what is due by the clock.
    #[default]
    Run,
    /// It serves queues.
    Worker,
    /// It fires what is due by the clock.
    Scheduler,
    /// It answers questions.
    Api,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Run, Self::Worker, Self::Scheduler, Self::Api];

    /// Its name in rows: stored data, never renamed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Worker => "worker",
            Self::Scheduler => "scheduler",
            Self::Api => "api",
        }
    }

    /// Whether somebody of this role fires what is due by the clock.
    pub fn fires_crons(self) -> bool {
        matches!(self, Self::Run | Self::Scheduler)
    }

    /// The role of a row. Versions before there were roles wrote none: they did everything.
    pub fn of(stored: Option<&str>) -> Option<Self> {
        match stored {
            None => Some(Self::Run),
            Some(name) => Self::ALL.into_iter().find(|role| role.as_str() == name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_its_role_and_one_of_an_older_version_did_everything() {
        for role in Role::ALL {
            assert_eq!(Role::of(Some(role.as_str())), Some(role));
        }
        assert_eq!(Role::of(None), Some(Role::Run));
        assert_eq!(Role::of(Some("of a later version")), None);
    }
}
