//! The worker: trains one stage after another and writes what happened as JSON lines.

fn main() {}
