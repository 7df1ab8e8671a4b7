"""Watched folders: what recorders finish there becomes a recording by itself."""

from pathlib import Path
from typing import Annotated, Any

import typer

from peer.cli.client import connect
from peer.cli.output import hint, line, ms_time, show, table

WATCH = "/api/v1/watch"
SECTION = typer.Typer(
    rich_markup_mode=None,
    help="Watch folders: MCAP files in them become recordings, a sub-folder with MCAP files one that is open until its metadata.yaml is there.",
)


def add_commands(app: typer.Typer) -> None:
    """Put the commands of this file into `app`."""
    SECTION.command("add")(add)
    SECTION.command("list")(list_folders)
    SECTION.command("remove")(remove)
    SECTION.command("scan")(scan)
    app.add_typer(SECTION, name="watch")


def add(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that recorders write to, or that files are moved to.")],
    group: Annotated[str | None, typer.Option(help="The group to share with; may be left out where there is one.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag to give each recording; may be repeated.")] = None,
    machine: Annotated[str | None, typer.Option(help="The robot or machine that they were recorded on.")] = None,
) -> None:
    """Share what appears in a folder from now on, and what is there. Nothing is deleted; what cannot be read is moved to `_quarantine` in it."""
    body = {"folder": str(folder.absolute()), "group": group, "tags": tag or [], "machine": machine}
    with connect() as client:
        answer = client.post(WATCH, body)

    def text() -> None:
        line(answer["folder"])
        hint("It is looked into every half a minute, unless the configuration says otherwise; `recmesh watch scan` does so now.")

    show(answer, text)


def list_folders() -> None:
    """Watched folders, with how many of their files were added, were there already, wait for their end, or cannot be read."""
    with connect() as client:
        answer = client.get(WATCH)
    show(answer, lambda: _print(answer))


def remove(folder: Annotated[Path, typer.Argument(metavar="DIR", help="As `recmesh watch list` shows it.")]) -> None:
    """Watch a folder no more. What was added stays, and so does everything in the folder."""
    with connect() as client:
        answer = client.delete(WATCH, {"folder": str(folder.absolute())})
    show(answer, lambda: line(f"not watched any more: {answer['folder']}"))


def scan() -> None:
    """Look into all watched folders now, and wait until all that is finished there is added."""
    with connect() as client:
        answer = client.post(f"{WATCH}/scan", patient=True)
    show(answer, lambda: _print(answer))


def _print(answer: list[dict[str, Any]]) -> None:
    table(
        ["folder", "group", "machine", "tags", "added", "duplicates", "waiting", "quarantined", "unreadable", "looked"],
        [
            [
                each["folder"],
                each["group"] or each["group_id"][:8],
                each["machine"],
                each["tags"],
                each["added"],
                each["duplicates"],
                each["waiting"],
                each["quarantined"],
                each["unreadable"],
                ms_time(each["last_scan_ms"]),
            ]
            for each in answer
        ],
        empty="No folder is watched: `recmesh watch add DIR`.",
    )
    for each in answer:
        for file in each["waiting_files"]:
            hint(f"waiting: {each['folder']}/{file['path']}: {file['why']}")
        if each["last_error"] is not None:
            hint(f"{each['folder']}: {each['last_error']['text']}; {each['last_error']['fix']} [{each['last_error']['code']}]")
