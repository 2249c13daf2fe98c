//! Rules of the house, read from its files: what may name what, and what may never change.

mod compose;
mod directions;
mod jobs;
mod migrations;
mod readme;
mod shown;
mod source;
