"""`edgernn bench --target adb:SERIAL`: an `adb` runs its commands here, in Android's shell (mksh) where installed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgernn.cli import edgernn as command_line
from edgernn.errors import MissingExtraError, TargetError
from edgernn.export.to_ernn import pack
from edgernn.targets import find_board
from edgernn.targets.build import build_runner
from edgernn.targets.remote import ADB_FOLDER, bench_remotely

from board_tools import command, programs_in, tool, waited
from small_programs import PROGRAMS

pytestmark = pytest.mark.xdist_group("targets")
QUICK = ("--steps", "100", "--seconds", "0.1")
# adb [-s SERIAL] shell -T COMMAND; a device of this machine's kind, whose programs are those of `bin`
SCRIPT = f"""#!/bin/sh
echo "$@" | head -c 200 >> "$DEVICE/log"
if [ -s "$DEVICE/refusal" ]; then cat "$DEVICE/refusal" >&2; exit 1; fi
for command; do :; done
PATH=$DEVICE/bin:/usr/bin:/bin
exec sh -c "$(printf %s "$command" | sed "s|{ADB_FOLDER}|$DEVICE/room|")"
"""
TOYBOX = ("cat", "head", "mktemp", "rm", "tar", "wc")


@dataclass(frozen=True)
class Device:
    """A folder with a device's programs (`bin`), its temporary folder, and what adb was asked."""

    folder: Path

    @property
    def room(self) -> Path:
        return self.folder / "room"

    def says(self, abi: str) -> None:
        """What kind of device it is."""
        program = self.folder / "bin" / "getprop"
        program.write_text(f'#!/bin/sh\n[ "$1" = ro.product.cpu.abi ] && echo {abi}\n', "utf-8")
        program.chmod(0o755)

    def is_empty(self) -> bool:
        """Whether nothing is left in the temporary folder, after a while."""
        return waited(lambda: not list(self.room.iterdir()), 20)


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Device:
    folder = tmp_path / "device"
    for name in ("bin", "room", "tools"):
        (folder / name).mkdir(parents=True)
    mksh, toybox = shutil.which("mksh"), shutil.which("toybox")
    if mksh and toybox:
        (folder / "bin" / "sh").symlink_to(mksh)
        for name in TOYBOX:
            (folder / "bin" / name).symlink_to(toybox)
    adb = folder / "tools" / "adb"
    adb.write_text(SCRIPT, "utf-8")
    adb.chmod(0o755)
    monkeypatch.setenv("DEVICE", str(folder))
    monkeypatch.setenv("PATH", f"{adb.parent}{os.pathsep}{os.environ['PATH']}")
    made = Device(folder)
    made.says("x86_64")
    tool(lambda: build_runner(find_board("x86-64")))
    return made


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "my model.ernn"
    path.write_bytes(pack(PROGRAMS["cells"]()))
    return path


def call(*words: object) -> Result:
    return CliRunner().invoke(command_line, [str(word) for word in words], catch_exceptions=False)


def test_a_device(device: Device, model: Path) -> None:
    """Its report is that of the program there, and nothing stays."""
    result = call("bench", model, "--target", "adb:R58N", *QUICK, "--json")
    assert result.exit_code == 0, result.output
    (answer,) = json.loads(result.stdout)["targets"]
    assert (answer["target"], answer["machine"]["python"]) == ("adb:R58N", None)
    assert [(row["file"], row["kind"], row["steps"]) for row in answer["rows"]] == [
        ("my model.ernn", "back-to-back", 100)
    ]
    asked = (device.folder / "log").read_text()
    assert asked.startswith(
        "-s R58N shell -T getprop ro.product.cpu.abi\n-s R58N shell -T TMPDIR=/data/local/tmp exec sh"
    )
    assert device.is_empty()


def test_the_runner_is_of_the_devices_kind(device: Device, model: Path) -> None:
    """A phone of 64 bits gets a program for its CPU, which this one refuses."""
    tool(lambda: build_runner(find_board("pi-4")))
    device.says("arm64-v8a")
    with pytest.raises(TargetError, match="adb:R58N: cannot run the program"):
        bench_remotely(["adb:R58N"], [model], QUICK)
    device.says("mips")
    with pytest.raises(TargetError, match="adb:R58N: is a `mips`, for which there is no runner"):
        bench_remotely(["adb:R58N"], [model], QUICK)
    assert device.is_empty()


@pytest.mark.parametrize(
    ("refusal", "said", "hint"),
    [
        ("error: device 'R58N' not found", "cannot be reached: error: device 'R58N' not found", "USB debugging"),
        ("error: device unauthorized.\nThis adb server's $ADB_VENDOR_KEYS is not set", "unauthorized", "allow this"),
        ("adb: device offline", "cannot be reached: adb: device offline", "adb reconnect"),
        ("* failed to start daemon\nerror: cannot connect to daemon", "failed to start", "adb start-server"),
        ("error: closed", "the connection ended midway", ""),
    ],
)
def test_what_cannot_be_reached(device: Device, model: Path, refusal: str, said: str, hint: str) -> None:
    (device.folder / "refusal").write_text(refusal)
    with pytest.raises(TargetError, match=rf"adb:R58N: .*{said}(.|\n)*{hint}"):
        bench_remotely(["adb:R58N"], [model], QUICK)


def test_the_program_fails(device: Device, model: Path) -> None:
    model.write_bytes(model.read_bytes()[:-64])
    with pytest.raises(TargetError, match=r"adb:R58N: the program ended with status 1: error: my model.ernn: the file"):
        bench_remotely(["adb:R58N"], [model], QUICK)
    assert device.is_empty()


def test_without_adb(device: Device, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGERNN_ADB", str(device.folder / "no-adb"))
    with pytest.raises(MissingExtraError, match=r"no-adb` cannot be run \(No such file(.|\n)*apt install adb"):
        bench_remotely(["adb:R58N"], [model], QUICK)
    with pytest.raises(TargetError, match="`adb:` is no host"):
        bench_remotely(["adb:"], [model], QUICK)


@pytest.fixture
def long(device: Device, model: Path) -> Iterator[subprocess.Popen[str]]:
    """A measurement that would take a minute, in its own process."""
    words = ["bench", str(model), "--target", "adb:R58N", "--rate", "100", "--seconds", "60", "--steps", "100"]
    process = command(*words)
    try:
        assert waited(lambda: list(device.room.glob("*/ernn_bench")) and len(programs_in(device.room)) >= 2, 60)
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=lambda how: how.name)
def test_nothing_is_left_behind(how: signal.Signals, device: Device, long: subprocess.Popen[str]) -> None:
    """After Ctrl-C, and where the command had no chance to say so: the device sees the end of its input."""
    long.send_signal(how)
    _, said = long.communicate(timeout=60)
    assert (long.returncode, said.strip()) == ((1, "Aborted!") if how is signal.SIGINT else (-signal.SIGKILL, ""))
    assert waited(lambda: not programs_in(device.room), 20), "a program still runs on the device"
    assert device.is_empty()
