//! Processes that are killed, stopped and starved: nothing is lost, nothing is done twice.

mod canary;
mod database;
mod every_fault_point;
mod file;
mod fleet;
mod memory;
mod sigterm;
mod two_schedulers;
mod two_workers;
