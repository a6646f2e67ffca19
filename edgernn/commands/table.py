"""Tables of plain text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def table(rows: Sequence[Mapping[str, Any]], *, markdown: bool = False) -> str:
    """Rows of equal keys as aligned columns, numbers to the right; with bars between them as Markdown."""
    if not rows:
        return ""
    keys = list(rows[0])
    cells = [[_text(row[key]) for key in keys] for row in rows]
    right = [all(isinstance(row[key], (int, float)) or row[key] in (None, "") for row in rows) for key in keys]
    widths = [max(len(key), *(len(line[i]) for line in cells)) for i, key in enumerate(keys)]

    def line(items: Sequence[str]) -> str:
        padded = [
            item.rjust(width) if to_right else item.ljust(width)
            for item, width, to_right in zip(items, widths, right, strict=True)
        ]
        return f"| {' | '.join(padded)} |" if markdown else "  ".join(padded).rstrip()

    rule = [
        ("-" * (width - 1) + ":") if to_right else "-" * width for width, to_right in zip(widths, right, strict=True)
    ]
    return "\n".join([line(keys), *([line(rule)] if markdown else []), *(line(item) for item in cells)])


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return str(value)
