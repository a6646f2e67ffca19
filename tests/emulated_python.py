"""Root filesystems with Debian's Python for other CPUs, run by qemu-user: `python tests/emulated_python.py`.

They are made of this system's own package sources by apt, which downloads for the other CPU what its database, kept
apart from this system's, lacks; no program of a package runs, so neither root nor binfmt is needed.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

PACKAGES = ("python3-pip", "python3-numpy", "python3-click")
CPUS = {
    "arm64": ("qemu-aarch64", ("cortex-a53", "cortex-a72", "cortex-a76")),
    "armhf": ("qemu-arm", ("cortex-a7",)),
}
BUILD = Path(__file__).parents[1] / "build" / "emulated"


def root_of(architecture: str) -> Path:
    """Where the filesystem for one of Debian's architectures lies once it is made: named by its packages."""
    return BUILD / f"{architecture}-{hashlib.sha256(repr(PACKAGES).encode()).hexdigest()[:16]}"


def python_of(architecture: str, cpu: str, packages: Path) -> tuple[list[str], dict[str, str]]:
    """The command and the environment of a Python on an emulated CPU, which imports from a folder of packages too."""
    root = root_of(architecture)
    environment = {
        "PATH": os.environ["PATH"],
        "QEMU_LD_PREFIX": str(root),
        "PYTHONHOME": str(root / "usr"),
        "PYTHONPATH": f"{packages}:{root / 'usr/lib/python3/dist-packages'}",
        "OPENBLAS_NUM_THREADS": "1",
    }
    return [CPUS[architecture][0], "-cpu", cpu, str((root / "usr/bin/python3").resolve())], environment


def make_root(architecture: str) -> Path:
    """Make a filesystem, unless it is there; it has its name only once it is whole."""
    root = root_of(architecture)
    if root.is_dir():
        return root
    BUILD.mkdir(parents=True, exist_ok=True)
    debs = _download(architecture)
    with tempfile.TemporaryDirectory(prefix=".making-", dir=BUILD) as room:
        made = Path(room) / "root"
        for deb in debs:
            _run("dpkg-deb", "-x", deb, made)
        # what update-alternatives would link
        for library in (*made.glob("usr/lib/*/blas/lib*.so.3"), *made.glob("usr/lib/*/lapack/lib*.so.3")):
            (library.parents[1] / library.name).symlink_to(Path(library.parent.name) / library.name)
        made.rename(root)
    return root


def _download(architecture: str) -> Sequence[Path]:
    """The packages and what they depend on, as files."""
    folder = BUILD / f"apt-{architecture}"
    for name in ("lists/partial", "archives/partial"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "status").write_text("")
    settings = {
        "APT::Architecture": architecture,
        "APT::Architectures": architecture,
        "APT::Sandbox::User": "",
        "Acquire::Languages": "none",
        "Debug::NoLocking": "1",
        "Dir::Cache::archives": folder / "archives",
        "Dir::Cache::pkgcache": "",
        "Dir::Cache::srcpkgcache": "",
        "Dir::State::lists": folder / "lists",
        "Dir::State::status": folder / "status",
    }
    apt = ["apt-get", "-qq", "-y", *(word for key, value in settings.items() for word in ("-o", f"{key}={value}"))]
    subprocess.run([*apt, "update"], check=False)  # a list that a mirror lacks may not be needed: the next step knows
    _run(*apt, "install", "--download-only", "--no-install-recommends", *PACKAGES)
    return sorted((folder / "archives").glob("*.deb"))


def _run(*words: str | Path) -> None:
    subprocess.run([str(word) for word in words], check=True)


if __name__ == "__main__":
    for name in CPUS:
        print(make_root(name))
