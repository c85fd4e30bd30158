//! Studies that are replayed without training.
