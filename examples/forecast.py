"""The next day of seven sensors, foretold anew every hour: a GRU beside an autoregressive highway.

    python -m examples.forecast                     # train, export, quantize; MSE and MAE, float against int8
    python -m examples.forecast --data ETTh1.csv    # a csv of a time stamp and columns of numbers, one row an hour

Data: ETTh1, two years of an electricity transformer (zhouhaoyi/ETDataset, CC BY-ND 4.0), with the usual split of 12, 4
and 4 months, columns scaled by the first 12 (Zhou et al. 2021). Without it, a stated generator: `generated_series`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from examples.measure import find_data, measure, parser, say

HORIZON, PAST = 24, 48  # hours foretold, and hours that the highway sees
WIDTH = 32
TRAIN, VALID, TEST = 8640, 2880, 2880  # rows
STEPS, BATCH, LENGTH = 400, 32, 144  # LENGTH: hours of a training sequence
SETTLED = 48  # hours at its start that are not scored
RATE_OF_LEARNING, SEED = 2e-3, 1
PUBLISHED = "Informer 0.577 and 0.549, LSTMa 0.650 and 0.624 (Zhou et al. 2021, table 2)"

Array = npt.NDArray[Any]


class Forecaster(nn.Module):
    """Hours `[batch, time, columns]` to what is foretold behind each, `[batch, time, columns * HORIZON]`."""

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.gru = nn.GRU(columns, WIDTH, batch_first=True)
        self.dropout = nn.Dropout(0.3)
        self.out = nn.Linear(WIDTH, columns * HORIZON)
        # each column's own past, as LSTNet has it (Lai et al. 2018): recurrent layers forget levels
        self.highway = nn.Conv1d(columns, columns * HORIZON, PAST, groups=columns, bias=False)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        nn.init.constant_(self.highway.weight, 1 / PAST)
        for name, weight in self.gru.named_parameters():
            if "weight_hh" in name:
                for gate in weight.data.chunk(3):
                    nn.init.orthogonal_(gate)

    def keep_levels(self) -> None:
        """Each hour foretold becomes a weighted mean of the past: of a series that is shifted, so is the forecast."""
        with torch.no_grad():
            weight = self.highway.weight
            weight += (1 - weight.sum(2, keepdim=True)) / PAST

    def forward(self, x: Tensor) -> Tensor:
        """Causal: the highway is padded on its left only."""
        past = functional.pad(x.transpose(1, 2), (PAST - 1, 0))
        own = self.highway(past).transpose(1, 2)
        level = functional.avg_pool1d(past, PAST, 1).transpose(1, 2)
        hidden, _ = self.gru(x - level)  # levels of next year are none that it has learned
        return own + self.out(self.dropout(hidden))


def factory() -> tuple[nn.Module, Tensor]:
    """What `edgernn export examples.forecast:factory` takes: the module and an example of its input."""
    return Forecaster(7), torch.zeros(1, LENGTH, 7)


def load_series(path: Path | None) -> tuple[str, Array]:
    """A name, and hours `[rows, columns]`, each column scaled by the training rows' mean and deviation."""
    found = find_data("forecast/ETTh1.csv", path)
    if found is None:
        name, raw = "generated", generated_series()
    else:
        columns = range(1, len(found.read_text().partition("\n")[0].split(",")))
        name, raw = found.stem, np.loadtxt(found, delimiter=",", skiprows=1, usecols=columns)
    raw = raw[: TRAIN + VALID + TEST]
    return name, ((raw - raw[:TRAIN].mean(0)) / raw[:TRAIN].std(0)).astype(np.float32)


def generated_series() -> Array:
    """Seven columns of a day's and a week's course, and a slow drift: a random walk that is drawn back to 0."""
    random, hours = np.random.default_rng(0), np.arange(TRAIN + VALID + TEST)[:, None]
    day = np.sin(2 * np.pi * (hours / 24 + random.random(7))) * random.uniform(0.5, 2, 7)
    week = np.sin(2 * np.pi * (hours / 168 + random.random(7))) * random.uniform(0.2, 1, 7)
    drift = np.zeros((len(hours), 7))
    for hour in range(1, len(hours)):
        drift[hour] = 0.995 * drift[hour - 1] + 0.1 * random.standard_normal(7)
    return day + week + drift + 0.3 * random.standard_normal(drift.shape)


def targets(series: Array) -> Array:
    """What lies behind each hour but the last HORIZON, as the module gives it: `[hours, columns * HORIZON]`."""
    future = np.lib.stride_tricks.sliding_window_view(series[1:], HORIZON, axis=0)
    return future.reshape(len(future), -1)


