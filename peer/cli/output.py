"""How results look: data on standard output, everything else on standard error; JSON for programs, tables for people.

The only module, with the commands themselves, that imports `rich`; it does so late, since most of a short command's time is imports.
"""

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from peer.cli import options

if TYPE_CHECKING:
    from rich.console import Console

WIDE = 4096
"""Columns where nobody looks: a table in a file or pipe is never cut."""
SHORT_ID = 12
KIBI = 1024
NOT_SHOWN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""What a terminal obeys instead of showing it, and what turns the direction of the text around it. Others choose names and texts, too."""

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

Json = Mapping[str, object]


def show(document: object, text: Callable[[], None]) -> None:
    """Print `document` as JSON where that was asked for, else what `text` prints."""
    if options.current.json:
        print_json(document)
    else:
        text()


def print_json(document: object) -> None:
    """One document on standard output, at once: whoever starts `serve` waits for it at the other end of a pipe."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def print_json_line(document: object) -> None:
    """One document on one line, at once."""
    sys.stdout.write(json.dumps(document, ensure_ascii=False, separators=(",", ":")) + "\n")
    sys.stdout.flush()


def line(text: str) -> None:
    """A line of data."""
    sys.stdout.write(plain(text) + "\n")
    sys.stdout.flush()


def hint(text: str) -> None:
    """A line for people beside the data, unless they asked for quiet."""
    if not options.current.quiet:
        sys.stderr.write(plain(text) + "\n")
        sys.stderr.flush()


def plain(text: str) -> str:
    """`text` as a terminal shows it and does nothing else."""
    return NOT_SHOWN.sub(REPLACEMENT, text)


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, empty: str) -> None:
    """Rows under headings; `empty` is said on standard error where there are none."""
    if not rows:
        hint(empty)
        return
    from rich.table import Table  # noqa: PLC0415  (see the module's docstring)
    from rich.text import Text  # noqa: PLC0415

    shown = Table(*(column.upper() for column in columns), box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for row in rows:
        shown.add_row(*(Text(plain(_cell(value))) for value in row))
    console().print(shown)


def pairs(rows: Sequence[tuple[str, object]]) -> None:
    """Names and values, one pair a line."""
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        line(f"{name:<{width}}  {_cell(value)}")


def console() -> "Console":
    """Standard output, with colour only on a terminal and without NO_COLOR."""
    from rich.console import Console  # noqa: PLC0415  (see the module's docstring)

    return Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=WIDE, no_color=True, force_terminal=False)


def short(identifier: object) -> str:
    """Enough of an id to name it with."""
    return str(identifier)[:SHORT_ID]


def size(count: object) -> str:
    """Bytes, for people."""
    value = float(str(count or 0))
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < KIBI:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= KIBI
    return f"{value:.1f} TiB"


def local_time(value: object) -> str:
    """An RFC 3339 time, as the clock on this wall would show it."""
    if not value:
        return "-"
    moment = datetime.fromisoformat(str(value)[:26].rstrip("Z").rstrip(".") + "+00:00")
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def ms_time(value: object) -> str:
    """A Unix time in ms, as the clock on this wall would show it."""
    if not isinstance(value, int):
        return "-"
    try:
        return datetime.fromtimestamp(value / 1000, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return f"{value} ms"  # A time that no calendar has: anybody may write one.


def _cell(value: object) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(str(each) for each in value) or "-"
    return str(value)
