"""What is stored here: checking it, computing it anew, exporting it. Works without a running peer; where one runs, it does the work."""

import asyncio
import json
import sys
from typing import Annotated, Any
from urllib.parse import quote

import typer

from peer.cli import options
from peer.cli.client import connect_if_running
from peer.cli.output import line, show
from peer.errors import VerifyFailedError


def add_commands(app: typer.Typer) -> None:
    """Put the commands of this file into `app`."""
    app.command("verify")(verify)
    app.command("rebuild")(rebuild)
    app.command("state")(state)


def verify(*, deep: Annotated[bool, typer.Option("--deep", help="Hash all stored bytes again, too.")] = False) -> None:
    """Check log, projections and stored bytes. Changes nothing."""
    client = connect_if_running()
    if client is None:
        from peer.offline import verify as verify_here  # noqa: PLC0415  (loads everything; a running peer has it loaded)

        result: dict[str, Any] = asyncio.run(verify_here(options.current.existing_directory, deep=deep))
    else:
        with client:
            result = client.post("/api/v1/verify", {"deep": deep}, patient=True)

    def text() -> None:
        for problem in result["problems"]:
            line(f"{problem['where']}: {problem['what']} [{problem['code']}]")
        line(("ok" if result["ok"] else "NOT ok") + ": checked " + ", ".join(_counted(*each) for each in result["checked"].items()))

    show(result, text)
    if not result["ok"]:
        raise VerifyFailedError(f"{len(result['problems'])} problems found", fix="see the list on standard output")


def _counted(name: str, count: int) -> str:
    words = name.replace("_", " ")
    one = words.removesuffix("es") if words.endswith("ches") else words.removesuffix("s")
    return f"{count} {one if count == 1 else words}"


def rebuild() -> None:
    """Compute the projections again from the log. Those of a running peer answer until the new ones are there."""
    client = connect_if_running()
    if client is None:
        from peer.offline import rebuild as rebuild_here  # noqa: PLC0415  (see `verify`)

        result: dict[str, Any] = asyncio.run(rebuild_here(options.current.existing_directory))
    else:
        with client:
            result = client.post("/api/v1/rebuild", patient=True)

    def text() -> None:
        for each in result["groups"]:
            line(f"{each['name']}: {each['view_events']} events, state digest {each['state_digest']}")

    show(result, text)


def state(group: Annotated[str, typer.Argument(metavar="GROUP", help="Name, id, or the start of its id.")]) -> None:
    """Export all projections of a group: deterministic CBOR, or JSON with --json."""
    accept = "application/json" if options.current.json else "application/cbor"
    client = connect_if_running()
    if client is None:
        from peer.offline import state as state_here  # noqa: PLC0415  (see `verify`)

        data = asyncio.run(state_here(options.current.existing_directory, group, as_json=options.current.json))
    else:
        with client:
            data = client.get_bytes(f"/api/v1/sync/groups/{quote(group, safe='')}/state", accept)
    if options.current.json:
        sys.stdout.write(json.dumps(json.loads(data), indent=2, ensure_ascii=False) + "\n")
    else:
        sys.stdout.buffer.write(data)
