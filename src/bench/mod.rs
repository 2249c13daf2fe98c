//! `aftercall bench`: figures side by side in one run. Only ratios travel between machines; absolute figures are this
//! machine's, now.

mod by_hand;
mod child;
mod distribution;
pub mod inspect;
pub mod lane;
mod large;
pub mod memory;
mod peak;
pub mod pickup;
pub mod pipeline;
pub mod queue;
mod sessions;
