"""Wheels for devices: the runtime and its commands, with the engine cross-built by `zig cc` for one platform.

They leave out what only hosts need (export, quantization, boards); what is left is the same package.
"""

from __future__ import annotations

import base64
import hashlib
import io
import sysconfig
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import edgernn.runtime
from edgernn.errors import EdgeRNNError, TargetError
from edgernn.files import write_bytes
from edgernn.targets.board import Board, Build
from edgernn.targets.build import ENGINE, HERE, build_library, kept, run_tool, zig

PACKAGE = Path(edgernn.runtime.__file__).parent
HEADERS = HERE / "python"
# of the package `edgernn`: what needs torch, or works on the representation that only hosts translate
HOST_ONLY = (
    "commands/export.py",
    "commands/page.py",
    "commands/quantize.py",
    "commands/targets.py",
    "interpret.py",
    "nn.py",
    "ops",
    "program.py",
)
HOST_EXTRAS = ("dev", "export", "targets")
WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Werror")


@dataclass(frozen=True)
class Platform:
    """What a wheel's platform tag means to the compiler."""

    target: str  # zig's triple, with the C library's version that the tag promises
    processor: str  # as `Build.processor`
    mcpu: str = ""

    @property
    def build(self) -> Build:
        """How the engine is compiled for it."""
        return Build(target=self.target, processor=self.processor, mcpu=self.mcpu)

    @property
    def extension(self) -> str:
        """What Python calls a module of its stable interface there."""
        return "_engine.pyd" if "windows" in self.target else "_engine.abi3.so"


PLATFORMS = {
    "manylinux_2_17_x86_64": Platform("x86_64-linux-gnu.2.17", "x86_64"),
    "manylinux_2_17_aarch64": Platform("aarch64-linux-gnu.2.17", "aarch64"),
    "manylinux_2_17_armv7l": Platform("arm-linux-gnueabihf.2.17", "armv7", "generic+v7a+vfp3d16"),
    "linux_armv6l": Platform("arm-linux-gnueabihf.2.17", "armv6", "arm1176jzf_s"),
    "macosx_11_0_arm64": Platform("aarch64-macos.11.0", "arm64"),
    "macosx_11_0_x86_64": Platform("x86_64-macos.11.0", "x86_64"),
    "win_amd64": Platform("x86_64-windows-gnu", "x86_64"),
}


def wheel_tag(board: Board) -> str:
    """The platform tag of a board's wheel. Raises `TargetError` when it has none."""
    if board.build is None or not board.build.wheel:
        raise TargetError("there is no wheel for it", place=board.name, hint="edgernn targets show says what is built")
    return board.build.wheel


def platform_wheel(tag: str) -> tuple[str, bytes]:
    """The wheel for a platform tag: its file name and its bytes, the same for equal sources and compiler.

    Raises `TargetError` when the tag is not known or the compiler fails, and `MissingExtraError` without a compiler.
    """
    if tag not in PLATFORMS:
        raise TargetError(f"no wheel is built for `{tag}`", hint=f"there are {', '.join(PLATFORMS)}")
    distribution = metadata.distribution("edgernn")
    version = distribution.version
    full_tag = f"cp311-abi3-{tag}"
    files = dict(_sources())
    extension = PLATFORMS[tag].extension
    files[f"edgernn/runtime/{extension}"] = (_build_extension(tag) / extension).read_bytes()
    info = f"edgernn-{version}.dist-info"
    files[f"{info}/METADATA"] = _metadata(distribution).encode()
    files[f"{info}/WHEEL"] = (
        f"Wheel-Version: 1.0\nGenerator: edgernn {version}\nRoot-Is-Purelib: false\nTag: {full_tag}\n".encode()
    )
    files[f"{info}/entry_points.txt"] = b"[console_scripts]\nedgernn = edgernn.cli:main\n"
    files[f"{info}/licenses/LICENSE"] = (distribution.read_text("licenses/LICENSE") or "").encode()
    record = f"{info}/RECORD"
    lines = [f"{name},{_digest(data)},{len(data)}" for name, data in sorted(files.items())]
    files[record] = ("\n".join([*lines, f"{record},,"]) + "\n").encode()
    return f"edgernn-{version}-{full_tag}.whl", _archive(files)