def train(series: Array, steps: int) -> Forecaster:
    """On the training rows; the weights with the least error on the validation rows are taken."""
    torch.manual_seed(SEED)
    random = np.random.default_rng(SEED)
    model = Forecaster(series.shape[1])
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE_OF_LEARNING, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE_OF_LEARNING, max(steps, 10))
    x, y = torch.from_numpy(series), torch.from_numpy(targets(series[:TRAIN]).copy())
    wanted = torch.from_numpy(targets(series[TRAIN : TRAIN + VALID]).copy())
    best, least, began = model.state_dict(), float("inf"), time.perf_counter()
    for step in range(steps):
        model.train()
        starts = random.integers(0, len(y) - LENGTH, BATCH)
        given = torch.stack([x[start : start + LENGTH] for start in starts])
        right = torch.stack([y[start : start + LENGTH] for start in starts])
        loss = functional.mse_loss(model(given)[:, SETTLED:], right[:, SETTLED:])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        model.keep_levels()
        schedule.step()
        if step % 50 == 49 or step == steps - 1:
            model.eval()
            with torch.no_grad():
                error = functional.mse_loss(model(x[None, TRAIN : TRAIN + VALID])[0, :-HORIZON], wanted).item()
            if error < least:
                least, best = error, {name: item.clone() for name, item in model.state_dict().items()}
            seconds = time.perf_counter() - began
            say(f"step {step + 1}/{steps}  {loss.item():.3f}, validation {error:.3f}  {seconds:.0f} s")
    model.load_state_dict(best)
    return model.eval()


def errors(foretold: Array, series: Array) -> tuple[float, float]:
    """MSE and MAE over the test rows, of forecasts for the hours from one day before them on."""
    wrong = foretold[:-HORIZON] - targets(series[TRAIN + VALID - HORIZON :])
    return float((wrong**2).mean()), float(np.abs(wrong).mean())


def stream_forecasts(path: Path, series: Array) -> Array:
    """Hour by hour through the validation rows, which settle the state, and the test rows; what is given for these."""
    import edgernn

    stream = edgernn.load(path).stream()
    return np.asarray(stream.step(series[TRAIN:]))[VALID - HORIZON :]


def same_as_yesterday(series: Array) -> Array:
    """The seasonal naive forecast: the next day is like the last one."""
    last = np.lib.stride_tricks.sliding_window_view(series[TRAIN + VALID - 2 * HORIZON + 1 :], HORIZON, axis=0)
    return last.reshape(len(last), -1)


def make_files(model: nn.Module, series: Array, out: Path) -> tuple[Path, Path]:
    """The proved float file and the int8 one, calibrated on a third of the training rows."""
    from edgernn.export import export_model
    from edgernn.quantize import quantize_model

    out.mkdir(parents=True, exist_ok=True)
    example = torch.from_numpy(series[None, :LENGTH])
    print(export_model(model, example, out / "forecast.onnx", train_length=LENGTH).report())
    int8 = quantize_model(out / "forecast.onnx", [series[: TRAIN // 3]], out / "forecast.ernn")
    return out / "forecast.onnx", int8.path


def main() -> None:
    """Train, export, quantize, stream the test rows, measure."""
    given = parser(__doc__, STEPS).parse_args()
    name, series = load_series(given.data)
    model = train(series, given.steps)
    files = make_files(model, series, given.out)
    mae = [errors(stream_forecasts(path, series), series)[1] for path in files]
    naive = errors(same_as_yesterday(series), series)

    def score(paths: Sequence[Path]) -> float:
        return errors(stream_forecasts(paths[0], series), series)[0]

    measure(
        "forecast",
        application="forecast",
        data=name,
        network=f"GRU {WIDTH}, grouped Conv1d over {PAST} h",
        parameters=sum(item.numel() for item in model.parameters()),
        metric=f"MSE, {HORIZON} h",
        score=score,
        float_files=[files[0]],
        int8_files=[files[1]],
        rate_hz=1 / 3600,
        notes=[
            f"MAE {mae[0]:.3f} float, {mae[1]:.3f} int8; the same as yesterday has {naive[0]:.3f} and {naive[1]:.3f}.",
            *([f"Published for this horizon, MSE and MAE: {PUBLISHED}."] if name == "ETTh1" else []),
        ],
        out=given.out,
    )


if __name__ == "__main__":
    main()
