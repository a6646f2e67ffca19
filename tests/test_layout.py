"""The rules of the tree: who imports whom, what a device imports, and that the wheel has everything."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import venv
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from conftest import Exporter

ROOT = Path(__file__).parent.parent
FOLDERS = {
    "edgernn": "edgernn",
    "export": "edgernn.export",
    "quantize": "edgernn.quantize",
    "runtime": "edgernn.runtime",
    "targets": "edgernn.targets",
}
HOST_ONLY = {"torch", "onnx", "onnxscript", "safetensors"}
# what an import of a stage may reach of another stage: its public package, never a module inside
STAGES = ("edgernn.export", "edgernn.quantize", "edgernn.runtime", "edgernn.targets")
# what knows the integers' truth besides: test vectors are its outputs, conversions are compared with it
TRUTHFUL = ("edgernn.export.likeness", "edgernn.export.to_ernn", "edgernn.export.to_tflite")
DEVICE_COMMANDS = ("bench", "generate", "inspect", "page", "report", "run", "table", "targets", "verify", "__init__")
TORCH_MODULES = ("edgernn.nn",)


def sources() -> Iterator[tuple[str, Path]]:
    """Every module of the package: its full name and its file."""
    for folder, package in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            yield ".".join([package, *(part for part in parts if part != "__init__")]), path


def imports(path: Path, *, lazy: bool) -> set[str]:
    """Names a file imports: those at its top, or (`lazy`) also those inside functions, but not under TYPE_CHECKING."""
    tree = ast.parse(path.read_text("utf-8"))
    skipped = {id(inner) for node in ast.walk(tree) if _type_checking(node) for inner in ast.walk(node)}
    nodes = ast.walk(tree) if lazy else (node for node in tree.body)
    found = set()
    for node in nodes:
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: import by full name"
            found.add(node.module or "")
    return found


def _type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _device_side(name: str) -> bool:
    if name.startswith("edgernn.commands."):
        return name.rpartition(".")[2] in DEVICE_COMMANDS
    return not name.startswith(("edgernn.export", "edgernn.quantize", *TORCH_MODULES))


@pytest.mark.parametrize(("name", "path"), [pytest.param(n, p, id=n) for n, p in sources()])
def test_imports(name: str, path: Path) -> None:
    everything = imports(path, lazy=True)
    tops = {item.split(".")[0] for item in everything}
    assert not tops & set(FOLDERS) - {"edgernn"}, "import by full name: edgernn.<folder>"
    if _device_side(name):
        assert not tops & HOST_ONLY, "the device side never imports torch or onnx"
    if name.startswith("edgernn.runtime"):
        assert not any(
            item.startswith(("edgernn.export", "edgernn.quantize", "edgernn.targets")) for item in everything
        )
    if name.startswith("edgernn.export"):
        others = everything - ({"edgernn.quantize.reference"} if name.startswith(TRUTHFUL) else set())
        assert not any(item.startswith(("edgernn.runtime", "edgernn.quantize")) for item in others), "use edgernn.load"
        assert "edgernn.commands" not in everything
    if name.startswith("edgernn.quantize"):
        inside = {item for item in everything if item.startswith(("edgernn.export.", "edgernn.runtime."))}
        assert not inside, "a stage's public package, never a module inside"
    if name.startswith("edgernn.targets"):
        stages = {item for item in everything if item.startswith(STAGES[:2])}
        assert not stages, "a board takes files that are written already"
    if not name.startswith(("edgernn.commands", *STAGES)) and name != "edgernn":
        assert not any(item.startswith(STAGES) for item in everything), "the shared part knows no stage"


@pytest.mark.parametrize(("name", "path"), [pytest.param(n, p, id=n) for n, p in sources()])
def test_docstrings(name: str, path: Path) -> None:
    """Every module says what it is for, and so does every public class and function in it."""
    tree = ast.parse(path.read_text("utf-8"))
    assert ast.get_docstring(tree), f"{name} has no docstring"
    for node in tree.body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{name}.{node.name} has no docstring"


@pytest.mark.parametrize("backend", ["onnxruntime", "engine"])
def test_the_device_side_leaves_torch_alone(exported: Exporter, backend: str) -> None:
    """Loading, inspecting and running a file, in a fresh process, imports neither torch nor onnx."""
    code = f"""
import sys, numpy, edgernn, edgernn.runtime, edgernn.cli
from click.testing import CliRunner
path = {str(exported("GRU").of(backend))!r}
edgernn.load(path)(numpy.zeros((3, 8), "f"))
for words in (["inspect", path], ["bench", path, "--steps", "100"], ["--help"], ["verify", path]):
    done = CliRunner().invoke(edgernn.cli.edgernn, words).exit_code == 0
    assert done == (words[0] != "verify" or path.endswith(".ernn")), words
