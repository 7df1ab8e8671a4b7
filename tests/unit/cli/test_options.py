"""The options that every command takes, and how people write times."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from peer.cli.options import default_directory, gather
from peer.cli.times import parse_duration, parse_time_ns
from peer.errors import ConfigError


@pytest.mark.parametrize(
    ("written", "gathered"),
    [
        (["group", "list", "--json"], ["--json", "group", "list"]),
        (["--data", "d", "status"], ["--data", "d", "status"]),
        (["status", "--data=d", "--quiet"], ["--data=d", "--quiet", "status"]),
        (["recording", "--timeout", "5s", "add", "x", "--name", "n"], ["--timeout", "5s", "recording", "add", "x", "--name", "n"]),
        (["recording", "add", "--", "--json"], ["recording", "add", "--", "--json"]),
        (["status", "--help"], ["status", "--help"]),
    ],
)
def test_common_options_may_stand_anywhere(written: list[str], gathered: list[str]) -> None:
    assert gather(written) == gathered


def test_an_option_without_its_value_is_named() -> None:
    with pytest.raises(ConfigError, match="--data needs a value"):
        gather(["status", "--data"])


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("500ms", 0.5), ("2m", 120), ("24h", 86400), ("90d", 7776000), ("1.5h", 5400)])
def test_durations_have_a_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "s", "-1s", "1y", "1s2"])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="duration"):
        parse_duration(text)


def test_times_are_read_in_all_their_forms() -> None:
    assert parse_time_ns("1970-01-01T00:00:01Z") == 10**9
    assert parse_time_ns("1970-01-01T00:00:01.500+00:00") == 1_500_000_000
    assert abs(time.time_ns() - 2 * 86400 * 10**9 - parse_time_ns("2d")) < 10**9
    assert parse_time_ns("2026-11-20") < parse_time_ns("2026-11-21")


def test_other_times_are_refused() -> None:
    with pytest.raises(ConfigError, match="no time"):
        parse_time_ns("yesterday")


def test_the_data_directory_is_that_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/somewhere")

    assert default_directory() == Path("/somewhere/recmesh")


def test_the_data_directory_is_found_without_what_takes_long_to_load() -> None:
    """Each command finds it first."""
    find = "import sys; from peer.cli import main, options; options.current.directory"
    code = f"{find}; sys.exit(any(name.startswith(('pydantic', 'aiohttp')) for name in sys.modules))"

    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60, stdin=subprocess.DEVNULL).returncode == 0
