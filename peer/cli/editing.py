"""What is said about recordings: title, tags, annotations, reviews; deleting one everywhere. The commands stand under `recording`."""

import sys
from typing import Annotated, Any
from urllib.parse import quote

import typer

from peer.cli.client import connect
from peer.cli.output import hint, line, local_time, short, show, table
from peer.cli.times import parse_moment_ns
from peer.errors import ConfigError

RECORDINGS = "/api/v1/recordings"
ANNOTATIONS = "/api/v1/annotations"
Reference = Annotated[str, typer.Argument(metavar="REC", help="Name, id, or the start of its id.")]


def add_commands(section: typer.Typer) -> None:
    """Put the commands of this file into `section`."""
    section.command("remove")(remove)
    section.command("restore")(restore)
    section.command("set")(set_property)
    section.command("tag", context_settings={"ignore_unknown_options": True})(tag)
    section.command("annotate")(annotate)
    section.command("annotations")(annotations)
    section.command("unannotate")(unannotate)
    section.command("review")(review)


def remove(recording: Reference, *, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False) -> None:
    """Delete a recording at every site: it is hidden, its folder goes, no more of it is fetched. Until its bytes go, `restore` takes this back."""
    with connect() as client:
        found = client.get(_path(recording))
        if not yes:
            _confirm(f"Delete {found['name']} {short(found['id'])} at every site of its group?", f"recmesh recording remove {recording} --yes")
        answer = client.delete(_path(found["id"]))
    _say(answer, "deleted", f"Take it back with `recmesh recording restore {short(answer['id'])}`.")


def restore(recording: Reference) -> None:
    """Take the deletion of a recording back."""
    with connect() as client:
        answer = client.post(f"{_path(recording)}/restore")
    _say(answer, answer["state"], "See `recmesh recording show`.")


def set_property(
    recording: Reference,
    key: Annotated[str, typer.Argument(metavar="KEY", help="`title`, or any other: 1 to 64 characters of A-Z a-z 0-9 . _ -")],
    value: Annotated[str, typer.Argument(metavar="VALUE", help="One line; an empty one takes the property away.")],
) -> None:
    """Give a recording a title, or another property."""
    with connect() as client:
        answer = client.patch(_path(recording), {"properties": {key: value}})
    _say(answer, f"{key}={answer['properties'].get(key, '')}", "Find it with `recmesh recording list --property KEY=VALUE`.")


def tag(
    recording: Reference,
    tags: Annotated[list[str] | None, typer.Argument(metavar="[+TAG|-TAG]...", help="Tags to set, with a plus; to take away, with a minus.")] = None,
    add: Annotated[list[str] | None, typer.Option("--add", metavar="TAG", help="A tag to set; may be repeated.")] = None,
    remove_tags: Annotated[list[str] | None, typer.Option("--remove", metavar="TAG", help="A tag to take away; may be repeated.")] = None,
) -> None:
    """Set tags of a recording, and take others away."""
    words = tags or []
    wrong = next((word for word in words if word[:1] not in {"+", "-"} or len(word) == 1 or word.startswith("--")), None)
    if wrong is not None:
        raise ConfigError(f"{wrong!r} is neither +TAG nor -TAG", fix="write + or - in front of each tag")
    body = {
        "add": [*(word[1:] for word in words if word.startswith("+")), *(add or [])],
        "remove": [*(word[1:] for word in words if word.startswith("-")), *(remove_tags or [])],
    }
    if not any(body.values()):
        raise ConfigError("no tag was named", fix="write +TAG or -TAG")
    with connect() as client:
        answer = client.post(f"{_path(recording)}/tags", body)
    _say(answer, ", ".join(answer["tags"]) or "no tags", "Find it with `recmesh recording list --tag TAG`.")


def annotate(
    recording: Reference,
    label: Annotated[str, typer.Option(metavar="L", help="What it is, in a word or a few.")],
    start: Annotated[str | None, typer.Option(metavar="T", help="When, or since when: a time, or +12.5s from the start.")] = None,
    end: Annotated[str | None, typer.Option(metavar="T", help="Until when.")] = None,
    text: Annotated[str, typer.Option(metavar="T", help="More about it.")] = "",
    reply_to: Annotated[str | None, typer.Option(metavar="A", help="The annotation that this answers.")] = None,
) -> None:
    """Say something about a recording, at a time in it or as a whole."""
    if end is not None and start is None:
        raise ConfigError("--end needs --start", fix="say since when")
    with connect() as client:
        found = client.get(_path(recording))
        times = {
            key: None if value is None else str(parse_moment_ns(value, found["start_time_ns"]))
            for key, value in (("start_ns", start), ("end_ns", end))
        }
        answer = client.post(f"{_path(found['id'])}/annotations", {"label": label, "text": text, "reply_to": reply_to, **times})

    def say() -> None:
        line(f"{answer['label']} {answer['id']}")
        hint(f"Take it back with `recmesh recording unannotate {short(answer['id'])}`.")

    show(answer, say)


def annotations(recording: Reference) -> None:
    """What was said about a recording, by time in it."""
    with connect() as client:
        answer = client.get(f"{_path(recording)}/annotations")
    show(
        answer,
        lambda: table(
            ["id", "start", "end", "label", "text", "by", "answers"],
            [
                [
                    short(each["id"]),
                    local_time(each["start"]),
                    local_time(each["end"]),
                    each["label"],
                    " ".join(each["text"].split()),
                    each["author_name"],
                    short(each["reply_to"]) if each["reply_to"] else "",
                ]
                for each in answer
            ],
            empty=f"Nothing was said yet: `recmesh recording annotate {recording} --label L`.",
        ),
    )


def unannotate(annotation: Annotated[str, typer.Argument(metavar="A", help="The id of an annotation, or its start.")]) -> None:
    """Take an annotation back, for good."""
    with connect() as client:
        answer = client.delete(f"{ANNOTATIONS}/{quote(annotation, safe='')}")
    _say(answer, f"{len(answer['annotations'])} annotations left", "See `recmesh recording annotations REC`.")


def review(
    recording: Reference, value: Annotated[str, typer.Argument(metavar="VALUE", help="good, bad, or any other line; an empty one takes it back.")]
) -> None:
    """Say what this site thinks of a recording. Each site has one review of it."""
    with connect() as client:
        answer = client.post(f"{_path(recording)}/reviews", {"value": value})
    _say(answer, ", ".join(f"{each['author_name']}: {each['value']}" for each in answer["reviews"]) or "no reviews", "See `recmesh recording show`.")


def _say(answer: Any, what: str, next_step: str) -> None:  # noqa: ANN401  (a JSON document)
    def text() -> None:
        line(f"{answer['name']} {answer['id']} {what}")
        hint(next_step)

    show(answer, text)


def _confirm(question: str, command: str) -> None:
    """Ask on a terminal. Raises `ConfigError` where there is none, `typer.Abort` for anything but yes."""
    if not sys.stdin.isatty():
        raise ConfigError("this is far-reaching and there is no terminal to ask on", fix=f"`{command}` does it without asking")
    if not typer.confirm(question, err=True):
        raise typer.Abort


def _path(recording: str) -> str:
    return f"{RECORDINGS}/{quote(recording, safe='')}"
