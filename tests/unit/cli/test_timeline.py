"""The timeline of a recording, as lines of text."""

from typing import Any

import pytest

from peer.cli.timeline import ASCII, BLOCKS, _by_file, draw_timeline

END = 999_999_999


def recording(*annotations: dict[str, Any], end: int = END) -> dict[str, Any]:
    return {"id": "ab" * 32, "start_time_ns": "1000000000", "end_time_ns": str(1_000_000_000 + end), "annotations": list(annotations)}


def said(label: str, start: int | None, end: int | None = None, reply_to: str | None = None) -> dict[str, Any]:
    times = {key: None if value is None else str(1_000_000_000 + value) for key, value in (("start_ns", start), ("end_ns", end))}
    return {"label": label, **times, "reply_to": reply_to}


def test_each_topic_has_a_bar_of_its_own_scale_in_which_one_message_can_be_seen() -> None:
    lines = draw_timeline(recording(), [("/much", [1000, 1, 500, 0]), ("/little", [0, 1, 0, 2])], BLOCKS)

    assert [line.split("  ")[0] for line in lines[1:]] == ["/much  ".strip(), "/little"]
    assert lines[1].endswith("\u2588\u2581\u2584")
    assert lines[2] == "/little   \u2584 \u2588"
    assert lines[0].split() == ["0", "s", "1", "s"]


def test_a_terminal_without_unicode_gets_letters_that_every_one_has() -> None:
    lines = draw_timeline(recording(said("x", 1)), [("/a", list(range(9)))], ASCII)

    assert "".join(lines).isascii()
    assert lines[1] == "/a   .:-=+*#@"


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0, None, "^"),
        (500_000_000, None, "     ^"),
        (END, None, "         ^"),
        (100_000_000, 600_000_000, "[====]"),
        (-5, 300_000_000, "<==]"),
        (500_000_000, 10 * END, "     [===>"),
        (-5, 10 * END, "<========>"),
        (-9, -5, "<"),
        (2 * END, None, "         >"),
        (3 * END, 4 * END, "         >"),
    ],
)
def test_annotations_are_marked_where_they_are_and_at_the_edge_what_lies_outside(start: int, end: int | None, expected: str) -> None:
    lines = draw_timeline(recording(said("mark", start, end)), [("/a", [1] * 10)], ASCII)

    name, _, marks = lines[-1].partition("  ")
    assert name == "mark"
    assert marks.strip() == expected.strip()
    assert marks.rstrip() == (" " + expected if start == 100_000_000 else expected)


def test_answers_and_what_is_about_no_time_have_no_line() -> None:
    lines = draw_timeline(recording(said("about all", None), said("answer", 5, None, "cd" * 32)), [("/a", [1] * 10)], ASCII)
    assert len(lines) == 2


def test_names_do_nothing_to_the_terminal_and_long_ones_keep_their_end() -> None:
    lines = draw_timeline(recording(), [("/a\x1b[2J" + "/long" * 20 + "/image", [1] * 10)], ASCII)
    assert "\x1b" not in lines[1]
    assert "/image" in lines[1]


def test_without_the_bytes_the_bar_is_that_of_the_files() -> None:
    chunks = [
        {"start_time_ns": "1000000000", "end_time_ns": "1499999999", "message_count": 10},
        {"start_time_ns": "1900000000", "end_time_ns": "2000000000", "message_count": 1},
        {"start_time_ns": None, "end_time_ns": None, "message_count": 0},
    ]
    whole = {**recording(end=END + 1), "chunks": chunks}
    assert _by_file(whole, 10) == [2, 2, 2, 2, 2, 0, 0, 0, 1, 1]
