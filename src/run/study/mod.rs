//! Runs a study: reads its file, decides, records each decision before it is acted on, runs its sweep as any sweep, and
//! goes on from the log wherever it was stopped.
//!
//! Refuses to know how a decision is made (`campaign`), and how a sweep is trained (`train`).

mod costs;
pub mod drive;
mod foretold;
pub mod open;
mod rate;
mod target;
pub(in crate::run) mod told;
pub mod view;
