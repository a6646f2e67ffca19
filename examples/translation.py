"""From one sequence of symbols to another: a GRU encoder, and a GRU decoder that attends to it.

    python -m examples.translation                          # train, export, quantize; greedy and beam, float and int8
    python -m examples.translation --data cmudict.dict.gz

Letters become phonemes: the CMU Pronouncing Dictionary (Carnegie Mellon University, from cmusphinx/cmudict; BSD-like
licence, which comes with it), words of letters alone, without stress marks as is usual for this task. One word in 50 is
held back; it is right where it is spoken as in any of the dictionary's pronunciations. Without the dictionary, or with
`--data dates`, dates in several ways of writing become ISO 8601: `generated_dates`.

Attention is Luong's (2015, "general"): it stands behind the decoder's cell, so that in training all tokens of a
sequence attend at once.
"""

from __future__ import annotations

import datetime
import gzip
import random
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from examples.measure import find_data, measure, parser, say

START, STOP = 0, 1  # tokens; those of the alphabet follow
EMBEDDING, WIDTH = 64, 128
LONGEST = 24  # symbols of a source, and tokens of a target
BEAM = 4  # hypotheses
METHODS: dict[str, dict[str, Any]] = {"greedy": {"method": "greedy"}, f"beam {BEAM}": {"method": "beam", "beam": BEAM}}
STEPS, BATCH = 3000, 64
HELD_BACK = 50  # every so many-th source
CALIBRATION = 300  # pairs
DATES = 20_000  # generated ones
SHOWN = 8  # sources, at the end
RATE_OF_LEARNING, SEED = 3e-3, 1

Array = npt.NDArray[Any]
Pairs = dict[
    str, list[tuple[str, ...]]
]  # from a source, its symbols being letters, to its targets; the first is learnt


