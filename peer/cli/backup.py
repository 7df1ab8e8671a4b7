"""Backups of this site: making one, checking one."""

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from peer.cli import options
from peer.cli.client import connect, connect_if_running
from peer.cli.output import hint, line, show, size
from peer.errors import VerifyFailedError

SECTION = typer.Typer(rich_markup_mode=None, help="Copies of keys, settings and log, from which this site can be set up again.")
BACKUP = "/api/v1/backup"
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty folder, best on another disk.")]


def add_commands(app: typer.Typer) -> None:
    """Put the commands of this file into `app`."""
    SECTION.command("create")(create)
    SECTION.command("verify")(verify)
    app.add_typer(SECTION, name="backup")


def create(directory: Folder) -> None:
    """Copy keys, settings and log into DIR, also while the peer runs. Recordings are not copied: other sites have them."""
    client = connect_if_running()
    if client is None:
        from peer.offline import create_backup  # noqa: PLC0415  (loads what only this needs)

        made: dict[str, Any] = asyncio.run(create_backup(options.current.existing_directory, directory.absolute()))
    else:
        with client:
            made = client.post(BACKUP, {"directory": _there(directory)}, patient=True)

    def text() -> None:
        line(f"{made['directory']}: {made['files']} files, {size(made['size_bytes'])}")
        hint(f"It holds this site's private keys: keep it as safe as the machine itself. Check it with `recmesh backup verify {made['directory']}`.")

    show(made, text)


def verify(directory: Annotated[Path, typer.Argument(metavar="DIR", help="A backup.")]) -> None:
    """Check every file of the backup in DIR, and every signature in its log. Changes nothing."""
    if options.current.remote_url is None:
        from peer.offline import verify_backup  # noqa: PLC0415  (loads what only this needs)

        result: dict[str, Any] = asyncio.run(verify_backup(directory.absolute()))
    else:
        with connect() as client:
            result = client.post(f"{BACKUP}/verify", {"directory": _there(directory)}, patient=True)

    def text() -> None:
        for problem in result["problems"]:
            line(f"{problem['where']}: {problem['what']} [{problem['code']}]")
        line(("ok" if result["ok"] else "NOT ok") + ": checked " + ", ".join(f"{count} {name}" for name, count in result["checked"].items()))

    show(result, text)
    if not result["ok"]:
        raise VerifyFailedError(f"{len(result['problems'])} problems found", fix="do not rely on this backup: make a new one")


def _there(directory: Path) -> str:
    """The path as the peer is to read it: what is relative here is meant for this machine."""
    return str(directory if options.current.remote_url is not None else directory.absolute())
