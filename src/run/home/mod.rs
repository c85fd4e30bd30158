//! A home as a whole: what runs in it, what is not needed any more, which database it has.
//!
//! Refuses to know what is trained.

pub(super) mod databases;
pub mod maintenance;
pub mod status;
