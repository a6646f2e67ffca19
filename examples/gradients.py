"""Gradients that vanish and gradients that explode, seen; and what helps: gates, starts, clipping.

    python -m examples.gradients                              # the table, and build/applications/gradients.svg
    python -m examples.gradients --plot docs/gradients.svg

Back-propagation through time multiplies by the same matrix once a step: after LENGTH steps a gradient has grown or
shrunk by its LENGTH-th power (Bengio et al. 1994; Pascanu et al. 2013). The picture has, for every step, the size of
what the last output's gradient does to that step's input, before training. Then each network learns to tell at the end
what its first frame was, which only a gradient that reaches it can teach. The best one is exported and quantized.
No data is needed: frames are random.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from examples.measure import measure, parser, say

LENGTH, FEATURES, WIDTH = 80, 4, 32
NOISE = 0.3  # deviation of the frames behind the first
LARGE = 6.0  # factor on recurrent weights that makes gradients explode
CLIP = 1.0
STEPS, BATCH, TEST, CALIBRATION = 300, 32, 1000, 20
RATE_OF_LEARNING, SEED = 3e-3, 1
COLOURS = ("#d62728", "#ff7f0e", "#8c564b", "#1f77b4", "#17becf", "#2ca02c")

Array = npt.NDArray[Any]


class Remember(nn.Module):
    """Frames `[batch, time, FEATURES]` to what the first one was, as it is known at each: `[batch, time]`."""

    def __init__(self, kind: type[nn.RNNBase] = nn.LSTM, start: Callable[[nn.RNNBase], None] | None = None) -> None:
        super().__init__()
        self.rnn = kind(FEATURES, WIDTH, batch_first=True)
        self.out = nn.Linear(WIDTH, 1)
        if start is not None:
            with torch.no_grad():
                start(self.rnn)

    def forward(self, x: Tensor) -> Tensor:
        """Positive: the first frame was."""
        return self.out(self.rnn(x)[0])[..., 0]


def factory() -> tuple[nn.Module, Tensor]:
    """What `edgernn export examples.gradients:factory` takes: the module and an example of its input."""
    return Remember(nn.LSTM, open_gates), torch.zeros(1, LENGTH, FEATURES)


def larger(rnn: nn.RNNBase) -> None:
    """Recurrent weights that grow what they multiply."""
    rnn.weight_hh_l0 *= LARGE


def orthogonal(rnn: nn.RNNBase) -> None:
    """Recurrent weights that keep lengths (Saxe et al. 2014)."""
    nn.init.orthogonal_(rnn.weight_hh_l0)


def open_gates(rnn: nn.RNNBase) -> None:
    """A forget gate that starts open keeps the cell, and with it the gradient (Jozefowicz et al. 2015)."""
    rnn.bias_ih_l0[WIDTH : 2 * WIDTH] = 4


def open_update(rnn: nn.RNNBase) -> None:
    """The same for a GRU: z near 1 keeps the state."""
    rnn.bias_ih_l0[WIDTH : 2 * WIDTH] = 4


@dataclass(frozen=True)
class Way:
    """A network and how it starts."""

    name: str
    kind: type[nn.RNNBase]
    start: Callable[[nn.RNNBase], None] | None
    clip: bool = True

    def build(self) -> Remember:
        """Always the same."""
        torch.manual_seed(SEED)
        return Remember(self.kind, self.start)


WAYS = (
    Way("RNN", nn.RNN, None),
    Way(f"RNN, weights × {LARGE:g}", nn.RNN, larger),
    Way("RNN, orthogonal", nn.RNN, orthogonal),
    Way("LSTM", nn.LSTM, None),
    Way("LSTM, forget gates open", nn.LSTM, open_gates),
    Way("GRU, update gates open", nn.GRU, open_update),
)


def frames(count: int, random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Sequences `[count, LENGTH, FEATURES]`, and whether the first frame of each is positive."""
    first = random.random(count) < 0.5
    x = NOISE * random.standard_normal((count, LENGTH, FEATURES))
    x[:, 0] = np.where(first, 1.0, -1.0)[:, None]
    return torch.from_numpy(x.astype(np.float32)), torch.from_numpy(first.astype(np.float32))


def gradient_norms(model: Remember) -> Array:
    """Of the last output, by every step's input: root mean square over sequences, `[LENGTH]`."""
    x, _ = frames(BATCH, np.random.default_rng(SEED))
    x.requires_grad_()
    model(x)[:, -1].sum().backward()
    assert x.grad is not None
    return np.asarray(x.grad.pow(2).sum(2).mean(0).sqrt())


def train(way: Way, steps: int) -> tuple[Remember, float]:
    """The trained network, and the largest norm of all gradients that came before clipping."""
    model, random, largest = way.build(), np.random.default_rng(SEED), 0.0
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE_OF_LEARNING)
    for _ in range(steps):
        x, wanted = frames(BATCH, random)
        loss = functional.binary_cross_entropy_with_logits(model(x)[:, -1], wanted)
        optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), CLIP if way.clip else float("inf"))
        largest = max(largest, float(norm))
        optimizer.step()
    return model.eval(), largest


