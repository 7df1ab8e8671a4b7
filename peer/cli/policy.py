"""What this site keeps: rules that say which bytes come here by themselves."""

from typing import Annotated, Any
from urllib.parse import quote

import typer

from peer.cli.client import connect
from peer.cli.output import hint, line, pairs, show, size, table

POLICIES = "/api/v1/policies"
SHOWN = 100
FORM = (
    "A rule is one argument: `keep` or `skip`, then conditions that must all hold. Words: tag, property (KEY=VALUE), site, machine, name, topic, "
    "schema, annotation (its label) with = or !=, * for any characters; state= open, complete or incomplete. Amounts: age (30d, 12h) since it was "
    "added, and size (20GB, 500MiB) with <, <=, > or >=. keep@5 goes before keep; -9 to 9. The first rule that fits decides; what none fits is "
    'skipped: end with "keep" for the rest. `all`, `none`, or `default` for what the configuration says, may stand alone.'
)
SECTION = typer.Typer(rich_markup_mode=None, help="What this site keeps: which bytes come here by themselves. The default is all.")
Group = Annotated[str, typer.Argument(metavar="GROUP", help="A group, by its name or the start of its id.")]


def add_commands(app: typer.Typer) -> None:
    """Put the commands of this file into `app`."""
    SECTION.command("show")(show_policy)
    SECTION.command("set", epilog=FORM)(set_policy)
    SECTION.command("dry-run", epilog=FORM)(dry_run)
    app.add_typer(SECTION, name="policy")


def show_policy(group: Annotated[str | None, typer.Argument(metavar="[GROUP]", help="Only of this group.")] = None) -> None:
    """What this site keeps of each group."""
    with connect() as client:
        answer = client.get(POLICIES) if group is None else client.get(_path(group))
    policies = answer if isinstance(answer, list) else [answer]
    rows = [[each["group"], number, rule, "yes" if each["is_default"] else "no"] for each in policies for number, rule in enumerate(each["rules"], 1)]
    show(answer, lambda: table(["group", "rule", "says", "default"], rows, empty="No groups yet: `recmesh group create NAME`."))


def set_policy(
    group: Group,
    rules: Annotated[list[str], typer.Argument(metavar="RULE...", help='Each one argument: "keep tag=crash size<20GB", "skip".')],
) -> None:
    """Say what this site keeps of a group. Nothing that is here goes; what was on its way and is not kept any more stops."""
    with connect() as client:
        answer = client.patch(_path(group), {"rules": rules})

    def text() -> None:
        for number, rule in enumerate(answer["rules"], 1):
            line(f"{number}  {rule}")
        hint(f"`recmesh policy dry-run {group}` says what comes, and why.")

    show(answer, text)


def dry_run(
    group: Group,
    rules: Annotated[list[str] | None, typer.Argument(metavar="[RULE...]", help="Rules to try instead of those that hold.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many recordings to show.")] = SHOWN,
) -> None:
    """What would come here by the rules, and why. Changes nothing."""
    path = f"{_path(group)}/dry-run"
    with connect() as client:
        answer = client.post(path, {"rules": rules, "limit": limit}, patient=True) if rules else client.get(path, {"limit": limit}, patient=True)
    show(answer, lambda: _print(answer))


def _path(group: str) -> str:
    return f"{POLICIES}/{quote(group, safe='')}"


def _print(answer: dict[str, Any]) -> None:
    rows = [
        [each["name"], each["site_name"], _word(each), size(each["size_bytes"]), size(each["travels_bytes"]), each["reason"]]
        for each in answer["recordings"]
    ]
    table(["recording", "site", "says", "size", "travels", "why"], rows, empty="No recordings yet.")
    travels, kept = answer["travels"], answer["kept"]
    pairs(
        [
            ("travels", f"{size(travels['bytes'])} in {travels['files']} files of {travels['recordings']} recordings"),
            ("kept", f"{size(kept['bytes'])} in {kept['files']} files of {kept['recordings']} recordings"),
            ("skipped", f"{answer['skipped']['recordings']} recordings"),
        ]
    )
    if answer["left_out"]:
        hint(f"{answer['left_out']} more recordings are not shown: --limit.")


def _word(each: dict[str, Any]) -> str:
    if each["held_back"]:
        return "dropped"
    return "keep" if each["keep"] else "skip"
