"""A language model of bytes that writes text: train, export, quantize, and let it go on, byte by byte.

    python -m examples.text_generation                     # all of it; bits per character, float against int8
    python -m examples.text_generation --data notes.txt    # on text of yours
    python -m examples.text_generation write build/applications/text.ernn --prompt "ROMEO:" --state talk.bin

`write` goes on where it ended when `--state` names a file that is there: what was said stays in the network's state,
which is a few kilobytes however long the talk was.

Text: tinyshakespeare (from karpathy/char-rnn; public domain), below `--data`, `EDGERNN_TEST_DATA` or `../shared/data`;
else, or with `--data stdlib`, the sources of Python's own standard library.
"""

from __future__ import annotations

import codecs
import math
import sysconfig
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from examples.measure import find_data, measure, parser, say, softmax

BYTES = 256
EMBEDDING, WIDTH, LAYERS = 48, 192, 2
STEPS, BATCH, LENGTH = 1500, 32, 96  # LENGTH: bytes that gradients go back through
RATE_OF_LEARNING, SEED = 5e-3, 1
TEST_SHARE, TEST_BYTES = 0.05, 40_000  # the end of the text is held back, and so much of it is scored
CALIBRATION = 16  # pieces of 500 bytes
STDLIB_BYTES = 1_500_000
LONGEST = 10_000  # bytes written in one turn

Array = npt.NDArray[Any]
State = list[tuple[Tensor, Tensor]]


