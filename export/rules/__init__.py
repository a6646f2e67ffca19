"""Streaming rules, one small function per operation, in one file per family.

A rule takes the translator, the node, and the operation's own arguments with symbols in the place of tensors; it adds
step operations and gives the node's symbol. `@rule("conv1d.default")` registers it by its `aten` name. A file of this
folder is found by being listed here.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

Rule = Callable[..., Any]
F = TypeVar("F", bound=Rule)

FAMILIES = (
    "arithmetic",
    "attention",
    "attention_pool",
    "cell",
    "complex",
    "composed",
    "conv",
    "embedding",
    "joining",
    "layout",
    "linear",
    "norm",
    "passing",
    "pool",
    "recurrent",
    "reduce",
    "scan",
    "spectrum",
    "time",
    "upsample",
)

_RULES: dict[str, Rule] = {}
_COMPLEX: set[str] = set()
_ATTENTION: dict[str, Rule] = {}


def rule(*names: str, complex: bool = False) -> Callable[[F], F]:
    """Register a function as the rule of these operations; `complex` ones know complex values."""

    def register(function: F) -> F:
        for name in names:
            if name in _RULES:
                raise ValueError(f"two rules for {name}")
            _RULES[name] = function
            if complex:
                _COMPLEX.add(name)
        return function

    return register


def attention_rule(*names: str) -> Callable[[F], F]:
    """Register what these operations are where frames attend to frames: on `Scores` and `TimeWeights`.

    Such a rule also gets what depends on the length alone, masks among it, as it is.
    """

    def register(function: F) -> F:
        _ATTENTION.update(dict.fromkeys(names, function))
        return function

    return register


def find_attention_rule(name: str) -> Rule | None:
    """What an operation is where frames attend to frames, by its `aten` name."""
    _all()
    return _ATTENTION.get(name)


def find_rule(name: str) -> Rule | None:
    """The rule of an operation, by its `aten` name."""
    return _all().get(name)


def knows_complex(name: str) -> bool:
    """Whether the rule of an operation takes complex values."""
    return name in _COMPLEX


def rule_names() -> tuple[str, ...]:
    """Every operation that has a rule."""
    return tuple(sorted(_all()))


def attention_rule_names() -> tuple[str, ...]:
    """Every operation that has a rule where frames attend to frames."""
    _all()
    return tuple(sorted(_ATTENTION))


@cache
def _all() -> dict[str, Rule]:
    for family in FAMILIES:
        importlib.import_module(f"{__name__}.{family}")
    return _RULES
