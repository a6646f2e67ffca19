"""`edgernn targets`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from edgernn.commands.table import table
from edgernn.runtime import load, read_recording
from edgernn.targets import EVIDENCE, Board, boards, find_board
from edgernn.targets.amalgamate import write_engine
from edgernn.targets.estimate import estimate
from edgernn.targets.mcu import build_firmware, flash_bytes
from edgernn.targets.verify import verify
from edgernn.targets.wheel import PLATFORMS, wheel_tag, write_wheel


@click.group("targets")
def command() -> None:
    """The boards that models live on, and what may be claimed of each."""


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def list_command(as_json: bool) -> None:
    """Name every board."""
    known = boards()
    if as_json:
        click.echo(json.dumps([asdict(board) for board in known], indent=2))
        return
    click.echo(table([_row(board) for board in known]))
    used = dict.fromkeys(board.evidence for board in known)
    click.echo("\n" + "\n".join(f"{word}: {EVIDENCE[word]}" for word in EVIDENCE if word in used))


@command.command("show")
@click.argument("board")
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
def show_command(board: str, as_json: bool) -> None:
    """Show what is known of BOARD, a name or a .toml file."""
    found = find_board(board)
    if as_json:
        click.echo(json.dumps(asdict(found), indent=2))
        return
    lines = [f"{found.name}: {found.title}", f"evidence   {found.evidence}: {EVIDENCE[found.evidence]}"]
    lines += [f"figures    {found.measurements}"] if found.measurements else []
    clock = f", up to {found.clock_mhz} MHz" if found.clock_mhz else ""
    lines += [f"cpu        {found.cpu}{clock}", f"engine     {', '.join(found.isas)}"]
    sizes = [f"{key} {_bytes(value)}" for key, value in asdict(found.memory).items() if value is not None]
    lines += [f"memory     {', '.join(sizes)}"] if sizes else []
    if found.build is not None:
        lines.append(f"built for  {found.build.target} {found.build.mcpu}".rstrip())
        lines += [f"wheel      {found.build.wheel}"] if found.build.wheel else []
    lines += [f"emulator   {' '.join(found.emulator.command)}"] if found.emulator is not None else []
    lines += [found.note] if found.note else []
    click.echo("\n".join(lines))


@command.command("verify")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("names", metavar="BOARD...", nargs=-1, required=True)
@click.option("-i", "--input", "source", required=True, type=click.Path(path_type=Path), help="wav, npz or csv file.")
@click.option("--estimate", "estimated", is_flag=True, help="Count a step's instructions too, where an emulator can.")
@click.option("--json", "as_json", is_flag=True, help="Print the table as JSON.")
def verify_command(model: Path, names: tuple[str, ...], source: Path, estimated: bool, as_json: bool) -> None:
    """Stream a recording through MODEL as built for each BOARD, on its emulator, and compare the bits."""
    found = [find_board(name) for name in names]
    frames = read_recording(source, load(model).spec)
    rows = [asdict(verify(board, model, frames)) | (_estimated(board, model) if estimated else {}) for board in found]
    click.echo(
        json.dumps(rows, indent=2) if as_json else table([{**row, "sha256": row["sha256"][:12]} for row in rows])
    )
    sys.exit(0 if all(row["equal"] for row in rows) else 1)


def _estimated(board: Board, model: Path) -> dict[str, Any]:
    """The columns of an estimate; empty where nothing counts a board's instructions."""
    if board.pace is None:
        return {"instructions": None, "time": None}
    counted = estimate(board, model)
    return {"instructions": counted.instructions, "time": counted.range}


@command.command("sources")
@click.argument("folder", type=click.Path(path_type=Path))
def sources_command(folder: Path) -> None:
    """Write the engine as two files, edgernn.h and edgernn.c, into FOLDER."""
    for path in write_engine(folder):
        click.echo(f"wrote {path} ({path.stat().st_size} bytes)", err=True)


@command.command("firmware")
@click.argument("board")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("-o", "--out", required=True, type=click.Path(path_type=Path), help="The .elf file to write.")
def firmware_command(board: str, model: Path, out: Path) -> None:
    """Build a program for the microcontroller BOARD, which measures MODEL for `edgernn bench --target serial:DEV`."""
    build_firmware(find_board(board), model, out)
    click.echo(f"wrote {out} ({flash_bytes(out)} bytes of flash)", err=True)


@command.command("wheel")
@click.argument("names", metavar="BOARD...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="For every platform.")
@click.option("-o", "--out", default="dist", show_default=True, type=click.Path(path_type=Path), help="Folder to fill.")
def wheel_command(names: tuple[str, ...], everything: bool, out: Path) -> None:
    """Build the device's wheel for each BOARD: numpy and click are all it needs there."""
    if everything == bool(names):
        raise click.UsageError("name boards, or give --all")
    tags = PLATFORMS if everything else [wheel_tag(find_board(name)) for name in names]
    for tag in dict.fromkeys(tags):
        path = write_wheel(tag, out)
        click.echo(f"{path} ({path.stat().st_size} bytes)")


def _row(board: Board) -> dict[str, Any]:
    return {"board": board.name, "cpu": board.cpu, "engine": board.isas[0], "evidence": board.evidence}


def _bytes(size: int) -> str:
    for unit, power in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size >= 1 << power:
            return f"{size / (1 << power):g} {unit}"
    return f"{size} bytes"
