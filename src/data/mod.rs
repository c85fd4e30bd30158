//! Text into tokens: documents are read, told apart, turned into tokens and laid down in shards with a manifest;
//! prepared data is opened and cut into batches.
//!
//! ```text
//! source ─ documents ─ corpus (fates) ─ tokenizer ─ encode ─ shards ─ manifest    prepare
//!                                                             dataset ─ batches    training
//! ```
//! A document is in training or in one held-out set, never in both, and never twice. Refuses to know what a sweep is,
//! where the working home is, and what is done with a batch.

pub mod corpus;
pub mod dataset;
pub mod documents;
pub mod encode;
pub mod error;
pub mod inspect;
pub mod manifest;
pub mod prepare;
pub mod rust_sources;
pub mod shards;
pub mod source;
pub mod split;
pub mod synthetic;
pub mod tokenizer;
