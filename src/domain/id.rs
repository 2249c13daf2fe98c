//! Ids of the application, as they can be kept: every database has rows by them.

/// Bytes of an id, at most. A row is found by several of them together, and PostgreSQL's indexes take 2,704 bytes in all.
pub(crate) const LONGEST: usize = 1_000;

/// Whether rows can be kept by it.
pub(crate) fn fits(id: &str) -> bool {
    id.len() <= LONGEST
}

/// Without the character U+0000, which not every database keeps: written anywhere, it becomes this. So an id is the same
/// where it is stored and where the source is asked for it.
pub(crate) fn without_nul(id: String) -> String {
    if id.contains('\0') {
        id.replace('\0', "\u{fffd}")
    } else {
        id
    }
}
