"""A static page that streams the microphone through a model and shows what it hears, and how long a step takes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edgernn.errors import EdgeRNNError, TargetError
from edgernn.files import write_bytes
from edgernn.runtime import Model, load
from edgernn.spec import InputSpec, OutputSpec
from edgernn.targets.build import HERE
from edgernn.targets.wasm import MODULE, WRAPPER, build_wasm

PAGE = HERE / "page"
FILES = ("index.html", "style.css", "page.js", "source.js", "capture.js", "engine.js", "resample.js", "draw.js")
RATES = (3000, 192_000)  # Hz of what a microphone hears
PROBABILITIES, LOG_PROBABILITIES, SCORES = "probabilities", "log-probabilities", "scores"  # known to engine.js too


def write_page(path: Path, folder: Path) -> list[Path]:
    """Write a page for a `.ernn` file into a folder, which any static server can serve; returns the files.

    The model takes mono audio: one float32 input of one number a frame, with a rate. Raises `TargetError` for any
    other, and `MissingExtraError` without a compiler for the WebAssembly module.
    """
    model = load(path)
    if model.backend != "engine":
        raise TargetError("a page runs .ernn files", place=str(path), hint="edgernn export model.onnx -o model.ernn")
    _check_audio(model)
    output = _shown(model)
    settings = {"model": "model.ernn", "output": output.name, "scores": _scores(model, output)}
    built = build_wasm()
    contents = {name: (PAGE / name).read_bytes() for name in FILES}
    contents["settings.json"] = json.dumps(settings, indent=2).encode() + b"\n"
    contents["model.ernn"] = path.read_bytes()
    contents[MODULE] = (built / MODULE).read_bytes()
    contents["edgernn.js"] = (built / WRAPPER).read_bytes()  # not every server knows .mjs
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EdgeRNNError(f"cannot be made ({error.strerror})", place=str(folder)) from None
    for name, data in contents.items():
        write_bytes(folder / name, data)
    return [folder / name for name in contents]


def _check_audio(model: Model) -> None:
    for fault in _faults(model.spec.inputs):
        hint = "a page hears a microphone: one input of mono samples in float32, exported with --rate"
        raise TargetError(fault, place=model.path, hint=f"{hint}; `edgernn run` streams anything")


def _faults(inputs: tuple[InputSpec, ...]) -> Iterator[str]:
    """What keeps inputs from being mono audio, in words."""
    port = inputs[0]
    if len(inputs) > 1:
        yield f"has {len(inputs)} inputs"
    if port.dtype != "float32" or int(np.prod(port.frame, dtype=int)) != 1:
        yield f"a frame of `{port.name}` is {port.dtype} {list(port.frame)}, no sample"
    if port.rate_hz is None:
        yield f"the rate of `{port.name}` is not known"
    elif not RATES[0] <= port.rate_hz <= RATES[1]:
        yield f"`{port.name}` has {port.rate_hz:g} frames a second, no audio"


def _shown(model: Model) -> OutputSpec:
    """The output that has the labels, or else the first."""
    labels = len(model.spec.labels)
    named = (port for port in model.spec.outputs if labels and int(np.prod(port.frame, dtype=int)) == labels)
    return next(named, model.spec.outputs[0])


def _scores(model: Model, output: OutputSpec) -> str:
    """What the numbers of an output are, by what it gives over noise and silence: the contract does not say."""
    port = model.spec.inputs[0]
    frames = max(20 * model.spec.hop, int(port.rate_hz or 0))
    noise = np.random.default_rng(0).standard_normal((frames, *port.frame)) / 10
    given = model(np.concatenate([noise, np.zeros_like(noise)]).astype(np.float32))
    array = given[output.name] if isinstance(given, dict) else given
    rows = array.reshape(-1, int(np.prod(output.frame, dtype=int))).astype(np.float64)
    if rows.min(initial=0) >= 0 and rows.max(initial=0) <= 1:
        return PROBABILITIES
    if rows.max(initial=-1) <= 0 and bool(np.allclose(np.exp(rows).sum(1), 1, atol=0.01)):
        return LOG_PROBABILITIES
    return SCORES
