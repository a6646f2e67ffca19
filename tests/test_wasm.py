"""The engine as a WebAssembly module in Node: x86's bits, and the verbs of Stream."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgernn
from edgernn.export.to_ernn import pack
from edgernn.targets import find_board
from edgernn.targets.emulate import emulator
from edgernn.targets.verify import output_hash
from edgernn.targets.wasm import MODULE, WASM, build_wasm
from examples import keyword_spotting as example

from board_tools import tool
from engine_library import HEADER, statuses
from small_programs import PROGRAMS

pytestmark = pytest.mark.xdist_group("targets")


@pytest.fixture(scope="module")
def built() -> Path:
    tool(lambda: emulator(find_board("wasm")))
    folder: Path = tool(build_wasm)
    return folder


def node(built: Path, code: str, *words: Path) -> Any:
    """What a script prints as JSON; `load` and `read` are there for it."""
    script = f"""
import {{ readFile as read }} from "node:fs/promises";
import {{ load, ErnnError }} from {json.dumps(str(built / "edgernn.mjs"))};
const wasm = await read({json.dumps(str(built / MODULE))}), words = process.argv.slice(1);
{code}
"""
    command = ["node", "--input-type=module", "-e", script, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_module(built: Path) -> None:
    """At most 100 kB, and it asks its host for nothing."""
    assert (built / MODULE).stat().st_size <= 100_000
    imports = node(built, "console.log(JSON.stringify(WebAssembly.Module.imports(new WebAssembly.Module(wasm))))")
    assert imports == []


def test_the_wrapper_knows_the_header() -> None:
    """The one status that it takes apart is the header's."""
    assert f"FLUSHED = {statuses().index('FLUSHED')};" in (WASM / "edgernn.mjs").read_text("utf-8")
    assert "ERNN_FLUSHED," in HEADER.read_text("utf-8")


@pytest.mark.parametrize("name", [*PROGRAMS, "keyword"])
def test_bits(name: str, built: Path, keyword: Path, tmp_path: Path) -> None:
    """Test vectors on both instruction sets; of the keyword model, a spoken digit's hash."""
    path = keyword
    if name != "keyword":
        path = tmp_path / "m.ernn"
        path.write_bytes(pack(PROGRAMS[name]()))
    spec = edgernn.load(path).spec
    frames = {port.name: np.zeros((7, *port.frame), port.dtype) for port in spec.inputs}
    if name == "keyword":
        frames = {spec.inputs[0].name: example.load_clips(example.SYNTHETIC).audio[0]}
    files = [tmp_path / port.name for port in spec.inputs]
    for port, file in zip(spec.inputs, files, strict=True):
        file.write_bytes(frames[port.name].tobytes())
    command = ["node", str(WASM / "hash.mjs"), str(built), str(path), *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["isa"], said["selftest"]) == ("wasm128", {"wasm128": True, "scalar": True})
    if name == "keyword":
        assert said["sha256"] == output_hash(edgernn.load(path), frames)


def test_verbs(built: Path, keyword: Path, tmp_path: Path) -> None:
    """Pieces of any size, steps, save and restore, fork, reset: the same frames; and what is wrong is said."""
    x = example.load_clips(example.SYNTHETIC).audio[0]
    (tmp_path / "x").write_bytes(x.tobytes())
    said = node(
        built,
        """
const model = await load(await read(words[0]), wasm), bytes = await read(words[1]);
const x = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
const join = (...parts) => parts.flatMap((part) => [...part]);
const whole = model.stream(), pieces = model.stream(), other = model.stream();
const all = join(whole.push(x), whole.flush());
const some = pieces.push(x.subarray(0, 1001)), saved = pieces.save(), fork = pieces.fork();
const rest = join(pieces.push(x.subarray(1001)), pieces.flush());
other.restore(saved);
const restored = join(other.push(x.subarray(1001)), other.flush());
const forked = join(fork.push(x.subarray(1001)), fork.flush());
whole.reset();
const steps = join(whole.step(x.subarray(0, 3 * model.hop)));
const wrong = [];
for (const fault of [() => whole.step(x.subarray(0, 1)), () => whole.push(new Float64Array(1)),
                     () => pieces.push(x), () => other.restore(saved.slice(1))]) {
  try { fault(); wrong.push("nothing"); } catch (error) { wrong.push([error instanceof ErnnError, error.message]); }
}
try { await load(bytes, wasm); } catch (error) { wrong.push([error instanceof ErnnError, error.message]); }
console.log(JSON.stringify({ all, pieces: join(some, rest), restored: join(some, restored),
                             forked: join(some, forked), steps, wrong, labels: model.spec.labels }));
""",
        keyword,
        tmp_path / "x",
    )
    model = edgernn.load(keyword)
    expected = model(x)
    for verb in ("all", "pieces", "restored", "forked"):
        assert np.array_equal(np.array(said[verb], np.float32).reshape(expected.shape), expected), verb
    hop = model.spec.hop
    steps = np.array(said["steps"], np.float32).reshape(-1, *expected.shape[1:])
    assert np.array_equal(steps, model.stream().step(x[: 3 * hop]))
    assert all(is_ours for is_ours, _ in said["wrong"])
    messages = [text for _, text in said["wrong"]]
    assert messages[0] == f"1 frames are not whole hops of {hop}"
    assert "takes a Float32Array" in messages[1]
    assert messages[2] == "the sequence was ended"
    assert "damaged" in messages[3]
