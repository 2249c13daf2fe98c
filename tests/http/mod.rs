//! `/api/v1` of the real binary over real HTTP.

mod authorization;
mod browsers;
mod bulk;
mod document;
mod once;
mod pages;
mod problems;
mod remote;
mod schemathesis;
mod secrets;
mod sessions;
mod webhooks;
mod world;
mod writes;
