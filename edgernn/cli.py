"""The command line. Each command parses and prints; the work is one library call."""

from __future__ import annotations

import difflib
import importlib
import logging
import sys
from typing import Any, NoReturn

import click

from edgernn.errors import HOST_INSTALL, EdgeRNNError, MissingExtraError

COMMANDS = {
    "export": "Turn a PyTorch module, or a model file, into a streaming model file.",
    "quantize": "Turn a model file into an int8 one, and report what it costs.",
    "verify": "Compare model files, and the module they came from, step by step.",
    "inspect": "Show what a model file takes, gives, keeps and costs.",
    "run": "Stream a recording, or stdin, through a model file.",
    "generate": "Print the tokens that a language model or an encoder-decoder gives.",
    "bench": "Measure the latency of a step.",
    "page": "Write a web page that runs a model on the microphone.",
    "report": "Write one page about model files: contract, fidelity, latency.",
    "targets": "Show the boards that models live on, and what may be claimed of each.",
}


class _Commands(click.Group):
    """Loads a command's module when it is called, so that those for devices don't import those for hosts."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        try:
            module = importlib.import_module(f"edgernn.commands.{cmd_name}")
        except ImportError as error:
            if (error.name or "").startswith("edgernn."):
                raise MissingExtraError(
                    "is not in this install, which is a device's", place=f"edgernn {cmd_name}", hint=HOST_INSTALL
                ) from error
            raise MissingExtraError(
                f"`{error.name}` is not installed", place=f"edgernn {cmd_name}", hint="pip install 'edgernn[export]'"
            ) from error
        command: click.Command = module.command
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] not in COMMANDS:
            near = difflib.get_close_matches(args[0], COMMANDS, 1)
            text = f"no command is called `{args[0]}`"
            ctx.fail(text + (f"; is it `{near[0]}`?" if near else f"; there are {', '.join(COMMANDS)}"))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="edgernn", message="%(prog)s %(version)s")
def edgernn() -> None:
    """Recurrent networks trained in PyTorch, run one frame at a time on small machines."""


def main() -> NoReturn:
    """Entry point: exit status 0, 1 for a failure, 2 for wrong usage. What takes long says so on stderr."""
    progress = logging.getLogger("edgernn")
    progress.setLevel(logging.INFO)
    progress.addHandler(logging.StreamHandler())
    try:
        edgernn(standalone_mode=True)
    except EdgeRNNError as error:
        place = f"{error.place}: " if error.place else ""
        click.echo(f"error: {place}{error.cause}", err=True)
        if error.hint:
            click.echo(f"\nhint: {error.hint}", err=True)
        sys.exit(1)
    sys.exit(0)


if __name__ == "__main__":
    main()
