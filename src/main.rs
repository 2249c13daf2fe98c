//! aftercall.
fn main() {}
