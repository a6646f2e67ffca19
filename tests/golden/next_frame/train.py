"""A GRU, an LSTM and an RNN of 128 units that predict speech, for measuring what a format costs: how they were trained.

    python tests/golden/next_frame/train.py        # all three, about a minute each; writes *.pt beside this file

Each takes 40 log-mels of 8 kHz audio every 10 ms, and a linear head gives the next 40. They train on the synthetic
digits in `examples/data`, spoken one after the other; three voices are held back. Weights are stored in float16.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from edgernn.nn import LogMel

Array = npt.NDArray[Any]

FEATURES, HIDDEN = 40, 128
KINDS = ("gru", "lstm", "rnn")
BATCH, PIECE, STEPS, RATE, SEED = 32, 60, 3000, 4e-3, 7
MEAN, SPREAD = -7.0, 3.0  # of log-mels, rounded
HERE = Path(__file__).parent
DIGITS = HERE.parent.parent.parent / "examples" / "data" / "digits.npz"


class NextFrame(nn.Module):
    """Frames `[batch, T, FEATURES]` to predictions of the frames one later."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.rnn = {"gru": nn.GRU, "lstm": nn.LSTM, "rnn": nn.RNN}[kind](FEATURES, HIDDEN, batch_first=True)
        self.out = nn.Linear(HIDDEN, FEATURES)

    def forward(self, x: Tensor) -> Tensor:
        """From the zero state."""
        y: Tensor = self.out(self.rnn(x)[0])
        return y


def speech(*, test: bool, seed: int) -> Array:
    """Log-mels `[frames, FEATURES]` of the clips one after the other, in an order by `seed`; about mean 0, spread 1."""
    data = np.load(DIGITS)
    curve = data["mu_law"] / np.float32(127.5) - 1
    audio = np.sign(curve) * np.expm1(np.abs(curve) * np.log(256)) / 255
    clips = np.split(audio.astype(np.float32), data["offsets"][1:-1])
    order = np.random.default_rng(seed).permutation(np.flatnonzero(data["is_test"] == test))
    joined = np.concatenate([clips[i] for i in order])
    with torch.no_grad():
        mels = LogMel(8000, 256, 80, FEATURES)(torch.from_numpy(joined)[None])[0]
    return np.asarray((mels.numpy() - MEAN) / SPREAD)


def train(kind: str) -> NextFrame:
    """Truncated back-propagation with the state carried from piece to piece."""
    torch.manual_seed(SEED)
    model, began = NextFrame(kind), time.perf_counter()
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, STEPS)
    frames = torch.from_numpy(np.concatenate([speech(test=False, seed=seed) for seed in range(20)]))
    streams = frames[: len(frames) // BATCH * BATCH].reshape(BATCH, -1, FEATURES)
    state, start, running = None, 0, 0.0
    for step in range(STEPS):
        if start + PIECE + 1 > streams.shape[1]:
            state, start = None, 0
        x, wanted = streams[:, start : start + PIECE], streams[:, start + 1 : start + PIECE + 1]
        start += PIECE
        y, state = model.rnn(x, state)
        state = state.detach() if isinstance(state, Tensor) else tuple(item.detach() for item in state)
        loss = nn.functional.mse_loss(model.out(y), wanted)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        running += 0.02 * (loss.item() - running)
        if step % 500 == 499:
            print(f"{kind} {step + 1}: {running:.4f}, {time.perf_counter() - began:.0f} s", file=sys.stderr)
    return model.eval()


def load(kind: str) -> NextFrame:
    """A trained network."""
    model = NextFrame(kind)
    stored = torch.load(HERE / f"{kind}.pt", weights_only=True)
    model.load_state_dict({name: tensor.float() for name, tensor in stored.items()})
    return model.eval()


def main() -> None:
    """Train all three."""
    for kind in KINDS:
        torch.save({name: t.half() for name, t in train(kind).state_dict().items()}, HERE / f"{kind}.pt")


if __name__ == "__main__":
    main()
