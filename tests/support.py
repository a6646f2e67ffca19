"""docs/support.md: every cell is what a test found, and that test fails when the page says something else.

`make support` runs those tests with EDGERNN_SUPPORT naming a folder, where each leaves what it found, and then writes
the page.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

from edgernn.commands.table import table

from families import FAMILIES, MODES, Family
from refused import REFUSED

PAGE = Path(__file__).parent.parent / "docs" / "support.md"
COLUMNS = ("streams", "delay", "int8 dB", "onnxruntime", "engine")
REFUSAL_COLUMNS = ("where", "why", "what to do")
SHOWN = (*FAMILIES, *MODES)
ROWS = [*(family.name for family in SHOWN), *(case.name for case in REFUSED)]
HEAD = """<!-- Written by `make support` from what the tests found: change those. -->

# What streams

One row for each family of modules under test (tests/families.py).

- **delay**: in output frames; in brackets the input frames of a step.
- **int8 dB**: signal to noise of the int8 file against float, of the worst output, on random weights and normal input;
  docs/int8.md has trained networks.
- **onnxruntime**: largest difference from PyTorch, of the largest magnitude, in the proof that every export makes.
- **engine**: the float `.ernn` against onnxruntime, and the int8 one against the exact reference.
"""
REFUSALS = """# What does not, and what it is told

`edgernn export SRC --dry-run` on modules as users bring them (tests/refused.py).
"""


def check(name: str, column: str, found: str, agrees: Callable[[str], bool] | None = None) -> None:
    """Fail unless the page's cell is `found`, or agrees with it; while the page is made, note what was found."""
    if name not in ROWS:
        return
    folder = os.environ.get("EDGERNN_SUPPORT")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        note = {"name": name, "column": column, "found": found}
        (Path(folder) / f"{ROWS.index(name)}.{column}.json").write_text(json.dumps(note))
        return
    stated = _cells().get(name, {}).get(column)
    assert stated is not None, f"docs/support.md has no `{name}`, {column}: make support"
    assert stated == found or (agrees is not None and agrees(stated)), (
        f"docs/support.md says `{stated}` of `{name}`, {column}; found `{found}`: make support"
    )


def way(family: Family) -> str:
    """How a family streams."""
    if "mode" in family.options:
        return f"`--mode {family.options['mode']}`"
    for option in ("lookahead", "attention_window"):
        if option in family.options:
            return f"`--{option.replace('_', '-')} {family.options[option]}`"
    return "yes"


def delay(hop: int, frames: int) -> str:
    """The cell of a delay."""
    return f"{frames} ({hop})"


@cache
def _cells() -> dict[str, dict[str, str]]:
    """The page's tables: first cell of a row → column → cell."""
    rows, keys = {}, ()
    for line in PAGE.read_text("utf-8").splitlines():
        cells = tuple(cell.strip() for cell in line.strip("|").split("|"))
        if not line.startswith("|"):
            keys = ()
        elif not keys:
            keys = cells
        else:
            rows[cells[0]] = dict(zip(keys[1:], cells[1:], strict=True))
    return rows


def main(folder: Path) -> None:
    """Write the page from the notes in a folder."""
    found: dict[str, dict[str, str]] = {name: {} for name in ROWS}
    for path in folder.glob("*.json"):
        note = json.loads(path.read_text())
        found[note["name"]][note["column"]] = note["found"]
    parts = []
    for head, key, names, columns in (
        (HEAD, "family", [family.name for family in SHOWN], COLUMNS),
        (REFUSALS, "module", [case.name for case in REFUSED], REFUSAL_COLUMNS),
    ):
        missing = [f"{name}: {column}" for name in names for column in columns if column not in found[name]]
        if missing:
            sys.exit(f"not found: {', '.join(missing)}")
        rows = [{key: name, **{column: found[name][column] for column in columns}} for name in names]
        parts.append(f"{head}\n{table(rows, markdown=True)}\n")
    PAGE.write_text("\n".join(parts), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
