"""The engine as two files, `edgernn.h` and `edgernn.c`, for projects that add sources and not build systems.

Each source file becomes a part of `edgernn.c`. Names that are private to a part get its name behind their own by
macros, which end with the part: so parts may call different things alike, and a part may be compiled once for each
instruction set. Instruction sets are chosen by what the compiler says of its target.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from edgernn.files import write_bytes
from edgernn.targets.build import ENGINE

SHARED = ("attrs.h", "format.h", "node.h", "model.h", "layer.h", "ops/portable.h", "cpu.h", "kernels/tables.h")
SYSTEM = {
    "cpuid.h": "defined(__x86_64__) || defined(__i386__) || defined(_M_X64)",
    "arm_neon.h": "defined(__ARM_NEON)",
    "arm_acle.h": "defined(ERNN_HAS_DSP)",
    "arm_mve.h": "defined(ERNN_HAS_MVE)",
    "wasm_simd128.h": "defined(__wasm_simd128__)",
}
# instruction sets, best first, and when the target has them; x86 runs `scalar`: its others need a flag for each file
ISAS = {
    "dotprod": "defined(__aarch64__) && defined(__ARM_NEON)",
    "neon": "defined(__ARM_NEON)",
    "mve": "defined(ERNN_HAS_MVE)",
    "dsp": "defined(ERNN_HAS_DSP)",
    "wasm128": "defined(__wasm_simd128__)",
    "scalar": "1",
}
FLOATS = {"floats_neon": "defined(__ARM_NEON)", "floats_plain": "1"}
_HEAD = """\
/* The engine of edgernn {version} in one file: compile it with your program, any C11 compiler of GCC's kind will do.
 *
 *     cc -O2 -fno-math-errno -c edgernn.c
 *
 * Written by edgernn from its sources, which have the comments' context: runtime/engine. Do not edit.
 *
 * Bits: results are the same on every CPU as long as the compiler neither fuses nor reorders float operations. The
 * lines below see to it; -ffast-math is refused, and without -fno-math-errno gcc wants a C library's sqrtf.
 * `ernn_selftest` shows it on the device. */
#include "edgernn.h"
#if defined(__FAST_MATH__)
#error "-ffast-math changes results: compile edgernn.c without it"
#endif
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off", "wrapv", "no-trapping-math", "no-strict-aliasing")
#pragma GCC diagnostic ignored "-Wpsabi"
#endif
#if defined(__ARM_FEATURE_MVE)
#define ERNN_HAS_MVE
#elif defined(__ARM_FEATURE_SIMD32) && !defined(__ARM_NEON)
#define ERNN_HAS_DSP
#endif
#if defined(ERNN_HAS_MVE) || defined(ERNN_HAS_DSP) || defined(__ARM_NEON) || defined(__wasm_simd128__)
#define ERNN_SELDOM_SCALAR
#endif
"""
_BEGIN = "#if defined(__GNUC__) && !defined(__clang__)\n#pragma GCC push_options\n#endif\n"
_END = "#if defined(__GNUC__) && !defined(__clang__)\n#pragma GCC pop_options\n#endif\n"
_BEGIN_SMALL = """\
#if defined(__clang__)
#pragma clang attribute push(__attribute__((minsize)), apply_to = function)
#elif defined(__GNUC__)
#pragma GCC optimize("Os")
#endif
"""
_END_SMALL = "#if defined(__clang__)\n#pragma clang attribute pop\n#endif\n"
_INCLUDE = re.compile(r'^#include (?:"([^"]+)"|<([^>]+)>)')
_GUARD = re.compile(r"#ifndef (ERNN_\w+_H)\n#define \1\n(.*)\n#endif\s*$", re.S)
_MACRO = re.compile(r"^#define (\w+)(?:\(([^)]*)\))?((?:[^\n]*\\\n)*[^\n]*)", re.M)
_STORAGE = r"(?:static inline|static|INLINE|APART|FUNCTION|ONE_COPY|GATE|STEP)\b"
_FUNCTION = re.compile(rf"^ *{_STORAGE}[^;={{}}()]*?\b(\w+(?:##\w+)?)\(", re.M)
_VARIABLE = re.compile(r"^static [^;={}()]*?\b(\w+)(?:\[[^\]]*\])* *(?:__attribute__\(\(.*?\)\) *)?=", re.M)
_TYPE = re.compile(r"^typedef [^{};]*?\b(\w+)(?:\[\w*\])*(?: __attribute__\(\(.*\)\))?;|^\} (\w+);", re.M)
_ENUM = re.compile(r"^(?:typedef )?enum \{(.*?)\}", re.M | re.S)


def write_engine(folder: Path) -> list[Path]:
    """Write `edgernn.h` and `edgernn.c` into a folder. Raises `EdgeRNNError` when they can't be written."""
    paths = [folder / "edgernn.h", folder / "edgernn.c"]
    write_bytes(paths[0], (ENGINE / "include" / "edgernn.h").read_bytes())
    write_bytes(paths[1], amalgamation().encode())
    return paths


