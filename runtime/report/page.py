"""The page: one HTML file that asks for nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib import resources

from edgernn.compare import Difference
from edgernn.runtime.bench import Report, Row
from edgernn.runtime.model import Model
from edgernn.runtime.report.charts import Times, duration, error_chart, latency_chart
from edgernn.runtime.report.findings import Findings
from edgernn.runtime.report.html import Content, Markup, element, table

POLICY = "default-src 'none'; style-src 'unsafe-inline'"  # a browser holds the page to asking for nothing
FIGURES = ("p50 µs", "p90 µs", "p99 µs", "p99.9 µs", "worst µs", "p50 of the hop", "late steps", "steps")
SPREAD = ("SNR dB", "first tenth dB", "last tenth dB", "drift σ", "stuck units", "largest error")


def render(findings: Findings) -> str:
    """The whole document."""
    model = next(iter(findings.models.values()))
    style = resources.files("edgernn.runtime.report").joinpath("style.css").read_text("utf-8")
    title = f"{model.spec.name} {model.spec.model_version}"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("title", f"{title}, edgernn report"),
        element("style", Markup(style)),
    )
    body = element("body", element("main", element("h1", title), _glance(findings), *_sections(findings)))
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def _sections(findings: Findings) -> Iterator[Markup]:
    yield _section("Fidelity", *_fidelity(findings))
    if findings.fidelity:
        yield _section("Error over time", *_over_time(findings))
    if findings.latency is not None:
        yield _section("Latency on this machine", *_latency(findings.latency, _budget(findings)))
    if findings.boards:
        yield _section("Latency on boards", *_boards(findings.boards, _budget(findings)))
    yield _section("Contract", *_contract(findings))
    yield _section("Layers", *_layers(findings))


def _section(title: str, *parts: Content) -> Markup:
    name = title.lower().replace(" ", "-")
    return element("section", element("h2", title, id=name), *parts, aria_labelledby=name)


def _glance(findings: Findings) -> Markup:
    """The figures that one looks for first."""
    model = next(iter(findings.models.values()))
    spec, rate = model.spec, model.spec.inputs[0].rate_hz
    tiles = [("latency", _lasting(spec.latency, rate), f"{spec.latency} input frames, hop {spec.hop}")]
    if findings.fidelity:
        worst = min(findings.fidelity, key=lambda item: item.whole.snr_db)
        tiles.append(("least SNR", f"{_db(worst.whole.snr_db)} dB", f"{worst.output} of {worst.file}"))
        agreed = [item for item in findings.fidelity if item.agreement is not None]
        if agreed:
            least = min(agreed, key=lambda item: item.agreement or 0)
            tiles.append(("same largest element", f"{least.agreement:.2%}", f"{least.output} of {least.file}"))
    if findings.latency is not None:
        best = min(findings.latency.rows, key=lambda row: row.p50_us)
        tiles.append(("fastest step, p50", duration(best.p50_us), f"{best.file}, {best.kind}"))
    small = min(findings.sizes, key=lambda name: findings.sizes[name])
    tiles.append(("smallest file", _bytes(findings.sizes[small]), small))
    cells = [
        element("li", name, element("b", value), element("small", note), class_="tile") for name, value, note in tiles
    ]
    return element("ul", *cells, class_="tiles")


def _contract(findings: Findings) -> Iterator[Markup]:
    model = next(iter(findings.models.values()))
    spec, rate = model.spec, model.spec.inputs[0].rate_hz
    ports = [
        ["input", port.name, port.dtype, _shape(port.frame), _hertz(port.rate_hz), "", ""] for port in spec.inputs
    ] + [
        [
            "output",
            port.name,
            port.dtype,
            _shape(port.frame) + (" newest" if port.newest else ""),
            _hertz(port.rate_hz),
            f"{port.group} per {port.period}",
            f"{port.delay}",
        ]
        for port in spec.outputs
    ]
    columns = ["port", "name", "dtype", "one frame", "rate", "frames per input frames", "delay, frames"]
    yield table("What goes in and what comes out", columns, ports, columns[4:])
    seen = "all since reset" if spec.receptive_field is None else _frames(spec.receptive_field, rate)
    warm = "longer than was measured" if spec.warmup is None else _frames(spec.warmup, rate)
    facts: list[list[Content]] = [
        ["mode", spec.mode],
        ["hop", _frames(spec.hop, rate)],
        ["latency", _frames(spec.latency, rate)],
        ["an output frame sees", seen],
        ["warm-up, until within 40 dB of a long-running stream", warm],
    ]
    if spec.train_length is not None:
        facts.append(["trained on sequences of", _frames(spec.train_length, rate)])
    if spec.labels:
        facts.append(["labels", ", ".join(spec.labels)])
    facts += [[key, item] for key, item in spec.meta.items()]
    yield table("Time", ["", "value"], facts)
    if spec.states:
        states = [[state.input, state.dtype, _shape(state.shape)] for state in spec.states]
        yield table("States, kept inside the stream", ["state", "dtype", "shape"], states)
    files = [
        [
            name,
            item.backend,
            str(item.details.get("isa", "")),
            f"{findings.sizes[name]:,}",
            element("code", item.spec.content_sha256[:16]),
        ]
        for name, item in findings.models.items()
    ]
    columns = ["file", "back end", "instruction set", "bytes", "content, SHA-256"]
    yield table("Files", columns, files, ["bytes"])


def _layers(findings: Findings) -> Iterator[Markup]:
    for name, model in findings.models.items():
        rows, told = model.summary, findings.nodes if _told(findings, model) else {}
        columns = [
            "operation",
            "kind",
            "shape",
            "parameters",
            "MACs",
            "bytes",
            *(["int8 form", "SNR dB"] if told else []),
        ]
        cells: list[list[Content]] = []
        for row in rows:
            figures = [f"{row[key]:,}" for key in ("params", "macs", "bytes")]
            extra = [told[row["name"]]["form"], _db(told[row["name"]]["snr_db"])] if row["name"] in told else ["", ""]
            cells.append([row["name"], row["op"], "×".join(map(str, row["shape"])), *figures, *(extra if told else [])])
        total = [f"{sum(row[key] for row in rows):,}" for key in ("params", "macs", "bytes")]
        cells.append(["in all", "", "", *total, *(["", ""] if told else [])])
        listed = table(f"{name}: operations of a step", columns, cells, ["parameters", "MACs", "bytes", "SNR dB"])
        first = model is next(iter(findings.models.values()))
        yield listed if first else element("details", element("summary", name), listed)


def _told(findings: Findings, model: Model) -> bool:
    """Whether the quantization's report is about this file's operations: it tells those of the float model."""
    return bool(findings.nodes) and model is next(iter(findings.models.values()))


def _fidelity(findings: Findings) -> Iterator[Markup]:
    first = next(iter(findings.models))
    if not findings.fidelity:
        yield element("p", "Not compared: that takes two files and a recording, --data.", class_="soft")
        return
    frames = findings.fidelity[0].frames
    yield element(
        "p",
        f"Each file against {first}, whose outputs are the signal, over the {frames:,} frames of {findings.recording}."
        " Agreement is the share of frames in which the same element is the largest.",
        class_="soft",
    )
    rows = [
        [item.file, item.output, *_difference(item.whole), "" if item.agreement is None else f"{item.agreement:.2%}"]
        for item in findings.fidelity
    ]
    columns = ["file", "output", *SPREAD, "agreement"]
    yield table(f"Against {first}", columns, rows, columns[2:])


def _over_time(findings: Findings) -> Iterator[Markup]:
    first, items = next(iter(findings.models)), findings.fidelity
    rate = next(iter(findings.models.values())).spec.inputs[0].rate_hz
    yield element(
        "p",
        f"One stream of {_frames(items[0].long_frames, rate)} through the recording again and again, the state"
        f" carried on. The curve is the error over the power of {first}'s whole output: lower is better, and a rise is"
        " drift.",
        class_="soft",
    )
    curves: dict[str, Sequence[float | None]] = {
        f"{item.file}, {item.output}": item.error_db
        for item in items
        if any(value is not None for value in item.error_db)
    }
    if curves:
        ends = [end / rate if rate else float(end) for end in items[0].ends]
        yield error_chart("Error over time in dB", ends, "s" if rate else "frames", curves)
    else:
        yield element("p", "Every frame is equal.")
    rows = [[item.file, item.output, *_difference(item.long)] for item in items]
    columns = ["file", "output", *SPREAD]
    yield table("The long stream", columns, rows, columns[2:])


def _latency(report: Report, budget: float | None) -> Iterator[Markup]:
    yield _measured(report)
    files = list(dict.fromkeys(row.file for row in report.rows))
    rows = [_times(row.file, f"{row.backend}, {row.kind}", row, report, files.index(row.file)) for row in report.rows]
    yield latency_chart("Time of a step", rows, budget)
    yield element(
        "p",
        "Each row is a histogram of steps (height: square root of the count) with marks at p50, p99 and, dashed, the"
        " worst. The red line is the hop's duration: a step behind it is late.",
        class_="soft",
    )
    columns = ["file", "back end", "calls", *FIGURES]
    cells = [[row.file, row.backend, row.kind, *_figures(row)] for row in report.rows]
    yield table("Time of a step", columns, cells, FIGURES)


def _boards(boards: Mapping[str, Report], budget: float | None) -> Iterator[Markup]:
    rows = [(target, row, report) for target, report in boards.items() for row in report.rows]
    targets = list(boards)
    named = [
        _times(target, f"{row.file}, {row.kind}", row, report, targets.index(target)) for target, row, report in rows
    ]
    yield latency_chart("Time of a step on boards", named, budget)
    for target, report in boards.items():
        yield _measured(report, f"{target}: ")
    columns = ["board", "file", "back end", "calls", *FIGURES]
    cells = [[target, row.file, row.backend, row.kind, *_figures(row)] for target, row, _ in rows]
    yield table("Time of a step on boards", columns, cells, FIGURES)


def _measured(report: Report, prefix: str = "") -> Markup:
    """Where the times are from, and what to know about them."""
    machine = ", ".join(f"{key} {value}" for key, value in report.machine.items() if value is not None)
    return element("p", prefix + "; ".join([machine, *report.notes]) + ".", class_="soft")


def _times(name: str, note: str, row: Row, report: Report, colour: int) -> Times:
    samples = report.times.get((row.file, row.kind))
    return Times(name, note, colour, row.p50_us, row.p99_us, row.max_us, samples)


def _figures(row: Row) -> list[str]:
    times = [row.p50_us, row.p90_us, row.p99_us, row.p999_us, row.max_us]
    share = "" if row.rtf is None else f"{row.rtf:.3%}"
    return [*(f"{time:,.4g}" for time in times), share, "" if row.misses is None else f"{row.misses}", f"{row.steps:,}"]


def _difference(item: Difference) -> list[str]:
    ratios = [_db(value) for value in (item.snr_db, item.first_tenth_db, item.last_tenth_db)]
    return [*ratios, f"{item.drift:.3f}", f"{item.stuck}", f"{item.max_error:.2g}"]


def _budget(findings: Findings) -> float | None:
    """The hop's duration in µs, where the rate is known."""
    spec = next(iter(findings.models.values())).spec
    rate = spec.inputs[0].rate_hz
    return None if rate is None else 1e6 * spec.hop / rate


def _db(value: float | None) -> str:
    return "" if value is None else "equal" if value == float("inf") else f"{value:.1f}"


def _frames(count: int, rate: float | None) -> str:
    return f"{count:,} input frames" + (f" ({duration(1e6 * count / rate)})" if rate else "")


def _lasting(count: int, rate: float | None) -> str:
    return duration(1e6 * count / rate) if rate else f"{count:,} frames"


def _hertz(rate: float | None) -> str:
    return "" if rate is None else f"{rate:g} Hz"


def _shape(shape: Sequence[int]) -> str:
    return "×".join(map(str, shape)) or "one number"


def _bytes(count: int) -> str:
    return f"{count / 1024:,.0f} KiB" if count >= 10_240 else f"{count:,} bytes"
