"""`edgernn bench --target` against a real ssh server on this machine, with keys made for the test."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result

from edgernn.cli import edgernn as command_line
from edgernn.errors import EdgeRNNError, InputError, TargetError
from edgernn.export.to_ernn import pack
from edgernn.targets import find_board
from edgernn.targets.build import build_runner
from edgernn.targets.remote import SSH, bench_remotely
from edgernn.targets.wheel import platform_wheel

from board_tools import command, programs_in, tool, waited
from engine_library import needs
from small_programs import PROGRAMS

pytestmark = pytest.mark.xdist_group("targets")
SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin")
QUICK = ("--steps", "100", "--seconds", "0.1")


@dataclass(frozen=True)
class Server:
    """An ssh server whose users' temporary folder is `room`, and whose Python imports from `packages` alone."""

    folder: Path
    room: Path
    process: subprocess.Popen[bytes]

    @property
    def packages(self) -> Path:
        return self.folder / "packages"

    @property
    def ssh(self) -> str:
        """The client, with hosts `board`, `other`, `stranger` (another key), `nobody` (no server), `full` (no room)."""
        return f"ssh -F {self.folder / 'config'}"

    def is_empty(self, seconds: float = 20) -> bool:
        """Whether nothing is left in the temporary folder, after a while."""
        return waited(lambda: not list(self.room.iterdir()), seconds)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if SSHD is None:
        pytest.skip("`sshd` is not installed (make system-tools)")
    needs("ssh", "ssh-keygen")
    tool(lambda: build_runner(find_board("x86-64")))
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    folder = tmp_path_factory.mktemp("ssh")
    room = folder / "room"
    room.mkdir()
    for name in ("host", "stranger", "user", "limited"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(command, check=True)
    public = {name: (folder / f"{name}.pub").read_text().strip() for name in ("host", "stranger", "user", "limited")}
    (folder / "packages").mkdir()
    for path in (Path(np.__file__).parent, Path(np.__file__).parents[1] / "numpy.libs", Path(click.__file__).parent):
        (folder / "packages" / path.name).symlink_to(path)
    python = folder / "bin" / "python3"  # as a board's: nothing of this environment but numpy and click
    python.parent.mkdir()
    base = Path(sys.base_prefix) / "bin" / "python3"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={folder / "packages"} exec {base} -S "$@"\n')
    python.chmod(0o755)
    # a limit of a file's size, in blocks of 512 or 1024 bytes, is what a full disk is to a program that writes
    limit = 'command="ulimit -f 64; trap \\"\\" XFSZ; eval \\"$SSH_ORIGINAL_COMMAND\\""'
    # behind what the user's shell reads at its start
    path = f'command="PATH={python.parent}:$PATH; eval \\"$SSH_ORIGINAL_COMMAND\\""'
    (folder / "authorized").write_text(f"{path} {public['user']}\n{limit} {public['limited']}\n")
    port = free_port()
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder / 'host'}\nAuthorizedKeysFile {folder / 'authorized'}\n"
        f"StrictModes no\nUsePAM no\nPidFile none\nPermitRootLogin yes\nSetEnv TMPDIR={room}\n"
    )
    key = public["host"].split()[:2]
    other = public["stranger"].split()[:2]
    (folder / "known").write_text(f"board {' '.join(key)}\nstranger {' '.join(other)}\n")
    common = f"  HostName 127.0.0.1\n  Port {port}\n  UserKnownHostsFile {folder / 'known'}\n  IdentitiesOnly yes\n"
    hosts = {
        "board": f"  HostKeyAlias board\n  IdentityFile {folder / 'user'}\n",
        "other": f"  HostKeyAlias board\n  IdentityFile {folder / 'user'}\n",
        "stranger": f"  HostKeyAlias stranger\n  IdentityFile {folder / 'user'}\n",
        "keyless": f"  HostKeyAlias board\n  IdentityFile {folder / 'stranger'}\n",
        "full": f"  HostKeyAlias board\n  IdentityFile {folder / 'limited'}\n",
    }
    text = "".join(f"Host {name}\n{lines}{common}" for name, lines in hosts.items())
    (folder / "config").write_text(f"{text}Host nobody\n  HostName 127.0.0.1\n  Port {free_port()}\n")
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen([SSHD, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=log)
    try:
        listening = waited(lambda: b"listening" in (folder / "log").read_bytes(), 20)
        assert listening, (folder / "log").read_text()
        yield Server(folder, room, process)
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(autouse=True)
def _configured(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SSH, server.ssh)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "my model.ernn"  # a space is a plain name's too
    path.write_bytes(pack(PROGRAMS["cells"]()))
    return path


def call(*words: object) -> Result:
    return CliRunner().invoke(command_line, [str(word) for word in words], catch_exceptions=False)


def test_one_board(server: Server, model: Path) -> None:
    """Its report is that of the program there, and nothing stays."""
    result = call("bench", model, "--target", "board", *QUICK, "--rate", 100, "--json")
    assert result.exit_code == 0, result.output
    (answer,) = json.loads(result.stdout)["targets"]
    assert (answer["target"], answer["schema"], answer["machine"]["python"]) == ("board", 1, None)
    assert [(row["file"], row["kind"], row["steps"]) for row in answer["rows"]] == [
        ("my model.ernn", "back-to-back", 100),
        ("my model.ernn", "paced", 10),
    ]
    assert server.is_empty()


def test_several_boards_in_one_table(server: Server, model: Path, tmp_path: Path) -> None:
    second = tmp_path / "second.ernn"
    second.write_bytes(model.read_bytes())
    words = ("bench", model, "--against", second, "--target", "board", "--target", "other", "--board", "x86-64", *QUICK)
    result = call(*words)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].split()[:2] == ["target", "file"]
    assert [(line.split()[0], "second" in line) for line in lines[1:5]] == [
        ("board", False),
        ("board", True),
        ("other", False),
        ("other", True),
    ]
    assert [line.partition(":")[0] for line in lines[-2:]] == ["board", "other"]
    assert "note: other: the clock is not fixed" in result.stderr
    limited = call(*words, "--max-p99-us", "0.000001")
    assert (limited.exit_code, "slower: other: " in limited.stderr) == (1, True)
    assert server.is_empty()


