"""How near the file in a general runtime is to the exact integers."""

from __future__ import annotations

from pathlib import Path

import edgernn
from edgernn import files
from edgernn.compare import snr_db
from edgernn.errors import MissingExtraError
from edgernn.program import Program
from edgernn.quantize.data import Sequences
from edgernn.quantize.reference import evaluate
from edgernn.quantize.whole import output_frames, padded, run_whole

_STEPS = 500


def near_form(data: bytes, path: Path, program: Program, sequences: Sequences) -> dict[str, float]:
    """SNR in dB by output of the file `data` in onnxruntime against `program`, over the first sequence.

    The file is tried beside `path`, where it will be. Empty without onnxruntime, and for a file that is not for it.
    """
    if path.suffix != ".onnx":
        return {}
    item = {name: array[: _STEPS * program.spec.hop] for name, array in sequences.items[0].items()}
    draft = path.with_name(f".{path.stem}-near.onnx")
    try:
        files.write_bytes(draft, data)
        found = edgernn.load(draft)(item)
    except MissingExtraError:
        return {}
    finally:
        draft.unlink(missing_ok=True)
    given, length = padded(program.spec, item)
    exact = run_whole(program, given, evaluate, length=length)
    return {
        port.name: snr_db(
            output_frames(exact, port, length).reshape(-1),
            (found[port.name] if isinstance(found, dict) else found).reshape(-1),
        )
        for port in program.spec.outputs
    }
