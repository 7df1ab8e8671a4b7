"""Machines: the robots that recordings name, and what a group says of them."""

from typing import Annotated, Any
from urllib.parse import quote

import typer

from peer.cli.client import connect
from peer.cli.output import hint, line, pairs, show, table
from peer.cli.values import TYPE_HELP, read_value, show_value

MACHINES = "/api/v1/machines"
SECTION = typer.Typer(rich_markup_mode=None, help="Machines: the robots that recordings name, and what is said of them.")
Name = Annotated[str, typer.Argument(metavar="NAME", help="The machine, as `recording add --machine` names it.")]
Group = Annotated[str | None, typer.Option(help="The group; may be left out where one is meant.")]


def add_commands(app: typer.Typer) -> None:
    """Put the commands of this file into `app`."""
    SECTION.command("list")(list_machines)
    SECTION.command("show")(show_machine)
    SECTION.command("set")(set_machine)
    app.add_typer(SECTION, name="machine")


def list_machines(group: Group = None) -> None:
    """Machines that recordings name, or that were described."""
    with connect() as client:
        answer = client.get(MACHINES, {"group": group} if group else None)
    rows = [[each["name"], each["group_name"], each["recordings"], _text(each["properties"])] for each in answer]
    show(
        answer, lambda: table(["machine", "group", "recordings", "properties"], rows, empty="No machines yet: `recmesh machine set NAME KEY VALUE`.")
    )


def show_machine(name: Name, group: Group = None) -> None:
    """What each group says of a machine."""
    with connect() as client:
        answer = client.get(_path(name), {"group": group} if group else None)

    def text() -> None:
        for each in answer:
            pairs(
                [
                    ("machine", each["name"]),
                    ("group", each["group_name"]),
                    ("recordings", each["recordings"]),
                    *((key, show_value(value)) for key, value in sorted(each["properties"].items())),
                    *(
                        (f"conflict in {conflict['key']}", [show_value(write["value"]) for write in conflict["writes"]])
                        for conflict in each["conflicts"]
                    ),
                ]
            )

    show(answer, text)


def set_machine(
    name: Name,
    key: Annotated[str, typer.Argument(metavar="KEY", help="1 to 64 characters of A-Z a-z 0-9 . _ -")],
    value: Annotated[str, typer.Argument(metavar="VALUE", help="One line; an empty one takes it away.")],
    group: Group = None,
    value_type: Annotated[str, typer.Option("--type", metavar="TYPE", help=TYPE_HELP)] = "text",
) -> None:
    """Say something about a machine, for its whole group. Ends a conflict about it."""
    with connect() as client:
        answer = client.patch(_path(name), {"key": key, "value": read_value(value, value_type), "group": group})

    def text() -> None:
        line(f"{answer['name']} {key}={show_value(answer['properties'].get(key, ''))}")
        hint(f"See `recmesh machine show {name}`.")

    show(answer, text)


def _text(properties: dict[str, Any]) -> list[str]:
    return [f"{key}={show_value(value)}" for key, value in sorted(properties.items())]


def _path(name: str) -> str:
    return f"{MACHINES}/{quote(name, safe='')}"
