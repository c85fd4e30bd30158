#!/bin/sh
# Compares the solver of the law of loss with L-BFGS from many starts: solver.sh TARGET, with SANDBOX_COVERAGE=1 in full.
set -eu
cd "$(dirname "$0")/.."
solver=tests/solver/Cargo.toml
cargo fetch --quiet --locked --manifest-path $solver || {
    echo "the solver was not compared with L-BFGS: its crates cannot be fetched here"
    exit 0
}
CARGO_TARGET_DIR="$1" exec cargo test --release --locked --manifest-path $solver -- --nocapture
