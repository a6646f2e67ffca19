"""Heartbeats that are unlike the normal ones: an LSTM autoencoder over windows, which learns normal beats only.

    python -m examples.anomaly                            # train, export, quantize; area under the ROC curve
    python -m examples.anomaly --data ecg5000_train.npz   # arrays `x` [beats, 140] and `y`, where 1 is normal

What the network can't draw again from the few numbers that it keeps of a beat is no beat of the kind that it has seen.
The whole beat has to be over before it is drawn, so the file's mode is `window:140`: a step is one beat.

Data: ECG5000 (UCR archive, from PhysioNet's BIDMC record chf07; no licence is stated): its 500 training beats, of which
292 are normal. Without it a stated generator, `generated_beats`.
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

from examples.measure import find_data, measure, parser, say

BEAT = 140  # samples of a beat
WIDTH, KEPT = 32, 8  # units of both layers; numbers that are kept of a beat
NORMAL, TRAIN = 1, 200  # the class of normal beats, and how many of them are trained on
THRESHOLD = 0.95  # a beat is reported whose error is above that of so many training beats
CALIBRATION = 40  # training beats
STEPS, BATCH = 1200, 25
RATE_OF_LEARNING, SEED = 4e-3, 1

Array = npt.NDArray[Any]


class Autoencoder(nn.Module):
    """Beats `[batch, BEAT, 1]` to how well each is drawn again: its error at every sample, `[batch, BEAT, 1]`."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.LSTM(1, WIDTH, batch_first=True)
        self.keep = nn.Linear(WIDTH, KEPT)
        self.decoder = nn.LSTM(KEPT, WIDTH, batch_first=True)
        self.out = nn.Linear(WIDTH, 1)
        for layer in (self.encoder, self.decoder):
            for gate in layer.weight_hh_l0.data.chunk(4):
                nn.init.orthogonal_(gate)
            layer.bias_ih_l0.data.zero_()
            layer.bias_hh_l0.data.zero_()
            layer.bias_ih_l0.data[WIDTH : 2 * WIDTH] = 2  # forget gates start open: a beat is long

    def forward(self, beat: Tensor) -> Tensor:
        """The drawing minus the beat, squared."""
        _, (last, _) = self.encoder(beat)
        kept = torch.tanh(self.keep(last[-1]))
        drawn, _ = self.decoder(kept[:, None].expand(-1, BEAT, -1))
        wrong = self.out(drawn) - beat
        return wrong * wrong


def factory() -> tuple[nn.Module, Tensor]:
    """What `edgernn export examples.anomaly:factory --mode window:140` takes."""
    return Autoencoder(), torch.zeros(1, BEAT, 1)


def load_beats(path: Path | None) -> tuple[str, Array, Array]:
    """A name, beats `[beats, BEAT, 1]` of mean 0 and deviation 1, and whether each is normal."""
    found = find_data("ecg/ecg5000_train.npz", path)
    if found is None:
        return ("generated", *generated_beats())
    data = np.load(found)
    return "ECG5000", data["x"][..., None].astype(np.float32), data["y"] == NORMAL


def generated_beats(count: int = 500) -> tuple[Array, Array]:
    """Sums of bumps at the places of P, QRS and T, jittered; where no normal one, QRS is wide and P is missing."""
    random, at = np.random.default_rng(0), np.linspace(0, 1, BEAT)
    normal = random.random(count) < 0.6
    beats = np.zeros((count, BEAT))
    for beat, good in zip(beats, normal, strict=True):
        bumps = [(0.25, 0.03, 0.15 * good), (0.4, 0.012 if good else 0.04, 1.0), (0.65, 0.05, 0.3)]
        for place, width, height in bumps:
            place += random.normal(0, 0.01)
            beat += height * random.uniform(0.8, 1.2) * np.exp(-(((at - place) / width) ** 2))
        beat += 0.03 * random.standard_normal(BEAT)
    beats = (beats - beats.mean(1, keepdims=True)) / beats.std(1, keepdims=True)
    return beats[..., None].astype(np.float32), normal


def train(beats: Array, steps: int) -> Autoencoder:
    """On normal beats, back-propagated through all of the beat and its drawing."""
    torch.manual_seed(SEED)
    random = np.random.default_rng(SEED)
    model = Autoencoder()
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE_OF_LEARNING)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE_OF_LEARNING, max(steps, 10))
    began = time.perf_counter()
    for step in range(steps):
        batch = torch.from_numpy(beats[random.integers(0, len(beats), BATCH)])
        loss = model(batch).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 99:
            say(f"step {step + 1}/{steps}  error {loss.item():.3f}  {time.perf_counter() - began:.0f} s")
    return model.eval()


def beat_errors(path: Path, beats: Array) -> Array:
    """Mean error of each beat, one step a beat."""
    import edgernn

    stream = edgernn.load(path).stream()
    return np.array([np.asarray(stream.step(beat)).mean() for beat in beats])


def roc_area(errors: Array, normal: Array) -> float:
    """Of a normal and another beat, the share of pairs in which the other has the larger error, in %."""
    good, other = errors[normal], errors[~normal]
    above = (other[:, None] > good).mean() + 0.5 * (other[:, None] == good).mean()
    return float(100 * above)


def make_files(model: nn.Module, beats: Array, out: Path) -> tuple[Path, Path]:
    """The proved float file and the int8 one, calibrated on some of the training beats."""
    from edgernn.export import export_model
    from edgernn.quantize import quantize_model

    out.mkdir(parents=True, exist_ok=True)
    example = torch.from_numpy(beats[:1])
    result = export_model(model, example, out / "anomaly.onnx", mode=f"window:{BEAT}", train_length=BEAT)
    print(result.report())
    some = list(beats[:: max(1, len(beats) // CALIBRATION)])
    return out / "anomaly.onnx", quantize_model(out / "anomaly.onnx", some, out / "anomaly.ernn").path


def main() -> None:
    """Train, export, quantize, stream, measure."""
    given = parser(__doc__, STEPS).parse_args()
    name, beats, normal = load_beats(given.data)
    chosen = np.flatnonzero(normal)[:TRAIN]
    training = beats[chosen]
    held = np.setdiff1d(np.arange(len(beats)), chosen)
    model = train(training, given.steps)
    files = make_files(model, training, given.out)
    limit = np.quantile(beat_errors(files[1], training), THRESHOLD)
    reported = beat_errors(files[1], beats[held]) > limit
    found, wrongly = reported[~normal[held]].mean(), reported[normal[held]].mean()

    def score(paths: Sequence[Path]) -> float:
        return roc_area(beat_errors(paths[0], beats[held]), normal[held])

    measure(
        "anomaly",
        application="anomaly",
        data=name,
        network=f"autoencoder of 2 × LSTM {WIDTH}, {KEPT} numbers a beat",
        parameters=sum(item.numel() for item in model.parameters()),
        metric="ROC area %",
        score=score,
        float_files=[files[0]],
        int8_files=[files[1]],
        rate_hz=BEAT / 0.8,  # a beat of 0.8 s
        notes=[
            f"A step is a whole beat of {BEAT} samples.",
            f"Of {len(held)} beats held back, {normal[held].sum()} normal, int8 reports {found:.1%} of the others and"
            f" {wrongly:.1%} of the normal ones: those above the error of {THRESHOLD:.0%} of the training beats.",
        ],
        out=given.out,
    )


if __name__ == "__main__":
    main()