@pytest.mark.parametrize(
    ("target", "said", "hint"),
    [
        ("stranger", "cannot be reached: Host key verification failed", "connect by hand once: ssh stranger"),
        ("nobody", "cannot be reached: ssh: connect to host 127.0.0.1 port", "does the board run an ssh server"),
        ("keyless", "cannot be reached: .*Permission denied", "ssh-copy-id keyless"),
        ("no.such.host.invalid", "cannot be reached: ssh: Could not resolve hostname", "is the name right"),
        ("full", "has no room in its temporary folder: .*(File too large|No space)", "TMPDIR"),
    ],
)
def test_what_cannot_be_reached(server: Server, model: Path, target: str, said: str, hint: str) -> None:
    with pytest.raises(TargetError, match=rf"^{target}: {said}(.|\n)*hint: .*{hint}"):
        bench_remotely([target], [model], QUICK, None if target != "full" else "x86-64")
    assert server.is_empty()


def test_one_of_several_fails(server: Server, model: Path) -> None:
    """Its error is told, and the others end."""
    with pytest.raises(TargetError, match="nobody: cannot be reached"):
        bench_remotely(["nobody", "board"], [model], ("--steps", "100", "--seconds", "60", "--rate", "100"))
    assert server.is_empty()


def test_the_program_fails(server: Server, model: Path) -> None:
    model.write_bytes(model.read_bytes()[:-64])
    with pytest.raises(TargetError, match=r"board: the program ended with status 1: error: my model.ernn: the file"):
        bench_remotely(["board"], [model], QUICK)
    assert server.is_empty()