tops = {{name.split(".")[0] for name in sys.modules}}
assert not tops & {{"torch", "onnx"}}, tops
assert not tops & {{"export", "quantize", "runtime", "targets"}}, tops
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_loading_is_light(exported: Exporter) -> None:
    """Import, load and a stream read a fraction of the code that numpy's own import does, and nothing needless."""
    code = f"""
import json, os, sys
def code_bytes(names):
    files = {{getattr(sys.modules[name], "__file__", None) for name in names}}
    return sum(os.path.getsize(file) for file in files if file and file.endswith(".py"))
start = set(sys.modules)
import numpy
numpys = set(sys.modules)
import edgernn
edgernn.load({str(exported("GRU").ernn)!r}).stream()
ours = set(sys.modules) - numpys
print(json.dumps([code_bytes(numpys - start), code_bytes(ours), sorted(ours)]))
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    numpys, ours, modules = json.loads(said)
    assert ours < numpys / 8
    assert not {"click", "csv", "email", "importlib.metadata", "pathlib", "wave", "zipfile"} & set(modules)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    own = f"--config-settings=build-dir={folder / 'build'}"  # another worker may be building too
    subprocess.run([*command, "--disable-pip-version-check", own, "-w", str(folder), str(ROOT)], check=True)
    return next(folder.glob("*.whl"))


EXTENSION = "edgernn/runtime/_engine.abi3.so"


@pytest.mark.xdist_group("wheel")
def test_wheel_has_every_source(wheel: Path) -> None:
    """No file of the package is left out, the engine's sources among them, and all are those of the checkout."""
    assert wheel.name.startswith(f"edgernn-{metadata.version('edgernn')}-cp311-abi3-")
    assert wheel.stat().st_size <= 750_000  # a host's; those for devices are tests/test_wheels.py's
    with zipfile.ZipFile(wheel) as archive:
        packed = {name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name}
    assert packed.pop(EXTENSION)
    expected = {
        str(Path(*package.split(".")) / path.relative_to(ROOT / folder)): path.read_bytes()
        for folder, package in FOLDERS.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert packed == expected


@pytest.mark.xdist_group("wheel")
def test_extension_is_one_for_all_pythons(wheel: Path, tmp_path: Path) -> None:
    """It needs of Python what every Python from 3.11 has, by its own account, and exports its own entry alone."""
    with zipfile.ZipFile(wheel) as archive:
        library = Path(archive.extract(EXTENSION, tmp_path))
    listed = subprocess.run(["nm", "-D", str(library)], capture_output=True, text=True, check=True).stdout
    words = [line.split()[-2:] for line in listed.splitlines()]
    assert [name for kind, name in words if kind in "TDBR"] == ["PyInit__engine"]
    assert {name for kind, name in words if kind == "U" and name.startswith("_Py")} <= {"_Py_Dealloc", "_Py_NoneStruct"}


@pytest.mark.xdist_group("wheel")
def test_wheel_in_an_empty_environment(wheel: Path, exported: Exporter, tmp_path: Path) -> None:
    """On a device: numpy and click, no torch, no onnx; a model streams on the engine, and the rest says what it lacks.

    With onnxruntime, an .onnx file streams too.
    """
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    pip += ["-c", str(ROOT / "constraints.txt")]
    subprocess.run([*pip, str(wheel)], check=True)

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [str(python), "-m", "edgernn.cli", *words]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)

    path, ernn = str(exported("GRU").path), str(exported("GRU").ernn)
    assert "0.1.0" in run("--version").stdout
    assert json.loads(run("inspect", ernn, "--json").stdout)["spec"]["hop"] == 1
    (tmp_path / "x.csv").write_text("a,b,c,d,e,f,g,h\n" + "1,2,3,4,5,6,7,8\n" * 3)
    result = run("run", ernn, "--input", "x.csv")
    assert len(result.stdout.splitlines()) == 3, result.stderr
    assert "p99_us" in run("bench", ernn, "--steps", "100").stdout
    assert set(json.loads(run("verify", ernn, "--json").stdout)["vectors"].values()) == {True}
    lacking = run("run", path, "--input", "x.csv")
    assert (lacking.returncode, "edgernn[onnxruntime]" in lacking.stderr) == (1, True)
    refused = run("export", "a:b", "-o", "m.onnx")
    assert refused.returncode == 1
    assert "`torch` is not installed" in refused.stderr
    assert "edgernn[export]" in refused.stderr
    checkpoint = run("inspect", "w.pt")
    assert checkpoint.returncode == 1
    assert "torch" in checkpoint.stderr
    compared = run("verify", ernn, path, "--data", "x.csv")
    assert (compared.returncode, "edgernn[export]" in compared.stderr) == (1, True)
    for name in ("torch", "onnx", "onnxruntime"):
        assert subprocess.run([str(python), "-c", f"import {name}"], capture_output=True, check=False).returncode == 1
    subprocess.run([*pip, f"{wheel}[onnxruntime]"], check=True)
    result = run("run", path, "--input", "x.csv")
    assert len(result.stdout.splitlines()) == 3, result.stderr


def test_no_private_names_in_tracked_files() -> None:
    """No path of a private machine, and no package registry's address."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    words = ["/wo" + "rk/", "/ro" + "ot/", "pypi" + ".org", "files.python" + "hosted", "/ho" + "me/"]
    for name in listed:
        path = ROOT / name
        if path.suffix in (".npz", ".onnx", ".png", ".pt", ".tflite") or not path.is_file():
            continue
        text = path.read_text("utf-8")
        assert not [word for word in words if word in text], name
