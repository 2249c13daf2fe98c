//! The file that `aftercall init` writes: every setting with its meaning, unit and default, all switched off.

/// A commented configuration. Loaded as it is, it changes nothing.
pub const TEMPLATE: &str = include_str!("template.toml");
