//! The command line as a program: exit codes, what goes to stdout and stderr, and that nothing of a session acts on a
//! terminal.

mod check;
mod cloud9;
mod compose;
mod doctor;
mod eval;
mod export;
mod fleet;
mod health;
mod help;
mod logs;
mod mcp;
mod monitoring;
mod operations;
mod outputs;
mod playbook;
mod postgres;
mod program;
mod roles;
mod top;
mod traces;
mod tutorial;

mod run;
mod sql_records;
