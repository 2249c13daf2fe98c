//! What kind of error a tool gave, from its words: it decides who has to act.

use super::FaultOwner;

/// A kind of error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ErrorClass {
    /// What was offered was gone by the time it was taken.
    Taken,
    /// The way to the system broke: 5xx, time-outs, connections.
    Unreachable,
    /// Refused because of its arguments.
    Arguments,
    /// Anything else.
    Other,
}

const TAKEN: [&str; 12] = [
    "no longer available",
    "already booked",
    "already taken",
    "already been taken",
    "slot taken",
    "slot is taken",
    "specified time slot",
    "double book",
    "double-book",
    "overlap",
    "sold out",
    "not enough seats",
];
const UNREACHABLE: [&str; 16] = [
    "http 5",
    "status 5",
    "http/5",
    "500",
    "502",
    "503",
    "504",
    "internal server error",
    "bad gateway",
    "gateway",
    "timeout",
    "timed out",
    "time-out",
    "econn",
    "connection",
    "unavailable",
];
const ARGUMENTS: [&str; 12] = [
    "invalid",
    "missing",
    "required",
    "malformed",
    "not found",
    "does not exist",
    "bad request",
    "must be",
    "unknown",
    "not match",
    "http 4",
    "cannot be empty",
];

impl ErrorClass {
    /// Reads a tool's words. The order matters: "slot is no longer available" is no outage.
    pub(super) fn of(error: &str) -> Self {
        let error = error.to_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| error.contains(word));
        if says(&TAKEN) {
            Self::Taken
        } else if says(&UNREACHABLE) {
            Self::Unreachable
        } else if says(&ARGUMENTS) {
            Self::Arguments
        } else {
            Self::Other
        }
    }

    pub(super) fn failure(self) -> &'static str {
        match self {
            Self::Taken => "slot_taken",
            Self::Unreachable | Self::Arguments | Self::Other => "tool_failed",
        }
    }

    pub(super) fn owner(self) -> FaultOwner {
        match self {
            Self::Unreachable => FaultOwner::Environment,
            Self::Taken | Self::Arguments | Self::Other => FaultOwner::Tool,
        }
    }

    pub(super) fn suggestion(self) -> &'static str {
        match self {
            Self::Taken => {
                "Check that the offer still stands just before it is taken, shorten the time for which offers are cached, and offer another one when it is gone."
            }
            Self::Unreachable => {
                "Look at the way between the tool and the system of record at that time; repeat calls that may be repeated, and let the tool say when the outcome is not known."
            }
            Self::Arguments => {
                "Check the call's arguments before it is sent, and let the tool's answer name the one that is wrong."
            }
            Self::Other => "Let the tool's answer say what went wrong and what the agent should do next.",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_that_is_gone_is_no_outage_and_an_outage_is_no_slot() {
        for (words, class) in [
            ("slot no longer available", ErrorClass::Taken),
            (
                "This appointment cannot be scheduled in the specified time slot",
                ErrorClass::Taken,
            ),
            ("HTTP 500: Internal Server Error", ErrorClass::Unreachable),
            ("upstream request timed out", ErrorClass::Unreachable),
            ("patientGUID is required", ErrorClass::Arguments),
            ("no", ErrorClass::Other),
        ] {
            assert_eq!(ErrorClass::of(words), class, "{words}");
        }
    }
}
