"""Make the spoken-digit set that the repository ships: ten digits by synthetic voices, 8 kHz, in `digits.npz`.

Needs `espeak-ng` (Debian: `apt-get install espeak-ng`). Voices, speeds, pitches and noises come from a seed, so the
same espeak-ng gives the same file. Three voices are held back for testing. Samples are 8-bit mu-law.

    python examples/data/make_digits.py
"""

from __future__ import annotations

import io
import subprocess
import wave
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

RATE = 8000
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TRAIN_VOICES = ("en-us+m1", "en-us+m3", "en-us+f2", "en-gb+m2", "en-gb+m7", "en-gb+f1", "en-gb-scotland+m4",
                "en-gb-x-rp+f3", "en-029+m5")  # fmt: skip
TEST_VOICES = ("en-us+f4", "en-gb-x-rp+m6", "en-gb-scotland+f5")
TAKES = 4  # of each digit by each voice
OUTPUT = Path(__file__).with_name("digits.npz")

Array = npt.NDArray[Any]


def speak(word: str, voice: str, speed: int, pitch: int) -> Array:
    """One word as float samples at `RATE`, silence cut off."""
    command = ["espeak-ng", "-v", voice, "-s", str(speed), "-p", str(pitch), "--stdout", word]
    spoken = subprocess.run(command, check=True, capture_output=True).stdout
    with wave.open(io.BytesIO(spoken)) as file:
        rate = file.getframerate()
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16) / 32768
    count = int(len(samples) * RATE / rate)
    spectrum = np.fft.rfft(samples)[: count // 2 + 1]
    resampled = np.fft.irfft(spectrum, count) * (count / len(samples))
    loud = np.flatnonzero(np.abs(resampled) > 0.01)
    return resampled[loud[0] : loud[-1] + 1]


def with_noise(samples: Array, random: np.random.Generator) -> Array:
    """The samples at a random level in noise of a random colour, 10 to 40 dB below."""
    level = 10 ** (random.uniform(-18, -3) / 20)
    samples = samples * level / np.abs(samples).max()
    white = np.fft.rfft(random.standard_normal(len(samples)))
    colour = np.arange(1, len(white) + 1.0) ** random.uniform(-1, 0)
    noise = np.fft.irfft(white * colour, len(samples))
    noise *= np.sqrt(np.mean(samples**2) / np.mean(noise**2)) * 10 ** (random.uniform(-40, -10) / 20)
    return samples + noise


def mu_law(samples: Array) -> Array:
    """Samples in [-1, 1] as 8-bit codes (ITU-T G.711's curve, mu = 255)."""
    curve = np.sign(samples) * np.log1p(255 * np.abs(np.clip(samples, -1, 1))) / np.log(256)
    return np.round((curve + 1) * 127.5).astype(np.uint8)


def main() -> None:
    """Write `OUTPUT`."""
    random = np.random.default_rng(2026)
    audio, digits, voices, test = [], [], [], []
    names = TRAIN_VOICES + TEST_VOICES
    for index, voice in enumerate(names):
        for digit, word in enumerate(WORDS):
            for _ in range(TAKES):
                spoken = speak(word, voice, int(random.integers(120, 200)), int(random.integers(20, 80)))
                audio.append(mu_law(with_noise(spoken, random)))
                digits.append(digit)
                voices.append(index)
                test.append(voice in TEST_VOICES)
    np.savez_compressed(
        OUTPUT,
        mu_law=np.concatenate(audio),
        offsets=np.cumsum([0, *map(len, audio)]),
        digit=np.array(digits, np.uint8),
        speaker=np.array(voices, np.uint8),
        speaker_names=np.array(names),
        is_test=np.array(test),
        sample_rate=np.int32(RATE),
    )
    print(f"{len(audio)} clips, {sum(map(len, audio)) / RATE:.0f} s, {OUTPUT.stat().st_size / 1e6:.2f} MB: {OUTPUT}")


if __name__ == "__main__":
    main()
