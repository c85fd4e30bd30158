//! The real program, from outside: what it promises to scripts and what it says to people.

mod errors;
mod help;
mod skip;
mod toy;
#[cfg(feature = "torch")]
mod training;
mod world;
