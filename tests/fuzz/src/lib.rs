//! The pure floors that read what comes from outside, without the rest of the program.

#[path = "../../../src/checkpoint.rs"]
pub mod checkpoint;
#[path = "../../../src/model/mod.rs"]
pub mod model;
#[path = "../../../src/post.rs"]
pub mod post;
#[path = "../../../src/slurm/mod.rs"]
pub mod slurm;
#[path = "../../../src/spec/mod.rs"]
pub mod spec;
#[path = "../../../src/units.rs"]
pub mod units;
#[path = "../../../src/wire.rs"]
pub mod wire;
#[path = "../../../src/words.rs"]
pub mod words;
