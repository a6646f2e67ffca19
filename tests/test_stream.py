"""The verbs of a stream, on exported files and both back ends."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import edgernn
from edgernn.errors import InputError, StateError

from conftest import Loader

DELAYED = "CRNN symmetric"  # hop 1, delay 3, holds and masks at both ends
STRIDED = "CRNN symmetric, strided"  # hop 6
RAW = "keyword net on raw audio"  # hop 160, frames of no axis

quick = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def noise(model: edgernn.Model, length: int, seed: int = 0) -> Any:
    random = np.random.default_rng(seed)
    return random.standard_normal((length, *model.spec.inputs[0].frame)).astype(np.float32)


@quick
@given(sizes=st.lists(st.integers(0, 40), max_size=8), name=st.sampled_from([DELAYED, STRIDED]))
def test_any_pieces_give_the_whole(load: Loader, sizes: list[int], name: str) -> None:
    model = load(name)
    x = noise(model, sum(sizes))
    stream, parts, start = model.stream(), [], 0
    for size in sizes:
        parts.append(stream.push(x[start : start + size]))
        start += size
    parts.append(stream.flush())
    got = np.concatenate(parts)
    assert len(got) == model.spec.outputs[0].length(len(x))
    np.testing.assert_array_equal(got, model(x))


@quick
@given(cut=st.integers(0, 60), seed=st.integers(0, 100))
def test_saved_state_goes_on_to_the_bit(load: Loader, cut: int, seed: int) -> None:
    model = load(STRIDED)
    x = noise(model, 60, seed)
    stream = model.stream()
    head = stream.push(x[:cut])
    saved = stream.save()
    expected = np.concatenate([stream.push(x[cut:]), stream.flush()])
    other = load(STRIDED).stream()
    other.push(noise(model, 17, 3))
    other.restore(saved)
    np.testing.assert_array_equal(np.concatenate([other.push(x[cut:]), other.flush()]), expected)
    assert len(head) + len(expected) == len(model(x))


def test_fork_goes_its_own_way(load: Loader) -> None:
    model = load(DELAYED)
    stream = model.stream()
    stream.push(noise(model, 10))
    other = stream.fork()
    a, b = stream.push(noise(model, 5, 1)), other.push(noise(model, 5, 2))
    assert not np.array_equal(a, b)
    np.testing.assert_array_equal(model.stream().push(np.concatenate([noise(model, 10), noise(model, 5, 2)]))[-5:], b)


def test_reset_starts_anew(load: Loader) -> None:
    model = load(DELAYED)
    stream, x = model.stream(), noise(model, 20)
    first = np.concatenate([stream.push(x), stream.flush()])
    stream.reset()
    np.testing.assert_array_equal(np.concatenate([stream.push(x), stream.flush()]), first)


def test_step_is_late_by_the_delay(load: Loader) -> None:
    """Stream frame j is whole-sequence frame j - delay."""
    model = load(DELAYED)
    spec, x = model.spec, noise(model, 30)
    delay = spec.outputs[0].delay
    stream = model.stream()
    rows = np.concatenate([stream.step(frame[None]) for frame in x])
    assert delay == 3
    np.testing.assert_array_equal(rows[delay:], model(x)[: 30 - delay])
    np.testing.assert_array_equal(model.stream().step(x), rows)


def test_step_into_a_given_array(load: Loader) -> None:
    model = load(STRIDED)
    x, out = noise(model, 12), np.zeros((2, 5), np.float32)
    expected = model.stream().step(x)
    stream = model.stream()
    assert stream.step(x, out=out) is out
    np.testing.assert_array_equal(out, expected)
    stream.reset()
    single = np.zeros((1, 5), np.float32)
    assert stream.step(x[:6], out=single) is single
    np.testing.assert_array_equal(single, expected[:1])
    strided = np.zeros((1, 10), np.float32)[:, ::2]
    assert stream.step(x[6:], out=strided) is strided
    np.testing.assert_array_equal(strided, expected[1:])
    locked = np.zeros((1, 5), np.float32)
    locked.flags.writeable = False
    before = stream.save()
    for wrong in (np.zeros((1, 5)), np.zeros((2, 5), np.float32), locked, [[0.0] * 5]):
        with pytest.raises(InputError, match="`out` is"):
            stream.step(x[:6], out=wrong)
    assert stream.save() == before


def test_results_are_the_callers_own(load: Loader) -> None:
    """A result that is kept stays as it is, whatever the caller does to others."""
    model = load("GRU")
    x = noise(model, 12)
    expected = model(x)
    stream = model.stream()
    kept = [stream.step(frame[None]) for frame in x[:6]]
    np.testing.assert_array_equal(np.concatenate(kept), expected[:6])
    view = stream.step(x[6:7])[0, 3:]  # only a view of it is kept
    for frame, wanted in zip(x[7:], expected[7:], strict=True):
        result = stream.step(frame[None])
        np.testing.assert_array_equal(result, wanted[None])
        result.shape = (4, 4)
        result.flags.writeable = False
    np.testing.assert_array_equal(view, expected[6, 3:])


def test_frames_in_any_array(load: Loader) -> None:
    """One hop as it may come: contiguous or not, in another byte order, as bytes with a shape, as a list."""
    model = load("GRU")
    x = noise(model, 1)
    wide = np.zeros((1, 16), np.float32)
    wide[:, ::2] = x
    expected = model(x)
    for array in (x, wide[:, ::2], x.astype(">f4"), x.astype("d"), memoryview(x), x.tolist(), np.asfortranarray(x)):
        np.testing.assert_array_equal(model.stream().step(array), expected)


def test_in_place(load: Loader) -> None:
    model = load(RAW)
    x = noise(model, 480)
    stream = model.stream()
    held, result = stream.x, stream.y
    assert (held is stream.inputs["audio"], held.shape, result.shape[0]) == (True, (160,), 1)
    rows = []
    for start in range(0, 480, 160):
        held[...] = x[start : start + 160]
        stream.prefetch()
        stream.advance()
        rows.append(result.copy())
    np.testing.assert_array_equal(np.concatenate(rows), model.stream().step(x))
    held[...] = x[:160]
    np.testing.assert_array_equal(stream.step(held), stream.y)  # its own buffer is an array like any other


def test_two_inputs_by_name_and_two_outputs(load: Loader) -> None:
    model = load("two inputs")
    a, b = np.ones((4, 8), np.float32), np.ones((4, 3), np.float32)
    np.testing.assert_array_equal(model(a, b), model(features=a, control=b))
    np.testing.assert_array_equal(model(a, control=b), model.stream().push({"features": a, "control": b}))
    with pytest.raises(InputError, match="takes 2 inputs"):
        model(a, b, a)
    with pytest.raises(InputError, match="dict of arrays by name"):
        model.stream().push(a)
    with pytest.raises(InputError, match="different numbers of frames"):
        model.stream().push({"features": a, "control": b[:3]})
    with pytest.raises(InputError, match="the model takes"):
        model.stream().push({"features": a})
    with pytest.raises(InputError, match="there are 2: features, control"):
        _ = model.stream().x
    assert model.stream().y.shape[0] == 1
    stream = model.stream()
    rows = [stream.step({"features": a[i : i + 1], "control": b[i : i + 1]}) for i in range(4)]
    np.testing.assert_array_equal(np.concatenate(rows), model(a, b))
    both = load("two outputs, two rates")(np.ones((7, 8), np.float32))
    assert isinstance(both, dict)
    assert {name: len(array) for name, array in both.items()} == {"fine": 7, "coarse": 4}


def test_newest_frame(load: Loader) -> None:
    """A module that returns its newest frame has one at every step of the stream, and the last as a whole run."""
    model = load("newest output of GRU")
    x = noise(model, 9)
    rows = model.stream().push(x)
    for index in range(9):
        np.testing.assert_allclose(model(x[: index + 1]), rows[index], atol=1e-6)
    with pytest.raises(InputError, match="too short"):
        model(x[:0])


@pytest.mark.parametrize(
    ("x", "texts"),
    [
        (np.zeros((3, 9), np.float32), ["[3, 9] came", "[frames, 8]"]),
        (np.zeros((1, 3, 8), np.float32), ["batch axis"]),
        (np.zeros((4, 3, 8), np.float32), ["give one of these"]),
        (np.zeros(8, np.float32), ["x[None]"]),
        (np.zeros((8, 3), np.float32), ["x.T"]),
        (np.zeros((3, 8), np.int16), ["int16", "32768"]),
        (np.zeros((3, 8), np.int64), ["int64", "astype"]),
        (np.zeros((3, 8), complex), ["complex128"]),
        ([[1.0] * 8, [1.0]], ["no array"]),
        (np.array(["a"]), ["float32"]),
    ],
)
def test_wrong_input(load: Loader, x: Any, texts: list[str]) -> None:
    stream = load("GRU").stream()
    for verb in (stream.push, stream.step):
        with pytest.raises(InputError) as caught:
            verb(x)
        for text in texts:
            assert text in str(caught.value)


def test_other_dtypes_are_converted(load: Loader) -> None:
    model = load("GRU")
    x = noise(model, 3)
    np.testing.assert_array_equal(model(x.astype(np.float64)), model(x))
    table = load("Embedding, LSTM, Linear")
    np.testing.assert_array_equal(table(np.array([1, 2], np.uint8)), table(np.array([1, 2])))
    with pytest.raises(InputError, match="float64 came; the model takes int64"):
        table(np.array([1.0, 2.0]))
    with pytest.raises(InputError, match="beyond int64"):
        table(np.array([2**64 - 1], np.uint64))


def test_wrong_hop(load: Loader) -> None:
    stream = load(STRIDED).stream()
    for count in (0, 5, 7):
        with pytest.raises(InputError, match="a step takes 6, or a multiple"):
            stream.step(np.zeros((count, 8), np.float32))


def test_verbs_that_do_not_go_together(load: Loader) -> None:
    model = load(STRIDED)
    stream, hop = model.stream(), np.zeros((6, 8), np.float32)
    stream.push(hop[:4])
    with pytest.raises(StateError, match="4 pushed frames wait"):
        stream.step(hop)
    with pytest.raises(StateError, match="4 pushed frames wait"):
        stream.advance()
    stream.flush()
    for call in (lambda: stream.push(hop), lambda: stream.step(hop), stream.flush, stream.advance):
        with pytest.raises(StateError, match="flushed"):
            call()
    stream.reset()
    stream.step(hop)
    assert len(stream.push(hop)) + len(stream.flush()) == 1


def test_saved_states_that_do_not_fit(load: Loader) -> None:
    stream = load(STRIDED).stream()
    stream.push(np.ones((8, 8), np.float32))
    saved = stream.save()
    before = stream.fork().push(np.ones((9, 8), np.float32))
    other = load("GRU").stream()
    with pytest.raises(StateError, match="another model"):
        other.restore(saved)
    for broken, text in (
        (None, "bytes; NoneType came"),
        (b"", "no saved state"),
        (b"XXXX" + saved[4:], "no saved state"),
        (saved[:4] + b"\x09" + saved[5:], "version 9"),
        (saved[:-1], "checksum"),
        (saved[:60] + bytes([saved[60] ^ 1]) + saved[61:], "checksum"),
    ):
        with pytest.raises(StateError, match=text):
            stream.restore(broken)
    np.testing.assert_array_equal(stream.push(np.ones((9, 8), np.float32)), before)


def test_streams_of_one_model_in_threads(load: Loader) -> None:
    model = load(STRIDED)
    inputs = [noise(model, 300, seed) for seed in range(4)]
    expected = [model(x) for x in inputs]
    results: list[Any] = [None] * 4

    def work(index: int) -> None:
        stream = model.stream()
        results[index] = np.concatenate([*(stream.push(frame[None]) for frame in inputs[index]), stream.flush()])

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for got, wanted in zip(results, expected, strict=True):
        np.testing.assert_array_equal(got, wanted)
