"""The network under the mesh: Tailscale or Headscale."""

from typing import Any

import typer

from peer.cli.client import connect
from peer.cli.output import hint, line, pairs, show, table

NETWORK = "/api/v1/network"
SECTION = typer.Typer(rich_markup_mode=None, help="The network under the mesh: Tailscale or Headscale.")


def add_commands(app: typer.Typer) -> None:
    """Put the commands of this file into `app`."""
    SECTION.callback()(_section)
    SECTION.command("status")(network_status)
    app.add_typer(SECTION, name="network")


def _section() -> None:
    """With one command alone there would be no word for it."""


def network_status() -> None:
    """This machine in its WireGuard mesh, the others there, direct or relayed, and what is wrong."""
    with connect() as client:
        answer = client.get(NETWORK)

    def text() -> None:
        pairs([("mesh", answer["mesh"]), *_own(answer)])
        if answer["mesh"] == "absent":
            hint("No daemon of a mesh runs on this machine. Where it should, see `socket` in the section [tailscale] of the configuration.")
            return
        rows = [
            [
                each["name"] or each["host"],
                each["addresses"][:1],
                each["peer_name"] or "",
                each["tags"] or each["user"],
                each["route"],
                each["through"],
            ]
            for each in answer["peers"]
        ]
        table(["machine", "address", "peer", "tags or user", "route", "through"], rows, empty="No other machine is in this mesh.")
        for each in answer["problems"]:
            line(f"{each['text']}; {each['fix']} [{each['code']}]")

    show(answer, text)


def _own(answer: Any) -> list[tuple[str, object]]:  # noqa: ANN401  (a JSON document)
    own = answer["own"]
    if own is None:
        return [("daemon", answer["version"])] if answer["version"] else []
    return [("tailnet", answer["tailnet"]), ("this machine", own["name"] or own["host"]), ("addresses", own["addresses"]), ("tags", own["tags"])]
