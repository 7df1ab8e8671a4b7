"""Peers: whose addresses this site knows, and from where."""

from typing import Annotated
from urllib.parse import quote

import typer

from peer.cli.client import connect
from peer.cli.output import pairs, short, show, table

PEERS = "/api/v1/sync/peers"
SECTION = typer.Typer(rich_markup_mode=None, help="Peers: who is known, where, and from which source.")


def add_commands(app: typer.Typer) -> None:
    """Put the commands of this file into `app`."""
    SECTION.command("list")(list_peers)
    SECTION.command("show")(show_peer)
    app.add_typer(SECTION, name="peer")


def list_peers() -> None:
    """All peers of the groups of this site."""
    with connect() as client:
        answer = client.get(PEERS)
    show(
        answer,
        lambda: table(
            ["name", "id", "state", "source", "endpoints", "groups"],
            [
                [
                    each["name"],
                    short(each["peer_id"]),
                    each["state"],
                    each["source"],
                    each["endpoints"],
                    [group["name"] for group in each["shared_groups"]],
                ]
                for each in answer
            ],
            empty="No peers yet: `recmesh group invite NAME` invites one.",
        ),
    )


def show_peer(peer: Annotated[str, typer.Argument(metavar="PEER", help="Name, id, or the start of its id.")]) -> None:
    """One peer."""
    with connect() as client:
        answer = client.get(f"{PEERS}/{quote(peer, safe='')}")
    show(
        answer,
        lambda: pairs(
            [
                ("name", answer["name"]),
                ("id", answer["peer_id"]),
                ("state", answer["state"]),
                ("source", answer["source"]),
                ("endpoints", answer["endpoints"]),
                ("groups", [f"{group['name']} ({group['role']})" for group in answer["shared_groups"]]),
            ]
        ),
    )
