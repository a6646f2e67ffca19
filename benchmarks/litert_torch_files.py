"""The same networks as litert-torch converts and ai-edge-quantizer quantizes them: peers for tflite.py.

    python3 -m venv peer && peer/bin/pip install litert-torch==0.10.0 ai-edge-quantizer==0.10.0 torch==2.13.0
    PYTHONPATH=build/links peer/bin/python benchmarks/litert_torch_files.py FOLDER

In an environment of its own: it brings 2 GB. Each file is one step with the states as inputs and outputs. `dynamic` is
int8 weights by row and float between operations, `static` is int8 throughout, calibrated on the same speech as ours;
what fails is printed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import litert_torch
import torch
from ai_edge_quantizer import quantizer, recipe
from torch import Tensor, nn

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests" / "golden" / "next_frame"))

import train as next_frame  # noqa: E402

SIZES, KINDS = (128, 256, 512), ("GRU", "LSTM", "RNN")
CALIBRATION = 1000  # frames; they are fed with the float network's own states


class Step(nn.Module):
    """A layer, and a head where there is one, over one frame with the states as arguments and results."""

    def __init__(self, layer: nn.Module, head: nn.Module | None = None) -> None:
        super().__init__()
        self.layer, self.head = layer, head or nn.Identity()

    def forward(self, x: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """y and the new states."""
        y, new = self.layer(x, state if len(state) > 1 else state[0])
        return (self.head(y), *(new if isinstance(new, tuple) else (new,)))


def convert(module: Step, x: Tensor, states: tuple[Tensor, ...], path: Path) -> None:
    """`path` in float, and beside it what dynamic quantization makes of it."""
    litert_torch.convert(module.eval(), (x, *states)).export(str(path))
    quantized = quantizer.Quantizer(str(path), recipe.dynamic_wi8_afp32()).quantize()
    quantized.export_model(str(path.with_suffix(".dynamic.tflite")), overwrite=True)


def calibration(module: Step, states: tuple[Tensor, ...]) -> Iterator[dict[str, Any]]:
    """Inputs of single steps by litert-torch's names, the state carried by the float network."""
    for frame in torch.from_numpy(next_frame.speech(test=False, seed=5)[:CALIBRATION]):
        x = frame[None, None]
        yield {f"args_{index}": tensor.numpy() for index, tensor in enumerate((x, *states))}
        with torch.no_grad():
            states = module(x, *states)[1:]


def main() -> None:
    """Random layers for speed, trained networks for fidelity."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for kind in KINDS:
        for size in SIZES:
            torch.manual_seed(size)
            layer = getattr(nn, kind)(size, size, batch_first=True)
            states = tuple(torch.zeros(1, 1, size) for _ in range(2 if kind == "LSTM" else 1))
            convert(Step(layer), torch.zeros(1, 1, size), states, folder / f"{kind}{size}.tflite")
    for kind in next_frame.KINDS:
        network = next_frame.load(kind)
        module = Step(network.rnn, network.out).eval()
        # tensors of their own: one given twice becomes one input
        states = tuple(torch.zeros(1, 1, next_frame.HIDDEN) for _ in range(2 if kind == "lstm" else 1))
        path = folder / f"{kind}.tflite"
        convert(module, torch.zeros(1, 1, next_frame.FEATURES), states, path)
        try:
            worker = quantizer.Quantizer(str(path), recipe.static_wi8_ai8())
            result = worker.calibrate({"serving_default": list(calibration(module, states))})
            worker.quantize(result).export_model(str(path.with_suffix(".static.tflite")), overwrite=True)
        except Exception as error:
            print(f"{kind}: static quantization fails: {type(error).__name__}: {error}"[:400], flush=True)


if __name__ == "__main__":
    main()
