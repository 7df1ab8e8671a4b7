"""The hub of this peer: keys that let other peers in, and who came with them."""

from typing import Annotated
from urllib.parse import quote

import typer

from peer.cli.client import connect
from peer.cli.output import hint, line, ms_time, show, table
from peer.cli.times import parse_duration

HUB = "/api/v1/hub"
SECTION = typer.Typer(
    rich_markup_mode=None,
    help="The hub: other peers find one another through this one, once `enabled = true` stands in the section [hub] of config.toml.",
)
KEYS = typer.Typer(rich_markup_mode=None, help="Pre-auth keys: each lets so many peers register at this hub.")


def add_commands(app: typer.Typer) -> None:
    """Put the commands of this file into `app`."""
    KEYS.command("create")(create_key)
    KEYS.command("list")(list_keys)
    KEYS.command("revoke")(revoke_key)
    SECTION.add_typer(KEYS, name="key")
    SECTION.command("peers")(list_peers)
    SECTION.command("forget")(forget)
    app.add_typer(SECTION, name="hub")


def create_key(
    hive: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="The hive that who comes with it is in, and sees the peers of; made, as a private one, where it is not there."
        ),
    ] = None,
    uses: Annotated[int, typer.Option(metavar="N", help="How many peers may come with it.")] = 1,
    expires: Annotated[str, typer.Option(metavar="30d", help="How long it is good for.")] = "30d",
) -> None:
    """Make a pre-auth key: its secret, one line on standard output, is shown this once."""
    body = {"hive": hive, "uses": uses, "expires_in_ms": int(parse_duration(expires) * 1000)}
    with connect() as client:
        answer = client.post(f"{HUB}/keys", body)

    def text() -> None:
        line(answer["key"])
        hint(
            f"{answer['id']} lets {answer['uses_left']} in until {ms_time(answer['expires_ms'])}. Keep the line secret: it is shown nowhere else. "
            f'There, write it into a file, and into the section [hub_source] of config.toml: url = "{answer["url"]}" and credential_file.'
        )

    show(answer, text)


def list_keys() -> None:
    """All pre-auth keys, without their secrets."""
    with connect() as client:
        answer = client.get(f"{HUB}/keys")
    show(
        answer,
        lambda: table(
            ["id", "hive", "uses left", "state", "made", "expires", "last used"],
            [
                [
                    each["id"],
                    each["hive"],
                    each["uses_left"],
                    each["state"],
                    *(ms_time(each[f"{when}_ms"]) for when in ("created", "expires", "last_used")),
                ]
                for each in answer
            ],
            empty="No keys: `recmesh hub key create` makes one.",
        ),
    )


def revoke_key(key: Annotated[str, typer.Argument(metavar="ID", help="Its id, as `recmesh hub key list` shows it.")]) -> None:
    """Let nobody in with a pre-auth key any more. Who came with it stays: see `recmesh hub forget`."""
    with connect() as client:
        answer = client.delete(f"{HUB}/keys/{quote(key, safe='')}")
    show(answer, lambda: line(f"revoked {answer['id']}"))


def list_peers() -> None:
    """Who registered at this hub, and who of them is there."""
    with connect() as client:
        answer = client.get(f"{HUB}/peers")
    show(
        answer,
        lambda: table(
            ["name", "state", "last seen", "hives", "endpoints", "id"],
            [
                [
                    *(each["name"], each["state"], ms_time(each["last_seen_ms"]), each["hives"]),
                    *([entry["endpoint"] for entry in each["registered"]], each["id"]),
                ]
                for each in answer
            ],
            empty="Nobody yet: `recmesh hub key create` makes a key to come with.",
        ),
    )


def forget(peer: Annotated[str, typer.Argument(metavar="ID", help="Its name or id, or the start of its id.")]) -> None:
    """Take away the credential of a peer, and what it registered. It may come again with a new key."""
    with connect() as client:
        answer = client.delete(f"{HUB}/peers/{quote(peer, safe='')}")
    show(answer, lambda: line(f"forgot {answer['name']}"))
