"""Is a sentence kind? A verdict that changes with every word: a GRU, and a BiLSTM that looks a few words ahead.

    python -m examples.sentiment                          # both: train, export, quantize; accuracy by words read
    python -m examples.sentiment --data FOLDER_OF_TEXTS

The verdict after k words is the sign of the mean of the network's first k results. The BiLSTM is trained on whole
sentences and exported twice: as a stream that sees AHEAD words of the future (`lookahead`), and whole (`offline`),
which is a file for sentences of one length.

Data: rt-polarity, 10,662 snippets of film reviews (Pang and Lee, ACL 2005; NLTK's copy cites CC BY 4.0), and the 3,000
sentences of Kotzias et al. (KDD 2015) from IMDb, Yelp and Amazon. Every tenth is held back. Without them a stated
generator, `generated_sentences`.
"""

from __future__ import annotations

import gzip
import re
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from examples.measure import find_data, measure, parser, say

UNKNOWN, LEAST = 0, 3  # index of words seen fewer than LEAST times in training
VOCABULARY = 8000  # at most
EMBEDDING, WIDTH = 48, 48
AHEAD = "8/4"  # words of the future, and words of a block
LONGEST, OFFLINE = 50, 20  # words kept of a sentence; words of the sentences that the offline file is for
READ = (1, 3, 5, 10, 20, LONGEST)  # words after which accuracy is told
STEPS, BATCH = 4000, 32
SENTENCES = 3000  # generated ones
FORGET = 0.2  # share of words that are hidden in training
CALIBRATION = 200  # sentences
RATE_OF_LEARNING, SEED = 2e-3, 1

Array = npt.NDArray[Any]
Sentence = tuple[list[str], bool]  # words; kind or not


class Sentiment(nn.Module):
    """Words `[batch, time]` to how kind each makes the sentence, `[batch, time]`: positive is kind."""

    def __init__(self, vocabulary: int = VOCABULARY, both_ways: bool = False) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, EMBEDDING)
        nn.init.normal_(self.embedding.weight, std=0.3)
        kind = nn.LSTM if both_ways else nn.GRU
        self.rnn = kind(EMBEDDING, WIDTH, batch_first=True, bidirectional=both_ways)
        self.dropout = nn.Dropout(0.5)
        self.out = nn.Linear(2 * WIDTH if both_ways else WIDTH, 1)
        for name, weight in self.rnn.named_parameters():
            if "weight_hh" in name:
                for gate in weight.data.chunk(4 if both_ways else 3):
                    nn.init.orthogonal_(gate)

    def forward(self, words: Tensor) -> Tensor:
        """From the initial state."""
        hidden, _ = self.rnn(self.dropout(self.embedding(words)))
        return self.out(self.dropout(hidden))[..., 0]


def factory() -> tuple[nn.Module, Tensor]:
    """What `edgernn export examples.sentiment:factory` takes: the GRU and an example of its input."""
    return Sentiment(), torch.zeros(1, 40, dtype=torch.int64)


def words_of(text: str) -> list[str]:
    """Words in lower case, and marks."""
    return re.findall(r"[a-z']+|[!?.]", text.lower())[:LONGEST]


def load_sentences(path: Path | None) -> tuple[str, list[Sentence]]:
    """A name, and the sentences in the order of their files."""
    found = find_data("text", path)
    sentences: list[Sentence] = []
    if found is not None:
        for kind, file in ((True, "rt-polarity.pos.gz"), (False, "rt-polarity.neg.gz")):
            lines = gzip.decompress((found / file).read_bytes()).decode("cp1252", "replace").splitlines()
            sentences += [(words_of(line), kind) for line in lines]
        for listed in sorted(found.glob("sentiment_*_labelled.txt")):
            pairs = [line.rsplit("\t", 1) for line in listed.read_text("utf-8").split("\n") if "\t" in line]
            sentences += [(words_of(text), mark.strip() == "1") for text, mark in pairs]
    if not sentences:
        return "generated", generated_sentences()
    return "rt-polarity, UCI", [(words, kind) for words, kind in sentences if words]


