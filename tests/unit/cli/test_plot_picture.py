"""Pictures of recordings: complete, the same each time, and good for any recording that there may be."""

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

import pytest

from peer.cli.plot_data import ROWS_MAX, Annotation, PlotData, Series, bins_for, drawable, duration_text, make_plot_data, rows_of, shortened
from peer.cli.plot_picture import draw

START_NS = 1_763_713_805_123_456_789
HOSTILE = drawable("$\\frac{1}{0}$ <script>&amp; \u202e \ud800 \U0001f916 \x00 -- end")


def plot(series: Sequence[Series], annotations: Sequence[Annotation] = (), *, name: str = "run", seconds: float = 10.0) -> PlotData:
    return PlotData(name, "field, robot", START_NS, seconds, len(series[0].counts), series, annotations)


def texts(svg: bytes) -> str:
    """What is written in a picture: matplotlib notes each text beside its outlines."""
    ET.fromstring(svg)  # noqa: S314  (our own)
    return svg.decode()


def test_a_picture_names_topics_counts_annotations_and_axes() -> None:
    marks = [Annotation("scratch", 2.0, None), Annotation("rain", 3.0, 8.0), Annotation("far away", 500.0, None), Annotation("all of it", None, None)]
    svg = texts(draw(plot([Series("/camera", [3, 0, 4]), Series("/pose", [1, 0, 0])], marks), "svg"))

    for text in ("run: messages per second by topic", "/camera   (7 messages)", "/pose   (1 message)", "scratch", "rain", "seconds from the start"):
        assert f"<!-- {text} -->" in svg
    assert "local time on 2025-11-21" in svg
    assert "far away" in svg


def test_the_same_recording_gives_the_same_bytes_in_another_process_too() -> None:
    code = (
        "import sys; from peer.cli.plot_data import *; from peer.cli.plot_picture import draw; from tests.unit.cli.test_plot_picture import plot; "
        "data = plot([Series('/a', [1, 2]), Series('/b', [0, 5])], [Annotation('x', 1.0, 2.0)]); "
        "sys.stdout.buffer.write(draw(data, 'svg') + draw(data, 'png'))"
    )
    data = plot([Series("/a", [1, 2]), Series("/b", [0, 5])], [Annotation("x", 1.0, 2.0)])
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": str(Path.cwd())}
    other = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=120, env=environment)

    assert other.stdout == draw(data, "svg") + draw(data, "png")
    assert other.stdout.startswith(b"<?xml")
    assert b"\x89PNG" in other.stdout


@pytest.mark.parametrize(
    "data",
    [
        plot([Series("/a", [1])], seconds=1.0),
        plot([Series("/a", [0])], seconds=1.0),
        plot([Series(f"/topic_{number}", [number, 1]) for number in range(ROWS_MAX)]),
        plot([Series(HOSTILE, [1, 2])], [Annotation(HOSTILE, 1.0, None)], name=HOSTILE),
        plot([Series("/a", [1, 2])], seconds=2e-6),
        plot([Series("/a", [1, 2])], seconds=400 * 86400.0),
        plot([Series("/a" * 500, [10**15, 2])], [Annotation("x" * 256, float(number), number + 0.5) for number in range(-50, 50)]),
    ],
    ids=["one message", "none of this topic", "as many rows as there may be", "hostile names", "microseconds", "more than a year", "too long"],
)
def test_any_recording_can_be_drawn(data: PlotData) -> None:
    texts(draw(data, "svg"))


def test_more_topics_than_rows_share_the_last_one_and_no_message_is_lost() -> None:
    series = [Series(f"/topic_{number:03}", [number, 2 * number]) for number in range(3 * ROWS_MAX)]
    rows = rows_of(series)

    assert len(rows) == ROWS_MAX
    assert rows[-1].topic == f"{2 * ROWS_MAX + 1} more topics"
    assert sum(row.total for row in rows) == sum(each.total for each in series)
    assert f"/topic_{3 * ROWS_MAX - 1}" in {row.topic for row in rows}


def test_a_plot_is_made_of_what_the_admin_api_says() -> None:
    recording = {
        "name": "run",
        "site_name": "field",
        "machine": "robot-7",
        "annotations": [
            {"label": "a", "start_ns": str(START_NS + 10**9), "end_ns": None, "reply_to": None},
            {"label": "b", "start_ns": None, "end_ns": None, "reply_to": None},
            {"label": "answer", "start_ns": None, "end_ns": None, "reply_to": "ab"},
        ],
    }
    rates = {
        "start_ns": str(START_NS),
        "start": "2025-11-21T08:30:05.123456789Z",
        "stop_ns": str(START_NS + 4 * 10**9),
        "bins": 2,
        "topics": [{"topic": "/b", "counts": [1, 2]}, {"topic": "/a", "counts": [0, 1]}],
    }
    data = make_plot_data(recording, rates)

    assert [series.topic for series in data.series] == ["/a", "/b"]
    assert data.annotations == [Annotation("a", 1.0, None), Annotation("b", None, None)]
    assert (data.seconds, data.bin_s) == (4.0, 2.0)
    assert "field, robot-7, 2 topics, 4 messages, 4 s" in data.subtitle


def test_the_number_of_bins_fits_the_messages() -> None:
    def recording(count: int, end: str = "2") -> dict[str, object]:
        return {"start_time_ns": "1", "end_time_ns": end, "topics": [{"message_count": count}, {"message_count": 1}]}

    assert [bins_for(recording(count)) for count in (1, 100, 10**6)] == [20, 50, 200]
    assert bins_for(recording(5, "1")) == 1


def test_texts_for_people() -> None:
    assert [duration_text(value) for value in (7500, 61, 12.5, 0.25, 2e-6)] == ["2 h 5 min", "1 min 1 s", "12.5 s", "250 ms", "2 \N{MICRO SIGN}s"]
    assert shortened("/sensors/front/left/image_raw", 20) == "/sens.../image_raw"[:5] + "..." + "left/image_raw"[-12:]
    assert shortened("/a", 20) == "/a"
