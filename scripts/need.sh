#!/bin/sh
# Names the first tool that is missing, in one line. Usage: need.sh TOOL...
for tool in "$@"; do
    case "$tool" in
    c++) command -v c++ >/dev/null || command -v g++ >/dev/null || command -v clang++ >/dev/null ||
        { echo "missing: a C++ compiler (c++, g++ or clang++); on Debian: apt install g++" >&2; exit 6; } ;;
    pip) python3 -m pip --version >/dev/null 2>&1 ||
        { echo "missing: pip for python3; on Debian: apt install python3-pip" >&2; exit 6; } ;;
    cargo) command -v cargo >/dev/null ||
        { echo "missing: cargo (Rust 1.95 or later); see rustup.rs" >&2; exit 6; } ;;
    *) command -v "$tool" >/dev/null || { echo "missing: $tool" >&2; exit 6; } ;;
    esac
done
