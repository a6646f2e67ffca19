"""Four small networks with long memories, for measuring quantization: how they were trained.

    python tests/golden/long_memory/train.py          # all four, about a minute each; writes *.pt beside this file

Each has 32 inputs, one recurrent layer of 64 units and a linear head of 16 outputs. It learns 14 leaky integrators of
fixed projections of its input, with time constants from 5 to 600 frames, and two latches that a projection sets above
a threshold and resets below its negative. `white` input is independent noise; `correlated` input is 6 slow latent
signals mixed into 32 features with a little noise, as sensor channels are.
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

Array = npt.NDArray[Any]

FEATURES, HIDDEN, OUTPUTS = 32, 64, 16
TAUS = np.geomspace(5, 600, OUTPUTS - 2)
LATENTS, MEMORY, NOISE = 6, 0.9, 0.1
THRESHOLD = 2.0  # standard deviations of a latch's projection
KINDS, SIGNALS = ("gru", "lstm"), ("white", "correlated")
BATCH, PIECE, STEPS, SEED = 32, 128, 1400, 7
HERE = Path(__file__).parent


class LongMemory(nn.Module):
    """x `[batch, T, FEATURES]` to `[batch, T, OUTPUTS]`."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.rnn = (nn.GRU if kind == "gru" else nn.LSTM)(FEATURES, HIDDEN, batch_first=True)
        self.out = nn.Linear(HIDDEN, OUTPUTS)

    def forward(self, x: Tensor) -> Tensor:
        """From the zero state."""
        y: Tensor = self.out(self.rnn(x)[0])
        return y


def signal(name: str, streams: int, frames: int, seed: int) -> Array:
    """Input `[streams, frames, FEATURES]`, float32, of unit variance."""
    random = np.random.default_rng(seed)
    if name == "white":
        return random.standard_normal((streams, frames, FEATURES)).astype(np.float32)
    mixing = np.random.default_rng(SEED).standard_normal((LATENTS, FEATURES)) / np.sqrt(LATENTS)
    latent = random.standard_normal((streams, frames, LATENTS))
    latent[:, 1:] *= np.sqrt(1 - MEMORY**2)
    for t in range(1, frames):
        latent[:, t] += MEMORY * latent[:, t - 1]
    return (latent @ mixing + NOISE * random.standard_normal((streams, frames, FEATURES))).astype(np.float32)


class Teacher:
    """The integrators and latches, advanced piece by piece."""

    def __init__(self, name: str, streams: int) -> None:
        random = np.random.default_rng(SEED + 1)
        self.projection = random.standard_normal((FEATURES, OUTPUTS))
        self.projection /= (signal(name, 8, 4000, SEED) @ self.projection).std((0, 1))
        self.decay = 1 - 1 / TAUS
        memory = MEMORY if name == "correlated" else 0.0
        # variance of an AR(1) filter over an AR(1) signal
        spread = (1 + self.decay * memory) / ((1 - self.decay * memory) * (1 - self.decay**2))
        self.gain = 1 / np.sqrt(spread)
        self.state = np.zeros((streams, OUTPUTS))

    def __call__(self, x: Array) -> Array:
        driven = x @ self.projection
        rows = np.empty((*x.shape[:2], OUTPUTS), np.float32)
        for t in range(x.shape[1]):
            self.state[:, :-2] = self.decay * self.state[:, :-2] + self.gain * driven[:, t, :-2]
            latch = self.state[:, -2:]
            self.state[:, -2:] = np.where(np.abs(driven[:, t, -2:]) > THRESHOLD, np.sign(driven[:, t, -2:]), latch)
            rows[:, t] = self.state
        return rows


def train(kind: str, name: str) -> LongMemory:
    """Truncated back-propagation with the state carried from piece to piece."""
    torch.manual_seed(SEED)
    model = LongMemory(kind)
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, STEPS)
    teacher, state, began, running = Teacher(name, BATCH), None, time.perf_counter(), 0.0
    stream = signal(name, BATCH, PIECE * STEPS, SEED + 2)
    for step in range(STEPS):
        x = stream[:, step * PIECE : (step + 1) * PIECE]
        y, state = model.rnn(torch.from_numpy(x), state)
        state = state.detach() if isinstance(state, Tensor) else tuple(item.detach() for item in state)
        loss = nn.functional.mse_loss(model.out(y), torch.from_numpy(teacher(x)))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        running += 0.02 * (loss.item() - running)
        if step % 200 == 199:
            print(f"{kind} {name} {step + 1}: {running:.4f}, {time.perf_counter() - began:.0f} s", file=sys.stderr)
    return model.eval()


def load(kind: str, name: str) -> LongMemory:
    """A trained network."""
    model = LongMemory(kind)
    model.load_state_dict(torch.load(HERE / f"{kind}-{name}.pt", weights_only=True))
    return model.eval()


def main() -> None:
    """Train all four."""
    for kind in KINDS:
        for name in SIGNALS:
            torch.save(train(kind, name).state_dict(), HERE / f"{kind}-{name}.pt")


if __name__ == "__main__":
    main()
