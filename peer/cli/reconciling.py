"""`recmesh recording reconcile`: what events say, what lies here and what other sites have."""

from collections.abc import Callable
from typing import Annotated, Any

import typer

from peer.cli.client import AdminClient, connect
from peer.cli.output import line, short, show, table
from peer.cli.resources import recording_path
from peer.errors import SomeFailedError

EVERYTHING = "/api/v1/reconcile"
RESTORING, RIGHT = "restoring", "right"
WaitUntilHere = Callable[[AdminClient, Any], Any]


def add_commands(section: typer.Typer, wait_until_here: WaitUntilHere) -> None:
    """Put the command of this file into `section`; `wait_until_here` waits for the bytes of a recording."""

    @section.command("reconcile")
    def reconcile(
        recording: Annotated[str | None, typer.Argument(metavar="[REC]", help="Name, id, or the start of its id; all of them if left out.")] = None,
        *,
        restore: Annotated[
            bool, typer.Option("--restore", help="Bring here what is damaged or gone; of one that is named, all that is not here.")
        ] = False,
        no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not wait until what is restored is here.")] = False,
    ) -> None:
        """Compare events, bytes here and bytes elsewhere. Deletes nothing, and may be repeated at any time."""
        path = EVERYTHING if recording is None else recording_path(recording, "reconcile")
        with connect() as client:
            answer = client.post(path, {"restore": restore})
            unreached = {each["recording"] for each in answer["files"] if each["action"] == RESTORING and RIGHT not in each["holders"].values()}
            for each in answer["recordings"]:
                if not no_wait and each not in unreached:
                    wait_until_here(client, client.get(recording_path(each)))
        show(answer, lambda: _print(answer))
        if unreached:
            text = f"{len(unreached)} recordings cannot be restored now: nobody who has them can be reached"
            raise SomeFailedError(text, fix="they come as soon as a site that has them is up")
        if not answer["ok"] and not restore:
            raise SomeFailedError(
                "not everything is as it should be", fix="`recmesh recording reconcile --restore` brings here what other sites have"
            )


def _print(answer: Any) -> None:  # noqa: ANN401  (a JSON document)
    table(
        ["case", "files"],
        [[name.replace("_", " "), count] for name, count in answer["counts"].items() if count],
        empty="No files.",
    )
    for each in answer["files"]:
        holders = ", ".join(f"{name}: {proof}" for name, proof in each["holders"].items())
        parts = [
            short(each["blob_id"]),
            each["meaning"],
            holders,
            each["action"],
            each["piece_list"] and f"piece list {each['piece_list']}",
            each["path"],
        ]
        line("  ".join(part for part in parts if part))
    if answer["files_left_out"]:
        line(f"and {answer['files_left_out']} more")
    for folder in answer["folders"]:
        line(f"{folder}  this folder is not what was recorded" + (": made anew" if answer["restore"] else ""))
