"""Decode loops: greedy, sampling and beam search over a stream whose input is the token that came out last.

Arithmetic behind the logits is float64 additions, products and quotients alone, in a fixed order, so that an int8 file
gives the same tokens on every CPU; beam search, which takes a logarithm, does so up to ties in its last bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgernn.errors import InputError
from edgernn.runtime.stream import Stream
from edgernn.spec import DecodingSpec, StreamSpec

Array = npt.NDArray[np.float64]
Choice = Callable[[Array], int]  # of the next token, by its logits

METHODS = ("greedy", "sample", "beam")
_LN2 = math.log(2)


@dataclass(frozen=True)
class Hypothesis:
    """A sequence that beam search found, without its stop token, and the sum of its log probabilities."""

    tokens: tuple[int, ...]
    score: float


def loop_of(spec: StreamSpec) -> DecodingSpec:
    """How a program decodes. Raises `InputError` for one that is no decoder."""
    if spec.decoding is None:
        raise InputError(
            "is no decoder: its file does not say how to go on from a token",
            place=spec.name,
            hint="export it with `edgernn.export.export_decoder` or `export_package`",
        )
    return spec.decoding


def tokens(
    stream: Stream,
    prompt: Sequence[int] = (),
    *,
    choose: Choice,
    max_length: int | None = None,
    stop: int | None = None,
) -> Iterator[int]:
    """Tokens as they are chosen, without the stop token, at most `max_length` of them.

    The contract's start token goes in where the stream is at its beginning, then the prompt. A token that was given out
    goes in when the next one is asked for: the last one of a sequence has not. `stop` is the contract's where None.
    Raises `InputError` for a length beyond the contract's, a token outside the vocabulary, or nothing to start from.
    """
    loop = loop_of(stream.spec)
    limit = _within(max_length, loop.max_length, "max_length")
    end = loop.stop_token if stop is None else stop
    logits = _feed(stream, loop, prompt)
    for index in range(limit):
        token = choose(logits)
        if token == end:
            return
        yield token
        if index + 1 < limit:
            logits = _advance(stream, loop, token)


def greedy(logits: Array) -> int:
    """The most probable token, the first of equals."""
    return int(np.argmax(logits))


def sampler(temperature: float = 1.0, top_k: int | None = None, seed: int = 0) -> Choice:
    """Draws tokens with the probabilities `softmax(logits / temperature)`, of the `top_k` most probable alone.

    The k-th draw takes the k-th word w of the PCG64 generator seeded with `seed`, as u = (w >> 11) / 2^53: the first
    token at which the running sum of probabilities, most probable first, is beyond u. Raises `InputError` for a
    temperature that is not above 0 or a `top_k` below 1.
    """
    if not (temperature > 0 and math.isfinite(temperature)):
        raise InputError(
            f"a temperature of {temperature:g} cannot be sampled with", hint="method='greedy' is its limit"
        )
    if top_k is not None and top_k < 1:
        raise InputError(f"top_k={top_k} leaves no token", hint="1 or more")
    words = np.random.PCG64(seed)

    def choose(logits: Array) -> int:
        order = np.argsort(-logits, kind="stable")[:top_k]
        weights = _exp((logits[order] - logits[order[0]]) / temperature)
        total = np.cumsum(weights)  # one after the other; a sum in pairs depends on the CPU's registers
        share = (int(words.random_raw()) >> 11) * 2.0**-53 * total[-1]
        return int(order[min(int(np.searchsorted(total, share, side="right")), len(order) - 1)])

    return choose


def beam_search(
    stream: Stream, prompt: Sequence[int] = (), *, beam: int, max_length: int | None = None, stop: int | None = None
) -> list[Hypothesis]:
    """At most `beam` finished sequences, best first.

    Each step keeps the `beam` best continuations of all live hypotheses by the sum of their log probabilities (the
    first of equals); those that stop are finished and live no longer. It ends when none live, when none that lives can
    pass the `beam` finished, or after `max_length` tokens, where those that live count as finished. The stream is left
    in the state behind its prompt. Raises `InputError` as `tokens`, and for a width beyond the contract's.
    """
    loop = loop_of(stream.spec)
    width, limit = _within(beam, loop.max_beam, "beam"), _within(max_length, loop.max_length, "max_length")
    end = loop.stop_token if stop is None else stop
    chances = _log_softmax(_feed(stream, loop, prompt))
    start = stream.states()
    live, finished = [(Hypothesis((), 0.0), start, chances)], list[Hypothesis]()
    for index in range(limit):
        scores = np.concatenate([item.score + row for item, _, row in live])
        best = np.argsort(-scores, kind="stable")[:width]
        grown = []
        for place in best:
            parent, token = divmod(int(place), len(chances))
            item, states, _ = live[parent]
            if token == end:
                finished.append(Hypothesis(item.tokens, float(scores[place])))
            else:
                grown.append((Hypothesis((*item.tokens, token), float(scores[place])), states))
        finished = sorted(finished, key=lambda item: -item.score)[:width]
        if index + 1 == limit:
            finished += [item for item, _ in grown]
            break
        if not grown or (len(finished) == width and finished[-1].score >= grown[0][0].score):
            break
        live = []
        for item, states in grown:
            stream.set_states(states)
            row = _log_softmax(_advance(stream, loop, item.tokens[-1]))
            live.append((item, stream.states(), row))
    stream.set_states(start)
    return sorted(finished, key=lambda item: -item.score)[:width]


def _feed(stream: Stream, loop: DecodingSpec, prompt: Sequence[int]) -> Array:
    """Logits behind the start token, where it is due, and the prompt."""
    given = [int(token) for token in prompt]
    if stream.fresh and loop.start_token is not None:
        given = [loop.start_token, *given]
    if not given:
        raise InputError(
            "there is no token to go on from",
            place=stream.spec.name,
            hint="give a prompt; where a stream goes on, that is the last token it gave",
        )
    for token in given:
        logits = _advance(stream, loop, token)
    return logits


def _advance(stream: Stream, loop: DecodingSpec, token: int) -> Array:
    logits = stream.outputs[loop.logits]
    if not 0 <= token < logits.shape[-1]:
        raise InputError(f"token {token} is not among {logits.shape[-1]}", place=loop.token)
    stream.inputs[loop.token][...] = token
    stream.advance()
    return np.asarray(logits.reshape(-1), np.float64)


def _within(asked: int | None, most: int, what: str) -> int:
    if asked is None:
        return most
    if not 1 <= asked <= most:
        raise InputError(
            f"{what}={asked} is not between 1 and {most}, the most that the file declares",
            hint=f"export it with a larger `{what if what.startswith('max') else 'max_' + what}`",
        )
    return asked


def _exp(x: Array) -> Array:
    """e^x for x <= 0 within 1e-14: 2^k by its exponent, the rest by its series; libraries differ in their last bit."""
    k = np.maximum(np.rint(x * (1 / _LN2)), -1000.0)
    r = np.clip(x - k * _LN2, -1.0, 1.0)
    total = np.ones_like(r)
    for n in range(16, 0, -1):
        total = 1.0 + r / n * total
    return np.asarray(np.ldexp(total, k.astype(np.int32)))


def _log_softmax(logits: Array) -> Array:
    shifted = logits - logits.max()
    return np.asarray(shifted - np.log(np.exp(shifted).sum()))
