#!/bin/sh
# Puts the pinned libtorch into .libtorch/ of this checkout: once, whole or not at all.
#
# The wheel is a CUDA build. A machine without a card needs of it the CPU libraries, and two small CUDA libraries that
# libtorch_cpu.so asks for by name. A libtorch of your own comes first: LIBTORCH or LIBTORCH_USE_PYTORCH=1.
set -eu
cd "$(dirname "$0")/.."

[ -z "${LIBTORCH:-}${LIBTORCH_USE_PYTORCH:-}${LIBTORCH_LIB:-}" ] || exit 0
pins=scripts/libtorch.txt
stamp=$(cksum < "$pins")
ready() { [ "$(cat .libtorch/stamp 2>/dev/null)" = "$stamp" ] && [ -e .libtorch/lib/libtorch_cpu.so ]; }
ready && exit 0

own="set LIBTORCH to the folder of a libtorch 2.11.0, or LIBTORCH_USE_PYTORCH=1 with its Python active"
# The wheels are for x86-64 Linux with glibc; getconf knows the last only where it is glibc.
if [ "$(uname -s)-$(uname -m)" != Linux-x86_64 ] || ! getconf GNU_LIBC_VERSION >/dev/null 2>&1; then
    echo "there is no pinned libtorch for this machine ($(uname -s) $(uname -m)): $own" >&2
    exit 6
fi
sh scripts/need.sh python3 pip

work=.libtorch.$$
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
# What a killed set-up left; one that still runs keeps its own.
for left in .libtorch.[0-9]*; do
    [ ! -d "$left" ] || kill -0 "${left##*.}" 2>/dev/null || rm -rf "$left"
done
mkdir -p "$work/wheels" "$work/root/lib"

echo "fetching libtorch 2.11.0 into .libtorch (540 MB, once)" >&2
if [ -t 2 ]; then quiet=; else quiet=--quiet; fi
# The same wheel for everybody, whatever python3 this is: nothing in it is imported.
# shellcheck disable=SC2086 # $quiet is one word or none
python3 -m pip download $quiet --disable-pip-version-check --no-cache-dir --no-deps --only-binary=:all: \
    --require-hashes --python-version 3.12 --implementation cp --abi cp312 --abi none \
    --platform manylinux_2_28_x86_64 --platform manylinux_2_25_x86_64 --platform manylinux2014_x86_64 \
    -d "$work/wheels" -r "$pins" >&2 ||
    { echo "libtorch could not be fetched (pip's words are above): try again, or $own" >&2; exit 6; }

python3 scripts/unpack.py "$work/wheels" "$work/root"
echo 2.11.0 > "$work/root/build-version"
echo "$stamp" > "$work/root/stamp"
# Another set-up may have been quicker.
ready && exit 0
rm -rf .libtorch
mv "$work/root" .libtorch
