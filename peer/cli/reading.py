"""Reading the messages of recordings, wherever their bytes are."""

import base64
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from peer.cli import options
from peer.cli.client import connect, stream_problem
from peer.cli.output import hint, line, size
from peer.cli.resources import Reference, recording_path
from peer.cli.times import parse_moment_ns
from peer.errors import ConfigError

HEX_BYTES = 32
"""Bytes of a payload that are shown where it cannot be read."""


def add_commands(section: typer.Typer) -> None:
    """Put the commands of this file into those about recordings."""
    section.command("cat")(cat)


def cat(  # noqa: PLR0913  (the options of the command)
    recording: Reference,
    topic: Annotated[list[str] | None, typer.Option(help="Messages on this topic; may be repeated. Default: all.")] = None,
    start: Annotated[
        str | None, typer.Option(metavar="T", help="From this time on: RFC 3339, a date, 2d (ago), +12.5s (into the recording).")
    ] = None,
    end: Annotated[str | None, typer.Option(metavar="T", help="Before this time.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="So many messages at most.")] = None,
    *,
    raw: Annotated[bool, typer.Option("--raw", help="Payloads as they are, in hexadecimal digits; with --json in base64.")] = False,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Print nothing; make an MCAP file with these messages.")] = None,
) -> None:
    """Messages in the order of time, one a line. Of a recording that is elsewhere only what holds them is brought here."""
    parameters: dict[str, str | int | list[str]] = {"topic": topic} if topic else {}
    if limit is not None:
        parameters["limit"] = limit
    if raw:
        parameters["raw"] = 1
    path = recording_path(recording)
    with connect() as client:
        if start is not None or end is not None:
            first = client.get(path)["start_time_ns"]
            for name, value in (("start", start), ("end", end)):
                if value is not None:
                    parameters[name] = str(_moment(value, first))
        if out is not None:
            _write(out, client.stream_bytes(f"{path}/messages", {**parameters, "format": "mcap"}))
            hint(f"{size(out.stat().st_size)} in {out}.")
            return
        if not _print_messages(client.stream_lines(f"{path}/messages", parameters)):
            hint(f"No messages there: `recmesh recording show {recording}` says when there are any.")


def _print_messages(rows: Iterable[str]) -> int:
    """Print messages as they come; how many there were."""
    count = 0
    for count, row in enumerate(rows, 1):  # noqa: B007  (told at the end)
        message = json.loads(row)
        if "error" in message:
            raise stream_problem(message["error"])
        if options.current.json:
            sys.stdout.write(row + "\n")
        else:
            line(_text(message))
        sys.stdout.flush()
    return count


def _write(path: Path, parts: Iterator[bytes]) -> None:
    """Make the file once all of it is there."""
    if path.exists():
        raise ConfigError(f"{path} exists", fix="choose another name, or remove it")
    aside = path.with_name(f"{path.name}.partial")
    try:
        with aside.open("wb") as file:
            for part in parts:
                file.write(part)
        aside.rename(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}", fix="check the path and the disk") from error
    finally:
        aside.unlink(missing_ok=True)


def _moment(text: str, first: str | None) -> int:
    moment = parse_moment_ns(text, first)
    if moment < 0:
        raise ConfigError(f"{text!r} is a time before 1970", fix="write a later one")
    return moment


def _text(message: dict[str, Any]) -> str:
    payload = message["data"]
    if message["data_encoding"] == "base64":
        data = base64.b64decode(payload)
        is_all = options.current.verbose or len(data) <= HEX_BYTES
        shown = data.hex() if is_all else f"{data[:HEX_BYTES].hex()}... ({len(data)} bytes)"
    elif isinstance(payload, dict) and list(payload) == ["data"] and isinstance(payload["data"], str):
        shown = payload["data"]
    else:
        shown = json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
    time = message["log_time"] or f"{message['log_time_ns']} ns"
    # What cannot be written down as text may stand in a payload.
    return f"{time}  {message['topic']}  {shown}".encode(errors="replace").decode().replace("\n", "\N{SYMBOL FOR NEWLINE}")
