"""The type of `--rate`."""

from __future__ import annotations

import click

from edgernn.spec import RATE_HINT, is_rate


def hertz(value: str) -> float:
    """A function, as `click.ParamType` of 8.1 takes no type argument."""
    try:
        found = float(value)
    except ValueError:
        found = 0.0
    if not is_rate(found):
        raise click.BadParameter(f"`{value}` is no rate: {RATE_HINT}")
    return found
