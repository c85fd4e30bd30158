#!/bin/sh
# Names every tool that is missing, one line each. Usage: need.sh TOOL...
missing() {
    echo "missing: $1" >&2
    status=6
}
have() { command -v "$1" >/dev/null 2>&1; }

status=0
for tool in "$@"; do
    case "$tool" in
    # Asked for their version: a shim of rustup or pyenv can be there with nothing behind it.
    cargo) cargo --version >/dev/null 2>&1 || missing "cargo (Rust 1.95 or later): see https://rustup.rs" ;;
    cc) have cc || missing "cc, the C compiler that Rust links with; on Debian: apt install gcc" ;;
    c++) have "${CXX:-c++}" || missing "${CXX:-c++}, the C++ compiler; on Debian: apt install g++" ;;
    python3) python3 --version >/dev/null 2>&1 || missing "python3 (3.8 or later); on Debian: apt install python3" ;;
    pip) ! python3 --version >/dev/null 2>&1 || python3 -m pip --version >/dev/null 2>&1 || missing "pip of python3; on Debian: apt install python3-pip" ;;
    *) have "$tool" || missing "$tool" ;;
    esac
done
exit $status
