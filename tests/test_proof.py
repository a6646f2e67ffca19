"""The proof notices broken rules: with one broken by hand, the export fails and leaves no file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from edgernn.errors import ExportError, ProofError
from edgernn.export import export_model
from edgernn.export.streaming import Translator
from edgernn.export.symbols import Pad, Timed
from edgernn.export.to_onnx import body
from edgernn.program import Timing

from families import BY_NAME

Patch = Callable[[pytest.MonkeyPatch], None]


def late_by_one(patch: pytest.MonkeyPatch) -> None:
    """Windows begin one frame early, their delay stays."""
    window = Translator.window

    def broken(self: Translator, *arguments: Any) -> Any:
        made = window(self, *arguments)
        return replace(made, first=max(0, made.first - 1)) if made.first else made

    patch.setattr(Translator, "window", broken)


def no_mask(patch: pytest.MonkeyPatch) -> None:
    """Frames outside the sequence are not made zero."""

    def broken(self: Translator, symbol: Timed, pad: Pad, name: str) -> Timed:
        return symbol

    patch.setattr(Translator, "mask", broken)


def no_hold(patch: pytest.MonkeyPatch) -> None:
    """States move while the frames are from before the sequence."""
    patch.setattr(body.Body, "held", lambda self, new, old: new)


def no_alignment(patch: pytest.MonkeyPatch) -> None:
    """Branches meet with different delays."""
    patch.setattr(Translator, "delay", lambda self, symbol, frames: symbol)


def wrong_delay(patch: pytest.MonkeyPatch) -> None:
    """The contract claims one frame less of delay than there is."""
    window = Translator.window

    def broken(self: Translator, *arguments: Any) -> Any:
        made = window(self, *arguments)
        timing: Timing = made.timing
        return replace(made, timing=replace(timing, delay=max(0, timing.delay - 1)))

    patch.setattr(Translator, "window", broken)


def state_not_kept_by_the_engine(patch: pytest.MonkeyPatch) -> None:
    """The same on the engine."""
    from edgernn.runtime.backends.engine import NativeStepper

    make = NativeStepper.__init__

    def broken(self: NativeStepper, *arguments: Any) -> None:
        make(self, *arguments)
        run = self.run

        def forget() -> None:
            run()
            for state in self.states():
                state[...] = 0

        self.run = forget

    patch.setattr(NativeStepper, "__init__", broken)


def state_not_kept(patch: pytest.MonkeyPatch) -> None:
    """The stream starts every step from the initial state."""
    from edgernn.runtime.backends.onnxruntime import OnnxStepper

    run = OnnxStepper.run

    def broken(self: OnnxStepper) -> None:
        run(self)
        for state in self.states():
            state[...] = 0

    patch.setattr(OnnxStepper, "run", broken)


@pytest.mark.parametrize(
    ("break_it", "family"),
    [
        (no_mask, "CRNN symmetric"),
        (no_hold, "CRNN symmetric"),
        (no_hold, "STFT centred, reflect"),
        (no_alignment, "branches with other delays"),
        (wrong_delay, "CRNN symmetric"),
        (late_by_one, "STFT centred, reflect"),
        (state_not_kept, "GRU"),
        (state_not_kept, "TCN with cut ends"),
        (state_not_kept_by_the_engine, "GRU"),
    ],
)
def test_broken_rule_fails_the_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, break_it: Patch, family: str
) -> None:
    module, example = BY_NAME[family].build()
    break_it(monkeypatch)
    name = "m.ernn" if break_it is state_not_kept_by_the_engine else "m.onnx"
    with pytest.raises(ExportError) as caught:
        export_model(module, example, tmp_path / name)
    assert list(tmp_path.iterdir()) == []
    if isinstance(caught.value, ProofError):
        assert "output" in str(caught.value)


def test_bytes_are_the_same_on_any_number_of_cores(tmp_path: Path) -> None:
    """The error of this proof is another where PyTorch shares its sums out among threads."""
    module, example = BY_NAME["MFCC of decibels"].build()
    made, threads = [], torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            path = export_model(module, example, tmp_path / f"on{count}.onnx", name="family").path
            made.append(path.read_bytes())
    finally:
        torch.set_num_threads(threads)
    assert made[0] == made[1]
