//! Reads for people: sessions by filter, everything known of one session, and whether every session is accounted for.

pub mod coverage;
pub mod cycles;
pub mod freshness;
pub mod remainders;
pub mod session;
pub mod sessions;
mod waiting;

#[cfg(test)]
mod tests;
