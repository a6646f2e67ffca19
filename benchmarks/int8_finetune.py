"""Fine-tune the keyword spotter with its int8 arithmetic: `python benchmarks/int8_finetune.py --out digits.int8.onnx`.

The loss is the divergence from the float model's posteriors on augmented training clips: the aim is to agree with it.
One pass over the training clips takes a few minutes.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path.insert(0, str(HERE))

from int8_keyword import calibration, keyword, spotter  # noqa: E402

from edgernn.quantize import qat  # noqa: E402

EPOCHS, BATCH, LEARNING_RATE, SEED = 1, 32, 2e-5, 3


def main() -> None:
    """Prepare, train, save."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--weights", type=Path, default=ROOT / "tests" / "golden" / "keyword" / "digits.pt")
    parser.add_argument("--out", type=Path, default=ROOT / "tests" / "golden" / "keyword" / "digits.int8.onnx")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    options = parser.parse_args()
    torch.manual_seed(SEED)
    random = np.random.default_rng(SEED)
    clips = keyword.load_clips(None)
    training = clips.take(~clips.is_test)
    teacher = spotter(options.weights)
    chosen = [torch.from_numpy(clip)[None] for clip in calibration(clips)]
    model = qat.prepare(teacher, chosen, name="digits", labels=keyword.LABELS, rate_hz=keyword.RATE)
    steps = -(-len(training) // BATCH) * options.epochs
    optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    began, running = time.perf_counter(), 0.0
    for step in range(steps):
        batch = [training[i] for i in random.choice(len(training), BATCH, replace=False)]
        audio, _ = keyword.augment(batch, random)
        with torch.no_grad():
            wanted = teacher(audio)
        found = model(audio)
        loss = functional.kl_div(found, wanted, log_target=True, reduction="none").sum(-1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        running += max(0.05, 1 / (step + 1)) * (loss.item() - running)
        if step % 10 == 9 or step + 1 == steps:
            seconds = time.perf_counter() - began
            print(f"step {step + 1}/{steps}  divergence {running:.5f}  {seconds:.0f} s", file=sys.stderr, flush=True)
    model.save(options.out)
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
