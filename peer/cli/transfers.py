"""Bytes on their way here: looking at them, holding them back, limiting how fast they travel."""

import time
from datetime import timedelta
from typing import Annotated, Any

import typer

from peer.cli import options
from peer.cli.client import connect
from peer.cli.output import hint, line, pairs, print_json_line, short, show, size, table
from peer.errors import ConfigError

TRANSFERS = "/api/v1/transfers"
POLL_S = 0.5
HELD = ("paused", "cancelled", "given_up")
FORM = (
    "A limit is a number of bytes a second with k, M, G (or Ki, Mi, Gi), such as 5M; UP:DOWN, such as 1M:20M; or off. A timetable is one argument "
    "with times from which limits hold, each day or on one: '08:00,1M:5M 18:00,off sat-00:00,off'. Events are never held up."
)
SECTION = typer.Typer(invoke_without_command=True, rich_markup_mode=None, help="Bytes on their way here.")
Which = Annotated[str | None, typer.Argument(metavar="[ID]", help="A transfer or a recording, by the start of its id or its name; all if left out.")]


def add_commands(app: typer.Typer) -> None:
    """Put the commands of this file into `app`."""
    SECTION.callback()(transfers)
    SECTION.command("pause")(pause)
    SECTION.command("resume")(resume)
    SECTION.command("cancel")(cancel)
    SECTION.command("retry")(retry)
    SECTION.command("limit", epilog=FORM)(limit)
    app.add_typer(SECTION, name="transfers")


def transfers(
    context: typer.Context, *, follow: Annotated[bool, typer.Option("--follow", help="Go on until nothing is on its way any more.")] = False
) -> None:
    """Bytes on their way here: what runs, what waits for its turn, what is held back."""
    if context.invoked_subcommand is not None:
        if follow:
            raise ConfigError("--follow goes with `recmesh transfers` alone", fix="leave it out")
        return
    with connect() as client:
        answer = client.get(TRANSFERS)
        if not follow:
            show(answer, lambda: _print_all(answer))
            return
        seen: dict[str, object] = {}
        while True:
            for each in answer:
                if seen.get(each["id"]) != each:
                    _print_one(each)
            seen = {each["id"]: each for each in answer}
            if all(each["state"] in HELD for each in answer):
                return
            time.sleep(POLL_S)
            answer = client.get(TRANSFERS)


def pause(which: Which = None) -> None:
    """Fetch nothing until `resume`, also after a restart; or only not this."""
    _decide("pause", which)


def resume(which: Which = None) -> None:
    """Go on where it was: with all that is paused, or with this."""
    _decide("resume", which)


def cancel(which: Which = None) -> None:
    """Do not fetch this, or any of what is wanted now, until somebody asks for it. What came of it so far is deleted."""
    _decide("cancel", which)


def retry(which: Which = None) -> None:
    """Try again at once: all that was given up and all that waits, or this whatever became of it."""
    _decide("retry", which)


def limit(
    limit: Annotated[str | None, typer.Argument(metavar="[UP:DOWN or TIMETABLE]", help="Bytes a second; shows what is set if left out.")] = None,
    peer: Annotated[str | None, typer.Option(help="Only to and from this peer, within the limit for all.")] = None,
) -> None:
    """How fast bytes of recordings may travel, to and from all peers together."""
    with connect() as client:
        if limit is None:
            answer = client.get(f"{TRANSFERS}/limit")
        else:
            answer = client.patch(f"{TRANSFERS}/limit", {"limit": None if limit == "off" else limit, "peer": peer})

    def text() -> None:
        pairs([("limit", answer["limit"] or "off"), ("up now", _rate(answer["up"])), ("down now", _rate(answer["down"]))])
        for each in answer["peers"]:
            line(f"{each['name'] or short(each['peer_id'])}: {each['limit']}")

    show(answer, text)


def _decide(action: str, which: str | None) -> None:
    with connect() as client:
        answer = client.post(f"{TRANSFERS}/{action}", {"id": which})

    def text() -> None:
        for each in answer["transfers"]:
            line(short(each))
        if answer["paused"]:
            hint("Nothing is fetched until `recmesh transfers resume`.")

    show(answer, text)


def _print_all(answer: list[dict[str, Any]]) -> None:
    table(
        ["id", "recording", "done", "of", "rate", "remaining", "from", "state", "why"],
        [
            [
                short(each["id"]),
                short(each["recording"]),
                size(each["bytes_done"]),
                size(each["bytes_total"]),
                size(each["rate"]) + "/s",
                _remaining(each),
                [short(source) for source in each["from"]],
                each["state"].replace("_", " "),
                each["reason"],
            ]
            for each in answer
        ],
        empty="Nothing on its way.",
    )
    for each in answer:
        if each["code"]:
            hint(f"{short(each['id'])} was given up: {each['text']} [{each['code']}]; `recmesh transfers retry {short(each['id'])}`")


def progress(each: dict[str, Any]) -> str:
    """How far a transfer is, in one line."""
    fast = f", {size(each['rate'])}/s, {_remaining(each)} left" if each["rate"] else ""
    source = f", from {', '.join(short(peer) for peer in each['from'])}" if each["from"] else ""
    return f"{short(each['id'])}  {size(each['bytes_done'])} of {size(each['bytes_total'])}  {each['state'].replace('_', ' ')}{fast}{source}"


def _print_one(each: dict[str, Any]) -> None:
    if options.current.json:
        print_json_line(each)
    else:
        line(progress(each))


def _remaining(each: dict[str, Any]) -> str:
    return "-" if each["remaining_s"] is None else str(timedelta(seconds=each["remaining_s"]))


def _rate(rate: int | None) -> str:
    return "as fast as possible" if rate is None else f"{size(rate)}/s"
