"""Models as C: the engine in two files, on this machine, and on emulated microcontrollers with the bits of x86."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

import edgernn
from edgernn.cli import edgernn as command_line
from edgernn.errors import TargetError
from edgernn.export.to_ernn import pack
from edgernn.targets import Board, boards, find_board
from edgernn.targets.amalgamate import amalgamation
from edgernn.targets.build import HERE, zig
from edgernn.targets.c_export import write_c
from edgernn.targets.emulate import emulator
from edgernn.targets.fit import STACK_BYTES
from edgernn.targets.mcu import DEBUGGED, MCU, build_hash_program, flash_bytes, link
from edgernn.targets.verify import output_hash, run_json, verify
from examples import keyword_spotting as example

from board_tools import tool
from conftest import GOLDEN_KEYWORD
from engine_library import needs, run
from small_programs import PROGRAMS

pytestmark = pytest.mark.xdist_group("targets")
MICROCONTROLLERS = [board for board in boards() if board.emulator is not None and board.emulator.kind == "qemu-system"]
WARNINGS = ("-std=c11", "-O1", "-fno-math-errno", "-Wall", "-Wextra", "-Wconversion", "-Werror")
SEMIHOSTING = (
    *("-nographic", "-monitor", "none", "-serial", "none"),
    *("-semihosting-config", "enable=on,target=native", "-kernel"),
)


def call(*words: object) -> Result:
    return CliRunner().invoke(command_line, [str(word) for word in words], catch_exceptions=False)


@pytest.fixture(scope="module")
def exported(keyword: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `edgernn export digits.ernn -o digits.c` wrote to."""
    folder = tmp_path_factory.mktemp("c")
    result = call("export", keyword, "-o", folder / "digits.c")
    assert result.exit_code == 0, result.output
    return folder


def test_four_files(exported: Path, keyword: Path) -> None:
    assert {path.name for path in exported.iterdir()} == {"digits.c", "digits.h", "edgernn.c", "edgernn.h"}
    header = (exported / "digits.h").read_text("ascii")
    assert f"#define DIGITS_MODEL_BYTES {keyword.stat().st_size}u" in header
    assert "out `output` float32" in header
    text = (exported / "edgernn.c").read_text("utf-8")
    assert '#include "' not in text.replace('#include "edgernn.h"', "")


def test_any_source_becomes_c(tmp_path: Path, keyword: Path) -> None:
    result = call("export", GOLDEN_KEYWORD, "-o", tmp_path / "m.c", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["hop"] == edgernn.load(keyword).spec.hop
    call("export", keyword, "-o", tmp_path / "n.c")
    first, second = ((tmp_path / name).read_text().partition("};")[0] for name in ("m.c", "n.c"))
    assert first == second.replace("n_model", "m_model").replace('"n.h"', '"m.h"')


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("{model}", "-o", "{folder}/two-words.c"), "its name is to be a name in C"),
        (("{model}", "-o", "{folder}/edgernn.c"), "its name is to be a name in C"),
        (("{model}", "-o", "{folder}/gone/m.c"), "its folder does not exist"),
        (("{golden}", "-o", "{folder}/gone/m.c"), "its folder does not exist"),
    ],
)
def test_refused(words: tuple[str, ...], said: str, keyword: Path, tmp_path: Path) -> None:
    filled = [word.format(model=keyword, folder=tmp_path, golden=GOLDEN_KEYWORD) for word in words]
    with pytest.raises(TargetError, match=said):
        call("export", *filled)
    assert not list(tmp_path.iterdir())
    assert call("export", keyword, "-o", tmp_path / "m.onnx").exit_code == 2


