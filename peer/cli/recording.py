"""Recordings: adding, finding, looking at them, bringing their bytes here."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from peer.cli import bags, checking, dropping, editing, keeping, opening, options, plotting, reading, reconciling
from peer.cli.client import AdminClient, connect
from peer.cli.facts import fact_pairs, print_facts
from peer.cli.login import login_name
from peer.cli.output import hint, line, local_time, pairs, plain, print_json, short, show, size, table
from peer.cli.resources import RECORDINGS, Reference, recording_path
from peer.cli.timeline import print_timeline, show_timeline, timeline_length
from peer.cli.times import parse_time_ns
from peer.cli.values import show_value
from peer.core.orders import Order, State
from peer.errors import ConfigError, MeshError, RequestError, SomeFailedError, TimedOutError

LIST_PAGE = 500
POLL_S = 0.1
SECTION = typer.Typer(rich_markup_mode=None, help="Recordings: named sets of MCAP files, shared with a group.")


def add_commands(app: typer.Typer) -> None:
    """Put the commands of this file into `app`."""
    SECTION.command("add")(add)
    SECTION.command("list")(list_recordings)
    SECTION.command("show")(show_recording)
    SECTION.command("fetch")(fetch)
    bags.add_commands(SECTION)
    checking.add_commands(SECTION)
    plotting.add_commands(SECTION)
    editing.add_commands(SECTION)
    keeping.add_commands(SECTION)
    opening.add_commands(SECTION)
    reading.add_commands(SECTION)
    reconciling.add_commands(SECTION, wait_until_local)
    dropping.add_commands(SECTION)
    app.add_typer(SECTION, name="recording")


def add(  # noqa: PLR0913  (the options of the command)
    path: Annotated[list[Path], typer.Argument(metavar="PATH...", help="MCAP files in their order, or one folder: they become one recording.")],
    group: Annotated[str | None, typer.Option(help="The group to share it with; may be left out where there is one.")] = None,
    name: Annotated[str | None, typer.Option(help="What it is called. Default: the name of the folder or first file.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag to give it; may be repeated.")] = None,
    machine: Annotated[str | None, typer.Option(help="The robot or machine that it was recorded on.")] = None,
    *,
    operator: Annotated[str | None, typer.Option(help="Who adds it. Default: the name of your login.")] = None,
    dropped: Annotated[
        list[int] | None,
        typer.Option(min=0, help="Messages that the recorder dropped; once for each MCAP file, in their order. Default: what the files say."),
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Unpack all that is in the files first, and look at its checksums. Slow.")] = False,
    recover: Annotated[bool, typer.Option("--recover", help="Take what can be read of files that a crash cut off, or that are damaged.")] = False,
    link: Annotated[bool, typer.Option("--link", help="Hard-link the files instead of copying them.")] = False,
    move: Annotated[bool, typer.Option("--move", help="Move the files here.")] = False,
    is_open: Annotated[bool, typer.Option("--open", help="More files are to come: see `recording append` and `recording finalize`.")] = False,
) -> None:
    """Share a recording with a group. The files are read, checked, hashed and kept."""
    if link and move:
        raise ConfigError("--link and --move exclude each other", fix="choose one of them")
    take = "link" if link else "move" if move else "copy"
    body = {
        "paths": [str(each.absolute()) for each in path],
        "group": group,
        "name": name,
        "tags": tag or [],
        "machine": machine,
        "take": take,
        "operator": login_name() if operator is None else operator,
        "dropped": dropped or [],
        "check": check,
        "open": is_open,
        "recover": recover,
    }
    with connect() as client:
        answer = client.post(RECORDINGS, body, patient=True)

    def text() -> None:
        line(f"{answer['name']} {answer['id']}")
        files = "1 file" if answer["chunk_count"] == 1 else f"{answer['chunk_count']} files"
        hint(f"{files}, {answer['message_count']} messages, {size(answer['size_bytes'])}. See `recmesh recording list`.")
        bags.print_recovered(answer["recovered"])

    show(answer, text)


def list_recordings(  # noqa: PLR0913, PLR0917  (the options of the command)
    group: Annotated[str | None, typer.Option(help="Of this group only.")] = None,
    site: Annotated[str | None, typer.Option(help="Made at this site: its name or id.")] = None,
    machine: Annotated[str | None, typer.Option(help="Recorded on this machine.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="With this tag; may be repeated.")] = None,
    topic: Annotated[str | None, typer.Option(help="With this topic; * in it stands for any characters.")] = None,
    schema: Annotated[str | None, typer.Option(help="With a topic of this schema.")] = None,
    text: Annotated[str | None, typer.Option(help="With this text in its name, machine, tags, properties or topics, in capitals or not.")] = None,
    since: Annotated[str | None, typer.Option(help="That end at or after this time.")] = None,
    until: Annotated[str | None, typer.Option(help="That start at or before this time.")] = None,
    state: Annotated[State | None, typer.Option(help="Of this state: how much of it is here.")] = None,
    properties: Annotated[list[str] | None, typer.Option("--property", metavar="K=V", help="With this property; may be repeated.")] = None,
    sort: Annotated[
        Order, typer.Option(help="created, start, end, size or messages: the latest or largest first. name or site: A first.")
    ] = "created",
    *,
    few_copies: Annotated[bool, typer.Option("--few-copies", help="Of which there are fewer copies than the group's min_copies.")] = False,
    reverse: Annotated[bool, typer.Option("--reverse", help="The other way round.")] = False,
    deleted: Annotated[bool, typer.Option("--deleted", help="Deleted ones, too.")] = False,
) -> None:
    """Recordings of the groups of this site that fit all filters."""
    filters: dict[str, str | int | list[str]] = {
        key: value
        for key, value in (("group", group), ("site", site), ("machine", machine), ("tag", tag), ("topic", topic), ("schema", schema))
        if value
    }
    filters.update({key: value for key, value in (("text", text), ("state", state), ("property", properties)) if value})
    filters.update({key: "1" for key, value in (("deleted", deleted), ("few_copies", few_copies)) if value})
    order = {"sort": sort, **({"reverse": "1"} if reverse else {})}
    filters.update({key: str(parse_time_ns(value)) for key, value in (("since_ns", since), ("until_ns", until)) if value})
    with connect() as client:
        found = _all(client, {**filters, **order})
    show(
        found,
        lambda: table(
            ["name", "id", "site", "state", "size", "files", "messages", "start", "review", "tags"],
            [
                [
                    each["name"],
                    short(each["id"]),
                    each["site_name"],
                    "deleted" if each["deleted"] else each["state"],
                    size(each["size_bytes"]),
                    each["chunk_count"],
                    each["message_count"],
                    local_time(each["start_time"]),
                    each["review_average"],
                    each["tags"],
                ]
                for each in found
            ],
            empty="No recordings" + (" that fit." if filters else " yet: `recmesh recording add PATH`."),
        ),
    )


def show_recording(recording: Reference) -> None:
    """One recording: files, topics, and when something happened, with a bar for each topic and what was said about which time."""
    with connect() as client:
        answer = client.get(recording_path(recording))
        timeline = [] if options.current.json else show_timeline(client, answer)
    show(answer, lambda: _print_recording(answer, timeline))


def fetch(
    recording: Annotated[list[str], typer.Argument(metavar="REC...", help="Names, ids, or the starts of ids.")],
    *,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not wait until all bytes are here.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many bytes would come.")] = False,
) -> None:
    """Bring the bytes of recordings here."""
    done: list[Any] = []
    failed: list[RequestError] = []
    with connect() as client:
        for each in recording:
            try:
                answer = client.get(recording_path(each)) if dry_run else client.post(recording_path(each, "fetch"))
                done.append(answer if no_wait or dry_run else wait_until_local(client, answer))
            except RequestError as error:
                failed.append(error)
    if options.current.json:
        print_json(done)
    else:
        for answer in done:
            missing = f", {size(answer['size_bytes'] - answer['bytes_here'])} would come" if dry_run else ""
            line(f"{answer['name']} {answer['id']} {answer['state']}{missing}")
    if failed and not done and len(failed) == 1:
        raise failed[0]
    for each_error in failed:
        sys.stderr.write(plain(f"{each_error.text} [{each_error.code}]") + "\n")
    if failed and done:
        raise SomeFailedError(f"{len(failed)} of {len(recording)} recordings were not fetched", fix="see the lines above")
    if failed:
        raise failed[0]


def wait_until_local(client: AdminClient, answer: Any) -> Any:  # noqa: ANN401  (JSON documents)
    """Wait for the bytes of a recording that is being fetched, as long as --timeout allows; what it is then."""
    timeout_s = options.current.timeout_s
    end = None if timeout_s is None else time.monotonic() + timeout_s
    while answer["state"] in {"partial", "remote", "missing"} or not _needs_no_wait(answer):
        if end is not None and time.monotonic() > end:
            raise TimedOutError(f"{answer['name']}: not all bytes are here yet; the transfer goes on", fix="see `recmesh transfers`")
        time.sleep(POLL_S)
        answer = client.get(recording_path(answer["id"]))
    if answer["state"] not in {"local", "open"}:
        raise MeshError(f"{answer['name']} is {answer['state']}", fix="see `recmesh verify --deep`")
    return answer


def _needs_no_wait(answer: dict[str, Any]) -> bool:
    """False for an open recording of which files are not here that are known so far; more may come at any time."""
    return answer["state"] != "open" or all(each["here"] for each in answer["chunks"])


def _all(client: AdminClient, filters: dict[str, str | int | list[str]]) -> list[Any]:
    found: list[Any] = []
    cursor: str | None = None
    while True:
        page = client.get(RECORDINGS, {**filters, "limit": LIST_PAGE, **({"cursor": cursor} if cursor else {})})
        found += page["recordings"]
        cursor = page["next"]
        if cursor is None:
            return found


def _print_recording(answer: dict[str, Any], timeline: Sequence[str]) -> None:
    pairs(
        [
            ("name", answer["name"]),
            ("id", answer["id"]),
            ("site", answer["site_name"]),
            ("machine", answer["machine"]),
            *((key, show_value(value)) for key, value in sorted(answer["properties"].items())),
            *((("missing", answer["missing_properties"]),) if answer["missing_properties"] else ()),
            ("state", "deleted" if answer["deleted"] else answer["state"]),
            ("size", f"{size(answer['size_bytes'])}, {size(answer['bytes_here'])} here"),
            ("messages", answer["message_count"]),
            ("start", local_time(answer["start_time"])),
            ("end", local_time(answer["end_time"])),
            ("length", timeline_length(answer)),
            ("tags", answer["tags"]),
            *fact_pairs(answer),
            *((("review", editing.stars(answer)),) if answer["review_count"] else ()),
            *((f"review by {editing.who(each)}", each["value"]) for each in answer["reviews"]),
            *((f"conflict in {each['key']}", [show_value(write["value"]) for write in each["writes"]]) for each in answer["conflicts"]),
        ]
    )
    line("")
    table(
        ["file", "original name", "size", "blake3", "sha256"],
        [[each["name"], each["source_name"], size(each["size_bytes"]), short(each["blob_id"]), short(each["sha256"])] for each in answer["chunks"]],
        empty="No files yet.",
    )
    line("")
    table(
        ["topic", "schema", "encoding", "messages"],
        [[each["topic"], each["schema"], each["encoding"], each["message_count"]] for each in answer["topics"]],
        empty="No topics.",
    )
    print_timeline(timeline)
    print_facts(answer)
