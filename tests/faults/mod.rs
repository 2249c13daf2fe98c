//! Processes that are killed, stopped and starved: nothing is lost, nothing is done twice.

mod every_fault_point;