def amalgamation() -> str:
    """The text of `edgernn.c`."""
    source = ENGINE / "src"
    out = [_HEAD.format(version=_version())]
    out += [f"#if {condition}\n#include <{name}>\n#endif\n" for name, condition in SYSTEM.items()]
    out += [_expanded(source / name, set()) for name in SHARED]
    parts = dict.fromkeys([*sorted(source.glob("*.c")), *sorted((source / "ops").glob("*.c"))], "1")
    parts |= {source / "kernels" / f"{name}.c": condition for name, condition in (FLOATS | ISAS).items()}
    texts = {path: _expanded(path, set()) for path in parts}
    names = Counter(name for text in texts.values() for name in set(_private_names(text)))
    repeated = {name for name, count in names.items() if count > 1}
    return "".join([*out, *(_part(path, texts[path], repeated, condition) for path, condition in parts.items())])


def _version() -> str:
    found = re.search(r"project\(edgernn VERSION ([\d.]+)", (ENGINE / "CMakeLists.txt").read_text("utf-8"))
    assert found is not None
    return found[1]


def _part(path: Path, text: str, repeated: set[str], condition: str) -> str:
    """One source file, with all that it includes, so that nothing of it is left for the next one."""
    names = sorted(set(_private_names(text)) & repeated)
    macros = dict.fromkeys(found[1] for found in _MACRO.finditer(text))
    lines = [f"\n/* === {path.relative_to(ENGINE / 'src')} === */\n"]
    lines += [f"#if {condition}\n"] if condition != "1" else []
    small = path.parent.name != "kernels"  # runs once, or once a step
    lines += [_BEGIN, _BEGIN_SMALL if small else ""]
    lines += [f"#define {name} {name}_in_{path.stem}\n" for name in names]
    lines += [text]
    lines += [f"#undef {name}\n" for name in (*names, *macros)]
    lines += [_END_SMALL if small else "", _END]
    lines += ["#endif\n"] if condition != "1" else []
    return "".join(lines)


def _expanded(path: Path, seen: set[Path]) -> str:
    """A file's text with its headers in place of their includes, each once; shared and system headers are left out."""
    text = path.read_text("utf-8")
    guarded = _GUARD.search(text)
    if guarded is not None:
        text = text[: guarded.start()] + guarded[2] + "\n"
    return "".join(_expanded_line(line, path, seen) for line in text.splitlines(keepends=True))


def _expanded_line(line: str, path: Path, seen: set[Path]) -> str:
    found = _INCLUDE.match(line)
    if found is None:
        return line
    if found[1] is None or found[1] == "edgernn.h":
        return ""
    if found[1] == "ernn_isas.h":
        return "".join(f"#if {condition}\nERNN_ISA({isa})\n#endif\n" for isa, condition in ISAS.items())
    source = ENGINE / "src"
    header = next(root / found[1] for root in (path.parent, source) if (root / found[1]).is_file()).resolve()
    if header in seen or str(header.relative_to(source.resolve())) in SHARED:
        return ""
    seen.add(header)
    return _expanded(header, seen)


def _private_names(text: str) -> Iterator[str]:
    """Functions, variables, types and constants of file scope that no other part may see."""
    macros = {found[1]: found for found in _MACRO.finditer(text)}
    code = _MACRO.sub("", text)
    for pattern in (_FUNCTION, _VARIABLE):
        yield from (found[1] for found in pattern.finditer(code))
    for found in _TYPE.finditer(code):
        yield found[1] or found[2]
    for found in _ENUM.finditer(code):
        yield from re.findall(r"\b([A-Z]\w*)\b", re.sub(r"/\*.*?\*/|=[^,}]*", "", found[1], flags=re.S))
    for name, macro in macros.items():  # those that define functions
        for made in _FUNCTION.findall(macro[3].replace("\\\n", "\n")):
            before, _, _ = made.partition("##")
            for argument in re.findall(rf"^{name}\((\w+)[,)]", code, re.M):
                yield before + argument if "##" in made else made
