//! The pure floors that read what comes from outside, without the rest of the program.

#[path = "../../../src/checkpoint.rs"]
pub mod checkpoint;
#[path = "../../../src/model/mod.rs"]
pub mod model;
#[path = "../../../src/mailbox.rs"]
pub mod mailbox;
#[path = "../../../src/queue/mod.rs"]
pub mod queue;
#[path = "../../../src/spec/mod.rs"]
pub mod spec;
#[path = "../../../src/units.rs"]
pub mod units;
#[path = "../../../src/protocol.rs"]
pub mod protocol;
#[path = "../../../src/words.rs"]
pub mod words;