class Encoder(nn.Module):
    """Symbols `[batch, frames]` to the memory `[batch, frames, WIDTH]` and the final state `[batch, WIDTH]`."""

    def __init__(self, symbols: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(symbols, EMBEDDING)
        self.gru = nn.GRU(EMBEDDING, WIDTH, batch_first=True)
        for gate in self.gru.weight_hh_l0.data.chunk(3):
            nn.init.orthogonal_(gate)

    def forward(self, symbols: Tensor) -> tuple[Tensor, Tensor]:
        """From the initial state."""
        memory, state = self.gru(self.embedding(symbols))
        return memory, state[-1]


class Decoder(nn.Module):
    """The last token, the encoder's memory and a state to the logits of the next token."""

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(tokens, EMBEDDING)
        self.cell = nn.GRUCell(EMBEDDING, WIDTH)
        self.query = nn.Linear(WIDTH, WIDTH, bias=False)
        self.combine = nn.Linear(2 * WIDTH, WIDTH)
        self.out = nn.Linear(WIDTH, tokens)
        for gate in self.cell.weight_hh.data.chunk(3):
            nn.init.orthogonal_(gate)

    def logits(self, hidden: Tensor, memory: Tensor, length: Tensor) -> Tensor:
        """hidden `[batch, tokens, WIDTH]`, memory `[batch, frames, WIDTH]` and its length `[batch]` to logits."""
        scores = torch.bmm(self.query(hidden), memory.transpose(1, 2))
        outside = torch.arange(memory.shape[1]) >= length[:, None]
        weights = torch.softmax(scores.masked_fill(outside[:, None], -1e9), -1)
        return self.out(torch.tanh(self.combine(torch.cat([hidden, torch.bmm(weights, memory)], -1))))

    def step(self, token: Tensor, memory: Tensor, length: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """One token of each sequence, `[batch]`; what a package's decoder is made of."""
        state = self.cell(self.embedding(token), state)
        return self.logits(state[:, None], memory, length)[:, 0], state

    def forward(self, tokens: Tensor, memory: Tensor, state: Tensor) -> Tensor:
        """All tokens `[batch, tokens]`, shown whatever the decoder would have chosen (teacher forcing)."""
        hidden = []
        for x in self.embedding(tokens).unbind(1):
            state = self.cell(x, state)
            hidden.append(state)
        return self.logits(torch.stack(hidden, 1), memory, torch.full(tokens.shape[:1], memory.shape[1]))


@dataclass
class Task:
    """Pairs to learn and pairs held back, and how symbols and tokens are numbered."""

    name: str
    training: Pairs
    test: Pairs
    symbols: list[str] = field(init=False)
    tokens: list[str] = field(init=False)

    def __post_init__(self) -> None:
        everything = self.training | self.test
        self.symbols = sorted({letter for source in everything for letter in source})
        found = {token for targets in everything.values() for target in targets for token in target}
        self.tokens = ["<start>", "<stop>", *sorted(found)]

    def source(self, text: str) -> Array:
        """Numbers of its letters. Raises `ValueError` for one that was never seen."""
        return np.array([self.symbols.index(letter) for letter in text], np.int64)

    def target(self, tokens: Iterable[str]) -> list[int]:
        """Numbers of its tokens."""
        return [self.tokens.index(token) for token in tokens]


def load_task(path: Path | None) -> Task:
    """The dictionary, or generated dates."""
    found = None if str(path) == "dates" else find_data("text/cmudict.dict.gz", path)
    pairs = generated_dates() if found is None else read_dictionary(found)
    sources = sorted(pairs)
    random.Random(SEED).shuffle(sources)
    test = {source: pairs[source] for source in sources[::HELD_BACK]}
    training = {source: pairs[source] for source in sources if source not in test}
    return Task("dates, generated" if found is None else "cmudict", training, test)


def read_dictionary(path: Path) -> Pairs:
    """Lines `word PH PH …`, further pronunciations as `word(2) PH PH …`, remarks behind #."""
    pairs: Pairs = {}
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            word, *phonemes = line.split("#")[0].split()
            word = word.partition("(")[0]
            spoken = tuple(phoneme.rstrip("012") for phoneme in phonemes)
            if word.isascii() and word.isalpha() and 1 < len(word) <= LONGEST and len(spoken) < LONGEST:
                pairs.setdefault(word, []).append(spoken)
    return pairs


def generated_dates() -> Pairs:
    """Days from 1950 to 2049, each in one of five ways of writing, to `yyyy-mm-dd`."""
    ways = ("%d %B %Y", "%B %d, %Y", "%b %d %y", "%A %d %b %Y", "%d.%m.%y")
    drawn = random.Random(SEED)
    first = datetime.date(1950, 1, 1)
    days = [first + datetime.timedelta(drawn.randrange(36_500)) for _ in range(DATES)]
    written = {day.strftime(drawn.choice(ways)).lower(): day for day in days}
    return {text: [tuple(day.isoformat())] for text, day in written.items() if len(text) <= LONGEST}


def batches(task: Task, generator: np.random.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Sources of one length `[BATCH, frames]` and their targets `[BATCH, tokens]`, filled up with START; for ever."""
    groups: dict[int, list[tuple[Array, list[int]]]] = {}
    for text, targets in task.training.items():
        groups.setdefault(len(text), []).append((task.source(text), [*task.target(targets[0]), STOP]))
    lengths = list(groups)
    shares = np.array([len(groups[length]) for length in lengths], np.float64)
    while True:
        group = groups[int(generator.choice(lengths, p=shares / shares.sum()))]
        chosen = [group[index] for index in generator.integers(len(group), size=BATCH)]
        targets = np.full((BATCH, max(len(target) for _, target in chosen)), START)
        for row, (_, target) in zip(targets, chosen, strict=True):
            row[: len(target)] = target
        yield torch.from_numpy(np.stack([source for source, _ in chosen])), torch.from_numpy(targets)


def train(task: Task, steps: int) -> tuple[Encoder, Decoder]:
    """Cross-entropy of the next token, the true ones shown."""
    torch.manual_seed(SEED)
    encoder, decoder = Encoder(len(task.symbols)), Decoder(len(task.tokens))
    weights = [*encoder.parameters(), *decoder.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=RATE_OF_LEARNING, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE_OF_LEARNING, max(steps, 10))
    began, drawn = time.perf_counter(), batches(task, np.random.default_rng(SEED))
    for step in range(steps):
        sources, targets = next(drawn)
        memory, state = encoder(sources)
        shown = functional.pad(targets[:, :-1], (1, 0), value=START)
        logits = decoder(shown, memory, state)
        loss = functional.cross_entropy(
            logits.flatten(0, 1), targets.flatten(), ignore_index=START, label_smoothing=0.05
        )
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        schedule.step()
        if step % 250 == 249:
            say(f"step {step + 1}/{steps}  loss {loss.item():.3f}  {time.perf_counter() - began:.0f} s")
    return encoder.eval(), decoder.eval()


def make_files(task: Task, encoder: Encoder, decoder: Decoder, out: Path) -> tuple[Path, Path]:
    """The proved package in float, a folder, and in int8, a file; calibrated on pairs of the training."""
    from edgernn import DecodingSpec
    from edgernn.export import export_package
    from edgernn.quantize import quantize_package

    out.mkdir(parents=True, exist_ok=True)
    loop = DecodingSpec(start_token=START, stop_token=STOP, max_length=LONGEST, max_beam=BEAM)
    tokens = torch.arange(12)[None] % len(task.tokens)
    symbols = torch.arange(12)[None] % len(task.symbols)
    name = "translation" if task.name == "cmudict" else "translation-dates"
    folder, int8 = out / name, out / f"{name}.ernn"
    made = export_package(encoder, symbols, decoder, tokens, folder, loop, max_memory=LONGEST, labels=task.tokens)
    print(made.report())
    every = max(1, len(task.training) // CALIBRATION)
    pairs = [(task.source(text), task.target(targets[0])) for text, targets in [*task.training.items()][::every]]
    quantize_package(folder, pairs, int8)
    return folder, int8


@dataclass(frozen=True)
class Quality:
    """Of the words held back, in percent."""

    exact: float  # sources with a target that is right
    error_rate: float  # tokens put in, left out or taken for others, per token of the nearest target


def quality(task: Task, path: Path, method: str) -> Quality:
    """Of a package, by one of METHODS."""
    import edgernn

    package = edgernn.load_package(path)
    right = errors = total = 0
    for text, targets in task.test.items():
        said = package.generate(task.source(text), **METHODS[method])
        distance, length = min((edits(said, wanted), len(wanted)) for wanted in map(task.target, targets))
        right, errors, total = right + (distance == 0), errors + distance, total + length
    return Quality(100 * right / len(task.test), 100 * errors / total)


def edits(a: Sequence[int], b: Sequence[int]) -> int:
    """Levenshtein's distance."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        corner, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            corner, row[j] = row[j], min(corner + (x != y), row[j] + 1, row[j - 1] + 1)
    return row[-1]


def show(task: Task, path: Path) -> None:
    """Print what becomes of some sources that were held back."""
    import edgernn

    package = edgernn.load_package(path)
    for text in [*task.test][:SHOWN]:
        said = package.generate(task.source(text), method="beam", beam=BEAM)
        print(f"{text}: {' '.join(package.decoder.spec.labels[token] for token in said)}")


def main() -> None:
    """The command line."""
    given = parser(__doc__, STEPS).parse_args()
    task = load_task(given.data)
    say(f"train on {len(task.training):,} pairs of {task.name}; {len(task.test):,} are held back")
    encoder, decoder = train(task, given.steps)
    folder, int8 = make_files(task, encoder, decoder, given.out)
    found = {(path, method): quality(task, path, method) for path in (folder, int8) for method in METHODS}
    notes = []
    for method in METHODS:
        floats, ints = found[folder, method], found[int8, method]
        notes.append(
            f"{method.capitalize()}, float and int8: {floats.exact:.2f} and {ints.exact:.2f} % right,"
            f" {floats.error_rate:.2f} and {ints.error_rate:.2f} % of tokens wrong."
        )
    measure(
        int8.stem,
        application="translation",
        data=task.name,
        network=f"GRU {WIDTH}, attention, GRU {WIDTH}",
        parameters=sum(item.numel() for module in (encoder, decoder) for item in module.parameters()),
        metric=f"right, beam {BEAM} %",
        score=lambda paths: found[paths[0], f"beam {BEAM}"].exact,
        float_files=[folder],
        int8_files=[int8],
        notes=[*notes, f"{len(task.test):,} sources held back. A step is a token of the decoder."],
        out=given.out,
    )
    show(task, int8)


if __name__ == "__main__":
    main()
