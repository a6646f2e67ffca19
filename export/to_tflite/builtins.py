"""TFLite's built-in operations that edgernn writes: for each element type the version, and the runtime that has it.

A runtime refuses a file that asks for a newer version than it knows, so the lowest one that means the right thing is
written. Both numbers are those of LiteRT's `op_version.cc` and `runtime_version.cc`.
"""

from __future__ import annotations

from edgernn.errors import UnsupportedError

Versions = dict[str, tuple[int, str]]  # by the first input's element type: the operation's version, the runtime's

SIGNATURES = "2.5.0"
_F, _B, _8, _16, _32, _64 = "float32", "bool", "int8", "int16", "int32", "int64"
_ANY = (_F, _32, _64)


def _at(number: int, runtime: str, *dtypes: str) -> Versions:
    return dict.fromkeys(dtypes or (_F,), (number, runtime))


_COMPARED = _at(1, "1.14.0", *_ANY)
_LIMITED = _at(1, "1.14.0", *_ANY) | _at(2, "1.14.0", _8) | _at(4, "2.3.0", _16)
_GATED = _at(1, "1.14.0") | _at(2, "1.14.0", _8) | _at(3, "2.3.0", _16)

BUILTINS: dict[str, Versions] = {
    "ABS": _at(1, "1.13.0"),
    "ADD": _at(1, "1.5.0", _F, _32) | _at(2, "1.14.0", _8) | _at(3, "2.4.0", _16) | _at(4, "2.6.0", _64),
    "AVERAGE_POOL_2D": _at(1, "1.5.0"),
    "BATCH_MATMUL": _at(1, "2.3.0"),
    "BROADCAST_TO": _at(2, "2.5.0", *_ANY) | _at(3, "2.5.0", _8, _16),
    "CAST": _at(1, "1.5.0", *_ANY, _B, _16) | _at(3, "2.8.0", _8),
    "CEIL": _at(1, "1.14.0"),
    "CONCATENATION": _at(1, "1.5.0", *_ANY) | _at(2, "1.14.0", _8) | _at(3, "2.3.0", _16),
    "CONV_2D": _at(1, "1.5.0") | _at(3, "1.14.0", _8) | _at(4, "2.3.0", _16),
    "COS": _at(1, "1.14.0"),
    "CUMSUM": _at(1, "2.4.0", *_ANY),
    "DEPTHWISE_CONV_2D": _at(1, "1.5.0") | _at(3, "1.14.0", _8) | _at(5, "2.3.0", _16),
    "DEQUANTIZE": _at(2, "1.14.0", _8) | _at(3, "1.15.0", _16),
    "DIV": _at(1, "1.6.0", _F, _32),
    "EQUAL": _COMPARED | _at(1, "1.14.0", _B),
    "EXP": _at(1, "1.7.0"),
    "FLOOR": _at(1, "1.9.0"),
    "FLOOR_DIV": _at(1, "1.14.0", _32) | _at(2, "1.14.0"),
    "FULLY_CONNECTED": _at(1, "1.5.0") | _at(4, "1.14.0", _8) | _at(7, "2.3.0", _16),
    "GATHER": _at(1, "1.6.0", *_ANY) | _at(2, "1.14.0", _8) | _at(4, "2.4.0", _16),
    "GELU": _at(1, "2.9.0"),
    "GREATER": _COMPARED,
    "GREATER_EQUAL": _COMPARED,
    "IMAG": _at(1, "2.5.0", "complex64"),
    "LESS": _COMPARED,
    "LESS_EQUAL": _COMPARED,
    "LOG": _at(1, "1.14.0"),
    "LOGICAL_AND": _at(1, "1.11.0", _B),
    "LOGICAL_NOT": _at(1, "1.11.0", _B),
    "LOGICAL_OR": _at(1, "1.11.0", _B),
    "LOGISTIC": _GATED,
    "LOG_SOFTMAX": _at(1, "1.14.0"),
    "MAXIMUM": _LIMITED,
    "MAX_POOL_2D": _at(1, "1.5.0") | _at(2, "1.14.0", _8) | _at(3, "2.3.0", _16),
    "MEAN": _at(1, "1.6.0"),
    "MINIMUM": _LIMITED,
    "MUL": _at(1, "1.5.0", _F, _32) | _at(2, "1.14.0", _8) | _at(4, "2.3.0", _16) | _at(5, "2.6.0", _64),
    "NEG": _at(1, "1.9.0", *_ANY),
    "PADV2": _at(1, "1.9.0", *_ANY) | _at(2, "1.14.0", _8) | _at(3, "2.4.0", _16),
    "POW": _at(1, "1.10.0"),
    "QUANTIZE": _at(2, "1.15.0", _F, _16) | _at(1, "1.14.0", _8) | _at(2, "2.14.0", _32),
    "REAL": _at(1, "2.5.0", "complex64"),
    "REDUCE_MAX": _at(1, "1.11.0", _F, _32) | _at(2, "1.14.0", _8) | _at(3, "2.5.0", _16),
    "REDUCE_MIN": _at(1, "1.11.0"),
    "REDUCE_PROD": _at(1, "1.11.0"),
    "RELU": _at(1, "1.5.0"),
    "RESHAPE": _at(1, "1.5.0", *_ANY, _B, _8, _16),
    "RFFT2D": _at(1, "2.5.0"),
    "ROUND": _at(1, "1.14.0"),
    "RSQRT": _at(1, "1.10.0"),
    "SELECT_V2": _at(1, "2.2.0", _B),
    "SIGN": _at(1, "2.11.0"),
    "SIN": _at(1, "1.9.0"),
    "SLICE": _at(1, "1.14.0", *_ANY, _B) | _at(2, "1.14.0", _8) | _at(4, "2.4.0", _16),
    "SOFTMAX": _at(1, "1.5.0"),
    "SPLIT": _at(1, "1.5.0") | _at(2, "1.14.0", _8) | _at(4, "2.3.0", _16),
    "SQRT": _at(1, "1.10.0"),
    "STRIDED_SLICE": _at(1, "1.6.0", *_ANY) | _at(2, "1.14.0", _8) | _at(3, "2.1.0", _B) | _at(4, "2.2.0", _16),
    "SUB": _at(1, "1.6.0", _F, _32) | _at(2, "1.14.0", _8) | _at(4, "2.4.0", _64) | _at(5, "2.4.0", _16),
    "SUM": _at(1, "1.10.0", _F, _32),
    "TANH": _GATED,
    "TRANSPOSE": _at(1, "1.6.0", *_ANY) | _at(2, "1.14.0", _8) | _at(3, "1.15.0", _B) | _at(5, "2.4.0", _16),
}


def version(kind: str, dtype: str, place: str) -> tuple[int, str]:
    """Version of the built-in `kind` for a first input of `dtype`, and the first runtime that has it.

    Raises `UnsupportedError` when no runtime computes it.
    """
    found = BUILTINS[kind].get(dtype)
    if found is None:
        raise UnsupportedError(f"TFLite has no {kind} of {dtype}", place=place)
    return found


def newest(runtimes: set[str]) -> str:
    """The newest of versions like 2.11.0, and of the one that brought signatures."""
    return max({*runtimes, SIGNATURES}, key=lambda text: tuple(map(int, text.split("."))))
