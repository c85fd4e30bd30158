//! Real training.
