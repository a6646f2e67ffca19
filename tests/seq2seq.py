"""Encoder-decoders and language models in PyTorch, and the decode loops over them that a package must equal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

DATA = Path(__file__).parent.parent.parent / "shared" / "data"
G2P = DATA / "models" / "g2p_gru"
Step = Callable[[int, tuple[Tensor, ...]], tuple[Tensor, tuple[Tensor, ...]]]  # token, state -> logits, state


class LastState(nn.Module):
    """Embedding and GRU (or LSTM) over symbols; gives its final state."""

    def __init__(
        self, symbols: int, features: int, hidden: int, kind: type[nn.RNNBase] = nn.GRU, layers: int = 1
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(symbols, features)
        self.rnn = kind(features, hidden, layers, batch_first=True)

    def forward(self, ids: Tensor) -> Any:
        return self.rnn(self.embedding(ids))[1]


class NextToken(nn.Module):
    """Embedding, GRU (or LSTM) and logits over tokens, from a state or from zeros; `tied` shares the table."""

    def __init__(
        self,
        tokens: int,
        features: int,
        hidden: int,
        kind: type[nn.RNNBase] = nn.GRU,
        layers: int = 1,
        tied: bool = False,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(tokens, features)
        self.rnn = kind(features, hidden, layers, batch_first=True)
        self.logits = nn.Linear(hidden, tokens)
        if tied:
            self.logits.weight = self.embedding.weight

    def forward(self, tokens: Tensor, *start: Tensor) -> Tensor:
        state = (start if len(start) > 1 else start[0]) if start else None
        return self.logits(self.rnn(self.embedding(tokens), state)[0])


def loop_step(decoder: NextToken) -> Step:
    """One token through a `NextToken`, the state carried."""

    def step(token: int, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        given = (state if len(state) > 1 else state[0]) if state else None
        y, new = decoder.rnn(decoder.embedding(torch.tensor([[token]])), given)
        return decoder.logits(y)[0, 0], new if isinstance(new, tuple) else (new,)

    return step


class Attending(nn.Module):
    """Attends to the encoder's frames: `additive` (Bahdanau et al. 2015) or `dot` (Luong et al. 2015)."""

    def __init__(self, tokens: int, features: int, hidden: int, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.embedding = nn.Embedding(tokens, features)
        self.cell = nn.GRUCell(features + (hidden if kind == "additive" else 0), hidden)
        self.query, self.key = nn.Linear(hidden, hidden), nn.Linear(hidden, hidden)
        self.score = nn.Linear(hidden, 1)
        self.logits = nn.Linear(2 * hidden, tokens)

    def attend(self, h: Tensor, memory: Tensor, length: Tensor) -> Tensor:
        """h `[1, hidden]`, memory `[1, frames, hidden]`, length `[1]` to the context `[1, hidden]`."""
        if self.kind == "additive":
            scores = self.score(torch.tanh(self.query(h)[:, None] + self.key(memory)))[..., 0]
        else:
            scores = torch.bmm(memory, h[:, :, None])[..., 0]
        inside = torch.arange(memory.shape[1]) < length[:, None]
        weights = torch.softmax(scores.masked_fill(~inside, -1e9), -1)
        return torch.bmm(weights[:, None], memory)[:, 0]

    def step(self, token: Tensor, memory: Tensor, length: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """token, length `[1]`, memory `[1, frames, hidden]`, h `[1, hidden]` to logits `[1, tokens]` and h."""
        x = self.embedding(token)
        if self.kind == "additive":
            x = torch.cat([x, self.attend(h, memory, length)], -1)
        h = self.cell(x, h)
        return self.logits(torch.cat([h, self.attend(h, memory, length)], -1)), h


class Frames(nn.Module):
    """GRU over frames: all its outputs, and the final state without its layers' axis."""

    def __init__(self, features: int, hidden: int) -> None:
        super().__init__()
        self.rnn = nn.GRU(features, hidden, batch_first=True)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y, h = self.rnn(x)
        return y, h[-1]


def greedy(step: Step, state: tuple[Tensor, ...], start: int, stop: int, limit: int) -> list[int]:
    found: list[int] = []
    token = start
    while len(found) < limit:
        logits, state = step(token, state)
        token = int(logits.argmax())
        if token == stop:
            break
        found.append(token)
    return found


def sample(
    step: Step, state: tuple[Tensor, ...], start: int, stop: int, limit: int, temperature: float, top_k: int, seed: int
) -> list[int]:
    words, found, token = np.random.PCG64(seed), [], start
    while len(found) < limit:
        logits, state = step(token, state)
        values, order = torch.topk(logits.double() / temperature, top_k)
        total = torch.softmax(values, 0).cumsum(0)
        u = (int(words.random_raw()) >> 11) / 2**53
        token = int(order[min(int((total <= u).sum()), top_k - 1)])
        if token == stop:
            break
        found.append(token)
    return found


def beam(step: Step, state: tuple[Tensor, ...], start: int, stop: int, limit: int, width: int) -> list[int]:
    live, done = [(0.0, [], start, state)], []
    for _ in range(limit):
        grown = []
        for score, tokens, token, state in live:
            logits, new = step(token, state)
            chances = torch.log_softmax(logits.double(), 0)
            grown += [(score + float(p), [*tokens, k], k, new) for k, p in enumerate(chances)]
        grown = sorted(grown, key=lambda item: -item[0])[:width]
        done += [(score, tokens[:-1]) for score, tokens, token, _ in grown if token == stop]
        live = [item for item in grown if item[2] != stop]
        done = sorted(done, key=lambda item: -item[0])[:width]
        if not live or (len(done) == width and done[-1][0] >= live[0][0]):
            break
    else:
        done += [(score, tokens) for score, tokens, _, _ in live]
    return max(done, key=lambda item: item[0])[1]


def g2p() -> tuple[LastState, NextToken, list[str], list[str]]:
    """The trained grapheme-to-phoneme model, its graphemes and its phonemes."""
    weights = {name: torch.from_numpy(array) for name, array in np.load(G2P / "checkpoint20.npz").items()}
    golden = np.load(G2P / "golden.npz")
    encoder, decoder = LastState(29, 256, 256), NextToken(74, 256, 256)
    for module, prefix in ((encoder, "enc"), (decoder, "dec")):
        state = {"embedding.weight": weights[f"{prefix}_emb"]}
        state |= {
            f"rnn.{kind}_{half}_l0": weights[f"{prefix}_{kind[0]}_{half}"]
            for kind in ("weight", "bias")
            for half in ("ih", "hh")
        }
        module.load_state_dict(state, strict=False)
    decoder.logits.load_state_dict({"weight": weights["fc_w"], "bias": weights["fc_b"]})
    return encoder, decoder, list(golden["graphemes"]), list(golden["phoneme_symbols"])
