"""Drawing a recording: `recmesh recording plot`."""

import contextlib
import secrets
from pathlib import Path
from typing import Annotated, Literal

import typer

from peer.cli.client import connect
from peer.cli.output import hint, show
from peer.cli.plot_data import BINS_DEFAULT, BINS_MIN, bins_for, make_plot_data
from peer.cli.resources import Reference, recording_path
from peer.errors import ConfigError, RecordingEmptyError

FORMS: dict[str, Literal["png", "svg"]] = {".png": "png", ".svg": "svg"}
PARTIAL_SUFFIX = ".partial"


def add_commands(section: typer.Typer) -> None:
    """Put the command of this file into `section`."""
    section.command("plot")(plot)


def plot(
    recording: Reference,
    out: Annotated[Path, typer.Option(help="The picture to write: a file that ends in .png or .svg. One that is there is replaced.")],
    topic: Annotated[list[str] | None, typer.Option(help="Only this topic; may be repeated.")] = None,
    bins: Annotated[
        int | None,
        typer.Option(min=1, max=10_000, help=f"Into how many equal parts the time is cut. Default: {BINS_MIN} to {BINS_DEFAULT}, by the messages."),
    ] = None,
) -> None:
    """Draw the messages per second of each topic over time, with annotations. Of a recording that is elsewhere only the indexes are brought here."""
    form = _check_target(out)
    with connect() as client:
        path = recording_path(recording)
        found = client.get(path)
        if not found["message_count"]:
            raise RecordingEmptyError(f"{found['name']} has no messages", fix="there is nothing to draw in it")
        path = recording_path(found["id"])
        rates = client.get(f"{path}/rates", {"bins": bins or bins_for(found), **({"topic": topic} if topic else {})}, patient=True)
    data = make_plot_data(found, rates)
    from peer.cli.plot_picture import draw  # noqa: PLC0415  (it loads a library that takes longer than most commands)

    _write(out, draw(data, form))
    total = sum(series.total for series in data.series)
    document = {"id": found["id"], "out": str(out.absolute()), "topics": len(rates["topics"]), "message_count": total, "bins": data.bins}
    show(document, lambda: hint(f"{out}: {total} messages of {len(rates['topics'])} topics, in {data.bins} bins of {data.bin_text}."))


def _check_target(out: Path) -> Literal["png", "svg"]:
    """What is to be written, before anything is asked for."""
    form = FORMS.get(out.suffix.lower())
    if form is None:
        raise ConfigError(f"{out} ends neither in .png nor in .svg", fix="choose one of the two")
    if not out.parent.is_dir():
        raise ConfigError(f"the folder {out.parent} does not exist", fix="make it first, or name another")
    if out.is_dir():
        raise ConfigError(f"{out} is a folder", fix="name a file")
    return form


def _write(out: Path, data: bytes) -> None:
    """Aside, then in its place: nobody sees half a picture."""
    aside = out.with_name(f".{out.name}.{secrets.token_hex(4)}{PARTIAL_SUFFIX}")
    try:
        aside.write_bytes(data)
        aside.replace(out)
    except OSError as error:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
        raise ConfigError(f"{out} cannot be written: {error.strerror or error}", fix="check the folder and its permissions") from error
