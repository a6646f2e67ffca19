"""`edgernn page`."""

from __future__ import annotations

from pathlib import Path

import click

from edgernn.targets.page import write_page


@click.command("page")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("-o", "--output", "folder", required=True, type=click.Path(path_type=Path), help="Folder of the page.")
def command(model: Path, folder: Path) -> None:
    """Write a static page that streams the microphone through MODEL, a .ernn file of mono audio.

    It shows posteriors and the latency of a step. Any static server will do; browsers give the microphone to pages on
    https or localhost alone.
    """
    files = write_page(model, folder)
    size = sum(path.stat().st_size for path in files)
    click.echo(f"wrote {folder} ({len(files)} files, {size} bytes)", err=True)
    click.echo(f"next: python -m http.server --directory {folder}, and open http://localhost:8000", err=True)
