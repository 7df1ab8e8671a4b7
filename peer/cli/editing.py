"""What is said about recordings: title, tags, annotations, reviews; deleting one everywhere. The commands stand under `recording`."""

import shlex
import sys
from typing import Annotated, Any
from urllib.parse import quote

import typer

from peer.cli.client import connect
from peer.cli.login import login_name
from peer.cli.output import hint, line, local_time, short, show, table
from peer.cli.resources import Person, Reference, recording_path
from peer.cli.times import parse_moment_ns
from peer.cli.values import TYPE_HELP, read_value, show_value
from peer.errors import ConfigError

ANNOTATIONS = "/api/v1/annotations"
DEPTH_SHOWN_MAX = 8
"""Steps by which a reply is moved to the right."""
NO_TIME = "none"
OPINIONS = ("1", "2", "3", "4", "5", "none", "")
Annotation = Annotated[str, typer.Argument(metavar="A", help="The id of an annotation, or its start.")]


def add_commands(section: typer.Typer) -> None:
    """Put the commands of this file into `section`."""
    section.command("remove")(remove)
    section.command("restore")(restore)
    section.command("set")(set_property)
    section.command("tag", context_settings={"ignore_unknown_options": True})(tag)
    section.command("annotate")(annotate)
    section.command("annotations")(annotations)
    section.command("edit-annotation")(edit_annotation)
    section.command("unannotate")(unannotate)
    section.command("review")(review)


def remove(recording: Reference, *, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False) -> None:
    """Delete a recording at every site: it is hidden, its folder goes, no more of it is fetched. Until its bytes go, `restore` takes this back."""
    with connect() as client:
        found = client.get(recording_path(recording))
        if not yes:
            _confirm(f"Delete {found['name']} {short(found['id'])} at every site of its group?", f"recmesh recording remove {recording} --yes")
        answer = client.delete(recording_path(found["id"]))
    _say(answer, "deleted", f"Take it back with `recmesh recording restore {short(answer['id'])}`.")


def restore(recording: Reference) -> None:
    """Take the deletion of a recording back."""
    with connect() as client:
        answer = client.post(recording_path(recording, "restore"))
    _say(answer, answer["state"], "See `recmesh recording show`.")


def set_property(
    recording: Reference,
    key: Annotated[str, typer.Argument(metavar="KEY", help="`title`, or any other: 1 to 64 characters of A-Z a-z 0-9 . _ -")],
    value: Annotated[str, typer.Argument(metavar="VALUE", help="One line; an empty one takes the property away.")],
    value_type: Annotated[str, typer.Option("--type", metavar="TYPE", help=TYPE_HELP)] = "text",
) -> None:
    """Give a recording a title, or another property. `title`, `robot`, `operator`, `task` and `place` are text."""
    with connect() as client:
        answer = client.patch(recording_path(recording), {"properties": {key: read_value(value, value_type)}})
    found = shlex.quote(f"{key}={show_value(answer['properties'].get(key, 'VALUE'))}")
    _say(answer, f"{key}={show_value(answer['properties'].get(key, ''))}", f"Find it with `recmesh recording list --property {found}`.")


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
        answer = client.post(recording_path(recording, "tags"), body)
    _say(answer, ", ".join(answer["tags"]) or "no tags", "Find it with `recmesh recording list --tag TAG`.")


def annotate(  # noqa: PLR0913, PLR0917  (the options of the command)
    recording: Reference,
    label: Annotated[str, typer.Option(metavar="L", help="What it is, in a word or a few.")],
    start: Annotated[str | None, typer.Option(metavar="T", help="When, or since when: a time, or +12.5s from the start.")] = None,
    end: Annotated[str | None, typer.Option(metavar="T", help="Until when.")] = None,
    text: Annotated[str, typer.Option(metavar="T", help="More about it.")] = "",
    reply_to: Annotated[str | None, typer.Option(metavar="A", help="The annotation that this answers.")] = None,
    person: Person = None,
) -> None:
    """Say something about a recording, at a time in it or as a whole."""
    if end is not None and start is None:
        raise ConfigError("--end needs --start", fix="say since when")
    with connect() as client:
        found = client.get(recording_path(recording))
        times = {
            key: None if value is None else str(parse_moment_ns(value, found["start_time_ns"]))
            for key, value in (("start_ns", start), ("end_ns", end))
        }
        answer = client.post(recording_path(found["id"], "annotations"), {"label": label, "text": text, "reply_to": reply_to, **times, **_by(person)})

    def say() -> None:
        line(f"{answer['label']} {answer['id']}")
        hint(f"Take it back with `recmesh recording unannotate {short(answer['id'])}`.")

    show(answer, say)


