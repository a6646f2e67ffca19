"""Runs a board's programs where the board is not. What it proves are bits; its times mean nothing."""

from __future__ import annotations

import shutil

from edgernn.errors import TargetError
from edgernn.targets.board import Board


def emulator(board: Board) -> list[str]:
    """The command in front of a program of the board's; empty where this machine is one.

    Raises `TargetError` when the board has no emulator, or it isn't installed.
    """
    if board.emulator is None:
        if board.evidence == "measured":
            return []
        raise TargetError("nothing emulates it", place=board.name, hint=board.note)
    command = list(board.emulator.command)
    if shutil.which(command[0]) is None:
        raise TargetError(
            f"`{command[0]}` is not installed",
            place=board.name,
            hint="Debian: apt install qemu-user qemu-system-arm nodejs",
        )
    return command
