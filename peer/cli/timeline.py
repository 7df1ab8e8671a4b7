"""The timeline of a recording in a terminal: a bar of activity for each topic, and what was said about which time.

Where its bytes are not here, the bar is that of all topics together, from the times of its files. Each bar has a scale of its own; whatever happened
at all can be seen.
"""

import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from peer.cli.client import AdminClient
from peer.cli.output import line, plain
from peer.cli.plot_data import duration_text, shortened
from peer.errors import MeshError

BLOCKS = " \u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
ASCII = " .:-=+*#@"
NAME_WIDTH_MAX = 36
BAR_WIDTH_MIN = 20
BAR_WIDTH_MAX = 120
PIPED_WIDTH = 100
"""Columns where nobody looks."""
MESSAGES_MAX = 5_000_000
"""A recording with more messages than these shows the times of its files: counting them takes seconds."""
ANNOTATIONS_MAX = 100
NS_PER_S = 1_000_000_000

Rows = Sequence[tuple[str, Sequence[int]]]


def show_timeline(client: AdminClient, recording: Mapping[str, Any]) -> list[str]:
    """The lines of it; none for a recording without messages."""
    if recording["start_time_ns"] is None:
        return []
    names = [plain(each["topic"]) for each in recording["topics"]] + [plain(each["label"]) for each in recording["annotations"]]
    width = min(NAME_WIDTH_MAX, max((len(name) for name in names), default=0))
    bar = _bar_width(width)
    rows = _by_topic(client, recording, bar) or [("all topics", _by_file(recording, bar))]
    return draw_timeline(recording, rows, _levels())


def draw_timeline(recording: Mapping[str, Any], rows: Rows, levels: str) -> list[str]:
    """The lines of a timeline with these rows, all with as many columns."""
    start_ns, end_ns = int(recording["start_time_ns"]), int(recording["end_time_ns"])
    columns = len(rows[0][1])
    annotations = [each for each in recording["annotations"] if each["start_ns"] is not None and not each.get("reply_to")]
    shown = annotations[:ANNOTATIONS_MAX]
    names = [plain(name) for name, _ in rows] + [plain(each["label"]) for each in shown]
    width = min(NAME_WIDTH_MAX, max(len(name) for name in names))
    ends = ("0 s", timeline_length(recording))
    lines = [f"{'':<{width}}  {ends[0]}{ends[1]:>{max(columns - len(ends[0]), len(ends[1]) + 1)}}"]
    lines += [f"{shortened(name, width):<{width}}  {_bar(counts, levels)}" for name, (_, counts) in zip(names, rows, strict=False)]
    for name, each in zip(names[len(rows) :], shown, strict=True):
        lines.append(f"{shortened(name, width):<{width}}  {_marks(each, start_ns, end_ns, columns)}")
    if len(annotations) > len(shown):
        lines.append(f"and {len(annotations) - len(shown)} more annotations: see `recmesh recording annotations {recording['id'][:12]}`")
    return [each.rstrip() for each in lines]


def timeline_length(recording: Mapping[str, Any]) -> str:
    """From the first message to the last; empty if there are none."""
    if recording["start_time_ns"] is None:
        return ""
    return duration_text((int(recording["end_time_ns"]) - int(recording["start_time_ns"])) / NS_PER_S).replace("\N{MICRO SIGN}", "u")


def print_timeline(lines: Sequence[str]) -> None:
    """On standard output, below the rest."""
    if lines:
        line("")
        for each in lines:
            line(each)


def _bar(counts: Sequence[int], levels: str) -> str:
    most = max(counts, default=0)
    return "".join(levels[-(-count * (len(levels) - 1) // most)] if count else levels[0] for count in counts)


def _marks(annotation: Mapping[str, Any], start_ns: int, end_ns: int, columns: int) -> str:
    """A point as `^`, a span as `[==]`; at the edge as `<` or `>` what lies outside."""
    first = int(annotation["start_ns"])
    last = first if annotation["end_ns"] is None else int(annotation["end_ns"])
    if last < start_ns:
        return "<"
    if first > end_ns:
        return " " * (columns - 1) + ">"
    span = end_ns - start_ns + 1
    begin = max((first - start_ns) * columns // span, 0)
    stop = min((last - start_ns) * columns // span, columns - 1)
    if begin == stop:
        return " " * begin + "^"
    opened, closed = "<" if first < start_ns else "[", ">" if last > end_ns else "]"
    return " " * begin + opened + "=" * (stop - begin - 1) + closed


def _by_topic(client: AdminClient, recording: Mapping[str, Any], columns: int) -> Rows:
    """From the messages themselves, where all bytes are here; nothing where they are not, or cannot be counted."""
    if recording["state"] != "local" or recording["message_count"] > MESSAGES_MAX:
        return []
    try:
        rates = client.get(f"/api/v1/recordings/{recording['id']}/rates", {"bins": columns}, patient=True)
    except MeshError:
        return []  # It says what the events say all the same.
    return [(each["topic"], each["counts"]) for each in rates["topics"]]


def _by_file(recording: Mapping[str, Any], columns: int) -> list[int]:
    """How many messages there may have been: those of each file, evenly over its time."""
    start_ns, span = int(recording["start_time_ns"]), int(recording["end_time_ns"]) - int(recording["start_time_ns"]) + 1
    counts = [0] * columns
    for chunk in recording["chunks"]:
        if chunk["start_time_ns"] is not None:
            first = (int(chunk["start_time_ns"]) - start_ns) * columns // span
            last = (int(chunk["end_time_ns"]) - start_ns) * columns // span
            for column in range(first, last + 1):
                counts[column] += -(-chunk["message_count"] // (last - first + 1))
    return counts


def _bar_width(name_width: int) -> int:
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else PIPED_WIDTH
    return min(BAR_WIDTH_MAX, max(BAR_WIDTH_MIN, columns - name_width - 3))


def _levels() -> str:
    try:
        BLOCKS.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return BLOCKS
