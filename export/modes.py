"""How much of a sequence a module sees at once: a stream of frames, windows, or the whole; and lookahead."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction

from edgernn.errors import ExportError
from edgernn.spec import OFFLINE, RATE_HINT, STREAM, is_rate


@dataclass(frozen=True)
class Window:
    """The module runs on windows of `length` input frames, one every `slide`, each from its initial state."""

    length: int
    slide: int
    mode: str  # as the contract says it

    @property
    def delay(self) -> int:
        """Steps of `slide` frames by which a window is late: the steps before the one that completes it."""
        return max(0, math.ceil(self.length / self.slide) - 1)

    @property
    def spare(self) -> int:
        """Frames behind a window in the step that completes it."""
        return (self.delay + 1) * self.slide - self.length


def parse_mode(text: str, length: int) -> Window | None:
    """`stream` (None), `window:N`, `window:N/SLIDE`, or `offline`: one window of the example's `length`.

    Raises `ExportError` for anything else.
    """
    if text == STREAM:
        return None
    if text == OFFLINE:
        return Window(length, length, text)
    found = re.fullmatch(r"window:(\d+)(?:/(\d+))?", text)
    if found is None or int(found[1]) < 1 or int(found[2] or 1) < 1:
        raise ExportError(f"`{text}` is no mode", hint="modes: stream, window:N, window:N/SLIDE, offline")
    size, slide = int(found[1]), int(found[2] or found[1])
    return Window(size, slide, f"window:{size}" if slide == size else f"window:{size}/{slide}")


@dataclass(frozen=True)
class Reach:
    """How far a stream sees where the module would see all frames; None where nothing was said."""

    lookahead: Lookahead | None = None
    attention: AttentionWindow | None = None


def check_rate(rate_hz: float | None) -> None:
    """Raise `ExportError` for a rate at which no frames can come."""
    if rate_hz is not None and not is_rate(rate_hz):
        raise ExportError(f"the input's frames come at {rate_hz:g} Hz", hint=RATE_HINT)


def parse_modes(
    mode: str,
    lookahead: str | int | None,
    attention_window: str | int | None,
    length: int,
    rate_hz: float | None,
) -> tuple[Window | None, Reach]:
    """What the options say. Raises `ExportError` for what is none, and when they do not go together."""
    check_rate(rate_hz)
    window = parse_mode(mode, length)
    reach = Reach(parse_lookahead(lookahead, rate_hz), parse_attention_window(attention_window))
    if window is not None and reach.lookahead is not None:
        raise ExportError("windows take no lookahead", hint="in a window, backward layers see all of it")
    if window is not None and reach.attention is not None:
        raise ExportError("windows take no attention window", hint="in a window, attention sees all of it")
    return window, reach


@dataclass(frozen=True)
class AttentionWindow:
    """Each frame attends to the newest `frames` frames, itself one of them, and to `ahead` frames behind it."""

    frames: int
    ahead: int


def parse_attention_window(text: str | int | None) -> AttentionWindow | None:
    """`N` or `N/AHEAD`; None stays None. Raises `ExportError` for anything else."""
    if text is None:
        return None
    found = re.fullmatch(r"([1-9]\d*)(?:/(\d+))?", str(text))
    if found is None:
        raise ExportError(
            f"`{text}` is no attention window",
            hint="write frames, `64` or `64/8` (and 8 frames of the future, where the module sees them)",
        )
    return AttentionWindow(int(found[1]), int(found[2] or 0))


@dataclass(frozen=True)
class Lookahead:
    """Bidirectional layers run backward over blocks of frames, and over `frames` or `seconds` of the future behind.

    Counted in a layer's own frames. Without `block`, blocks are a quarter of that.
    """

    frames: int | None
    seconds: float | None
    block: int | None
    rate_hz: float | None  # of the input's frames

    def of(self, period: Fraction) -> tuple[int, int]:
        """Frames of the future and of a block, for a layer with a frame every `period` input frames."""
        if self.frames is not None:
            ahead = self.frames
        else:
            assert self.seconds is not None
            assert self.rate_hz is not None
            ahead = math.ceil(self.seconds * self.rate_hz / period - 1e-9)
        return ahead, self.block or max(1, ahead // 4)


def parse_lookahead(text: str | int | None, rate_hz: float | None) -> Lookahead | None:
    """`N`, `N/BLOCK`, `320ms` or `320ms/BLOCK`; None stays None. Raises `ExportError` for anything else."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms)?(?:/([1-9]\d*))?", str(text))
    if found is None or (found[2] is None and "." in found[1]):
        raise ExportError(f"`{text}` is no lookahead", hint="write frames, `16` or `16/4` (blocks of 4), or `320ms`")
    block = int(found[3]) if found[3] else None
    if found[2] is None:
        return Lookahead(int(found[1]), None, block, rate_hz)
    if rate_hz is None:
        raise ExportError(f"a lookahead of {found[1]} ms over frames of unknown rate", hint="name it: `--rate HZ`")
    return Lookahead(None, float(found[1]) / 1000, block, rate_hz)