def test_the_boards_python(server: Server, model: Path, tmp_path: Path) -> None:
    """The device's wheel is copied, runs there, and nothing stays."""
    second = tmp_path / "second.ernn"
    second.write_bytes(model.read_bytes())
    tool(lambda: platform_wheel("manylinux_2_17_x86_64"))
    words = ("bench", model, "--against", second, "--target", "board", "--runtime", "python")
    result = call(*words, *QUICK, "--rate", 100, "--json")
    assert result.exit_code == 0, result.output
    (answer,) = json.loads(result.stdout)["targets"]
    assert answer["machine"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert [(row["file"], row["kind"], row["steps"], row["backend"][:7]) for row in answer["rows"]] == [
        (file, kind, steps, "engine ")
        for file in ("my model.ernn", "second.ernn")
        for kind, steps in (("back-to-back", 100), ("paced", 10))
    ]
    assert server.is_empty()


def test_the_boards_python_lacks_something(server: Server, model: Path) -> None:
    """It is told what, and so are the program's own errors; a wheel of another CPU cannot be loaded."""
    tool(lambda: platform_wheel("manylinux_2_17_x86_64"))

    def fails(board: str = "x86-64") -> str:
        with pytest.raises(TargetError) as caught:
            bench_remotely(["board"], [model], QUICK, board, "python")
        assert server.is_empty()
        return str(caught.value)

    said = fails("pi-4")
    print(said)
    assert said.startswith("board: cannot run the program: ")
    assert said.endswith("hint: --board names another kind")
    whole = model.read_bytes()
    model.write_bytes(whole[:-64])
    assert fails().startswith("board: the program ended with status 1: error: my model.ernn: is damaged")
    model.write_bytes(whole)
    hint = "\n\nhint: Debian: apt install python3-numpy python3-click; or without --runtime python"
    moved = server.packages.rename(server.folder / "moved")
    try:
        assert fails() == f"board: cannot run Python there: numpy and click cannot be imported{hint}"
    finally:
        moved.rename(server.packages)
    python = server.folder / "bin" / "python3"
    moved = python.rename(server.folder / "moved")
    python.write_text("#!/bin/sh\nexec no-such-python\n")
    python.chmod(0o755)
    try:
        said = fails()
        assert said.startswith("board: cannot run Python there: ")
        assert said.endswith(f"not found{hint}")
    finally:
        moved.replace(python)


def test_the_board_is_another(server: Server, model: Path) -> None:
    """A program of another CPU does not run there."""
    tool(lambda: build_runner(find_board("pi-4")))
    with pytest.raises(TargetError, match=r"board: cannot run the program: .*\n\nhint: --board"):
        bench_remotely(["board"], [model], QUICK, "pi-4")
    assert server.is_empty()


@dataclass
class Long:
    """A measurement that would take a minute, in its own process."""

    process: subprocess.Popen[str]
    server: Server

    def programs(self) -> list[int]:
        """Processes that the server's users run."""
        return programs_in(self.server.room)

    def ends(self) -> tuple[int, str]:
        """Its exit status and errors, once nothing is left on the board."""
        _, said = self.process.communicate(timeout=60)
        assert waited(lambda: not self.programs(), 20), "a program still runs on the board"
        assert self.server.is_empty()
        return self.process.returncode, said


@pytest.fixture
def long(server: Server, model: Path, request: pytest.FixtureRequest) -> Iterator[Long]:
    runtime = getattr(request, "param", "static")
    words = ["bench", str(model), "--target", "board", "--rate", "100", "--seconds", "60", "--steps", "100"]
    copied = {"static": "*/ernn_bench", "python": "*/unpacked/edgernn"}[runtime]
    process = command(*words, "--runtime", runtime)
    started = Long(process, server)
    try:
        assert waited(lambda: list(server.room.glob(copied)) and len(started.programs()) >= 2, 60)
        yield started
    finally:
        process.kill()
        process.communicate()


def test_ctrl_c(long: Long) -> None:
    long.process.send_signal(signal.SIGINT)
    status, said = long.ends()
    assert (status, said.strip()) == (1, "Aborted!")


@pytest.mark.parametrize("long", ["static", "python"], indirect=True)
def test_the_command_is_killed(long: Long) -> None:
    """Even without a chance to say so: the board sees the end of its input."""
    long.process.kill()
    assert long.ends()[0] == -signal.SIGKILL


def test_the_connection_drops(long: Long) -> None:
    """The server's end dies midway."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    children = [int(line.split()[0]) for line in listed.splitlines() if int(line.split()[1]) == long.server.process.pid]
    assert len(children) == 1
    os.kill(children[0], signal.SIGKILL)
    for line in listed.splitlines():
        pid, parent = map(int, line.split())
        if parent == children[0] and pid not in long.programs():
            os.kill(pid, signal.SIGKILL)  # the server's other half
    status, said = long.ends()
    assert status == 1
    assert said.startswith("error: board: the connection ended midway")


def test_refused_before_anything_is_copied(model: Path, tmp_path: Path) -> None:
    for files, said in (
        ([tmp_path / "m.onnx"], "boards take .ernn files"),
        ([tmp_path / "gone.ernn"], "boards take .ernn files"),
        ([model, model], "plain names, each another"),
    ):
        with pytest.raises(InputError, match=said):
            bench_remotely(["board"], files, QUICK, "x86-64")
    quoted = tmp_path / 'a"b.ernn'
    quoted.write_bytes(b"")
    with pytest.raises(InputError, match="plain names"):
        bench_remotely(["board"], [quoted], QUICK, "x86-64")
    with pytest.raises(TargetError, match="`-oProxyCommand=x` is no host"):
        bench_remotely(["-oProxyCommand=x"], [model], QUICK)
    with pytest.raises(EdgeRNNError, match="no board is called"):
        bench_remotely(["board"], [model], QUICK, "abacus")
    assert call("bench", model, "--board", "pi-4").exit_code == 2
    assert call("bench", model, "--target", "board", "--threads", "2").exit_code == 2
    assert call("bench", model, "--runtime", "python").exit_code == 2
