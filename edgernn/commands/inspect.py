"""`edgernn inspect`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from edgernn.commands.host import of_host
from edgernn.commands.table import table
from edgernn.errors import MissingExtraError
from edgernn.runtime import Model, load, load_programs

CHECKPOINTS = (".pt", ".ckpt", ".safetensors")


@click.command("inspect")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@click.option("--backend", default="auto", show_default=True, help="What reads the file.")
@click.option("--program", metavar="NAME", help="Of a package's programs this one.  [default: the first]")
@click.option("--board", metavar="NAME", help="Whether it fits into this board; exit 1 when it does not.")
def command(file: Path, as_json: bool, backend: str, program: str | None, board: str | None) -> None:
    """Show what FILE takes, gives, keeps and costs; of a checkpoint, the layers in it."""
    if file.suffix in CHECKPOINTS:
        rows = _layers(file)
        click.echo(json.dumps(rows, indent=2) if as_json else table(rows))
        return
    programs = load_programs(file, backend)
    model = next(iter(programs.values())) if program is None else load(file, backend, program=program)
    if board is not None:
        known = of_host("edgernn.targets", "--board").find_board(board)
        fit = of_host("edgernn.targets.fit", "--board").fit_on(known, model)
        click.echo(json.dumps(asdict(fit), indent=2) if as_json else fit.report())
        sys.exit(0 if fit.fits else 1)
    summary = model.summary
    costs = {key: sum(row[key] for row in summary) for key in ("params", "macs", "bytes")}
    if as_json:
        contract = json.loads(model.spec.to_json())
        report = {"spec": contract, "nodes": summary, "total": costs, "backend": model.backend, **model.details}
        click.echo(json.dumps(report, indent=2))
        return
    if len(programs) > 1:
        click.echo(f"programs {', '.join(programs)}")
    click.echo("\n".join(_contract(model)))
    click.echo("\n" + table([_node(row) for row in summary]))
    click.echo("\n" + table(_states(model)) if model.spec.states else "\nno states")
    click.echo(f"\n{costs['params']} parameters, {costs['macs']} MACs and {costs['bytes']} parameter bytes per step")


def _contract(model: Model) -> list[str]:
    spec = model.spec
    rate = spec.inputs[0].rate_hz

    def lasting(frames: int) -> str:
        return f"{frames} input frames" + (f" ({1000 * frames / rate:g} ms)" if rate else "")

    lines = [f"{spec.name} {spec.model_version}, {spec.mode}, {model.backend}"]
    for port in spec.inputs:
        at = f" at {port.rate_hz:g} Hz" if port.rate_hz else ""
        lines.append(f"input   {port.name}: {port.dtype} {_shape(port.frame)}{at}")
    for output in spec.outputs:
        at = f" at {output.rate_hz:g} Hz" if output.rate_hz else ""
        kind = "newest of " if output.newest else ""
        lines.append(
            f"output  {output.name}: {output.dtype} {kind}{_shape(output.frame)}{at},"
            f" {output.group if output.group > 1 else 'one'} per {output.period} input frames, delay {output.delay}"
        )
    field = "all since reset" if spec.receptive_field is None else lasting(spec.receptive_field)
    lines += [f"hop     {lasting(spec.hop)}", f"latency {lasting(spec.latency)}", f"sees    {field}"]
    if spec.train_length is not None:
        lines.append(f"trained on sequences of {lasting(spec.train_length)}")
    warm = "longer than was measured" if spec.warmup is None else lasting(spec.warmup)
    lines.append(f"warm-up {warm}, until within 40 dB of a long-running stream")
    lines += [f"labels  {', '.join(spec.labels)}"] if spec.labels else []
    lines += [f"meta    {key} = {value}" for key, value in spec.meta.items()]
    if spec.decoding is not None:
        loop = spec.decoding
        lines.append(f"decodes at most {loop.max_length} tokens, {loop.max_beam} hypotheses wide")
    if spec.proof:
        lines.append(
            f"proof   {spec.proof['frames']} frames of {len(spec.proof['lengths'])} sequences in"
            f" {spec.proof['pieces']} pieces equal PyTorch's within {spec.proof['max_error']:.1e}"
        )
    lines.append(f"content {spec.content_sha256}")
    if model.backend == "engine":
        engine = model.details
        lines.append(f"engine  {engine['isa']}, of {', '.join(engine['usable_isas'])} that this CPU can run")
        lines.append(f"memory  {engine['file_bytes']} bytes of file, {engine['stream_bytes']} per stream")
    return lines


def _shape(frame: tuple[int, ...]) -> str:
    return f"[{', '.join(['frames', *map(str, frame)])}]"


def _node(row: dict[str, Any]) -> dict[str, Any]:
    keys = ("name", "op", "shape", "params", "macs", "bytes")
    return {key: row[key] for key in keys}


def _states(model: Model) -> list[dict[str, Any]]:
    return [
        {"state": state.input, "returned as": state.output, "dtype": state.dtype, "shape": list(state.shape)}
        for state in model.spec.states
    ]


def _layers(file: Path) -> list[dict[str, Any]]:
    try:
        checkpoint = of_host("edgernn.export.checkpoint", str(file))
    except ImportError:
        raise MissingExtraError(
            "reading a checkpoint takes torch", place=str(file), hint="pip install 'edgernn[export]'"
        ) from None
    layers: list[dict[str, Any]] = checkpoint.describe(file)
    return layers