def write_wheel(tag: str, folder: Path) -> Path:
    """Write a platform's wheel into a folder, which is made. Raises as `platform_wheel` does."""
    name, data = platform_wheel(tag)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EdgeRNNError(f"cannot be made ({error.strerror})", place=str(folder)) from None
    write_bytes(folder / name, data)
    return folder / name


def _sources() -> Iterator[tuple[str, bytes]]:
    shared = Path(edgernn.__file__).parent
    for path in sorted(shared.rglob("*")):
        name = path.relative_to(shared).as_posix()
        apart = name.startswith(("runtime/", "export/", "quantize/", "targets/"))  # where a wheel was installed
        host = any(name == item or name.startswith(f"{item}/") for item in HOST_ONLY)
        if not apart and not host and path.suffix in (".py", ".pyi", ".typed"):
            yield f"edgernn/{name}", path.read_bytes()
    if not (shared / "py.typed").is_file():
        raise TargetError("misses files of the package", place=str(shared))
    for path in sorted(PACKAGE.rglob("*.py*")):
        if path.suffix in (".py", ".pyi"):
            yield f"edgernn/runtime/{path.relative_to(PACKAGE).as_posix()}", path.read_bytes()


def _build_extension(tag: str) -> Path:
    """The folder with the extension for a platform."""
    platform = PLATFORMS[tag]
    include = Path(sysconfig.get_path("include"))
    if not (include / "Python.h").is_file():
        raise TargetError(
            "Python's headers are not installed", place="building a wheel", hint="Debian: apt install python3-dev"
        )
    sources = (PACKAGE / "extension", HEADERS, HERE / "wheel.py", ENGINE)
    return kept("extension", platform.build, sources, lambda folder: _compile(platform, include, folder))


def _compile(platform: Platform, include: Path, folder: Path) -> None:
    folder.mkdir()
    command: list[str | Path] = [zig(), "cc", f"--target={platform.target}", "-fno-sanitize=all"]
    command += [f"-mcpu={platform.mcpu}"] if platform.mcpu else []
    command += ["-std=c11", "-O2", "-fvisibility=hidden", "-DPy_LIMITED_API=0x030B0000", *WARNINGS]
    # Python's headers are this machine's: what differs elsewhere is said before the first of them
    command += ["-include", HEADERS / "config.h", "-isystem", include, "-I", ENGINE / "include", "-shared", "-s"]
    place = f"building for {platform.target}"
    with tempfile.TemporaryDirectory(prefix="edgernn-") as room:
        engine = Path(room) / "engine"
        build_library(platform.build, engine)
        library = engine / "libernn.a"
        command += [*sorted((PACKAGE / "extension").glob("*.c")), library, "-o", folder / platform.extension]
        if "windows" in platform.target:
            command.append(_import_library(Path(room), place))
        else:
            command += ["-undefined", "dynamic_lookup"] if "macos" in platform.target else ["-fPIC"]
        run_tool(command, place)


def _import_library(folder: Path, place: str) -> Path:
    """What programs for Windows are linked with to find Python's functions in `python3.dll`."""
    library = folder / "python3.lib"
    run_tool([zig(), "dlltool", "-m", "i386:x86-64", "-d", HEADERS / "python3.def", "-l", library], place)
    return library


def _metadata(distribution: metadata.Distribution) -> str:
    """The project's, without the extras that need what is left out."""
    given = distribution.metadata
    lines = [f"{key}: {given[key]}" for key in ("Metadata-Version", "Name", "Version", "Summary") if given[key]]
    for key in (
        "License-Expression",
        "License-File",
        "Classifier",
        "Requires-Python",
        "Requires-Dist",
        "Provides-Extra",
    ):
        for value in given.get_all(key) or []:
            extra = value if key == "Provides-Extra" else value.partition("extra == ")[2].strip("\"'")
            if extra not in HOST_EXTRAS:
                lines.append(f"{key}: {value}")
    return "\n".join(lines) + "\n"


def _digest(data: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def _archive(files: dict[str, bytes]) -> bytes:
    """A zip archive whose bytes depend on names and contents alone; RECORD is the last, as the format asks."""
    room = io.BytesIO()
    with zipfile.ZipFile(room, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name in sorted(files, key=lambda name: (".dist-info/" in name, name.endswith("RECORD"), name)):
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.external_attr = (0o100755 if name.endswith(".so") else 0o100644) << 16
            entry.create_system = 3
            archive.writestr(entry, files[name], zipfile.ZIP_DEFLATED, 9)
    return room.getvalue()
