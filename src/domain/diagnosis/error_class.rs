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
const UNREACHABLE: [&str; 12] = [
    "internal server error",
    "bad gateway",
    "gateway",
    "timeout",
    "timed out",
    "time-out",
    "econn",
    "connection refused",
    "connection reset",
    "connection closed",
    "connection error",
    "service unavailable",
];
const ARGUMENTS: [&str; 14] = [
    "invalid",
    "missing",
    "required",
    "malformed",
    "not found",
    "does not exist",
    "bad request",
    "must be",
    "not match",
    "cannot be empty",
    "does not add up",
    "incorrect",
    "not enough",
    "insufficient",
];
/// Words before a number that make it a status code; any other number is a price, an id or a time.
const BEFORE_STATUS: [&str; 4] = ["http", "status", "code", "error"];

impl ErrorClass {
    /// Reads a tool's words. The order matters: "slot is no longer available" is no outage.
    pub(super) fn of(error: &str) -> Self {
        let error = error.to_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| error.contains(word));
        if says(&TAKEN) {
            Self::Taken
        } else if says(&UNREACHABLE) || has_status(&error, '5') {
            Self::Unreachable
        } else if says(&ARGUMENTS) || has_status(&error, '4') {
            Self::Arguments
        } else {
            Self::Other
        }
    }

    pub(super) fn failure(self) -> &'static str {
        match self {
            Self::Taken => "slot_taken",
            Self::Arguments => "arguments_refused",
            Self::Unreachable | Self::Other => "tool_failed",
        }
    }

    pub(super) fn owner(self) -> FaultOwner {
        match self {
            Self::Unreachable => FaultOwner::Environment,
            // A tool that refuses what cannot be right does its work.
            Self::Arguments => FaultOwner::Agent,
            Self::Taken | Self::Other => FaultOwner::Tool,
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
                "Have the agent read the tool's words and call again with what they ask for; let the tool name the argument that is wrong, and describe it better."
            }
            Self::Other => "Let the tool's answer say what went wrong and what the agent should do next.",
        }
    }
}

/// A status code of this class: `HTTP 503`, `status: 404`.
fn has_status(error: &str, class: char) -> bool {
    let words: Vec<&str> = error
        .split(|letter: char| !letter.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    words.windows(2).any(|pair| {
        let is_code = pair[1].len() == 3 && pair[1].starts_with(class) && pair[1].chars().all(|c| c.is_ascii_digit());
        is_code && BEFORE_STATUS.contains(&pair[0])
    })
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
            ("HTTP 503", ErrorClass::Unreachable),
            ("status: 404", ErrorClass::Arguments),
            (
                "payment amount does not add up, total price is 500",
                ErrorClass::Arguments,
            ),
            ("unknown error", ErrorClass::Other),
            ("no", ErrorClass::Other),
        ] {
            assert_eq!(ErrorClass::of(words), class, "{words}");
        }
    }
}