class Writer(nn.Module):
    """Bytes `[batch, time]` to the logits of the byte behind each, `[batch, time, BYTES]`."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(BYTES, EMBEDDING)
        self.lstm = nn.LSTM(EMBEDDING, WIDTH, LAYERS, batch_first=True)
        self.out = nn.Linear(WIDTH, BYTES)
        for name, weight in self.lstm.named_parameters():
            if "weight_hh" in name:
                for gate in weight.data.chunk(4):
                    nn.init.orthogonal_(gate)
            elif "bias_ih" in name:
                weight.data.zero_()
                weight.data[WIDTH : 2 * WIDTH] = 1  # forget gates start open (Jozefowicz et al. 2015)
            elif "bias_hh" in name:
                weight.data.zero_()

    def forward(self, text: Tensor) -> Tensor:
        """From the initial state."""
        return self.run(text, None)[0]

    def run(self, text: Tensor, state: tuple[Tensor, Tensor] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """From a given state, which comes back as it is behind the text."""
        hidden, state = self.lstm(self.embedding(text), state)
        return self.out(hidden), state


def factory() -> tuple[nn.Module, Tensor]:
    """What `edgernn export examples.text_generation:factory` takes: the module and an example of its input."""
    return Writer(), torch.zeros(1, 64, dtype=torch.int64)


def load_text(path: Path | None) -> tuple[str, Array]:
    """A name for the text, and its bytes."""
    if path is None or str(path) != "stdlib":
        found = find_data("text/tinyshakespeare.txt", path)
        if found is not None:
            return found.stem, np.frombuffer(found.read_bytes(), np.uint8)
    sources = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    text = b"".join(source.read_bytes() for source in sources)[:STDLIB_BYTES]
    return "stdlib", np.frombuffer(text, np.uint8)


def train(text: Array, steps: int) -> Writer:
    """Truncated back-propagation through time: each row of the batch reads its own part of the text, piece by piece.

    The state goes on from piece to piece, gradients do not.
    """
    torch.manual_seed(SEED)
    model = Writer()
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE_OF_LEARNING, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE_OF_LEARNING, max(steps, 10))
    parts = torch.from_numpy(text[: len(text) // BATCH * BATCH].reshape(BATCH, -1).astype(np.int64))
    state, start, began = None, 0, time.perf_counter()
    for step in range(steps):
        if start + LENGTH >= parts.shape[1]:
            state, start = None, 0
        piece = parts[:, start : start + LENGTH + 1]
        start += LENGTH
        logits, (h, c) = model.run(piece[:, :-1], state)
        state = (h.detach(), c.detach())
        loss = functional.cross_entropy(logits.flatten(0, 1), piece[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 99:
            bits = loss.item() / math.log(2)
            say(f"step {step + 1}/{steps}  {bits:.3f} bits per character  {time.perf_counter() - began:.0f} s")
    return model.eval()


def bits_per_character(files: Sequence[Path], text: Array) -> float:
    """Mean of -log2 of what the file gave each byte, read as one stream."""
    import edgernn

    stream = edgernn.load(files[0]).stream()
    logits = np.asarray(stream.step(text[:-1].astype(np.int64)))
    likely = softmax(logits.astype(np.float64))[np.arange(len(text) - 1), text[1:]]
    return float(-np.log2(likely).mean())


def talk(
    path: Path,
    prompt: bytes,
    *,
    length: int,
    stop: bytes,
    seed: int,
    temperature: float,
    top_k: int,
    state: Path | None,
) -> bytes:
    """One turn: go on from the saved state if there is one, read the prompt, write, save. Prints as it writes.

    `temperature` 0 always takes the likeliest byte; `top_k` 0 takes all bytes into account.
    """
    import edgernn

    model = edgernn.load(path)
    stream, pending = model.stream(), b""
    if state is not None and state.exists():
        saved = state.read_bytes()
        pending = saved[:1]  # the last byte written has not been read yet
        stream.restore(saved[1:])
    options: dict[str, Any] = {"method": "greedy"}
    if temperature > 0:
        options = {"method": "sample", "temperature": temperature, "top_k": top_k or None, "seed": seed}
    written = bytearray()
    readable = codecs.getincrementaldecoder("utf-8")("replace")
    for byte in model.tokens(pending + prompt or b"\n", stream=stream, max_length=length, **options):
        written.append(byte)
        print(readable.decode(bytes([byte])), end="", flush=True)
        if stop and written.endswith(stop):
            break
    if state is not None:
        state.write_bytes(bytes(written[-1:]) + stream.save())
    return bytes(written)


def main() -> None:
    """The command line."""
    options = parser(__doc__, STEPS)
    options.add_argument("command", nargs="?", choices=("demo", "write"), default="demo")
    options.add_argument("model", nargs="?", type=Path, help="write: the file")
    options.add_argument("--prompt", default="")
    options.add_argument("--length", type=int, default=300, help="most bytes to write")
    options.add_argument("--stop", default="", help="end behind this text")
    options.add_argument("--temperature", type=float, default=0.8)
    options.add_argument("--top-k", type=int, default=40)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--state", type=Path, help="write: file of the talk so far")
    given = options.parse_args()
    sampling = {"length": given.length, "seed": given.seed, "temperature": given.temperature, "top_k": given.top_k}
    if given.command == "write":
        if given.model is None or min(given.length - 1, given.temperature, given.top_k) < 0 or given.length > LONGEST:
            options.error(f"write takes a model file, a length of 1 to {LONGEST}, no negative temperature or top-k")
        talk(given.model, given.prompt.encode(), stop=given.stop.encode(), state=given.state, **sampling)
        print()
        return

    name, text = load_text(given.data)
    cut = int(len(text) * (1 - TEST_SHARE))
    training, test = text[:cut], text[cut:][:TEST_BYTES]
    say(f"train on {len(training):,} bytes of {name}")
    model = train(training, given.steps)
    files = make_files(model, training, given.out, "text" if name == "tinyshakespeare" else f"text-{name}")
    measure(
        "text_generation" if name == "tinyshakespeare" else f"text_generation-{name}",
        application="text generation",
        data=name,
        network=f"embedding {EMBEDDING}, {LAYERS} × LSTM {WIDTH}",
        parameters=sum(item.numel() for item in model.parameters()),
        metric="bits per character",
        score=lambda paths: bits_per_character(paths, test),
        float_files=[files[0]],
        int8_files=[files[1]],
        out=given.out,
    )
    prompt = "\n\nROMEO:\n" if name == "tinyshakespeare" else "\n\ndef "
    talk(files[1], prompt.encode(), stop=b"", state=None, **sampling)
    print()


def make_files(model: nn.Module, text: Array, out: Path, name: str) -> tuple[Path, Path]:
    """The proved float file and the int8 one, calibrated on pieces of the training text."""
    from edgernn import DecodingSpec
    from edgernn.export import export_decoder
    from edgernn.quantize import quantize_model

    out.mkdir(parents=True, exist_ok=True)
    torch.save(model.state_dict(), out / f"{name}.pt")
    print(export_decoder(model, factory()[1], out / f"{name}.onnx", DecodingSpec(max_length=LONGEST)).report())
    starts = np.linspace(0, len(text) - 500, CALIBRATION).astype(int)
    pieces = [text[start : start + 500].astype(np.int64) for start in starts]
    return out / f"{name}.onnx", quantize_model(out / f"{name}.onnx", pieces, out / f"{name}.ernn").path


if __name__ == "__main__":
    main()
