"""Groups: creating one, inviting to it, joining it, looking at its history."""

from typing import Annotated, Any

import typer

from peer.cli import group_life, member, options
from peer.cli.client import AdminClient, connect
from peer.cli.member import GROUPS, AssignableRole, Name, group_path
from peer.cli.output import hint, line, ms_time, pairs, print_json_line, short, show, table
from peer.cli.site import read_text_argument
from peer.cli.times import parse_duration

EVENTS_PAGE = 500
SECTION = typer.Typer(rich_markup_mode=None, help="Groups: sites that share one history.")


def add_commands(app: typer.Typer) -> None:
    """Put the commands of this file into `app`."""
    SECTION.command("create")(create)
    SECTION.command("list")(list_groups)
    SECTION.command("show")(show_group)
    SECTION.command("invite")(invite)
    SECTION.command("join")(join)
    member.add_commands(SECTION)
    group_life.add_commands(SECTION)
    app.add_typer(SECTION, name="group")
    app.command("events")(events)


def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="1 to 128 characters of A-Z a-z 0-9 . _ - and no dot in front.")],
    owner: Annotated[
        list[str] | None, typer.Option(metavar="PEER_ID", help="Further owner, most senior first; this peer comes last unless named.")
    ] = None,
) -> None:
    """Begin a new group, of which this peer is an owner."""
    with connect() as client:
        answer = client.post(GROUPS, {"name": name, "owners": owner or []})

    def text() -> None:
        line(f"{answer['name']} {answer['group_id']}")
        hint(f"Next: `recmesh group invite {answer['name']}` on this site, `recmesh group join` on the other.")

    show(answer, text)


def list_groups() -> None:
    """All groups of this peer."""
    with connect() as client:
        answer = client.get(GROUPS)
    show(
        answer,
        lambda: table(
            ["name", "id", "role", "members", "events", "digest"],
            [
                [each["name"], short(each["group_id"]), each["role"], len(each["members"]), each["events"], short(each["state_digest"])]
                for each in answer
            ],
            empty="No groups yet: `recmesh group create NAME` or `recmesh group join INVITATION`.",
        ),
    )


def show_group(name: Name) -> None:
    """One group: its members, their roles, and the digest of its state."""
    with connect() as client:
        answer = client.get(group_path(name))

    def text() -> None:
        pairs(
            [
                ("name", answer["name"]),
                ("id", answer["group_id"]),
                ("our role", answer["role"]),
                ("events", answer["events"]),
                ("state digest", answer["state_digest"]),
            ]
        )
        line("")
        rows = [[each["name"], short(each["peer_id"]), each["role"]] for each in answer["members"]]
        table(["member", "peer", "role"], rows, empty="No members.")
        for each in answer["conflicts"]:
            said = ", ".join(f"{value.get('role', value.get('value'))} by {value['author_name']}" for value in each["values"])
            line(f"conflict about {each['register'].split(':')[0]} {each['name']}: {said}; {each['value']} holds")

    show(answer, text)


def invite(
    name: Name,
    role: Annotated[AssignableRole, typer.Option(help="What the joiner may do.")] = AssignableRole.WRITER,
    expires: Annotated[str, typer.Option(metavar="24h", help="How long the invitation is good for.")] = "24h",
) -> None:
    """Make an invitation: one line on standard output, to be handed to one other site."""
    with connect() as client:
        answer = client.post(f"{group_path(name)}/invitations", {"role": role.value, "expires_in_ms": int(parse_duration(expires) * 1000)})

    def text() -> None:
        line(answer["invitation"])
        hint(f"On the other site: `recmesh group join INVITATION`. It is good for one site, until {ms_time(answer['expires_ms'])}. Keep it secret.")

    show(answer, text)


def join(
    invitation: Annotated[str, typer.Argument(metavar="INVITATION", help="The line, `-` to read it from standard input, or @FILE.")],
    *,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not wait until everything has arrived.")] = False,
) -> None:
    """Join a group and wait until its history is here."""
    body = {"invitation": read_text_argument(invitation), "wait": not no_wait, "timeout_ms": int(_timeout_s() * 1000)}
    with connect() as client:
        answer = client.post(f"{GROUPS}/join", body, patient=True)

    def text() -> None:
        line(f"{answer['name']} {answer['group_id']}")
        hint(f"Joined as {answer['role']}, {answer['events']} events here. Next: `recmesh recording list`, or `recmesh recording add PATH`.")

    show(answer, text)


def events(name: Name, *, follow: Annotated[bool, typer.Option("--follow", help="Go on as new ones arrive.")] = False) -> None:
    """The events of a group, newest last."""
    with connect() as client:
        found, after = _held_events(client, name, print_now=follow)
        if not follow:
            show(found, lambda: _print_events(found))
            return
        for event in client.follow(f"{group_path(name)}/events", {"follow": 1, "after": after}):
            _print_event(event)


def _held_events(client: AdminClient, name: str, *, print_now: bool) -> tuple[list[Any], int]:
    """All events that are here now and the position of the last."""
    found: list[Any] = []
    after = 0
    while True:
        page = client.get(f"{group_path(name)}/events", {"after": after, "limit": EVENTS_PAGE})
        after = page["next"]
        if print_now:
            for event in page["events"]:
                _print_event(event)
        else:
            found += page["events"]
        if len(page["events"]) < EVENTS_PAGE:
            return found, after


def _print_events(found: list[Any]) -> None:
    for event in found:
        line(_event_line(event))


def _print_event(event: dict[str, Any]) -> None:
    if options.current.json:
        print_json_line(event)
    else:
        line(_event_line(event))


def _event_line(event: dict[str, Any]) -> str:
    return f"{ms_time(event['time_ms'])}  {short(event['event_id'])}  {event['author_name']:<12}  {event['seq']:>6}  {event['type']}{_flaw(event)}"


def _flaw(event: dict[str, Any]) -> str:
    return f"  (counts for nothing: {event['unreadable']})" if event["unreadable"] else ""


def _timeout_s() -> float:
    return options.current.timeout_s or options.TIMEOUT_DEFAULT_S
