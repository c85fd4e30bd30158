//! `sandbox`: choose the recipe of a big language-model run from hundreds of tiny look-alikes.
//!
//! The modules stand in the order of their floors: each imports only from above itself in this list, and
//! two modules of one floor never meet (`tests/tidy` checks it). Everything down to `report` is pure:
//! no clock, disk, environment, random source or async.

// 0: enums of words, counts with their units, what makes runs comparable
pub mod setup;
pub mod units;
pub mod words;
// 1: what a proxy is, what a law is, what goes wrong on purpose
pub mod checkpoint;
pub mod fault;
pub mod fit;
pub mod model;
pub mod stage;
pub mod tensorboard;
// 2: what was asked, how workers are spoken to
pub mod hugging_face;
pub mod protocol;
pub mod spec;
// 3: what there is to do, what to use at scale, how workers elsewhere are told, what is recorded of a trial
pub mod mailbox;
pub mod plan;
pub mod recipe;
pub mod record;
// 4: what to do next, what a batch system is told and says, which trials compare
pub mod queue;
pub mod sched;
pub mod study;
// 5: what to show, what a study does next
pub mod campaign;
pub mod report;
// 6: every path on disk
pub mod card;
pub mod packed;
pub mod workdir;
// 7: text into tokens, the worker's side of the post
pub mod data;
pub mod worker_mailbox;
// 8: adapters, strangers to each other (`train`, the worker, is a binary of its own)
pub mod draw;
pub mod exec;
pub mod store;
pub mod tables;
// 9, 10, 11: carrying out, the live page, and the command line
pub mod cli;
pub mod live;
pub mod run;

#[cfg(test)]
mod tests;
