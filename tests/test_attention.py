"""Attention over time: what is refused and why, limits, and streams far longer than any proof."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import attentive
import numpy as np
import pytest
import torch
from attentive import Attention, distance
from torch import Tensor, nn

import edgernn
from edgernn.errors import EdgeRNNError
from edgernn.export import export_model, plan_export
from edgernn.nn import limited_attention

from families import FEATURES, Lambda, frames

FAR = 100_000  # frames


def _blocks(m: nn.Module, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    block = torch.arange(q.shape[2]) // 4
    return nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=block[:, None] == block)


def _sloped(m: nn.Module, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    behind = distance(q, 2)
    return ((q @ k.mT - 0.1 * behind).masked_fill(behind < 0, float("-inf"))).softmax(-1) @ v


def _over_queries(m: nn.Module, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return torch.softmax(q @ k.mT, -2) @ v


def _without_softmax(m: nn.Module, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return torch.sigmoid(q @ k.mT) @ v


def _weights(m: nn.Module, x: Tensor) -> Tensor:
    return torch.softmax(x @ x.mT, -1)


@pytest.mark.parametrize(
    ("make", "options", "text"),
    [
        (lambda: Attention(_blocks), {}, "no function of how far apart two frames are"),
        (lambda: Attention(_sloped), {"attention_window": 40}, "give a longer example, or a shorter attention window"),
        (lambda: Attention(_over_queries), {}, "normalises scores over the frames that attend"),
        (lambda: Attention(_without_softmax), {}, "every frame with every frame"),
        (lambda: Lambda(_weights), {}, "is the weights of an attention"),
        (lambda: Lambda(lambda m, x: torch.softmax(x, 1)), {}, "all frames of the sequence"),
        (lambda: Lambda(lambda m, x: (torch.softmax(x, 1) * x).cumsum(1)), {}, "reads the weights of an attention"),
        (lambda: Lambda(lambda m, x: (torch.softmax(x, 1) * x).sum((1, 2))), {}, "sum over time alone"),
        (lambda: Attention(attentive.causal), {}, "all frames so far"),
        (lambda: Attention(attentive.windowed), {"attention_window": 8}, "leave the attention window out"),
        (lambda: Attention(attentive.causal), {"attention_window": "8ms"}, "is no attention window"),
        (lambda: Attention(attentive.causal), {"attention_window": 8, "mode": "window:8"}, "take no attention window"),
    ],
)
def test_refused(make: Callable[[], nn.Module], options: dict[str, Any], text: str, tmp_path: Path) -> None:
    with pytest.raises(EdgeRNNError) as caught:
        export_model(make(), frames(), tmp_path / "m.onnx", **options)
    assert text in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_the_contract_names_the_window(tmp_path: Path) -> None:
    """And a window that is shorter than a mask's own holds instead of that."""
    made = export_model(Attention(attentive.alibi), frames(), tmp_path / "m.onnx", attention_window=3)
    assert made.program.spec.provenance["options"] == {"attention_window": {"": [3, 0]}}
    kept = {state.input: state.shape for state in made.program.spec.states}
    assert kept["state.matmul_1.keys.past"] == (2, 1, 2, 8)


def test_plan_with_a_window() -> None:
    """A dry run says what attention keeps, and how late it is."""
    plan = plan_export(Attention(attentive.everywhere), frames(), attention_window="6/2")
    assert plan.blockers == ()
    late = [step for step in plan.steps if step.delay]
    assert [(step.op, step.delay) for step in late] == [("matmul", 2)]
    assert any("keys" in name for name in late[0].states)


@pytest.mark.parametrize("attend", [attentive.rotary, attentive.rotary_pairs])
def test_rotary_positions_far_from_the_start(attend: Any, tmp_path: Path) -> None:
    """The newest five frames alone decide, and what they give does not change however late they come."""

    def attention(m: nn.Module, x: Tensor) -> Tensor:
        heads = x.unflatten(-1, (1, FEATURES)).transpose(1, 2)
        return attend(m, 3 * heads, heads, heads)[:, 0]

    export_model(Lambda(attention), frames(), tmp_path / "m.ernn")
    x = np.random.default_rng(1).standard_normal((FAR + 20, FEATURES)).astype(np.float32)
    old, new = (edgernn.load(tmp_path / "m.ernn").stream() for _ in range(2))
    old.step(x[:FAR])
    new.step(x[FAR - 5 : FAR])
    np.testing.assert_allclose(old.step(x[FAR:]), new.step(x[FAR:]), atol=1e-5)


def test_pooling_of_a_long_stream(tmp_path: Path) -> None:
    """Scores from -300 to 300 and a new largest one again and again: the mean is that of float64."""
    module = Lambda(lambda m, x: (torch.softmax(x[..., :1], 1) * x).sum(1))
    export_model(module, frames(), tmp_path / "m.ernn")
    random = np.random.default_rng(2)
    x = random.standard_normal((FAR, FEATURES)).astype(np.float32)
    x[:, 0] = np.linspace(-300, 300, FAR) + random.standard_normal(FAR)
    y = edgernn.load(tmp_path / "m.ernn").stream().step(x)
    for end in (1, 1000, FAR):
        score = x[:end, 0].astype(np.float64)
        weights = np.exp(score - score.max())
        np.testing.assert_allclose(y[end - 1], weights @ x[:end] / weights.sum(), atol=1e-4, rtol=1e-5)


def test_pooling_of_equal_scores_is_the_mean(tmp_path: Path) -> None:
    module = Lambda(lambda m, x: (torch.softmax(0 * x[..., :1], 1) * x).sum(1))
    export_model(module, frames(), tmp_path / "m.ernn")
    x = np.random.default_rng(3).standard_normal((FAR, FEATURES)).astype(np.float32)
    y = edgernn.load(tmp_path / "m.ernn").stream().step(x)
    np.testing.assert_allclose(y[-1], x.mean(0, dtype=np.float64), atol=1e-5)


def test_limited_attention() -> None:
    """A window as long as the sequence changes nothing; a shorter one does, trains, and is gone behind the block."""
    module, x = Attention(attentive.causal).eval(), frames()
    whole = module(x)
    with limited_attention(module, {"": (x.shape[1], 0)}):
        torch.testing.assert_close(module(x), whole)
    with limited_attention(module, {"": (3, 0)}):
        limited = module(x)
        limited.sum().backward()
    assert module.project.weight.grad is not None
    assert not torch.allclose(limited, whole)
    torch.testing.assert_close(limited[:, :3], whole[:, :3])
    torch.testing.assert_close(module(x), whole)
