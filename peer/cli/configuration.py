"""Settings, and the completion of commands in a shell."""

import sys
from enum import StrEnum
from typing import Annotated

import typer

from peer.cli import options
from peer.cli.output import line, pairs, show

SECTION = typer.Typer(rich_markup_mode=None, help="Settings: where they stand, what they are, whether they are valid.")


class Shell(StrEnum):
    """Shells that commands can be completed in."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def add_commands(app: typer.Typer) -> None:
    """Put the commands of this file into `app`."""
    SECTION.command("show")(show_config)
    SECTION.command("check")(check)
    SECTION.command("path")(path)
    app.add_typer(SECTION, name="config")
    app.command("completion")(completion)


def show_config() -> None:
    """All settings as they are in effect."""
    values = _load()
    show(values, lambda: pairs(list(values.items())))


def check() -> None:
    """Say whether the settings are valid; exit 2 with the first problem if not."""
    _load()
    file = _path()
    show({"ok": True, "path": file}, lambda: line(f"ok: {file}"))


def path() -> None:
    """Where the settings stand."""
    file = _path()
    show({"path": file}, lambda: line(file))


def completion(shell: Annotated[Shell, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")]) -> None:
    """Print what makes SHELL complete the names of commands and options."""
    from typer._completion_shared import get_completion_script  # noqa: PLC0415  (typer offers it for the shell it runs in only)

    sys.stdout.write(get_completion_script(prog_name="recmesh", complete_var="_RECMESH_COMPLETE", shell=shell.value) + "\n")


def _path() -> str:
    from peer.config import CONFIG_FILE  # noqa: PLC0415  (loads pydantic; other commands start without it)

    return str(options.current.existing_directory / CONFIG_FILE)


def _load() -> dict[str, object]:
    from peer.config import load_config  # noqa: PLC0415  (see above)

    return load_config(options.current.existing_directory).model_dump()
