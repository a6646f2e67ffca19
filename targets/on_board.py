"""Runs on a board, beside a wheel: `python3 on_board.py WHEEL ARGUMENT...` is that wheel's `edgernn ARGUMENT...`.

One process unpacks and runs, so that ending it ends everything. Exit status 69 where the board lacks something.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import zipfile

LACKING, CANNOT_RUN = 69, 126


def _main() -> None:
    wheel = sys.argv.pop(1)
    if sys.version_info < (3, 11):  # noqa: UP036 - a board's Python may be any
        _end(LACKING, f"Python is {sys.version_info[0]}.{sys.version_info[1]}, and 3.11 is needed")
    lacking = [name for name in ("numpy", "click") if importlib.util.find_spec(name) is None]
    if lacking:
        _end(LACKING, f"{' and '.join(lacking)} cannot be imported")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall("unpacked")
    sys.path.insert(0, "unpacked")
    try:
        importlib.import_module("edgernn.runtime._engine")
    except ImportError as error:  # of another CPU, or of 64 bits for a system of 32
        _end(CANNOT_RUN, str(error))
    importlib.import_module("edgernn.cli").main()


def _end(status: int, reason: str) -> None:
    print(reason, file=sys.stderr)
    sys.exit(status)


if __name__ == "__main__":
    _main()
