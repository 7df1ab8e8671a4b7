"""The network under the mesh: Tailscale or Headscale."""

from typing import Annotated, Any

import typer

from peer.cli.client import connect
from peer.cli.output import hint, line, pairs, show, table
from peer.cli.times import parse_duration

NETWORK = "/api/v1/network"
SECTION = typer.Typer(rich_markup_mode=None, help="The network under the mesh: Tailscale or Headscale.")


def add_commands(app: typer.Typer) -> None:
    """Put the commands of this file into `app`."""
    SECTION.command("status")(network_status)
    SECTION.command("plan")(network_plan)
    SECTION.command("apply")(network_apply)
    SECTION.command("key")(network_key)
    app.add_typer(SECTION, name="network")


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


def network_plan() -> None:
    """What the mesh should let through so that the members of each group reach each other's peers, and nothing else. Changes nothing."""
    with connect() as client:
        answer = client.get(f"{NETWORK}/plan")
    show(answer, lambda: _plan(answer))


def network_apply() -> None:
    """Have the mesh let that through. Whatever else stands in its policy stays, byte for byte; who changed it meanwhile is not overwritten."""
    with connect() as client:
        answer = client.post(f"{NETWORK}/apply", {})
    show(answer, lambda: _plan(answer))


def network_key(
    tag: Annotated[
        list[str] | None, typer.Option(metavar="TAG", help="A tag for the machine, such as tag:recmesh; may be given several times.")
    ] = None,
    expires: Annotated[str, typer.Option(metavar="TIME", help="How long the key may be used.")] = "1d",
) -> None:
    """Make a key that lets one new machine into the mesh, for `tailscale up --auth-key`. It is shown this once."""
    with connect() as client:
        answer = client.post(f"{NETWORK}/keys", {"tags": tag or [], "expires_in_ms": int(parse_duration(expires) * 1000)})

    def text() -> None:
        line(answer["key"])
        hint(f"For one machine, until {answer['expires']}: `tailscale up --auth-key KEY` there, with --login-server for a Headscale.")

    show(answer, text)


def _plan(answer: Any) -> None:  # noqa: ANN401  (a JSON document)
    rows = [
        [
            group["name"],
            each["name"],
            each["machine"],
            each["addresses"],
            each["port"],
            "a link leads there" if each["proven"] else "it is said to be there",
        ]
        for group in answer["groups"]
        for each in group["members"]
    ]
    table(["group", "member", "machine", "addresses", "port", "known because"], rows, empty="No member of a group is known to be in the mesh.")
    for group in answer["groups"]:
        if group["missing"]:
            line(f"not in the mesh, as far as is known here: {', '.join(each['name'] for each in group['missing'])} of {group['name']}")
    for each in answer["diff"]:
        line(each)
    if answer["written"]:
        hint("The policy was changed. `recmesh network status` shows how packets go.")
    elif answer["changes"]:
        hint("Nothing was changed yet: `recmesh network apply` does.")
    else:
        hint("The policy lets all of that through already, as planned.")


def _own(answer: Any) -> list[tuple[str, object]]:  # noqa: ANN401  (a JSON document)
    own = answer["own"]
    if own is None:
        return [("daemon", answer["version"])] if answer["version"] else []
    return [("tailnet", answer["tailnet"]), ("this machine", own["name"] or own["host"]), ("addresses", own["addresses"]), ("tags", own["tags"])]