def accuracy(model: Callable[[Tensor], Tensor]) -> float:
    """Share of new sequences whose first frame is known at the end, in %."""
    x, wanted = frames(TEST, np.random.default_rng(SEED + 1))
    with torch.no_grad():
        last = model(x)[:, -1]
    return 100 * float(torch.where(wanted > 0, last > 0, last < 0).float().mean())


def streamed_accuracy(path: Path) -> float:
    """The same through a file, each sequence from reset."""
    import edgernn

    stream = edgernn.load(path).stream()

    def run(x: Tensor) -> Tensor:
        results = []
        for sequence in x.numpy():
            stream.reset()
            results.append(np.asarray(stream.step(sequence)))
        return torch.from_numpy(np.stack(results))

    return accuracy(run)


def plot(curves: Mapping[str, Array], path: Path) -> None:
    """Norms over time on a logarithmic scale, as SVG."""
    width, height, left, top = 640, 360, 60, 20
    floor, ceiling = -16, 12  # powers of ten

    def point(step: int, norm: float) -> str:
        power = np.clip(np.log10(max(norm, 1e-30)), floor, ceiling)
        x = left + step / (LENGTH - 1) * (width - left - 190)
        y = top + (ceiling - power) / (ceiling - floor) * (height - top - 40)
        return f"{x:.1f},{y:.1f}"

    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif">']
    lines.append(f'<rect width="{width}" height="{height}" fill="white"/>')
    for power in range(floor, ceiling + 1, 4):
        x, y = point(0, 10.0**power).split(",")
        lines.append(f'<path d="M{x} {y}H{width - 190}" stroke="#ddd"/>')
        lines.append(f'<text x="{left - 8}" y="{float(y) + 4}" text-anchor="end" font-size="11">1e{power}</text>')
    for (name, norms), colour in zip(curves.items(), COLOURS, strict=True):
        points = " ".join(point(step, norm) for step, norm in enumerate(norms))
        lines.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        height_of_name = top + 20 + 22 * list(curves).index(name)
        lines.append(f'<text x="{width - 180}" y="{height_of_name}" fill="{colour}" font-size="12">{name}</text>')
    label = f"gradient of the last output by the input of each of {LENGTH} steps"
    lines.append(f'<text x="{left}" y="{height - 12}" font-size="12">{label}</text></svg>')
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def make_files(model: nn.Module, out: Path) -> tuple[Path, Path]:
    """The proved float file and the int8 one."""
    from edgernn.export import export_model
    from edgernn.quantize import quantize_model

    out.mkdir(parents=True, exist_ok=True)
    path = out / "gradients.onnx"
    print(export_model(model, factory()[1], path, train_length=LENGTH).report())
    some = frames(CALIBRATION, np.random.default_rng(SEED + 2))[0].numpy()
    return path, quantize_model(path, list(some), path.with_suffix(".ernn")).path


def main() -> None:
    """Look at gradients, train, export the best, measure."""
    options = parser(__doc__, STEPS)
    options.add_argument("--plot", type=Path, help="where the picture goes (default: gradients.svg in --out)")
    given = options.parse_args()
    curves = {way.name: gradient_norms(way.build()) for way in WAYS}
    plot(curves, given.plot or given.out / "gradients.svg")
    unclipped = Way(f"RNN, weights × {LARGE:g}, not clipped", nn.RNN, larger, clip=False)
    rows, best = [], (-1.0, WAYS[0], WAYS[0].build())
    for way in (*WAYS, unclipped):
        began = time.perf_counter()
        model, largest = train(way, given.steps)
        right = accuracy(model)  # what is NaN is wrong
        norms = curves.get(way.name, curves[WAYS[1].name])
        rows.append(
            {
                "network": way.name,
                "first to last gradient": f"{norms[0] / norms[-1]:.0e}",
                "largest norm": f"{largest:.2g}",
                "remembers": f"{right:.1f} %",
            }
        )
        say(f"{way.name}: {right:.1f} %  {time.perf_counter() - began:.0f} s")
        if right >= best[0] and way.clip:
            best = (right, way, model)
    from edgernn.commands.table import table

    print(table(rows))
    files = make_files(best[2], given.out)

    def score(paths: Sequence[Path]) -> float:
        return streamed_accuracy(paths[0])

    measure(
        "gradients",
        application="gradients",
        data="generated",
        network=f"{best[1].name}, {WIDTH} units",
        parameters=sum(item.numel() for item in best[2].parameters()),
        metric=f"right after {LENGTH} steps %",
        score=score,
        float_files=[files[0]],
        int8_files=[files[1]],
        notes=[
            "; ".join(
                f"{item['network']}: first to last gradient {item['first to last gradient']}, largest norm"
                f" {item['largest norm']}, remembers {item['remembers']}"
                for item in rows
            )
            + "."
        ],
        out=given.out,
    )


if __name__ == "__main__":
    main()
