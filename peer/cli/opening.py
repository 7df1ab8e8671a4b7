"""Recordings that are still open: adding files as they are finished, and saying at the end that it is complete."""

from pathlib import Path
from typing import Annotated

import typer

from peer.cli.client import connect
from peer.cli.output import hint, line, show, size
from peer.cli.resources import Reference, recording_path


def add_commands(section: typer.Typer) -> None:
    """Put the commands of this file into `recmesh recording`."""
    section.command("append")(append)
    section.command("finalize")(finalize)


def append(
    recording: Annotated[str, typer.Argument(metavar="REC", help="An open recording of this site: its name, id, or the start of its id.")],
    path: Annotated[list[Path], typer.Argument(metavar="PATH...", help="MCAP files in their order, or one folder. What it has already is left out.")],
) -> None:
    """Add files to an open recording: one that was begun with `recording add --open`. They travel at once."""
    with connect() as client:
        answer = client.post(recording_path(recording, "chunks"), {"paths": [str(each.absolute()) for each in path]}, patient=True)

    def text() -> None:
        line(f"{answer['name']} {answer['id']} {answer['state']}")
        hint(f"It has {answer['chunk_count']} files, {size(answer['size_bytes'])}. At the end: `recmesh recording finalize {answer['id'][:12]}`.")

    show(answer, text)


def finalize(recording: Reference) -> None:
    """Say that an open recording is complete: nothing is added to it any more. Its site does that, or an admin where that site is gone."""
    with connect() as client:
        answer = client.post(recording_path(recording, "finalize"), patient=True)
    show(answer, lambda: line(f"{answer['name']} {answer['id']} {answer['state']}, manifest {answer['manifest_id']}"))
