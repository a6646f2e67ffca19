"""What `torch.onnx.export(dynamo=True)` makes of the families that edgernn exports: docs/why-not-torch-onnx-export.md.

    python benchmarks/torch_onnx_export.py

Each family is exported with a dynamic time axis, as its documentation says, and run by onnxruntime at lengths other
than its example's. Beside it stands the proof of edgernn's export of the same module. Slow: minutes per ten families.
"""

from __future__ import annotations

import datetime
import platform
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch.utils._pytree import tree_leaves

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from edgernn.commands.table import table  # noqa: E402
from edgernn.export import export_model  # noqa: E402
from edgernn.nn import Recurrent  # noqa: E402

from families import FAMILIES, Family  # noqa: E402

OUTPUT = ROOT / "docs" / "why-not-torch-onnx-export.md"
SCALES = (0.125, 0.5, 1.5, 3.0)  # lengths tried, as parts of the example's, which itself is tried too
TOLERANCE = 1e-3
CELLS = ("GRU", "LSTM", "RNN", "Scan", "Loop")
TEXT = """# Why not `torch.onnx.export`?

Asked for a dynamic time axis, it writes for most recurrent networks a file that runs at the length of its example only,
and says nothing while it does; and no file of it has the state as an input. Below, every family that edgernn's tests
export, by `torch.onnx.export(dynamo=True, dynamic_shapes=…)` and by edgernn.

- *lengths that fail*: run by onnxruntime at {lengths} of the example's length; `error` is an exception of
  onnxruntime's, `wrong` a result that differs from PyTorch's by more than {tolerance} or has another number of frames.
- *recurrent nodes*: `GRU`, `LSTM`, `RNN`, `Scan` or `Loop` nodes in the file; 0 where a recurrent layer was unrolled
  into one copy per frame of the example.
- *states*: inputs that the file has beyond the frames. A stream feeds one per layer back at least; with none, a
  file cannot be run in pieces.
- *edgernn*: hop, delay and states of the stream, and the largest error of the proof that runs at every export (whole
  sequence in PyTorch against the stream in random pieces, every frame, relative to the largest magnitude).

{table}

{machine}; {seconds:.0f} s in all. To repeat it: `make docs`.
"""


def main() -> None:
    """Measure all families and write the page."""
    began = time.perf_counter()
    rows = []
    for family in FAMILIES:
        rows.append({"family": family.name, **_torch(family), **_edgernn(family)})
        print(rows[-1], file=sys.stderr, flush=True)
    versions = f"torch {torch.__version__}, onnx {onnx.__version__}, onnxruntime {onnxruntime.__version__}"
    machine = f"{datetime.date.today()}, {versions}, Python {platform.python_version()}"
    lengths = ", ".join(f"{scale:g}" for scale in (*SCALES[:2], 1.0, *SCALES[2:]))
    text = TEXT.format(
        lengths=lengths,
        tolerance=TOLERANCE,
        table=table(rows, markdown=True),
        machine=machine,
        seconds=time.perf_counter() - began,
    )
    OUTPUT.write_text(text, encoding="utf-8")


def _torch(family: Family) -> dict[str, Any]:
    module, example = family.build()
    if type(module).forward is torch.nn.Module.forward:  # a cell alone
        module = Recurrent(module)
    inputs = example if isinstance(example, tuple) else (example,)
    dynamic = torch.export.Dim("time", min=1, max=65536)
    shapes = tuple({family.time_axis: dynamic} for _ in inputs)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "m.onnx"
        try:
            torch.onnx.export(module, inputs, path, dynamo=True, dynamic_shapes=shapes, verbose=False)
        except Exception as error:
            return _nothing(f"refused: {type(error).__name__}")
        kinds = [node.op_type for node in onnx.load(path).graph.node]
        try:
            session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        except Exception:
            return _nothing(f"writes {len(kinds)} nodes that onnxruntime refuses")
        return {
            "torch.onnx.export": f"writes {len(kinds)} nodes",
            "lengths that fail": _failures(family, module, inputs, session),
            "recurrent nodes": sum(kind in CELLS for kind in kinds),
            "states": len(session.get_inputs()) - len(inputs),
        }


def _nothing(text: str) -> dict[str, Any]:
    return {"torch.onnx.export": text, "lengths that fail": "all", "recurrent nodes": None, "states": None}


def _failures(family: Family, module: torch.nn.Module, inputs: Any, session: Any) -> str:
    length = inputs[0].shape[family.time_axis]
    found = []
    for scale in (*SCALES[:2], 1.0, *SCALES[2:]):
        frames = round(length * scale)
        index = torch.arange(frames) % length
        given = [tensor.index_select(family.time_axis, index) for tensor in inputs]
        try:
            with torch.no_grad():
                expected = tree_leaves(module(*given))
        except RuntimeError:
            continue  # the module itself has no result for this length
        names = [item.name for item in session.get_inputs()]
        try:
            got = session.run(None, {name: item.numpy() for name, item in zip(names, given, strict=True)})
        except Exception:
            found.append(f"{frames} error")
            continue
        pairs = zip(got, expected, strict=False)
        if any(a.shape != tuple(b.shape) or np.abs(a - b.numpy()).max() > TOLERANCE for a, b in pairs):
            found.append(f"{frames} wrong")
    return ", ".join(found) or "none"


def _edgernn(family: Family) -> dict[str, Any]:
    module, example = family.build()
    with tempfile.TemporaryDirectory() as folder:
        result = export_model(module, example, Path(folder) / "m.onnx", family.time_axis)
    spec = result.program.spec
    return {
        "edgernn": f"hop {spec.hop}, delay {spec.delay}",
        "edgernn states": len(spec.states),
        "proof": f"{result.proof.max_error:.1e}",
    }


if __name__ == "__main__":
    main()
