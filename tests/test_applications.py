"""Each application from its command line at toy size, on data that is always there, and the page of all rows."""

from __future__ import annotations

import gzip
import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import edgernn
from edgernn.quantize import quantize_model
from examples import activity, forecast, heartbeats, measure, text_generation, translation

GOLDEN = Path(__file__).parent / "golden" / "applications"

# constants of each example that make it small; `rows` where they are not called like it
SMALL: dict[str, dict[str, Any]] = {
    "text_generation": {
        "TEST_BYTES": 1500,
        "CALIBRATION": 2,
        "STDLIB_BYTES": 60_000,
        "rows": ["text_generation-stdlib"],
    },
    "forecast": {"TRAIN": 900, "VALID": 120, "TEST": 120},
    "anomaly": {"CALIBRATION": 18, "WIDTH": 8},
    "heartbeats": {"MINUTES": 4, "BATCH": 4, "SCORED": 1, "CALIBRATION": 20},
    "activity": {"BATCH": 4, "CALIBRATION": 2000},
    "sentiment": {"SENTENCES": 400, "CALIBRATION": 20, "rows": ["sentiment", "sentiment-bilstm"]},
    "gestures": {"BATCH": 2, "CALIBRATION": 20, "EACH": 160},
    "keyword_detector": {"MINUTES": 0.5, "CALIBRATION": 8.0, "CHOICE": 10.0, "SECONDS": 3, "BATCH": 2},
    "speech_enhancement": {"CALIBRATION": 0.5, "WIDTH": "int8"},
    "translation": {"DATES": 300, "CALIBRATION": 5, "rows": ["translation-dates"]},
    "gradients": {"LENGTH": 30, "TEST": 40, "CALIBRATION": 3},
}


@pytest.fixture
def no_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As where no real recordings are."""
    monkeypatch.setattr(measure, "FOLDERS", (str(tmp_path / "none"),))


def test_recordings_of_one_activity_each(tmp_path: Path) -> None:
    """Every fourth of an activity is kept back, in m/s^2 and whole frames."""
    lengths = [215] * 9 + [330] * 5
    x = np.concatenate([np.full((length, 3), index, np.float32) for index, length in enumerate(lengths)])
    np.savez(tmp_path / "r.npz", x=x, offsets=np.cumsum([0, *lengths]), y=["jump"] * 9 + ["bend"] * 5)
    (found,) = activity.load_motion(tmp_path / "r.npz")
    assert found.activities == ("bend", "jump")
    assert [int(item.x[0, 0] / 9.81) for item in found.training] == [10, 11, 12, 1, 2, 3, 5, 6, 7]
    kept = [(9, 33, 0), (13, 33, 0), (0, 21, 1), (4, 21, 1), (8, 21, 1)]
    np.testing.assert_array_equal(found.test.activity, np.concatenate([[i] * frames for _, frames, i in kept]))
    values = np.concatenate([[9.81 * value] * 10 * frames for value, frames, _ in kept])
    np.testing.assert_allclose(found.test.x[:, 1], values, rtol=1e-6)


@pytest.mark.usefixtures("no_data")
@pytest.mark.parametrize("name", SMALL)
def test_application(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Trains a step or two, proves, quantizes, streams: a row, and a file that is exact on every instruction set."""
    example = importlib.import_module(f"examples.{name}")
    constants = dict(SMALL[name])
    rows = constants.pop("rows", [name])
    for constant, value in constants.items():
        monkeypatch.setattr(example, constant, value)
    monkeypatch.setattr("sys.argv", [name, "--steps", "2", "--out", str(tmp_path)])
    example.main()
    printed = capsys.readouterr().out
    assert "proved on" in printed
    for row in rows:
        result = measure.read(tmp_path / f"{row}.json")
        assert all(key in printed for key in measure.row(result))
        assert np.isfinite([result.float32, result.int8]).all()
        assert result.parameters > 100
        assert 0 < result.engine.p50_us <= result.engine.p99_us
        for path in result.int8_files:
            model = edgernn.load(path)
            assert model.backend == "engine"
            assert all(model.selftest().values())


def result(**changes: Any) -> measure.Result:
    steps = measure.Steps(p50_us=10.0, p99_us=20.0, real_time_factor=0.5)
    fields: dict[str, Any] = {
        "name": "a", "application": "a", "data": "d", "network": "n", "parameters": 1000, "metric": "accuracy %",
        "float32": 90.0, "int8": 89.5, "float_files": [], "int8_files": [], "float_bytes": 4000, "int8_bytes": 1000,
        "onnxruntime": steps, "engine": steps, "rate_hz": 100.0, "notes": ["A note."],
    }  # fmt: skip
    return measure.Result(**{**fields, **changes})


def test_what_int8_may_cost() -> None:
    """Half a point of a percentage, a hundredth of an error; either way."""
    assert result().holds
    assert not result(int8=89.4).holds
    assert not result(int8=90.6).holds
    assert result(metric="MSE", float32=0.400, int8=0.404).holds
    assert not result(metric="MSE", float32=0.400, int8=0.405).holds


