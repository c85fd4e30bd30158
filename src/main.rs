//! The program that people type.

fn main() {}