@pytest.mark.parametrize("compiler", ["gcc", "zig", "zig for Armv6"])
def test_example_gives_every_bit(compiler: str, exported: Path, keyword: Path, tmp_path: Path) -> None:
    """Without a warning, also where the compiler may fuse; the outputs of the same frames, step by step."""
    command: list[str | Path] = ["gcc", "-std=gnu11"]
    emulated: list[str] = []
    if compiler == "gcc":
        needs("gcc")
    else:
        command = [tool(zig), "cc", "-fno-sanitize=all"]
    if compiler == "zig for Armv6":
        board = find_board("pi-zero")
        assert board.build is not None
        emulated = tool(lambda: emulator(board))
        command += [f"--target={board.build.target}", f"-mcpu={board.build.mcpu}", "-static"]
    program = tmp_path / "digits"
    sources = [exported / "digits.c", exported / "edgernn.c"]
    run(*command, *WARNINGS[1:], "-DERNN_EXAMPLE", *sources, "-o", program)
    model = edgernn.load(keyword)
    x = example.load_clips(example.SYNTHETIC).audio[0]
    x = x[: len(x) // model.spec.hop * model.spec.hop]
    got = subprocess.run([*emulated, program], input=x.tobytes(), capture_output=True, check=True).stdout
    assert got == model.stream().step(x).tobytes()


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_operation(name: str, exported: Path, tmp_path: Path) -> None:
    """The example's own test vectors, with an operation of every kind, by gcc's fusing default."""
    needs("gcc")
    engine = exported / "edgernn.o"
    if not engine.is_file():
        run("gcc", "-O1", "-fno-math-errno", "-c", exported / "edgernn.c", "-o", engine)
    (tmp_path / "m.ernn").write_bytes(pack(PROGRAMS[name]()))
    write_c(tmp_path / "m.ernn", tmp_path / "m.c")
    run("gcc", *WARNINGS, "-DERNN_EXAMPLE", tmp_path / "m.c", engine, "-o", tmp_path / "m")
    assert subprocess.run([tmp_path / "m"], input=b"", capture_output=True, check=True).stdout == b""


def test_fast_math_is_refused(exported: Path) -> None:
    needs("gcc")
    command = ["gcc", "-ffast-math", "-fsyntax-only", str(exported / "edgernn.c")]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (said.returncode, "compile edgernn.c without it" in said.stderr) == (1, True)


def test_nothing_of_one_part_reaches_the_next() -> None:
    """Every macro that a part defines ends with it."""
    for part in amalgamation().split("\n/* === ")[1:]:
        name, _, text = part.partition(" === */")
        defined = {line.split()[1].partition("(")[0] for line in text.splitlines() if line.startswith("#define ")}
        undefined = {line.split()[1] for line in text.splitlines() if line.startswith("#undef ")}
        assert defined <= undefined, name


def frames_of(keyword: Path) -> dict[str, np.ndarray]:
    return {edgernn.load(keyword).spec.inputs[0].name: example.load_clips(example.SYNTHETIC).audio[0]}


@pytest.mark.parametrize("compiler", ["gcc", "zig"])
@pytest.mark.parametrize("board", MICROCONTROLLERS, ids=lambda board: board.name)
def test_bits_on_the_microcontroller(board: Board, compiler: str, keyword: Path, tmp_path: Path) -> None:
    """A spoken digit gives x86's hash on the CPU's own instruction set, by either compiler without a warning; what it
    took is what the board's file says."""
    command = tool(lambda: emulator(board))
    if compiler == "gcc":
        needs("arm-none-eabi-gcc")
    model, frames = edgernn.load(keyword), frames_of(keyword)
    program = tool(lambda: build_hash_program(board, keyword, model, frames, tmp_path, gcc=compiler == "gcc"))
    said = run_json([*command, *SEMIHOSTING, str(program)], board)
    assert (said["sha256"], said["isa"]) == (output_hash(model, frames), board.isas[0])
    assert said["stream_bytes"] <= model.details["stream_bytes"]
    assert said["stack_bytes"] <= STACK_BYTES
    assert board.build is not None
    assert board.build.engine_bytes is not None
    if compiler == "gcc":
        engine = flash_bytes(program) - keyword.stat().st_size - sum(x.nbytes for x in frames.values())
        assert 0.9 * board.build.engine_bytes <= engine <= board.build.engine_bytes


@pytest.mark.parametrize("gcc", [True, False], ids=["gcc", "zig"])
def test_every_operation_on_a_cortex_m4(gcc: bool, tmp_path: Path) -> None:
    """The test vectors of all small programs, by both compilers, warnings being errors."""
    board = find_board("cortex-m4")
    command = tool(lambda: emulator(board))
    if gcc:
        needs("arm-none-eabi-gcc")
    lines, sources = [], [tmp_path / "edgernn.c", *DEBUGGED, tmp_path / "all.c"]
    for name in PROGRAMS:
        (tmp_path / f"{name}.ernn").write_bytes(pack(PROGRAMS[name]()))
        write_c(tmp_path / f"{name}.ernn", tmp_path / f"{name}.c")
        sources.append(tmp_path / f"{name}.c")
        lines.append(f'  status |= test({name}_model, {name.upper()}_MODEL_BYTES, "{name}");')
    headers = "".join(f'#include "{name}.h"\n' for name in PROGRAMS)
    (tmp_path / "all.c").write_text(
        f"""{headers}#include "start.h"
static _Alignas(64) uint8_t memory[100000];
static int test(const void *file, size_t size, const char *name) {{
  ernn_model model;
  int wrong = 0;
  for (uint32_t i = 0; ernn_isa_name(i); i++) {{
    ernn_status status = ernn_model_open(&model, file, size);
    if (!status) status = ernn_selftest(&model, 0, memory, sizeof memory, ernn_isa_name(i));
    say(name), say(" "), say(ernn_isa_name(i)), say(": "), say(ernn_status_text(status)), say("\\n");
    wrong |= status != ERNN_OK;
  }}
  return wrong;
}}
int main(void) {{
  int status = 0;
{chr(10).join(lines)}
  return status;
}}
"""
    )
    program = tool(lambda: link(board, sources, tmp_path / "all.elf", [tmp_path, MCU], gcc=gcc))
    said = subprocess.run([*command, *SEMIHOSTING, program], capture_output=True, text=True, check=False, timeout=300)
    assert said.returncode == 0, said.stderr
    assert said.stderr.count(": no error") == len(PROGRAMS) * len(board.isas)


def test_a_cpu_without_the_instructions_stops(keyword: Path, tmp_path: Path) -> None:
    """What shows that the emulator would notice: an M55's program faults on an M4."""
    command = tool(lambda: emulator(find_board("cortex-m4")))
    model, frames = edgernn.load(keyword), frames_of(keyword)
    program = tool(lambda: build_hash_program(find_board("cortex-m55"), keyword, model, frames, tmp_path))
    said = subprocess.run([*command, *SEMIHOSTING, program], capture_output=True, check=False, timeout=60)
    assert said.returncode == 99


def test_verify_command_takes_microcontrollers(keyword: Path) -> None:
    board = find_board("cortex-m7")
    tool(lambda: emulator(board))
    result = tool(lambda: verify(board, keyword, frames_of(keyword)))
    assert result.equal
    assert result.program_bytes > keyword.stat().st_size


def test_what_does_not_fit_is_refused(keyword: Path, tmp_path: Path) -> None:
    fits = call("inspect", keyword, "--board", "cortex-m4")
    assert (fits.exit_code, fits.stdout.partition("\n")[0]) == (0, "cortex-m4: fits")
    small = tmp_path / "small.toml"
    text = (HERE / "boards" / "cortex-m4.toml").read_text("utf-8")
    for word in ("ram = 262144", "flash = 1048576"):
        assert word in text
        small.write_text(text.replace(word, word.split()[0] + " = 40000"))
        refused = call("inspect", keyword, "--board", small)
        assert (refused.exit_code, refused.stdout.partition("\n")[0]) == (1, "small: does not fit")
    report = json.loads(call("inspect", keyword, "--board", "pi-zero", "--json").stdout)
    assert (report["fits"], report["flash"]) == (True, None)
    with pytest.raises(TargetError, match="names no `ram`"):
        call("inspect", keyword, "--board", "wasm")
    with pytest.raises(TargetError, match=r"overflow|will not fit|does not fit|exceeds"):
        link_small(small, keyword, tmp_path)


def link_small(small: Path, keyword: Path, folder: Path) -> None:
    """The compiler refuses what `inspect` refuses."""
    model, frames = edgernn.load(keyword), frames_of(keyword)
    tool(lambda: build_hash_program(find_board(str(small)), keyword, model, frames, folder))


def test_the_engine_is_written_without_torch(tmp_path: Path) -> None:
    """`edgernn targets sources`, on a device too."""
    code = f"""
import sys
from click.testing import CliRunner
from edgernn.cli import edgernn
assert CliRunner().invoke(edgernn, ["targets", "sources", {str(tmp_path)!r}]).exit_code == 0
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (tmp_path / "edgernn.c").read_text("utf-8") == amalgamation()
