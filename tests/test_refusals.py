"""What cannot stream is refused with the module's path, the operation, and what to do; no file is left."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from edgernn.errors import EdgeRNNError, ExportError, UnsupportedError
from edgernn.export import export_model, plan_export
from edgernn.export.rules import find_rule, rule_names

import refused
import support
from families import FEATURES, Lambda, frames
from networks import MFCC


class CellLoop(nn.Module):
    """A Python loop over a cell."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(FEATURES, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = x.new_zeros(x.shape[0], 4)
        rows = []
        for frame in x.unbind(1):
            h = self.cell(frame, h)
            rows.append(h)
        return torch.stack(rows, 1)


class Packed(nn.Module):
    """A packed sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(FEATURES, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(x, torch.tensor([x.shape[1]]), batch_first=True)
        return nn.utils.rnn.pad_packed_sequence(self.gru(packed)[0], batch_first=True)[0]


def changed_part(m: nn.Module, x: Tensor) -> Tensor:
    y = x * 2
    y[:, :, 0] += 1
    return y


def unknown(module: nn.Module, value: float, rows: int | None = None) -> nn.Module:
    """A module with one value in the first rows of its first parameter, or in all of them."""
    with torch.no_grad():
        next(module.parameters())[:rows] = value
    return module


def attention(m: nn.Module, x: Tensor) -> Tensor:
    return torch.softmax(x @ x.transpose(1, 2), -1) @ x


REFUSED: list[tuple[str, Callable[[], nn.Module], list[str]]] = [
    ("bidirectional", lambda: nn.GRU(FEATURES, 4, batch_first=True, bidirectional=True), ["gru", "future"]),
    ("inside a module", lambda: Lambda(lambda m, x: m.enc(x), enc=nn.Sequential(
        nn.Linear(FEATURES, 4), nn.LSTM(4, 4, batch_first=True, bidirectional=True)
    )), ["`enc.1`, `lstm`", "bidirectional"]),
    ("Python loop", CellLoop, ["`cell`, `gru_cell`", "changes with the length", "`nn.GRU`"]),
    ("packed sequence", Packed, ["pack_padded_sequence"]),
    ("softmax over time", lambda: Lambda(lambda m, x: x.softmax(1)), ["softmax", "all frames", "dim=-1"]),
    ("flip of time", lambda: Lambda(lambda m, x: x.flip(1)), ["flip", "backwards"]),
    ("mean over time, taken off", lambda: Lambda(lambda m, x: x - x.mean(1, keepdim=True)), ["mean", "cumsum"]),
    ("newest frame, taken off", lambda: Lambda(lambda m, x: x - x[:, -1:]), ["newest frame"]),
    ("attention", lambda: Lambda(attention), ["matmul", "all frames of the sequence"]),
    ("norm over time", lambda: Lambda(lambda m, x: m.norm(x.transpose(1, 2)), norm=nn.InstanceNorm1d(FEATURES)),
     ["instance_norm", "all frames"]),
    ("group norm over time", lambda: Lambda(lambda m, x: m.norm(x.transpose(1, 2)), norm=nn.GroupNorm(2, FEATURES)),
     ["group_norm", "all frames"]),
    ("decibels below the loudest", lambda: Lambda(lambda m, x: m.front(x[:, :, 0]), front=MFCC(
        8, 4, log_mels=False, top_db=80.0
    )), ["decibels", "top_db=None"]),
    ("a part changed in place", lambda: Lambda(changed_part), ["add_", "in place", "out of place"]),
    ("adaptive pooling of time", lambda: Lambda(lambda m, x: functional.adaptive_avg_pool1d(x.transpose(1, 2), 3)),
     ["adaptive_avg_pool1d", "whole sequence", "AvgPool1d"]),
    ("mean without the padding", lambda: Lambda(
        lambda m, x: functional.avg_pool1d(x.transpose(1, 2), 3, 1, 1, count_include_pad=False)
    ), ["avg_pool1d", "count_include_pad=True"]),
    ("transposed convolution over features", lambda: Lambda(
        lambda m, x: m.up(x[:, -1:]), up=nn.ConvTranspose1d(1, 2, 4)
    ), ["conv_transpose1d", "ConvTranspose2d with one row"]),
    ("an angle itself", lambda: Lambda(lambda m, x: torch.stft(
        x[:, :, 0], 8, 4, window=torch.ones(8), center=False, return_complex=True
    ).angle() + 1), ["add", "angle"]),
    ("rates that do not divide", lambda: Lambda(
        lambda m, x: m.down(x.transpose(1, 2).repeat_interleave(3, -1)), down=nn.Conv1d(FEATURES, 2, 2, stride=2)
    ), ["conv1d", "one of 2 frames where 3 come at a time"]),
    ("projection over a feature axis", lambda: Lambda(
        lambda m, x: m.rnn(x.reshape(-1, FEATURES // 2, 2))[0], rnn=nn.LSTM(2, 4, proj_size=2, batch_first=True)
    ), ["lstm", "proj_size"]),
    ("linear over time", lambda: Lambda(lambda m, x: m.fc(x.transpose(1, 2)), fc=nn.Linear(24, 4)), ["torch.export"]),
    ("reshape mixing time", lambda: Lambda(lambda m, x: x.transpose(1, 2).reshape(1, -1, FEATURES)), ["mixes frames"]),
    ("recurs over features", lambda: Lambda(
        lambda m, x: m.gru(x.transpose(1, 2).reshape(1, FEATURES, -1)[:, :, :4])[0], gru=nn.GRU(4, 4, batch_first=True)
    ), ["at a fixed place"]),
    ("first frame", lambda: Lambda(lambda m, x: x[:, 0]), ["frame 0", "newest"]),
    ("frames joined in time", lambda: Lambda(lambda m, x: torch.cat([x, x], 1)),
     ["joins values along time", "F.pad(x, (0, 0, 1, -1))"]),
    ("a learned first frame", lambda: Lambda(
        lambda m, x: torch.cat([m.start.weight.unsqueeze(0), x[:, :-1]], 1), start=nn.Linear(FEATURES, 1)
    ), ["cat", "several values"]),
    ("place of an extreme in time", lambda: Lambda(lambda m, x: x.argmax(1)), ["argmax", "dim=-1"]),
    ("replicate padding", lambda: Lambda(lambda m, x: functional.pad(x.transpose(1, 2), (3, 0), "replicate")),
     ["replicate", "zeros"]),
    ("a table with a row per frame", lambda: Lambda(lambda m, x: x + torch.randn(1, 24, FEATURES)), []),
    ("no rule", lambda: Lambda(lambda m, x: torch.linalg.matrix_exp(x.unsqueeze(2).expand(1, -1, 8, 8))),
     ["matrix_exp", "no streaming rule", "Recurrent"]),
    (
        "a weight that changes over time",
        lambda: Lambda(lambda m, x: functional.linear(torch.ones(1, FEATURES), x[0])),
        ["linear", "does not know this use"],
    ),
    ("elements by their values", lambda: Lambda(lambda m, x: x[x > 0]), ["`forward`, `index`", "torch.where"]),
    ("a cast to double", lambda: Lambda(lambda m, x: x.double().mean(-1)), ["`to`", "float64", "module.float()"]),
    ("half inside", lambda: Lambda(lambda m, x: m.fc(x.half()).float(), fc=nn.Linear(FEATURES, 4).half()),
     ["`to`", "float16", "module.float()"]),
    ("a module in double", lambda: nn.GRU(FEATURES, 4, batch_first=True).double(),
     ["torch.export", "module.float()", "`weight_ih_l0` is torch.float64"]),
    ("TorchScript", lambda: Lambda(lambda m, x: m.fc(x), fc=torch.jit.script(nn.Linear(FEATURES, 4))),
     ["`fc`", "TorchScript", "nn.Module"]),
    ("TorchScript itself", lambda: torch.jit.script(nn.Linear(FEATURES, 4)), ["TorchScript", "nn.Module"]),
    ("NaN in a weight", lambda: unknown(nn.GRU(FEATURES, 4, batch_first=True), float("nan")),
     ["gives NaN", "`weight_ih_l0` has NaN"]),
    ("an infinite weight", lambda: unknown(nn.Linear(FEATURES, 4), float("inf")), ["`weight` has infinite elements"]),
    ("NaN in one of the weights", lambda: unknown(nn.Linear(FEATURES, 4), float("nan"), 1),
     ["gives NaN", "`weight` has NaN"]),
    ("an infinity among the weights", lambda: unknown(nn.Linear(FEATURES, 4), float("inf"), 1),
     ["`weight` has infinite elements"]),
    ("NaN from forward", lambda: Lambda(lambda m, x: x * float("nan")), ["gives NaN", "look at what forward()"]),
    ("divided by the length", lambda: Lambda(lambda m, x: x / x.shape[1]),
     ["`forward`, `div`", "sequence's length", "24 and 26 frames", "constant"]),
    ("the length added in place", lambda: Lambda(lambda m, x: (x * 2).add_(x.shape[1])),
     ["`add_`", "sequence's length"]),
    ("another operation in longer sequences", lambda: Lambda(lambda m, x: x.tanh() if x.shape[1] > 24 else x.exp()),
     ["other operations at 24 frames than at 26", "every length"]),
    ("more operations in longer sequences", lambda: Lambda(lambda m, x: x.tanh().exp() if x.shape[1] > 24 else x.exp()),
     ["other operations at 24 frames than at 26"]),
    ("another operation in short sequences", lambda: Lambda(lambda m, x: x.tanh() if x.shape[1] > 9 else x),
     ["other operations at 2 frames than at 24", "every length"]),
    ("no output with frames", lambda: Lambda(lambda m, x: m.gru(x)[1], gru=nn.GRU(FEATURES, 4)), []),
    ("complex output", lambda: Lambda(lambda m, x: torch.stft(
        x[:, :, 0], 8, 4, window=torch.ones(8), center=False, return_complex=True
    )), ["complex", "view_as_real"]),
]  # fmt: skip


@pytest.mark.parametrize(("make", "texts"), [pytest.param(m, t, id=n) for n, m, t in REFUSED])
def test_refused(tmp_path: Path, make: Callable[[], nn.Module], texts: list[str]) -> None:
    with pytest.raises(EdgeRNNError) as caught:
        export_model(make(), frames(), tmp_path / "m.onnx")
    for text in texts:
        assert text in str(caught.value)
    assert caught.value.hint
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("example", "axis", "text"),
    [
        (torch.zeros(1, 24, FEATURES, dtype=torch.float64), 1, "module.float"),
        (torch.zeros(1, 24, FEATURES, dtype=torch.int16), 1, "give the example as int64, int32 or float32"),
        (torch.zeros(1, 24, FEATURES, dtype=torch.bool), 1, "give the example as int64, int32 or float32"),
        (torch.zeros(1, 24, 0), 1, "no elements"),
        (torch.zeros(1, 1, FEATURES), 1, "fewer than 2 frames"),
        (torch.zeros(1, 24, FEATURES), 5, "time axis 5"),
        ([torch.zeros(1, 24, FEATURES), "no tensor"], 1, "str"),
        (torch.zeros(1, 24, FEATURES), [1, 1], "2 time axes for 1 inputs"),
        (torch.zeros(1, 24, FEATURES + 1), 1, "torch.export"),
    ],
)
def test_wrong_example(tmp_path: Path, example: Any, axis: Any, text: str) -> None:
    with pytest.raises(ExportError, match=text):
        export_model(nn.GRU(FEATURES, 4, batch_first=True), example, tmp_path / "m.onnx", axis)
    assert list(tmp_path.iterdir()) == []


def test_wrong_place(tmp_path: Path) -> None:
    module = nn.GRU(FEATURES, 4, batch_first=True)
    for path, text in ((tmp_path / "m.xyz", "no format"), (tmp_path / "none" / "m.onnx", "folder does not exist")):
        with pytest.raises(ExportError, match=text):
            export_model(module, frames(), path)


def test_training_mode_is_given_back(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(FEATURES, 4), nn.Dropout(0.5)).train()
    module[0].eval()
    export_model(module, frames(), tmp_path / "m.onnx")
    assert module.training
    assert module[1].training
    assert not module[0].training


def test_state_argument_used_elsewhere(tmp_path: Path) -> None:
    class Scaled(nn.Module):
        def forward(self, x: Tensor, scale: Tensor) -> Tensor:
            return x * scale

    with pytest.raises(UnsupportedError, match="input `scale` has no frames"):
        export_model(Scaled(), (frames(), torch.ones(1)), tmp_path / "m.onnx", [1, None])


def test_rules_are_found_by_name() -> None:
    assert find_rule("gru.input") is not None
    assert find_rule("no.such") is None
    assert len(rule_names()) > 100


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in refused.REFUSED])
def test_modules_that_users_bring(case: refused.Refused) -> None:
    """A dry run names the module, the operation and a remedy."""
    plan = plan_export(case.make(), refused.example())
    assert plan.spec is None
    first = plan.blockers[0]
    assert first.place == case.place
    assert case.cause in first.cause
    assert case.hint in first.hint
    assert f"blocks: {first.place}: {first.cause}" in plan.report()
    for column, found in zip(support.REFUSAL_COLUMNS, (first.place, first.cause, first.hint), strict=True):
        support.check(case.name, column, found)


def test_a_dry_run_sees_the_length() -> None:
    """What depends on it fails no proof only: it blocks."""
    module = Lambda(lambda m, x: m.gru(x)[0] / x.shape[1], gru=nn.GRU(FEATURES, 4, batch_first=True))
    plan = plan_export(module, frames())
    assert plan.spec is None
    assert [(item.place, "sequence's length" in item.cause) for item in plan.blockers] == [("`forward`, `div`", True)]


def test_all_that_blocks_is_found() -> None:
    """Behind what blocks, the others are looked at too; what streams is told with its delay and its states."""
    module = Lambda(
        lambda m, x: m.gru(m.lstm(m.conv(x.transpose(1, 2)).transpose(1, 2).softmax(1))[0])[0].flip(1),
        conv=nn.Conv1d(FEATURES, 4, 5, padding=2),
        lstm=nn.LSTM(4, 4, batch_first=True, bidirectional=True),
        gru=nn.GRU(8, 4, batch_first=True),
    )
    plan = plan_export(module, frames())
    assert [item.place for item in plan.blockers] == ["`forward`, `softmax`", "`lstm`, `lstm`", "`forward`, `flip`"]
    assert [(step.path, step.delay) for step in plan.steps if step.delay] == [("conv", 2)]
    assert [step.states for step in plan.steps if step.path == "gru" and step.states] == [("state.gru.l0.h",)]


def test_plan_of_what_streams() -> None:
    """Delays are said where they arise, also those of branches that wait; they sum up to the contract's."""
    module = Lambda(
        lambda m, x: m.gru(x + m.conv(x.transpose(1, 2)).transpose(1, 2))[0],
        conv=nn.Conv1d(FEATURES, FEATURES, 7, padding=3),
        gru=nn.GRU(FEATURES, 4, batch_first=True),
    )
    plan = plan_export(module, frames())
    assert plan.blockers == ()
    assert plan.spec is not None
    assert sum(step.delay for step in plan.steps) == plan.spec.delay == 3
    assert plan.report().startswith("streams: hop 1, delay 3 output frames, latency 3 input frames\n")
    assert "`conv`, `conv1d` is 3 input frames late" in plan.report()