def generated_sentences() -> list[Sentence]:
    """`the NOUN was (not) (very) ADJECTIVE`, one to six of it joined by `and`; `not` turns it round."""
    random, sentences = np.random.default_rng(0), list[Sentence]()
    kinds = {True: ("good", "great", "lovely", "clever"), False: ("bad", "dull", "awful", "weak")}
    for _ in range(SENTENCES):
        kind, words = bool(random.random() < 0.5), list[str]()
        for part in range(int(random.integers(1, 7))):
            turned = bool(random.random() < 0.3)
            noun = str(random.choice(("film", "plot", "cast", "food", "phone")))
            words += [*(["and"] if part else []), "the", noun, "was", *(["not"] if turned else [])]
            words += [*(["very"] if random.random() < 0.3 else []), str(random.choice(kinds[kind != turned]))]
        sentences.append((words, kind))
    return sentences


def index_words(training: Sequence[Sentence]) -> dict[str, int]:
    """The commonest words of the training sentences, from 1 on."""
    counts = Counter(word for words, _ in training for word in words)
    common = [word for word, number in counts.most_common(VOCABULARY - 1) if number >= LEAST]
    return {word: index for index, word in enumerate(common, 1)}


def encode(words: Sequence[str], index: dict[str, int]) -> Array:
    """Indices `[words]`."""
    return np.array([index.get(word, UNKNOWN) for word in words])


def train(sentences: Sequence[tuple[Array, bool]], model: Sentiment, steps: int) -> Sentiment:
    """On batches of sentences of one length, so that nothing is padded; every verdict on the way counts."""
    random = np.random.default_rng(SEED)
    by_length: dict[int, list[tuple[Array, bool]]] = {}
    for item in sentences:
        by_length.setdefault(len(item[0]), []).append(item)
    lengths = np.array(sorted(by_length))
    share = np.array([len(by_length[length]) for length in lengths]) / len(sentences)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE_OF_LEARNING, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE_OF_LEARNING, max(steps, 10))
    total, began = 0.0, time.perf_counter()
    for step in range(steps):
        group = by_length[int(random.choice(lengths, p=share))]
        chosen = [group[i] for i in random.choice(len(group), min(BATCH, len(group)), replace=False)]
        words = np.stack([item for item, _ in chosen])
        words = np.where(random.random(words.shape) < FORGET, UNKNOWN, words)
        verdicts = running_mean(model(torch.from_numpy(words)))
        wanted = torch.tensor([[float(kind)] for _, kind in chosen]).expand_as(verdicts)
        weight = torch.arange(1.0, verdicts.shape[1] + 1)  # late verdicts know more
        each = functional.binary_cross_entropy_with_logits(verdicts, wanted, reduction="none")
        loss = (each * weight).sum() / (weight.sum() * len(chosen))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        total += loss.item()
        if step % 100 == 99:
            say(f"step {step + 1}/{steps}  loss {total / 100:.3f}  {time.perf_counter() - began:.0f} s")
            total = 0.0
    return model.eval()


def running_mean(x: Tensor) -> Tensor:
    """Over the last axis."""
    return x.cumsum(-1) / torch.arange(1, x.shape[-1] + 1)


def streamed(path: Path, sentences: Sequence[tuple[Array, bool]]) -> list[Array]:
    """Of each sentence the verdict after each word, all through one stream."""
    import edgernn

    model, verdicts = edgernn.load(path), []
    stream, frame = model.stream(), model.spec.inputs[0].frame  # offline files keep the batch axis of such an input
    for words, _ in sentences:
        stream.reset()
        results = np.concatenate([stream.push(words.reshape(-1, *frame)), stream.flush()]).reshape(-1)
        verdicts.append(results.cumsum() / np.arange(1, len(results) + 1))
    return verdicts


