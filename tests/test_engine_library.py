"""The engine as a C library: compilers, symbols, packages, examples, and what it asks of the system."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from edgernn.export.to_ernn import pack

from engine_library import BUILD, ENGINE, ROOT, File, cmake, library, needs, run
from small_programs import PROGRAMS

ZIG = f"{sys.executable} -m ziglang cc"
GENERIC = ("-DCMAKE_SYSTEM_NAME=Generic", "-DCMAKE_TRY_COMPILE_TARGET_TYPE=STATIC_LIBRARY")
LINUX = ("-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_TRY_COMPILE_TARGET_TYPE=STATIC_LIBRARY")


@dataclass(frozen=True)
class Toolchain:
    """A compiler, a target, and the symbols that its objects may leave open beside the engine's own."""

    compiler: str
    options: tuple[str, ...] = ()
    open: str = ""


TOOLCHAINS = {
    "gcc": Toolchain("gcc", open="_GLOBAL_OFFSET_TABLE_"),
    "clang": Toolchain("clang"),
    "zig": Toolchain(ZIG),
    "msvc": Toolchain(  # the marker that floats are used, and the probe of large stack frames, are the compiler's
        "clang",
        (*GENERIC, "-DCMAKE_SYSTEM_PROCESSOR=x86_64", "-DCMAKE_C_FLAGS=--target=x86_64-pc-windows-msvc"),
        "_fltused|__chkstk",
    ),
    "aarch64": Toolchain(  # Linux tells through getauxval what the CPU has; weak: it may be missing
        ZIG,
        (*LINUX, "-DCMAKE_SYSTEM_PROCESSOR=aarch64", "-DCMAKE_C_FLAGS=--target=aarch64-linux-gnu"),
        "getauxval",
    ),
    "armv7": Toolchain(  # the compiler's own arithmetic of 64 bits
        ZIG,
        (*LINUX, "-DCMAKE_SYSTEM_PROCESSOR=armv7", "-DCMAKE_C_FLAGS=--target=arm-linux-gnueabihf -mcpu=cortex_a7"),
        "getauxval|__aeabi_(?!mem).*",
    ),
    "wasm32": Toolchain(  # what every position-independent object of wasm asks of its linker
        ZIG,
        (*GENERIC, "-DCMAKE_SYSTEM_PROCESSOR=wasm32", "-DCMAKE_C_FLAGS=--target=wasm32-freestanding"),
        "__indirect_function_table|__memory_base|__stack_pointer|__table_base",
    ),
}


def symbols(*paths: Path) -> tuple[set[str], set[str]]:
    """Names that object files or an archive define for others, and those that they leave open."""
    needs("llvm-nm")
    defined, undefined = set[str](), set[str]()
    for line in run("llvm-nm", "--extern-only", *paths).splitlines():
        *_, kind, name = ("", "", *line.split())
        if len(kind) == 1:
            (undefined if kind in "Uwv" else defined).add(name)
    return defined, undefined - defined


def built(name: str) -> Path:
    """Where a toolchain has built the static library."""
    toolchain = TOOLCHAINS[name]
    if toolchain.compiler == ZIG and importlib.util.find_spec("ziglang") is None:
        pytest.skip("`ziglang` is not installed (pip install ziglang)")
    build = BUILD.with_name(f"engine-{name}")
    return cmake(ENGINE, build, *toolchain.options, compiler=toolchain.compiler, target="ernn_static")


