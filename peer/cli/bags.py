"""Recordings as other programs work with them: exported as a folder, and recovered after a crash."""

from pathlib import Path
from typing import Annotated, Any

import typer

from peer import __version__
from peer.cli.client import connect
from peer.cli.output import hint, line, show, size, table
from peer.cli.resources import Reference, recording_path
from peer.errors import ConfigError


def add_commands(section: typer.Typer) -> None:
    """Put the commands of this file into `section`."""
    section.command("export")(export)
    section.command("recover")(recover_file)


def export(
    recording: Reference,
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="The folder to write: a new one, on the machine of the peer.")],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be written, and how much.")] = False,
    fetch: Annotated[bool, typer.Option("--fetch", help="Bring its bytes here first, and wait for them.")] = False,
) -> None:
    """Write a recording to a folder that `ros2 bag play` opens.

    Copies of its files, which are checked on the way, with metadata.yaml and the manifest. Nothing is overwritten.
    """
    path = recording_path(recording)
    with connect() as client:
        if fetch and not dry_run:
            from peer.cli.recording import wait_until_local  # noqa: PLC0415  (it imports this module)

            wait_until_local(client, client.post(f"{path}/fetch"))
        answer = client.post(f"{path}/export", {"to": str(to.absolute()), "dry_run": dry_run}, patient=True)

    def text() -> None:
        if dry_run:
            table(["file", "size"], [[each["name"], size(each["size_bytes"])] for each in answer["files"]], empty="No files.")
        line(answer["to"])
        files = "1 file" if len(answer["files"]) == 1 else f"{len(answer['files'])} files"
        hint(f"{files}, {size(answer['size_bytes'])}" + (", not written." if dry_run else "."))

    show(answer, text)


def recover_file(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An MCAP file that was cut off or damaged. It stays as it is.")],
    to: Annotated[Path, typer.Option("--to", metavar="FILE", help="The file to write: a new one.")],
) -> None:
    """Write what can be read of a damaged MCAP file to a new one, and say what was lost. Needs no peer.

    The new file is read back, message by message, before it counts. `recmesh recording add --recover` does this and shares the result.
    """
    if file.absolute() == to.absolute():
        raise ConfigError("--to names the damaged file itself", fix="name a new file")
    from materializer.mcap_recovery import recover  # noqa: PLC0415  (loading it takes time that help and completion do not have)
    from peer.operations.recovering import describe  # noqa: PLC0415  (as above)

    answer = describe(file.name, recover(file, to.absolute(), f"recmesh {__version__}"))
    show({**answer, "to": str(to.absolute())}, lambda: print_recovered([answer]))


def print_recovered(files: list[Any]) -> None:
    """What was recovered of each file, and what was not."""
    for each in files:
        lost = "unknown" if each["lost_message_count"] is None else each["lost_message_count"]
        useless = f"{each['lost_bytes']} of {each['source_size_bytes']} bytes of no use"
        line(f"{each['source_name']}: {each['message_count']} messages recovered, {lost} lost; {useless}")
        rows = [
            [place["offset"], place["size_bytes"], place["what"], place["message_count"], place["start_time_ns"], place["end_time_ns"]]
            for place in each["places"]
        ]
        if rows:
            table(["at byte", "bytes", "lost", "messages", "from ns", "to ns"], rows, empty="")
        if each["place_count"] > len(rows):
            hint(f"And {each['place_count'] - len(rows)} more places.")
        if each["ends_early"]:
            hint("It ends before its recorder had written all: what came after is not known.")
