"""Tokens of the admin API: making one for a person or program, listing, revoking."""

from enum import StrEnum
from typing import Annotated
from urllib.parse import quote

import typer

from peer.cli.client import connect
from peer.cli.output import hint, line, ms_time, show, table
from peer.cli.times import parse_duration

TOKENS = "/api/v1/tokens"
SECTION = typer.Typer(rich_markup_mode=None, help="Tokens: who may use the admin API of this peer.")


class TokenTier(StrEnum):
    """How much the bearer of a token may do."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"


def add_commands(app: typer.Typer) -> None:
    """Put the commands of this file into `app`."""
    SECTION.command("create")(create)
    SECTION.command("list")(list_tokens)
    SECTION.command("revoke")(revoke)
    app.add_typer(SECTION, name="token")


def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is called in the audit log: who or what will use it.")],
    tier: Annotated[
        TokenTier, typer.Option(help="viewer looks, operator works with recordings, admin decides on members, peers, tokens.")
    ] = TokenTier.VIEWER,
    expires: Annotated[str, typer.Option(metavar="90d", help="How long it is good for.")] = "90d",
) -> None:
    """Make a token: its secret, one line on standard output, is shown this once."""
    with connect() as client:
        answer = client.post(TOKENS, {"name": name, "tier": tier.value, "expires_in_ms": int(parse_duration(expires) * 1000)})

    def text() -> None:
        line(answer["token"])
        hint(
            f"{answer['name']} has the tier {answer['tier']} until {ms_time(answer['expires_ms'])}. Keep the line secret: it is shown nowhere else. "
            "Use it with --url URL and --token-file FILE or RECMESH_TOKEN."
        )

    show(answer, text)


def list_tokens() -> None:
    """All tokens but the data directory's own, which the command line uses on this machine."""
    with connect() as client:
        answer = client.get(TOKENS)
    show(
        answer,
        lambda: table(
            ["name", "tier", "state", "made", "expires"],
            [[each["name"], each["tier"], each["state"], ms_time(each["created_ms"]), ms_time(each["expires_ms"])] for each in answer],
            empty="No tokens: `recmesh token create NAME` makes one.",
        ),
    )


def revoke(name: Annotated[str, typer.Argument(metavar="NAME", help="Its name.")]) -> None:
    """Let nobody in with a token any more, from now on."""
    with connect() as client:
        answer = client.delete(f"{TOKENS}/{quote(name, safe='')}")
    show(answer, lambda: line(f"revoked {answer['name']}"))
