"""The audit log's file: appended, bounded, and never in the way."""

import json
import stat
from pathlib import Path

from peer.store.audit import AuditFile


def nobody(event: str, error: BaseException) -> None:
    raise AssertionError(event) from error


def lines(path: Path) -> list[dict[str, int]]:
    return [json.loads(each) for each in path.read_text().splitlines()]


def test_entries_are_lines_that_are_nobody_elses_to_read(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    AuditFile(path, nobody).write({"n": 1, "path": "a\nb\u2028"})
    AuditFile(path, nobody).write({"n": 2})

    assert lines(path) == [{"n": 1, "path": "a\nb\u2028"}, {"n": 2}]
    assert path.read_text().count("\n") == 2
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_full_file_becomes_the_older_one_and_the_one_before_goes(tmp_path: Path) -> None:
    path, older = tmp_path / "audit.log", tmp_path / "audit.log.1"
    audit = AuditFile(path, nobody, bytes_max=1000)
    for number in range(400):
        audit.write({"n": number})
        assert path.stat().st_size <= 1000
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    kept = [each["n"] for each in [*lines(older), *lines(path)]]
    assert kept == list(range(kept[0], 400))
    assert kept[0] > 0
    assert {each.name for each in tmp_path.iterdir()} == {"audit.log", "audit.log.1"}


def test_an_entry_that_is_larger_than_the_file_may_be_is_written_once(tmp_path: Path) -> None:
    audit = AuditFile(tmp_path / "audit.log", nobody, bytes_max=10)

    audit.write({"n": "a" * 100})
    audit.write({"n": "b" * 100})

    assert lines(tmp_path / "audit.log") == [{"n": "b" * 100}]


def test_a_disk_that_fails_is_told_of_once_and_raises_nothing(tmp_path: Path) -> None:
    path, told = tmp_path / "audit.log", []
    path.mkdir()
    audit = AuditFile(path, lambda event, _: told.append(event))

    for _ in range(3):
        audit.write({"n": 1})
    assert audit.problem is not None
    assert str(path) in audit.problem.text
    assert told == ["the audit log cannot be written"]

    path.rmdir()
    audit.write({"n": 2})
    assert audit.problem is None
    assert lines(path) == [{"n": 2}]


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    told: list[str] = []
    (tmp_path / "elsewhere").write_text("theirs")
    (tmp_path / "audit.log").symlink_to(tmp_path / "elsewhere")

    AuditFile(tmp_path / "audit.log", lambda event, _: told.append(event)).write({"n": 1})

    assert told
    assert (tmp_path / "elsewhere").read_text() == "theirs"


def test_a_full_disk_leaves_no_half_of_a_line(small_disk: Path) -> None:
    told: list[str] = []
    path = small_disk / "audit.log"
    audit = AuditFile(path, lambda event, _: told.append(event), bytes_max=10**9)
    audit.write({"n": 0})

    number = 0
    while not told:
        number += 1
        audit.write({"n": number, "filling": "x" * 50_000})

    assert audit.problem is not None
    assert [each["n"] for each in lines(path)] == list(range(number))
