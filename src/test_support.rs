//! What unit tests share with the others.

pub(crate) use crate as lib;

#[path = "../tests/support/database.rs"]
pub(crate) mod database;
