//! Whether tests that have a short and a long form run in the long one.

/// `make coverage` sets `SANDBOX_COVERAGE`.
pub(crate) fn is_full() -> bool {
    std::env::var_os("SANDBOX_COVERAGE").is_some()
}