def accuracy(verdicts: Sequence[Array], sentences: Sequence[tuple[Array, bool]], read: int = LONGEST) -> float:
    """Share in % that is right after so many words, or all of a shorter sentence."""
    right = [(v[min(read, len(v)) - 1] > 0) == kind for v, (_, kind) in zip(verdicts, sentences, strict=True)]
    return 100 * float(np.mean(right))


def make_files(
    model: nn.Module, sentences: Sequence[tuple[Array, bool]], path: Path, **options: Any
) -> tuple[Path, Path]:
    """The proved float file and the int8 one, calibrated on some training sentences."""
    from edgernn.export import export_model
    from edgernn.quantize import quantize_model

    path.parent.mkdir(parents=True, exist_ok=True)
    length, least = (OFFLINE, OFFLINE) if options.get("mode") == "offline" else (40, 12)
    result = export_model(model, torch.zeros(1, length, dtype=torch.int64), path, **options)
    print(result.report())
    enough = [words[:length] for words, _ in sentences if len(words) >= least]
    frame = result.program.spec.inputs[0].frame
    some = [words.reshape(-1, *frame) for words in enough[:: max(1, len(enough) // CALIBRATION)]]
    return path, quantize_model(path, some, path.with_suffix(".ernn")).path


def main() -> None:
    """Train both, export, quantize, stream, measure."""
    given = parser(__doc__, STEPS).parse_args()
    name, sentences = load_sentences(given.data)
    training = [item for number, item in enumerate(sentences) if number % 10]
    index = index_words(training)
    known = [(encode(words, index), kind) for words, kind in training]
    test = [(encode(words, index), kind) for words, kind in sentences[::10]]

    def score(paths: Sequence[Path]) -> float:
        return accuracy(streamed(paths[0], test), test)

    for kind, both_ways in (("GRU", False), ("BiLSTM", True)):
        torch.manual_seed(SEED)
        model = train(known, Sentiment(len(index) + 1, both_ways), given.steps)
        options: dict[str, Any] = {"lookahead": AHEAD} if both_ways else {}
        stem = "sentiment-bilstm" if both_ways else "sentiment"
        files = make_files(model, known, given.out / f"{stem}.onnx", **options)
        verdicts = streamed(files[1], test)
        read = ", ".join(f"{accuracy(verdicts, test, words):.1f} after {words}" for words in READ)
        notes = [f"int8, in %, by results given: {read}; {len(test):,} sentences."]
        if both_ways:
            notes.append(f"A result has seen {AHEAD.split('/')[0]} words more, or up to a block beyond.")
            notes.append(offline_note(model, known, test, given.out / f"{stem}-offline.onnx"))
        measure(
            stem,
            application="sentiment",
            data=name,
            network=f"embedding {EMBEDDING}, {kind} {WIDTH}" + (f", lookahead {AHEAD} words" if both_ways else ""),
            parameters=sum(item.numel() for item in model.parameters()),
            metric="accuracy %",
            score=score,
            float_files=[files[0]],
            int8_files=[files[1]],
            notes=notes,
            out=given.out,
        )


def offline_note(
    model: nn.Module, training: Sequence[tuple[Array, bool]], test: Sequence[tuple[Array, bool]], path: Path
) -> str:
    """What the whole BiLSTM reaches: in PyTorch on all sentences, and as files on the words that those take."""
    files = make_files(model, training, path, mode="offline")
    with torch.no_grad():
        whole = [running_mean(model(torch.from_numpy(words)[None])[0]).numpy() for words, _ in test]
    cut = [(words[:OFFLINE], kind) for words, kind in test if len(words) >= OFFLINE]
    float32, int8 = (accuracy(streamed(file, cut), cut) for file in files)
    return (
        f"All of the future (PyTorch) gives {accuracy(whole, test):.1f}. The offline files, on the first {OFFLINE}"
        f" words of the {len(cut)} sentences that have so many: {float32:.1f} float, {int8:.1f} int8."
    )


if __name__ == "__main__":
    main()