@pytest.mark.parametrize("name", TOOLCHAINS)
def test_builds_without_a_warning_and_calls_nothing(name: str) -> None:
    """Warnings are errors in the build. What is left open would be a call into libc."""
    toolchain = TOOLCHAINS[name]
    defined, undefined = symbols(built(name) / "libernn.a")
    assert "ernn_step" in defined
    assert not {symbol for symbol in undefined if not re.fullmatch(toolchain.open, symbol)}
    own = re.compile(
        r"ernn_\w+|(\?\?_C|__real|__[xyz]mm)@.*"
    )  # the latter are MSVC's constants, which may meet their equals
    assert not {symbol for symbol in defined if not own.fullmatch(symbol)}, "they may collide with a user's"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A file of each small program."""
    paths = [tmp_path_factory.mktemp("models") / f"{name}.ernn" for name in PROGRAMS]
    for path in paths:
        path.write_bytes(pack(PROGRAMS[path.stem]()))
    return paths


@pytest.mark.parametrize(
    ("name", "emulator", "isas"),
    [
        ("gcc", "", ("scalar",)),
        ("aarch64", "qemu-aarch64 -cpu cortex-a72", ("neon", "scalar")),
        ("armv7", "qemu-arm", ("neon", "scalar")),
    ],
)
def test_every_operation_without_a_c_library(
    name: str, emulator: str, isas: tuple[str, ...], models: list[Path]
) -> None:
    """The bits of the reference, in a program of nothing but the engine; on x86 also where subnormals are flushed."""
    if name == "gcc" and platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("knows the system calls of x86-64 and Arm")
    build, flags = built(name), ["-ffreestanding", "-nostdlib", "-static"]
    if emulator:
        needs(shlex.split(emulator)[0])
        target = next(option for option in TOOLCHAINS[name].options if "C_FLAGS" in option).partition("C_FLAGS=")[2]
        flags += [*target.replace("-gnu", "-musl").split(), "-lcompiler_rt"]
    program = compiled(TOOLCHAINS[name].compiler, "bare", build, build / "bare", *flags)
    said = run(*shlex.split(emulator), program, *models)
    assert all(said.count(f"{isa}: no error, flushed: no error") == len(models) for isa in isas), said


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the engine is installed."""
    library()
    folder = tmp_path_factory.mktemp("prefix")
    run("cmake", "--install", BUILD, "--prefix", folder)
    return folder


def test_shared_library_exports_the_interface(prefix: Path) -> None:
    needs("llvm-nm")
    shared = next((prefix / "lib").rglob("libernn.so"), None) or next(prefix.rglob("libernn.so"))
    names = {line.split()[-1] for line in run("llvm-nm", "-D", "--defined-only", shared).splitlines()}
    header = (prefix / "include" / "edgernn.h").read_text("utf-8")
    assert names == set(re.findall(r"^ERNN_API [^;]*?\b(ernn_\w+)\(", header, re.M))
    needed = run("llvm-readelf", "--needed-libs", shared)
    assert set(re.findall(r"lib\w+", needed)) <= {"libc"}, "nothing but what the compiler's start files ask for"


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the size is that of x86-64")
def test_shared_library_is_small(prefix: Path, tmp_path: Path) -> None:
    """Stripped, with every instruction set of x86-64."""
    needs("strip")
    shared, stripped = next(prefix.rglob("libernn.so")), tmp_path / "libernn.so"
    run("strip", "-o", stripped, shared)
    assert stripped.stat().st_size <= 150_000


def test_static_library_stays_inside_what_links_it(prefix: Path, tmp_path: Path) -> None:
    needs("gcc", "llvm-nm")
    static, shared = next(prefix.rglob("libernn.a")), tmp_path / "plugin.so"
    run("gcc", "-shared", "-o", shared, "-Wl,--whole-archive", static, "-Wl,--no-whole-archive")
    assert "ernn" not in run("llvm-nm", "-D", "--defined-only", shared)


@pytest.mark.parametrize("compiler", ["gcc -std=c99", "g++ -std=c++11", "clang -std=c99", "clang++ -std=c++17"])
def test_headers_are_strict(compiler: str, tmp_path: Path) -> None:
    command = shlex.split(compiler)
    needs(command[0])
    source = tmp_path / ("use.cpp" if "++" in compiler else "use.c")
    header = "edgernn.hpp" if "17" in compiler else "edgernn.h"
    source.write_text(f"#include <{header}>\nint main(void) {{ return ERNN_OK; }}\n", "utf-8")
    flags = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror", "-fsyntax-only")
    run(*command, *flags, "-I", ENGINE / "include", source)


@pytest.fixture(scope="module")
def examples(prefix: Path) -> Path:
    """The examples, built against the installed package."""
    needs("c++")
    return cmake(
        ROOT / "examples" / "c", BUILD.with_name("examples"), f"-DCMAKE_PREFIX_PATH={prefix}", "-Dedgernn_DIR="
    )


