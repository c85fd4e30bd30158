#!/bin/sh
# Builds or runs the fuzz targets of tests/fuzz. Usage: fuzz.sh build | fuzz.sh run TARGET SECONDS
#
# The flags are those of `cargo fuzz build --sanitizer none`, which works with the stable toolchain; cargo-fuzz itself is
# not needed. A folder of its own: the flags would build everything else again.
set -eu
cd "$(dirname "$0")/.."
fuzz=tests/fuzz
cargo fetch --quiet --locked --manifest-path $fuzz/Cargo.toml || {
    echo "the fuzz targets were not built: their crates cannot be fetched here"
    exit 0
}
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/fuzz"
export RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing -Clink-dead-code -Cdebug-assertions"
cargo build --release --locked --manifest-path $fuzz/Cargo.toml --target "$(rustc -vV | sed -n 's/^host: //p')"
[ "$1" = run ] || exit 0
found="$CARGO_TARGET_DIR/found/$2"
mkdir -p "$found"
exec "$CARGO_TARGET_DIR"/*/release/"$2" -max_total_time="$3" -max_len=4096 -artifact_prefix="$CARGO_TARGET_DIR/$2-" \
    "$found" "$fuzz/corpus/$2"