def test_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written from the kept rows; it fails, written all the same, where int8 costs too much."""
    page = tmp_path / "page.md"
    monkeypatch.setattr("sys.argv", ["measure", "--rows", str(tmp_path), "--page", str(page)])
    with pytest.raises(SystemExit, match="no rows"):
        measure.main()
    measure.keep(result(), tmp_path)
    assert measure.read(tmp_path / "a.json") == result()
    measure.main()
    assert "| a " in page.read_text()
    assert "A note." in page.read_text()
    measure.keep(result(name="b", application="b", int8=70.0), tmp_path)
    with pytest.raises(SystemExit, match="more than it may: b"):
        measure.main()
    assert json.loads((tmp_path / "b.json").read_text())["int8"] == 70


def test_committed_page_holds_what_it_says() -> None:
    """Every row of docs/applications.md is within what int8 may cost."""
    lines = [line for line in measure.PAGE.read_text("utf-8").splitlines() if line.startswith("| ")]
    names, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert len(rows) > 1
    for cells in rows[1:]:
        found = dict(zip(names, cells, strict=True))
        kind, float32, int8 = found["quality"], float(found["float"]), float(found["int8"])
        assert abs(int8 - float32) <= (0.51 if kind.endswith("%") else 0.011 * float32), found


def test_forecast_on_real_data(shared_data: Path, tmp_path: Path) -> None:
    """Better than yesterday again, and int8 within 1 % of float over the four months held back."""
    _, series = forecast.load_series(shared_data / "forecast" / "ETTh1.csv")
    path, int8 = GOLDEN / "forecast.onnx", tmp_path / "forecast.ernn"
    quantize_model(path, [series[:1500]], int8)
    errors = [forecast.errors(forecast.stream_forecasts(file, series), series)[0] for file in (path, int8)]
    assert errors[0] < 0.8 * forecast.errors(forecast.same_as_yesterday(series), series)[0]
    assert abs(errors[1] - errors[0]) <= measure.RELATIVE * errors[0]


def test_heartbeats_on_real_data(shared_data: Path, tmp_path: Path) -> None:
    """Beats of the last minutes of each record: int8 within half a point of float, in the mean over N, V and F."""
    _, records = heartbeats.load_records(shared_data / "ecg")
    path, int8 = GOLDEN / "heartbeats.onnx", tmp_path / "heartbeats.ernn"
    quantize_model(path, [record.leads[: 30 * heartbeats.RATE] for record in records], int8)
    tests = [record.part(0.7, 1) for record in records]
    scores = [heartbeats.mean_f1(heartbeats.f1_by_class(file, tests)) for file in (path, int8)]
    assert scores[0] > 93
    assert abs(scores[1] - scores[0]) <= measure.POINTS


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained network in int8: what it writes is nonsense, but always the same."""
    folder = tmp_path_factory.mktemp("writer")
    text = np.frombuffer(b"What is said stays in the state. " * 40, np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_generation, "CALIBRATION", 2)
        return text_generation.make_files(text_generation.Writer().eval(), text, folder, "writer")[1]


def talk(path: Path, prompt: bytes, length: int, **options: Any) -> bytes:
    usual: dict[str, Any] = {"stop": b"", "seed": 3, "temperature": 0.0, "top_k": 0, "state": None}
    return text_generation.talk(path, prompt, length=length, **{**usual, **options})


def test_a_talk_goes_on_after_a_restart(writer: Path, tmp_path: Path) -> None:
    """In two turns, each on a file loaded anew, the same bytes as in one."""
    state = tmp_path / "talk.bin"
    whole = talk(writer, b"Well:", 40)
    assert talk(writer, b"Well:", 15, state=state) + talk(writer, b"", 25, state=state) == whole


def test_sampling(writer: Path) -> None:
    """The seed decides; top-k 1 is the likeliest byte at any temperature; writing ends behind `stop`."""
    hot = {"temperature": 3.0}
    assert talk(writer, b"x", 30, **hot) == talk(writer, b"x", 30, **hot) != talk(writer, b"x", 30, seed=4, **hot)
    assert talk(writer, b"x", 30, top_k=1, **hot) == talk(writer, b"x", 30)
    written = talk(writer, b"x", 30, **hot)
    assert talk(writer, b"x", 30, stop=written[10:12], **hot) == written[: written.index(written[10:12]) + 2]


@torch.no_grad()
def test_translation_is_trained_as_it_is_decoded() -> None:
    """All tokens at once give the logits that the decoder's step gives token by token, with room left in the memory."""
    torch.manual_seed(0)
    encoder, decoder = translation.Encoder(7), translation.Decoder(9)
    tokens = torch.randint(0, 9, (2, 5))
    memory, state = encoder(torch.randint(0, 7, (2, 6)))
    whole = decoder(tokens, memory, state)
    room = torch.nn.functional.pad(memory, (0, 0, 0, 3))
    for place in range(5):
        logits, state = decoder.step(tokens[:, place], room, torch.tensor([6, 6]), state)
        torch.testing.assert_close(logits, whole[:, place])


def test_translation_reads_a_dictionary(tmp_path: Path) -> None:
    """Stress marks, remarks and what is no word go; further pronunciations stay."""
    lines = "'em AH0 M\nread R EH1 D # past\nread(2) R IY1 D\na AH0\nx-ray EH1 K S R EY2\n"
    path = tmp_path / "words.gz"
    path.write_bytes(gzip.compress(lines.encode()))
    assert translation.read_dictionary(path) == {"read": [("R", "EH", "D"), ("R", "IY", "D")]}


@pytest.mark.parametrize(
    ("a", "b", "distance"),
    [([], [], 0), ([1, 2, 3], [], 3), ([1, 2, 3], [1, 3], 1), ([1, 2, 3, 4], [2, 3, 5, 4, 6], 3)],
)
def test_edits(a: list[int], b: list[int], distance: int) -> None:
    assert translation.edits(a, b) == translation.edits(b, a) == distance
