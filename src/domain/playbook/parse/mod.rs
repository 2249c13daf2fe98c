//! Reads each section of a playbook into its type. Names that point to other sections are checked in [`super::references`].

mod claims;
mod head;
mod http_lookup;
mod intents;
mod lookups;
mod records;
mod words;

pub(super) use claims::{claim, effect};
pub(super) use head::{head, phrases};
pub(super) use http_lookup::system;
pub(super) use intents::{expert, intent, tool};
pub(super) use records::{record, search};
