"""`recmesh recording drop`: let go of bytes that enough other sites hold."""

import sys
from typing import Annotated, Any

import typer

from peer.cli import options
from peer.cli.client import connect
from peer.cli.output import line, plain, print_json, size
from peer.cli.resources import recording_path
from peer.errors import RequestError, SomeFailedError


def add_commands(section: typer.Typer) -> None:
    """Put the command of this file into `section`."""
    section.command("drop")(drop)


def drop(
    recording: Annotated[list[str], typer.Argument(metavar="REC...", help="Names, ids, or the starts of ids.")],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many bytes would go, and who says that they hold them.")] = False,
) -> None:
    """Drop the bytes of recordings here, each if enough other sites prove that they hold it. They come back with `recording fetch`."""
    done: list[Any] = []
    failed: list[tuple[str, RequestError]] = []
    with connect() as client:
        for each in recording:
            try:
                done.append(client.post(recording_path(each, "drop"), {"dry_run": dry_run}, patient=True))
            except RequestError as error:
                failed.append((each, error))
    if failed and len(recording) == 1:
        raise failed[0][1]
    if options.current.json:
        print_json(done)
    else:
        for answer in done:
            _print(answer, dry_run=dry_run)
    for name, why in failed:
        sys.stderr.write(plain(f"{name}: {why.text} [{why.code}]") + "\n")
    if failed and done:
        raise SomeFailedError(f"{len(failed)} of {len(recording)} recordings were not dropped", fix="see the lines above")
    if failed:
        raise failed[0][1]


def _print(answer: dict[str, Any], *, dry_run: bool) -> None:
    did, held = ("would go", "say that they hold it") if dry_run else ("dropped", "proved that they hold it")
    shared = f", {size(answer['shared_bytes'])} stay: other recordings have the same files" if answer["shared_bytes"] else ""
    names = ", ".join(each["name"] for each in answer["proven"])
    line(f"{answer['name']} {answer['id']} {answer['state']}, {size(answer['dropped_bytes'])} {did}{shared}; {names} {held}")