def annotations(recording: Reference) -> None:
    """What was said about a recording, by time in it, with replies below what they answer."""
    with connect() as client:
        answer = client.get(recording_path(recording, "annotations"))
    show(
        answer,
        lambda: table(
            ["id", "start", "end", "label", "text", "by", "review"],
            [
                [
                    short(each["id"]),
                    local_time(each["start"]),
                    local_time(each["end"]),
                    f"{'  ' * min(each['depth'], DEPTH_SHOWN_MAX)}{each['label']}",
                    f"{' '.join(each['text'].split())}{' (changed)' if each['edited_ms'] else ''}",
                    who(each),
                    stars(each),
                ]
                for each in answer
            ],
            empty=f"Nothing was said yet: `recmesh recording annotate {recording} --label L`.",
        ),
    )


def edit_annotation(
    annotation: Annotation,
    label: Annotated[str | None, typer.Option(metavar="L", help="What it is from now on.")] = None,
    text: Annotated[str | None, typer.Option(metavar="T", help="More about it.")] = None,
    start: Annotated[str | None, typer.Option(metavar="T", help="When, or since when; `none` for no time.")] = None,
    end: Annotated[str | None, typer.Option(metavar="T", help="Until when; `none` for a point in time.")] = None,
    person: Person = None,
) -> None:
    """Let an annotation say something else. What is left out stays as it is. It keeps its id and its replies."""
    change: dict[str, object] = {key: value for key, value in (("label", label), ("text", text)) if value is not None}
    times = {key: value for key, value in (("start_ns", start), ("end_ns", end)) if value is not None}
    if start == NO_TIME:
        times["end_ns"] = NO_TIME
    if not change and not times:
        raise ConfigError("nothing is to change", fix="write --label, --text, --start or --end")
    with connect() as client:
        found = client.get(_note_path(annotation))
        begin = client.get(recording_path(found["recording"]))["start_time_ns"] if any(value.startswith("+") for value in times.values()) else None
        change.update({key: None if value == NO_TIME else str(parse_moment_ns(value, begin)) for key, value in times.items()})
        answer = client.patch(_note_path(found["id"]), {**change, **_by(person)})

    def say() -> None:
        line(f"{answer['label']} {answer['id']}")
        hint("See `recmesh recording annotations REC`.")

    show(answer, say)


def unannotate(annotation: Annotation) -> None:
    """Take an annotation back, for good."""
    with connect() as client:
        answer = client.delete(_note_path(annotation))
    _say(answer, f"{len(answer['annotations'])} annotations left", "See `recmesh recording annotations REC`.")


def review(
    recording: Reference,
    value: Annotated[str, typer.Argument(metavar="VALUE", help="A whole number from 1 (bad) to 5 (good); `none` takes it back.")],
    annotation: Annotated[str | None, typer.Option(metavar="A", help="Of this annotation, not of the recording itself.")] = None,
    person: Person = None,
) -> None:
    """Say what you think of a recording, or of an annotation of it. Each person at each site has one review of either."""
    if value not in OPINIONS:
        raise ConfigError(f"{value!r} is no review", fix="write a whole number from 1 (bad) to 5 (good), or none to take it back")
    opinion = int(value) if value.isdecimal() else value
    with connect() as client:
        answer = client.post(recording_path(recording, "reviews"), {"value": opinion, "annotation": annotation, **_by(person)})
    # The answer is the recording: what was reviewed may be an annotation in it.
    reviewed = next((each for each in answer["annotations"] if annotation and each["id"].startswith(annotation)), answer)
    told = [f"{who(each)}: {each['value']}" for each in reviewed["reviews"]] + ([stars(reviewed)] if stars(reviewed) else [])
    _say(answer, ", ".join(told) or "no reviews", f"See `recmesh recording {'annotations' if annotation else 'show'} {recording}`.")


def stars(answer: Any) -> str:  # noqa: ANN401  (a JSON document)
    """The average of the reviews of something, empty where there are none."""
    return f"{answer['review_average']} of 5 ({answer['review_count']})" if answer["review_count"] else ""


def who(answer: Any) -> str:  # noqa: ANN401  (a JSON document)
    """Who wrote something: a person at a site."""
    person = answer["by"]["person"]
    return f"{person} at {answer['author_name']}" if person else str(answer["author_name"])


def _by(person: str | None) -> dict[str, str]:
    """Who wants something: the one that was named, or whoever runs this."""
    return {"person": login_name() if person is None else person}


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


def _note_path(annotation: str) -> str:
    return f"{ANNOTATIONS}/{quote(annotation, safe='')}"
