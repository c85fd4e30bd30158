//! The real program, from outside: what it promises to scripts and what it says to people.

mod audit;
#[cfg(feature = "torch")]
mod chaos;
mod corpus;
mod errors;
#[cfg(feature = "torch")]
mod faults;
mod help;
mod inputs;
mod recipes;
mod reports;
mod serve;
mod settings;
mod skip;
#[cfg(feature = "torch")]
mod slurm;
mod studies;
mod study;
mod tables;
mod toy;
#[cfg(feature = "torch")]
mod training;
mod watched;
mod way;
mod world;
