"""Takes out of the wheels what a program needs to be linked to libtorch: WHEELS ROOT."""

import pathlib
import shutil
import sys
import zipfile

LIBRARIES = {
    "libc10.so", "libtorch.so", "libtorch_cpu.so", "libgomp.so.1",
    # libtorch_cpu.so asks for these two by name and does not start without them.
    "libcudart.so.13", "libcupti.so.13",
}


def place(path):
    """Where a file of a wheel goes below ROOT, or None."""
    if path.name in LIBRARIES and "lib" in path.parts:
        return pathlib.Path("lib", path.name)
    if path.parts[:2] == ("torch", "include"):
        return pathlib.Path("include", *path.parts[2:])
    return None


def main(wheels, root):
    for wheel in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            for info in archive.infolist():
                target = place(pathlib.PurePosixPath(info.filename))
                if target is None or info.is_dir():
                    continue
                (root / target).parent.mkdir(parents=True, exist_ok=True)
                with archive.open(info) as source, open(root / target, "wb") as copy:
                    shutil.copyfileobj(source, copy, 1 << 20)
    missing = sorted(name for name in LIBRARIES if not (root / "lib" / name).exists())
    if missing:
        sys.exit(f"the wheels hold no {', '.join(missing)}")


main(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
