"""What a plot of a recording shows, taken from what the admin API says of it."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from peer.cli.output import local_time, plain

NS_PER_S = 1_000_000_000
ROWS_MAX = 40
"""Topics that have a row of their own; of more those with the fewest messages share the last one."""
ANNOTATIONS_MAX = 2000
BINS_MIN = 20
BINS_DEFAULT = 200


class Series(NamedTuple):
    """How many messages there were, bin by bin."""

    topic: str
    counts: Sequence[int]

    @property
    def total(self) -> int:
        """In all bins together."""
        return sum(self.counts)


class Annotation(NamedTuple):
    """Something that was said about a time, in seconds from the start."""

    label: str
    start_s: float | None
    """None for what is said about the whole recording."""
    end_s: float | None


class PlotData(NamedTuple):
    """All that is drawn."""

    name: str
    subtitle: str
    start_ns: int
    seconds: float
    bins: int
    series: Sequence[Series]
    annotations: Sequence[Annotation]

    @property
    def bin_s(self) -> float:
        """How long one bin is."""
        return self.seconds / self.bins

    @property
    def bin_text(self) -> str:
        """That, for people."""
        return duration_text(self.bin_s)


def make_plot_data(recording: Mapping[str, Any], rates: Mapping[str, Any]) -> PlotData:
    """The plot of a recording, from what `show` and `rates` say of it."""
    start_ns, stop_ns = int(rates["start_ns"]), int(rates["stop_ns"])
    series = rows_of([Series(drawable(each["topic"]), each["counts"]) for each in rates["topics"]])
    seconds = (stop_ns - start_ns) / NS_PER_S
    total = sum(each.total for each in series)
    topics = "1 topic" if len(rates["topics"]) == 1 else f"{len(rates['topics'])} topics"
    facts = [recording["site_name"], recording["machine"], topics, f"{total} messages", duration_text(seconds), f"from {local_time(rates['start'])}"]
    return PlotData(
        drawable(recording["name"]),
        drawable(", ".join(str(fact) for fact in facts if fact)),
        start_ns,
        seconds,
        int(rates["bins"]),
        series,
        [_annotation(each, start_ns) for each in recording["annotations"] if not each.get("reply_to")][:ANNOTATIONS_MAX],
    )


def rows_of(series: Sequence[Series]) -> list[Series]:
    """As they are, by name; where there are too many the smallest of them as one, so that the sum of all stays what it is."""
    if len(series) <= ROWS_MAX:
        return sorted(series, key=lambda each: each.topic)
    by_size = sorted(series, key=lambda each: (-each.total, each.topic))
    shown, rest = by_size[: ROWS_MAX - 1], by_size[ROWS_MAX - 1 :]
    together = Series(f"{len(rest)} more topics", [sum(counts) for counts in zip(*(each.counts for each in rest), strict=True)])
    return [*sorted(shown, key=lambda each: each.topic), together]


def bins_for(recording: Mapping[str, Any]) -> int:
    """How many bins show something: no more than half of what the fullest topic has."""
    if recording["start_time_ns"] == recording["end_time_ns"]:
        return 1
    most = max((int(each["message_count"]) for each in recording["topics"]), default=0)
    return min(BINS_DEFAULT, max(BINS_MIN, most // 2))


def drawable(text: str) -> str:
    """A text in which everything is a character: others write what is drawn."""
    return plain(text).encode("utf-8", "replace").decode()


def shortened(text: str, characters: int) -> str:
    """The start and the end of a text that is too long: the last part of a topic says most."""
    if len(text) <= characters:
        return text
    head = (characters - 3) // 3
    return f"{text[:head]}...{text[len(text) - (characters - 3 - head) :]}"


def duration_text(seconds: float) -> str:
    """A duration, for people: `2 h 5 min`, `12.5 s`, `40 ms`."""
    if seconds >= 3600:  # noqa: PLR2004  (an hour)
        hours, rest = divmod(round(seconds / 60), 60)
        return f"{hours} h {rest} min"
    if seconds >= 60:  # noqa: PLR2004  (a minute)
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes} min {rest} s"
    if seconds >= 0.9995:  # noqa: PLR2004  (what three digits of milliseconds do not hold)
        return f"{seconds:.3g} s"
    return f"{seconds * 1000:.3g} ms" if seconds >= 0.001 else f"{seconds * 1e6:.3g} \N{MICRO SIGN}s"  # noqa: PLR2004  (a millisecond)


def _annotation(document: Mapping[str, Any], start_ns: int) -> Annotation:
    start, end = document["start_ns"], document["end_ns"]
    return Annotation(
        drawable(document["label"]),
        None if start is None else (int(start) - start_ns) / NS_PER_S,
        None if end is None else (int(end) - start_ns) / NS_PER_S,
    )
