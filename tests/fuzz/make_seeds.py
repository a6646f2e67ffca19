"""The fuzzer's seeds: a small file for each group of operations, and one of several programs, without their long texts.

python tests/fuzz/make_seeds.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

from edgernn.export.to_ernn import api
from edgernn.export.to_ernn.format import Blobs, Texts, assemble

sys.path.insert(0, str(Path(__file__).parent.parent))
from small_programs import PROGRAMS


class ShortTexts(Texts):
    """A few bytes of each text: what is in it is nothing to the engine."""

    def add(self, text: str) -> tuple[int, int]:
        return super().add(text[:4])


def seed(*names: str) -> bytes:
    """A file of these programs."""
    blobs, texts = Blobs(), ShortTexts()
    return assemble([api.tables(name, PROGRAMS[name](), blobs, texts) for name in names], blobs, texts)


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name in PROGRAMS:
        (folder / f"{name}.ernn").write_bytes(seed(name))
    (folder / "several.ernn").write_bytes(seed("cells", "integer_cells", "indices"))


if __name__ == "__main__":
    main()
