"""Leaving a group, and what is set for all of it. The commands stand under `group`."""

import sys
from typing import Annotated

import typer

from peer.cli import options
from peer.cli.client import connect
from peer.cli.member import Name, group_path
from peer.cli.output import hint, line, show, table
from peer.cli.values import show_value
from peer.errors import ConfigError

LEAVE_WAIT_MS = 10_000


def add_commands(section: typer.Typer) -> None:
    """Put the commands of this file into `section`."""
    section.command("leave")(leave)
    section.command("set")(set_setting)
    section.command("settings")(settings)


def leave(
    name: Name,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    now: Annotated[bool, typer.Option("--now", help="Forget it without waiting for the answer of an admin's site.")] = False,
) -> None:
    """Leave a group: ask to be removed, then forget it. What this site wrote stays with the others; its files stay on this disk."""
    with connect() as client:
        group = client.get(group_path(name))
        _confirm(f"Leave {group['name']}, with {len(group['members'])} members and {group['events']} events?", yes=yes)
        wait_ms = LEAVE_WAIT_MS if options.current.timeout_s is None else int(options.current.timeout_s * 1000)
        answer = client.delete(group_path(group["group_id"]), {"now": int(now), "timeout_ms": wait_ms}, patient=True)

    def text() -> None:
        if answer["forgotten"]:
            line(f"left {answer['name']}")
        else:
            line(f"asked to leave {answer['name']}")
            hint("No admin's site has answered yet. The group goes as soon as one does; `recmesh group leave --now` does not wait.")
        if answer["forgotten"] and not answer["removed"]:
            owner = "This site stays one of its owners: the id of the group names them." if answer["role"] == "owner" else ""
            hint(f"The others list this site still. {owner}".strip())

    show(answer, text)


def set_setting(
    name: Name,
    key: Annotated[str, typer.Argument(metavar="KEY", help="1 to 64 characters of A-Z a-z 0-9 . _ - and no dot in front.")],
    value: Annotated[str, typer.Argument(metavar="VALUE", help="One line; an empty one takes the setting away.")],
) -> None:
    """Set something for the whole group; admins only. Ends a conflict about it.

    Known keys: `description`; `min_copies`, 1 to 100; `retention`, one of transient, raw, summary, reference, permanent; `required_properties`, keys
    with commas between them. Any other key holds a line of text.
    """
    with connect() as client:
        answer = client.patch(f"{group_path(name)}/settings", {"key": key, "value": value})
    show(answer, lambda: line(f"{answer['key']} = {show_value(answer['value'])}"))


def settings(name: Name) -> None:
    """What is set for the whole group, and what was set to different values at the same time."""
    with connect() as client:
        answer = client.get(f"{group_path(name)}/settings")
    rows = [
        [
            each["key"],
            show_value(each["value"]),
            each["values"][0]["author_name"],
            [f"{show_value(other['value'])} ({other['author_name']})" for other in each["values"][1:]],
        ]
        for each in answer
    ]
    show(answer, lambda: table(["key", "value", "set by", "in conflict with"], rows, empty=f"No settings: `recmesh group set {name} KEY VALUE`."))


def _confirm(question: str, *, yes: bool) -> None:
    """Ask on a terminal. Raises `ConfigError` without one, `typer.Abort` for a no."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigError("this is far-reaching, and there is no terminal to ask on", fix="write --yes")
    typer.confirm(question, abort=True, err=True)
