//! `aftercall bench`: figures side by side in one run. Only ratios travel between machines; absolute figures are this
//! machine's, now.

mod by_hand;
mod memory;
pub mod pipeline;
