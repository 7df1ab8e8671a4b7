"""Holds, and how long recordings are kept. The commands stand under `recording`."""

import time
from typing import Annotated, Any

import typer

from peer.cli.client import connect
from peer.cli.facts import held, kept
from peer.cli.login import login_name
from peer.cli.output import hint, line, short, show
from peer.cli.resources import Person, Reference, recording_path
from peer.cli.times import NS_PER_S, parse_duration, parse_time_ns
from peer.errors import ConfigError

CLASSES = ("transient", "raw", "summary", "reference", "permanent", "default")
Reason = Annotated[str, typer.Option(metavar="R", help="Why. It is kept with the recording, for all to read.")]


def add_commands(section: typer.Typer) -> None:
    """Put the commands of this file into `section`."""
    section.command("hold")(hold)
    section.command("unhold")(unhold)
    section.command("retain")(retain)


def hold(recording: Reference, reason: Reason, person: Person = None) -> None:
    """Let nothing of a recording go, at any site, whatever else is said of it, until `unhold` lifts that."""
    answer = _change(recording, {"hold": True, "reason": _said(reason)}, person)
    _say(answer, f"held: {held(answer)}", f"`recmesh recording unhold {short(answer['id'])}` lifts it.")


def unhold(
    recording: Reference, reason: Annotated[str, typer.Option(metavar="R", help="Why it is not needed any more.")] = "", person: Person = None
) -> None:
    """Lift the hold of a recording. A deletion that it stopped has its effect then."""
    answer = _change(recording, {"hold": False, "reason": reason}, person)
    _say(answer, "deleted" if answer["deleted"] else "held no more", "`recmesh recording show` tells how long it is kept.")


def retain(
    recording: Reference,
    retention: Annotated[
        str,
        typer.Argument(metavar="CLASS", help="transient, raw (90 days), summary (1 year), reference (5 years), permanent; default: as the group."),
    ],
    reason: Reason,
    until: Annotated[
        str | None, typer.Option(metavar="T", help="Until then, and not as long as the class says: 2027-11-20, or 60d from now.")
    ] = None,
    person: Person = None,
) -> None:
    """Say how long a recording is to be kept: till then nobody deletes or drops it. The same class again, with a later time, extends it."""
    if retention not in CLASSES:
        raise ConfigError(f"{retention!r} is no class", fix=f"write one of {', '.join(CLASSES)}")
    body: dict[str, object] = {"class": retention, "reason": _said(reason)}
    if until is not None:
        body["until_ns"] = str(_to_come_ns(until))
    answer = _change(recording, body, person)
    _say(answer, kept(answer) or "kept as the group says, which is nothing", "`recmesh group set GROUP retention CLASS` says it for all of a group.")


def _said(reason: str) -> str:
    if not reason.strip():
        raise ConfigError("a reason is needed", fix="write --reason 'what it is for'")
    return reason


def _to_come_ns(text: str) -> int:
    """A time, or so long from now."""
    try:
        return time.time_ns() + int(parse_duration(text) * NS_PER_S)
    except ConfigError:
        return parse_time_ns(text, "2027-11-20, 2027-11-20T08:30:00Z, or 60d for sixty days from now")


def _change(recording: str, body: dict[str, object], person: str | None) -> Any:  # noqa: ANN401  (a JSON document)
    path = recording_path(recording, "retention")
    with connect() as client:
        return client.post(path, {**body, "person": login_name() if person is None else person})


def _say(answer: Any, what: str, next_step: str) -> None:  # noqa: ANN401  (a JSON document)
    def text() -> None:
        line(f"{answer['name']} {answer['id']} {what}")
        hint(next_step)

    show(answer, text)
