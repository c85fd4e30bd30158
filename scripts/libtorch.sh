#!/bin/sh
# Puts the pinned libtorch into .libtorch/ of this checkout: once, whole or not at all.
#
# The wheel is a CUDA build; on a machine without a card only the CPU libraries are needed, and the two small CUDA
# libraries that libtorch_cpu.so names. A libtorch of your own comes first: LIBTORCH or LIBTORCH_USE_PYTORCH=1.
set -eu
cd "$(dirname "$0")/.."

[ -z "${LIBTORCH:-}" ] && [ -z "${LIBTORCH_USE_PYTORCH:-}" ] && [ -z "${LIBTORCH_LIB:-}" ] || exit 0
pins=scripts/libtorch.txt
stamp=$(cksum < "$pins")
[ "$(cat .libtorch/stamp 2>/dev/null || true)" = "$stamp" ] && exit 0

if [ "$(uname -s)-$(uname -m)" != Linux-x86_64 ]; then
    echo "no pinned libtorch for $(uname -s) $(uname -m): set LIBTORCH to a libtorch 2.11.0, or LIBTORCH_USE_PYTORCH=1" >&2
    exit 6
fi
sh scripts/need.sh python3 pip
work=.libtorch.$$
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
rm -rf .libtorch.[0-9]*
mkdir -p "$work/wheels" "$work/root"
echo "fetching libtorch 2.11.0 (540 MB, once) ..." >&2
# One wheel for everybody, whatever python3 this is: nothing of it is imported.
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes \
    --python-version 3.12 --implementation cp --platform manylinux_2_28_x86_64 --platform manylinux_2_25_x86_64 \
    --platform manylinux2014_x86_64 --platform manylinux_2_17_x86_64 \
    -d "$work/wheels" -r "$pins" >&2
python3 - "$work" <<'PYTHON'
import pathlib, shutil, sys, zipfile
work = pathlib.Path(sys.argv[1])
libraries = {"libtorch_cpu.so", "libc10.so", "libtorch.so", "libgomp.so.1", "libcupti.so.13", "libcudart.so.13"}
lib, include = work / "root/lib", work / "root/include"
lib.mkdir()
for wheel in sorted((work / "wheels").glob("*.whl")):
    with zipfile.ZipFile(wheel) as archive:
        for info in archive.infolist():
            path = pathlib.PurePosixPath(info.filename)
            if path.name in libraries and "lib" in path.parts:
                target = lib / path.name
            elif path.parts[:2] == ("torch", "include") and not info.is_dir():
                target = include.joinpath(*path.parts[2:])
            else:
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(info) as source, open(target, "wb") as copy:
                shutil.copyfileobj(source, copy, 1 << 20)
missing = libraries - {path.name for path in lib.iterdir()}
if missing:
    sys.exit(f"the wheels hold no {', '.join(sorted(missing))}")
PYTHON
echo "$stamp" > "$work/root/stamp"
echo 2.11.0 > "$work/root/build-version"
rm -rf .libtorch
mv "$work/root" .libtorch
