"""Members of a group: invitations, roles, removal, and what counts of what they wrote. The commands stand under `group`."""

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any
from urllib.parse import quote

import typer

from peer.cli.client import AdminClient, connect
from peer.cli.output import hint, line, ms_time, short, show, table
from peer.cli.times import parse_time_ns

GROUPS = "/api/v1/sync/groups"
NS_PER_MS = 1_000_000
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name, id, or the start of its id.")]
Member = Annotated[str, typer.Argument(metavar="PEER", help="Name or id of a member, or the start of its id.")]
Since = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="For a stolen machine: nothing that it wrote at or after this time counts. Default: what is here stays."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be left out, and change nothing.")]


class AssignableRole(StrEnum):
    """Roles that somebody can be given."""

    READER = "reader"
    WRITER = "writer"
    ADMIN = "admin"


def add_commands(section: typer.Typer) -> None:
    """Put the commands of this file into `section`."""
    section.command("invitations")(invitations)
    section.command("revoke")(revoke)
    section.command("role")(change_role)
    section.command("remove")(remove)
    section.command("void")(void)
    section.command("rotate-log")(rotate_log)


def group_path(name: str) -> str:
    """Where the admin API has a group."""
    return f"{GROUPS}/{quote(name, safe='')}"


def invitations(name: Name) -> None:
    """Invitations that were made for a group, and who used them."""
    with connect() as client:
        answer = client.get(f"{group_path(name)}/invitations")
    show(
        answer,
        lambda: table(
            ["id", "role", "state", "expires", "made by", "used by"],
            [
                [short(each["id"]), each["role"], each["state"], ms_time(each["expires_ms"]), each["author_name"], each["used_by_name"]]
                for each in answer
            ],
            empty=f"No invitations: `recmesh group invite {name}` makes one.",
        ),
    )


def revoke(name: Name, invitation: Annotated[str, typer.Argument(metavar="ID", help="Id of the invitation, or the start of it.")]) -> None:
    """Let nobody in with an invitation any more, whoever holds it."""
    with connect() as client:
        answer = client.delete(f"{group_path(name)}/invitations/{quote(invitation, safe='')}")
    show(answer, lambda: line(f"revoked {short(answer['id'])}"))


def change_role(
    name: Name,
    peer: Member,
    role: Annotated[AssignableRole, typer.Argument(metavar="ROLE", help="reader, writer or admin.")],
    since: Since = None,
    *,
    dry_run: DryRun = False,
) -> None:
    """Give a member another role from now on. What it wrote so far keeps the role that it had; --since says from when on it does not."""
    path, body = f"{group_path(name)}/members/{quote(peer, safe='')}", {"role": role.value, "since_ms": _since_ms(since)}
    _decide(lambda client, dry: client.patch(path, {**body, "dry_run": bool(dry)}), dry_run=dry_run)


def remove(name: Name, peer: Member, since: Since = None, *, dry_run: DryRun = False) -> None:
    """Remove a member: nothing that it writes from now on counts. What it wrote so far stays; --since says from when on it does not."""
    path, since_ms = f"{group_path(name)}/members/{quote(peer, safe='')}", _since_ms(since)
    parameters: dict[str, int] = {} if since_ms is None else {"since_ms": since_ms}
    _decide(lambda client, dry: client.delete(path, {**parameters, "dry_run": dry}), dry_run=dry_run)


def void(name: Name, event: Annotated[str, typer.Argument(metavar="EVENT", help="Id of the event, or the start of it.")]) -> None:
    """Let an event count no more, for ever: an own one, or as an admin anybody's."""
    with connect() as client:
        answer = client.post(f"{group_path(name)}/void", {"event": event})
    show(answer, lambda: line(f"void: {answer['type']} {short(answer['event_id'])} by {answer['author_name']}"))


def rotate_log(
    name: Name,
    seal: Annotated[
        str | None, typer.Option(metavar="LOG", help="An own log whose key was stolen: of it only what is here now counts. Id, or the start of it.")
    ] = None,
) -> None:
    """Write on in new logs with new keys."""
    with connect() as client:
        answer = client.post(f"{group_path(name)}/rotate-log", {"seal": seal})

    def text() -> None:
        for each in answer["rotated"]:
            line(f"closed {each['kind']} log {short(each['log'])}")
        if answer["sealed"]:
            line(f"sealed {short(answer['sealed'])}")
        hint("What this site writes next goes into a new log with a new key.")

    show(answer, text)


def _decide(ask: Callable[[AdminClient, int], Any], *, dry_run: bool) -> None:
    """Say what a decision would leave out, then make it."""
    with connect() as client:
        answer = ask(client, 1)
        for each in answer["would_leave_out"]:
            count = "1 event" if each["events"] == 1 else f"{each['events']} events"
            hint(f"{count} of log {short(each['log'])} by {answer['name']} will not count as before.")
        if not answer["would_leave_out"]:
            hint(f"Everything that {answer['name']} wrote and that is here stays as it is.")
        for each in answer["also_changed"]:
            hint(f"{each['name']} becomes {each['role']} by this (is {each['role_before']}).")
        if not answer["is_current"]:
            hint(f"No site is linked that has given us all it had: what {answer['name']} wrote and is not here yet will not count as before, either.")
        if not dry_run:
            answer = ask(client, 0)

    def text() -> None:
        verb = "would be" if answer["dry_run"] else "is"
        was = answer["role_before"]
        if answer["role"] == "none":
            line(f"{answer['name']} {verb} removed from {answer['group']} (was {was})")
        else:
            line(f"{answer['name']} {verb} {answer['role']} in {answer['group']} (was {was})")

    show(answer, text)


def _since_ms(since: str | None) -> int | None:
    return None if since is None else parse_time_ns(since) // NS_PER_MS
