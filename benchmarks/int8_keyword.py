"""The keyword spotter in int8 on real recordings: accuracy, and agreement with float on augmented clips.

    python benchmarks/int8_keyword.py            # writes benchmarks/int8_keyword.md
    python benchmarks/int8_keyword.py --qat FILE # with the fine-tuned weights in FILE too

Calibration takes training clips alone. Every held-back clip is augmented `VARIANTS` times: noise at 10 to 40 dB below
the word, gain of -12 to +6 dB, shift of 0 to 50 ms. Agreement is the share of clips that get the float model's digit;
its interval is Wilson's at 95 %, that of the accuracies' difference the paired normal one.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from edgernn.commands.table import table
from edgernn.export import export_model, read_program
from edgernn.program import Program
from edgernn.quantize.api import quantize_program
from edgernn.quantize.convert import Options
from edgernn.quantize.reference import evaluate
from edgernn.quantize.rounding import Rounding
from edgernn.quantize.whole import run_whole

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT))

from examples import keyword_spotting as keyword  # noqa: E402

Array = npt.NDArray[Any]
VARIANTS, SEED, BATCH = 20, 11, 50
CALIBRATION = 300  # training clips, about 130 s
WAYS = {
    "plain": Options(Rounding(compensated=False)),
    "compensated": Options(),
    "auto": Options(activation_type="auto"),
    "int4": Options(Rounding(weight_type="int4")),
}


def spotter(weights: Path) -> torch.nn.Module:
    """The trained network."""
    model = keyword.KeywordSpotter().eval()
    model.load_state_dict(torch.load(weights, weights_only=True))
    return model


def program_of(model: torch.nn.Module) -> Program:
    """Its float program."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "digits.onnx"
        export_model(model, torch.zeros(1, keyword.RATE), path, labels=keyword.LABELS, rate_hz=keyword.RATE)
        return read_program(path)


def whole_hops(audio: Array) -> Array:
    """A clip and its tail, cut to whole steps."""
    clip = keyword.with_tail(audio)
    return clip[: len(clip) // keyword.HOP * keyword.HOP]


def calibration(clips: keyword.Clips, count: int = CALIBRATION) -> list[Array]:
    """Training clips with their tails."""
    training = clips.take(~clips.is_test)
    order = np.random.default_rng(SEED).permutation(len(training))[:count]
    return [whole_hops(training[i][0]) for i in order]


def augmented(clip: Array, random: np.random.Generator) -> Array:
    """Noise, gain and shift."""
    shift = np.zeros(int(random.integers(0, keyword.RATE // 20)), np.float32)
    loudness = np.sqrt(np.mean(clip**2)) * 10 ** (-random.uniform(10, 40) / 20)
    noisy = np.concatenate([shift, clip])
    noisy = noisy + loudness * random.standard_normal(len(noisy))
    return (noisy * 10 ** (random.uniform(-12, 6) / 20)).astype(np.float32)


def decisions(program: Program, clips: list[Array], exact: bool) -> Array:
    """The digit of each clip; clips run side by side, padded behind their ends, which a causal model can't see."""
    name, found = program.spec.outputs[0].name, np.zeros(len(clips), int)
    order = np.argsort([len(clip) for clip in clips])
    delay = program.spec.outputs[0].delay
    for start in range(0, len(clips), BATCH):
        rows = order[start : start + BATCH]
        longest = max(len(clips[i]) for i in rows) + delay * keyword.HOP
        audio = np.stack([np.pad(clips[i], (0, longest - len(clips[i]))) for i in rows])
        given = {program.spec.inputs[0].name: audio}
        values = run_whole(program, given, evaluate) if exact else run_whole(program, given)
        scores = values[name].reshape(len(rows), -1, len(keyword.LABELS))[:, delay:]
        for row, index in zip(scores, rows, strict=True):
            found[index] = keyword.decide(row[: len(clips[index]) // keyword.HOP])
    return found


def interval(agree: Array) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    n, p, z = len(agree), float(agree.mean()), 1.96
    middle, half = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)


def paired(a: Array, b: Array) -> tuple[float, float]:
    """95 % interval of the mean difference of two 0-1 outcomes on the same clips, in points."""
    gap = b.astype(float) - a.astype(float)
    half = 1.96 * gap.std() / np.sqrt(len(gap))
    return 100 * float(gap.mean() - half), 100 * float(gap.mean() + half)


def row(way: str, program: Program, test: Any, noisy: Any, floats: tuple[Array, Array]) -> dict[str, Any]:
    """Figures of one integer program against the float decisions (test, augmented)."""
    digits, wanted = np.array([d for _, d in test]), np.array([d for _, d in noisy])
    clean = decisions(program, [whole_hops(x) for x, _ in test], exact=True)
    found = decisions(program, [whole_hops(x) for x, _ in noisy], exact=True)
    agree = found == floats[1]
    low, high = interval(agree)
    worse, better = paired(floats[1] == wanted, found == wanted)
    return {
        "way": way,
        "accuracy": f"{(clean == digits).mean():.2%}",
        "float's": f"{(floats[0] == digits).mean():.2%}",
        "augmented": f"{(found == wanted).mean():.2%}",
        "float's ": f"{(floats[1] == wanted).mean():.2%}",
        "difference, points": f"{worse:+.2f} to {better:+.2f}",
        "agreement": f"{agree.mean():.2%}",
        "95 %": f"{low:.2%} to {high:.2%}",
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--weights", type=Path, default=ROOT / "tests" / "golden" / "keyword" / "digits.pt")
    parser.add_argument("--qat", type=Path, help="an int8 file that fine-tuning wrote")
    parser.add_argument("--variants", type=int, default=VARIANTS)
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--no-write", action="store_true")
    options = parser.parse_args()
    clips = keyword.load_clips(None)
    test = clips.take(clips.is_test)
    random = np.random.default_rng(SEED)
    noisy = [(augmented(x, random), digit) for x, digit in test for _ in range(options.variants)]
    program = program_of(spotter(options.weights))
    floats = (
        decisions(program, [whole_hops(x) for x, _ in test], exact=False),
        decisions(program, [whole_hops(x) for x, _ in noisy], exact=False),
    )
    chosen = calibration(clips)
    rows = []
    for way in options.ways.split(","):
        rows.append(row(way, quantize_program(program, chosen, WAYS[way]).program, test, noisy, floats))
        print(rows[-1], flush=True)
    seconds = []
    for count in (1, 3, 10, 30, 100, 300):
        part = calibration(clips, count)
        figures = row(
            "compensated",
            quantize_program(program, part, Options()).program,
            test,
            noisy[:2000],
            (floats[0], floats[1][:2000]),
        )
        seconds.append({"clips": count, "seconds": round(sum(map(len, part)) / keyword.RATE, 1), **figures})
        print(seconds[-1], flush=True)
    if options.qat:
        rows.append(row("fine-tuned", read_program(options.qat), test, noisy, floats))
        print(rows[-1], flush=True)
    if options.no_write:
        return
    lines = [
        f"Measured {date.today().isoformat()} by `python benchmarks/int8_keyword.py`, NumPy {np.__version__},"
        f" {platform.machine()}: `{clips.name}`,",
        f"{len(test)} held-back clips, {len(noisy)} augmented ones, calibration on {len(chosen)} training clips.",
        "",
        table(rows, markdown=True),
        "",
        "Against the length of the calibration (agreement on the first 2000 augmented clips):",
        "",
        table(seconds, markdown=True),
    ]
    (HERE / "int8_keyword.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
