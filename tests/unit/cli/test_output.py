"""Data to standard output, hints to standard error, nothing that only a terminal understands."""

import pytest

from peer.cli import options
from peer.cli.output import hint, line, local_time, ms_time, pairs, size, table


def test_a_table_in_a_pipe_is_neither_cut_nor_coloured(capsys: pytest.CaptureFixture[str]) -> None:
    table(["name", "tags"], [["a" * 300, ["x", "y"]], ["[bold]b[/bold]", None]], empty="none")

    printed = capsys.readouterr().out
    assert "a" * 300 in printed
    assert "x, y" in printed
    assert "[bold]b[/bold]" in printed
    assert "\x1b" not in printed


def test_an_empty_table_says_so_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    table(["name"], [], empty="nothing yet")

    assert capsys.readouterr() == ("", "nothing yet\n")


def test_quiet_means_no_hints(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options.current, "quiet", True)

    hint("read me")

    assert capsys.readouterr().err == ""


def test_pairs_stand_below_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    pairs([("a", 1), ("long", None), ("yes", True)])

    assert capsys.readouterr().out == "a     1\nlong  -\nyes   yes\n"


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (5 * 2**30, "5.0 GiB"), (2**42, "4.0 TiB")])
def test_sizes_are_for_people(count: int, text: str) -> None:
    assert size(count) == text


def test_times_without_and_with_nanoseconds_are_shown() -> None:
    assert local_time(None) == "-"
    assert len(local_time("2026-11-20T08:30:00.123456789Z")) == len("2026-11-20 08:30:00")
    assert local_time("2026-11-20T08:30:00Z") == local_time("2026-11-20T08:30:00.000000000Z")


@pytest.mark.parametrize("value", [2**48 - 1, 2**63, 2**64 - 1, 253_402_300_799_999])
def test_a_time_that_no_calendar_has_is_shown_all_the_same(value: int) -> None:
    """The clock of an event and the end of an invitation are numbers that somebody else wrote."""
    assert ms_time(value) in (f"{value} ms", "9999-12-31 23:59:59")


@pytest.mark.parametrize("character", ["\x1b", "\x07", "\r", "\x9b", "\x7f", "\u202e"])
def test_what_others_wrote_is_shown_and_not_obeyed(character: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A type of an event or the text of an error may hold whatever clears a screen or hides what is beside it."""
    line(f"a{character}b")
    pairs([("type", f"a{character}b")])
    table(["type"], [[f"a{character}b"]], empty="none")
    hint(f"a{character}b")

    printed = capsys.readouterr()
    assert character not in printed.out + printed.err
    assert printed.out.count("a\N{REPLACEMENT CHARACTER}b") == 3
