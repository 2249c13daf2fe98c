//! `/api/v1` of the real binary over real HTTP.

mod authorization;
mod browsers;
mod document;
mod once;
mod pages;
mod problems;
mod schemathesis;
mod secrets;
mod sessions;
mod webhooks;
mod world;
mod writes;
