"""HTML as text, with everything that comes from a file escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


Content = str | Markup
EMPTY = ("circle", "line", "meta", "path", "rect")  # elements without an end


def element(name: str, /, *children: Content, **attributes: object) -> Markup:
    """`<name attributes>children</name>`. The attribute `class_` is `class`, `_` in one is `-`; None leaves it out."""
    given = {key.rstrip("_").replace("_", "-"): item for key, item in attributes.items() if item is not None}
    opened = "".join(f' {key}="{escape(_number(item))}"' for key, item in given.items())
    if name in EMPTY and not children:
        return Markup(f"<{name}{opened}>" if name == "meta" else f"<{name}{opened}/>")
    return Markup(f"<{name}{opened}>{join(children)}</{name}>")


def join(parts: Sequence[Content]) -> Markup:
    """One after the other; plain text is escaped."""
    return Markup("".join(part if isinstance(part, Markup) else escape(part) for part in parts))


def table(
    caption: str, columns: Sequence[str], rows: Sequence[Sequence[Content]], numbers: Sequence[str] = ()
) -> Markup:
    """A table with a caption and headers that screen readers tell; the first column names its row.

    Columns in `numbers` stand to the right.
    """
    kinds = ["number" if column in numbers else None for column in columns]
    head = [element("th", column, scope="col", class_=kind) for column, kind in zip(columns, kinds, strict=True)]
    body = []
    for first, *others in rows:
        cells = [element("td", cell, class_=kind) for cell, kind in zip(others, kinds[1:], strict=True)]
        body.append(element("tr", element("th", first, scope="row"), *cells))
    return element(
        "div",
        element(
            "table",
            element("caption", caption),
            element("thead", element("tr", *head)),
            element("tbody", *body),
        ),
        class_="scroll",
    )


def _number(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
