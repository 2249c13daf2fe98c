//! One file or folder per outside system.

pub mod offline_classifier;
