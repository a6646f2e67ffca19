"""A model as C: its bytes as a constant array, a header, an example, and the engine beside them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from edgernn.errors import TargetError
from edgernn.files import write_bytes
from edgernn.runtime import Model, load
from edgernn.targets.amalgamate import write_engine

_HEADER = """\
/* {title}, by edgernn. {contract} */
#ifndef {upper}_H
#define {upper}_H
#include "edgernn.h"

extern const unsigned char {lower}_model[]; /* {file}, 64-byte aligned: `ernn_model_open` takes it where it lies */
#define {upper}_MODEL_BYTES {model_bytes}u
#define {upper}_STREAM_BYTES {stream_bytes}u /* what a stream takes, at most: `ernn_stream_size` says it exactly */
#define {upper}_HOP {hop}u /* input frames of a step */
#endif
"""
_EXAMPLE = """\

#ifdef ERNN_EXAMPLE
/* Raw elements from stdin to stdout, step by step:
 *     cc -O2 -fno-math-errno -DERNN_EXAMPLE {lower}.c edgernn.c -o {lower} && ./{lower} < frames > outputs
 * On a microcontroller the same calls stand where its frames come from. */
#include <stdio.h>

static _Alignas(64) unsigned char memory[{upper}_STREAM_BYTES];

int main(void) {{
  ernn_model model;
  ernn_stream *stream;
  ernn_status status = ernn_model_open(&model, {lower}_model, {upper}_MODEL_BYTES);
  if (!status) status = ernn_selftest(&model, 0, memory, sizeof memory, NULL); /* this very CPU and compiler */
  if (!status) status = ernn_stream_init(&stream, &model, 0, memory, sizeof memory, NULL);
  if (status) {{
    fprintf(stderr, "error: %s\\n", ernn_status_text(status));
    return 1;
  }}
  ernn_port x, y;
  ernn_model_port(&model, 0, ERNN_INPUT, 0, &x);
  ernn_model_port(&model, 0, ERNN_OUTPUT, 0, &y);
  while (fread(ernn_input(stream, 0), 1, x.bytes, stdin) == x.bytes) {{
    ernn_step(stream);
    fwrite(ernn_output(stream, 0), 1, y.bytes, stdout);
  }}
  return 0;
}}
#endif
"""


def write_c(source: Path, path: Path) -> list[Path]:
    """Write the `.ernn` file `source` as C beside the engine: `path` (`.c`), its header, `edgernn.h`, `edgernn.c`.

    Gives the files. Raises `TargetError` when the path's name can't be a C name, and what loading a model raises.
    """
    if source.suffix != ".ernn":
        raise TargetError("is no .ernn file", place=str(source), hint="edgernn export model.onnx -o model.ernn")
    check_c_path(path)
    lower = path.stem
    model, data = load(source), source.read_bytes()
    words = {
        "lower": lower,
        "upper": lower.upper(),
        "title": f"{_plain(model.spec.name)} {_plain(model.spec.model_version)}",
        "contract": _contract(model),
        "file": _plain(source.name),
        "model_bytes": len(data),
        "stream_bytes": model.details["stream_bytes"],
        "hop": model.spec.hop,
    }
    header = path.with_suffix(".h")
    text = f'#include "{header.name}"\n\n_Alignas(64) const unsigned char {lower}_model[{len(data)}] = {{\n'
    text += byte_rows(data) + "};\n" + _EXAMPLE.format(**words)
    write_bytes(header, _HEADER.format(**words).encode())
    write_bytes(path, text.encode())
    return [path, header, *write_engine(path.parent)]


def check_c_path(path: Path) -> None:
    """Raise `TargetError` unless a model can be written there as C."""
    if path.suffix != ".c" or not re.fullmatch(r"[A-Za-z]\w*", path.stem, re.ASCII) or path.stem == "edgernn":
        raise TargetError("its name is to be a name in C", place=str(path), hint="-o my_model.c")
    if not path.parent.is_dir():
        raise TargetError("its folder does not exist", place=str(path))


def byte_rows(data: bytes) -> str:
    """The elements of an array of bytes, 24 a line."""
    numbers = np.frombuffer(data, np.uint8).tolist()
    return "".join(",".join(map(str, numbers[at : at + 24])) + ",\n" for at in range(0, len(numbers), 24))


def _contract(model: Model) -> str:
    spec = model.spec
    ports = [f"in `{_plain(port.name)}` {port.dtype} {list(port.shape)}" for port in spec.inputs]
    ports += [f"out `{_plain(port.name)}` {port.dtype} {list(port.shape)}" for port in spec.outputs]
    return f"A step takes and gives: {', '.join(ports)}."


def _plain(text: str) -> str:
    """For a comment."""
    return re.sub(r"[^ -~]|\*/|/\*", "?", text)
