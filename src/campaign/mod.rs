//! What a study does next: from its file, what its runs have said so far, what runs cost, and what is left of its budget,
//! to a decision. The same data give the same decision.
//!
//! ```text
//! frame: sizes, budgets and grids that fit the target and the budget      grid: a step of a study as a sweep file
//! questions/: what the runs answer, and what is missing for more          gain: which runs say most of the target
//! decide: the first question that lacks something, if the budget carries it; else why the study ends
//! ```
//! Refuses to train, to know where runs are kept, and to look at a clock.

pub mod cost;
pub mod decide;
pub mod foresee;
pub mod frame;
pub mod gain;
pub mod grid;
pub mod questions;
pub mod state;
#[cfg(test)]
mod tests;
