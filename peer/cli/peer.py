"""Peers: whom this site knows, by which address, who knocked, and how far each can be reached."""

from typing import Annotated, Any
from urllib.parse import quote

import typer

from peer.cli.client import connect
from peer.cli.member import AssignableRole
from peer.cli.output import hint, line, ms_time, pairs, short, show, table
from peer.errors import MeshError

PEERS = "/api/v1/sync/peers"
SECTION = typer.Typer(rich_markup_mode=None, help="Peers: who is known, where, and from which source.")
PeerName = Annotated[str, typer.Argument(metavar="PEER", help="Name, id, or the start of its id.")]
RoleOption = Annotated[AssignableRole, typer.Option(help="What it becomes where it is no member yet and this site is an admin.")]


def add_commands(app: typer.Typer) -> None:
    """Put the commands of this file into `app`."""
    SECTION.command("add")(add)
    SECTION.command("list")(list_peers)
    SECTION.command("show")(show_peer)
    SECTION.command("test")(test)
    SECTION.command("pause")(pause)
    SECTION.command("resume")(resume)
    SECTION.command("remove")(remove)
    SECTION.command("pending")(pending)
    SECTION.command("accept")(accept)
    SECTION.command("ignore")(ignore)
    app.add_typer(SECTION, name="peer")


def add(
    name: Annotated[str, typer.Option(help="What it is called.")],
    peer_id: Annotated[str, typer.Option("--peer-id", metavar="ID", help="Its whole id: `recmesh id` prints it there.")],
    endpoint: Annotated[str | None, typer.Option(metavar="URL", help="Where it is dialled; leave it out for a site that dials this one.")] = None,
    group: Annotated[list[str] | None, typer.Option(metavar="G", help="A group that it shares with this site; may be repeated.")] = None,
    role: RoleOption = AssignableRole.WRITER,
) -> None:
    """Share groups with a peer by its id, without an invitation. Its admin adds this site in the same way."""
    body = {"name": name, "sync_endpoint": endpoint, "peer_id": peer_id, "shared_groups": group or [], "role": role.value}
    with connect() as client:
        answer = client.post(PEERS, body)

    def text() -> None:
        line(f"{answer['name']} {answer['peer_id']}")
        for each in answer["shared_groups"]:
            hint(f"It is {each['role']} in {each['name']}.")
        for each in answer["expected_groups"]:
            hint(f"A group named {each} is taken from it, and from nobody else, once it has added this site there.")
        hint(f"Next: add this site there (`recmesh id` prints its id), then `recmesh peer test {answer['name']}`.")

    show(answer, text)


def list_peers() -> None:
    """All peers of the groups of this site."""
    with connect() as client:
        answer = client.get(PEERS)
    show(
        answer,
        lambda: table(
            ["name", "id", "state", "source", "learned from", "ttl", "endpoints", "groups"],
            [_row(each) for each in answer],
            empty="No peers yet: `recmesh group invite NAME` invites one, `recmesh peer add` adds one by its id.",
        ),
    )


def show_peer(peer: PeerName) -> None:
    """One peer."""
    with connect() as client:
        answer = client.get(_path(peer))
    show(
        answer,
        lambda: pairs(
            [
                ("name", answer["name"]),
                ("id", answer["peer_id"]),
                ("state", answer["state"]),
                ("source", answer["source"]),
                ("endpoints", answer["endpoints"]),
                ("learned from", answer["learned_from"]),
                ("ttl", answer["ttl"]),
                ("online by its hub", answer["online"]),
                ("paused", answer["paused"]),
                ("groups", [f"{group['name']} ({group['role']})" for group in answer["shared_groups"]]),
                ("expected", answer["expected_groups"]),
            ]
        ),
    )


def test(peer: PeerName) -> None:
    """Say how far a peer can be reached: name, TCP, TLS, handshake, group. Exit status 1 if a step fails."""
    with connect() as client:
        answer = client.post(f"{_path(peer)}/test", patient=True)

    def text() -> None:
        for step in answer["steps"]:
            line(f"{'ok    ' if step['ok'] else 'failed'}  {step['step']:<9}  {step['text']}")

    show(answer, text)
    if not answer["ok"]:
        error = MeshError(f"{answer['name']} cannot be reached: it fails at {answer['failed']}", fix=answer["fix"])
        error.code = answer["code"] or "unreachable"
        raise error


def pause(peer: PeerName) -> None:
    """Keep no link to a peer, also after a restart, until `recmesh peer resume`."""
    _set_paused(peer, paused=True)


def resume(peer: PeerName) -> None:
    """Link a peer again that was paused."""
    _set_paused(peer, paused=False)


def remove(peer: PeerName) -> None:
    """Forget the address of a peer, and which groups it was expected to share. It stays a member of its groups."""
    with connect() as client:
        answer = client.delete(_path(peer))

    def text() -> None:
        line(f"forgot {answer['name']}")
        for group in answer["still_member_of"]:
            hint(f"It is a member of {group} still: `recmesh group remove {group} {answer['name']}` removes it.")

    show(answer, text)


def pending() -> None:
    """Who dialled with a key that is a member of nothing here. They get nothing until they are accepted."""
    with connect() as client:
        answer = client.get(f"{PEERS}/pending")
    rows = [
        [each["name"], each["peer_id"], each["address"], [short(group) for group in each["groups"]], each["count"], ms_time(each["last_seen_ms"])]
        for each in answer
    ]
    show(answer, lambda: table(["calls itself", "id", "from", "wants", "times", "last"], rows, empty="Nobody knocked."))


def accept(
    peer: PeerName,
    group: Annotated[str, typer.Option(metavar="G", help="The group that it is to share.")],
    role: RoleOption = AssignableRole.WRITER,
) -> None:
    """Let somebody in who knocked. Compare the whole id with what `recmesh id` prints there: names are not proved."""
    with connect() as client:
        answer = client.post(f"{PEERS}/pending", {"peer_id": peer, "action": "accept", "group": group, "role": role.value})
    show(answer, lambda: line(f"accepted {answer['name']} {answer['peer_id']}"))


def ignore(peer: PeerName) -> None:
    """Show somebody who knocked no more. It gets nothing, as before; `recmesh peer add` adds it all the same."""
    with connect() as client:
        answer = client.post(f"{PEERS}/pending", {"peer_id": peer, "action": "ignore"})
    show(answer, lambda: line(f"ignored {answer['name']} {answer['peer_id']}"))


def _set_paused(peer: str, *, paused: bool) -> None:
    with connect() as client:
        answer = client.patch(_path(peer), {"paused": paused})
    show(answer, lambda: line(f"{'paused' if paused else 'resumed'} {answer['name']}"))


def _row(peer: dict[str, Any]) -> list[object]:
    informant = short(peer["learned_from"]) if peer["learned_from"] else None
    known = [peer["source"], informant, peer["ttl"], peer["endpoints"]]
    return [peer["name"], short(peer["peer_id"]), peer["state"], *known, _groups(peer)]


def _groups(peer: dict[str, Any]) -> list[str]:
    return [group["name"] for group in peer["shared_groups"]] + [f"{name} (expected)" for name in peer["expected_groups"]]


def _path(peer: str) -> str:
    return f"{PEERS}/{quote(peer, safe='')}"