def test_c_example_gives_every_frame(examples: Path, tmp_path: Path) -> None:
    """The same as one push and flush."""
    model, frames = tmp_path / "m.ernn", tmp_path / "x.raw"
    model.write_bytes(pack(PROGRAMS["integer_cells"]()))
    x = np.random.default_rng(0).standard_normal((257, 3)).astype(np.float32)
    frames.write_bytes(x.tobytes())
    output = tmp_path / "y.raw"
    with open(output, "wb") as out:
        run(examples / "stream_file", model, frames, stdout=out)
    file = File.of(library(), model.read_bytes())
    assert file.open() == "OK"
    stream = file.stream(exact=False)
    status, (expected,) = stream.push(x.tobytes(), frames=len(x))
    while status == "OK":
        status, (more,) = stream.flush()
        expected += more
    assert len(expected) == 257 * 2 * 4
    assert output.read_bytes() == expected


def test_cpp_example_lags_by_what_it_says(examples: Path, tmp_path: Path) -> None:
    """Through an audio callback with blocks of any size: the pushed frames, later."""
    model = tmp_path / "m.ernn"
    model.write_bytes(pack(PROGRAMS["cells"]()))
    x = np.random.default_rng(0).standard_normal((5000, 3)).astype(np.float32)
    (tmp_path / "x.raw").write_bytes(x.tobytes())
    with open(tmp_path / "x.raw", "rb") as source, open(tmp_path / "y.raw", "wb") as out:
        run(examples / "audio_callback", model, stdin=source, stdout=out)
    y = np.fromfile(tmp_path / "y.raw", np.float32).reshape(len(x), 3)
    file = File.of(library(), model.read_bytes())
    assert file.open() == "OK"
    _, (pushed,) = file.stream(exact=False).push(x.tobytes(), frames=len(x))
    lag = file.port(1).delay + 1  # hop 2
    expected = np.frombuffer(pushed, np.float32).reshape(-1, 3)
    assert np.array_equal(y[lag : lag + len(expected)], expected[: len(y) - lag])
    assert not y[0].any()


def test_examples_say_what_is_wrong(examples: Path, tmp_path: Path) -> None:
    (tmp_path / "m.ernn").write_bytes(b"ERNN" + bytes(252))
    for command in (
        [examples / "stream_file", tmp_path / "m.ernn", tmp_path],
        [examples / "audio_callback", tmp_path / "m.ernn"],
    ):
        with pytest.raises(AssertionError, match=r"error: .*m\.ernn: the file"):
            run(*command)


def driver(name: str) -> Path:
    """A program of tests/engine, linked with the static library."""
    library()
    return compiled("gcc", name, BUILD, BUILD / name)


def compiled(compiler: str, name: str, build: Path, program: Path, *flags: str) -> Path:
    """A program of tests/engine; several processes may make the same one."""
    needs(shlex.split(compiler)[0])
    made = program.with_name(f"{program.name}.{os.getpid()}")
    warnings = ("-Wall", "-Wextra", "-Wconversion", "-Werror")
    source, include = ROOT / "tests" / "engine" / f"{name}.c", ENGINE / "include"
    run(*shlex.split(compiler), "-O1", *warnings, "-I", include, source, build / "libernn.a", *flags, "-o", made)
    return made.replace(program)


@pytest.fixture(scope="module")
def realtime() -> Path:
    """The program that counts."""
    if not sys.platform.startswith("linux"):
        pytest.skip("counts glibc's allocator")
    return driver("realtime")


@pytest.mark.parametrize("name", PROGRAMS)
def test_no_allocation_lock_or_system_call(name: str, realtime: Path, tmp_path: Path) -> None:
    """Ten thousand steps, and pushes, saves and resets between them."""
    (tmp_path / "m.ernn").write_bytes(pack(PROGRAMS[name]()))
    assert run(realtime, tmp_path / "m.ernn", "10000").startswith("0 calls in 10000 steps")


def test_tools_are_there_in_ci() -> None:
    """A skipped test proves nothing: CI installs everything and says so."""
    if "EDGERNN_TEST_TOOLS" not in os.environ:
        pytest.skip("tests may skip here")
    tools = ["cmake", "gcc", "g++", "clang", "clang++", "llvm-nm", "ld.lld", "qemu-aarch64", "qemu-arm"]
    tools += ["arm-none-eabi-gcc", "qemu-system-arm", "node", "ssh", "/usr/sbin/sshd"]
    assert not [tool for tool in tools if shutil.which(tool) is None]
    assert importlib.util.find_spec("ziglang") is not None
