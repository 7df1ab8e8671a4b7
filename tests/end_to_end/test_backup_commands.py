"""The commands `recmesh backup create` and `recmesh backup verify`: with a peer that runs, without one, and where they are refused."""

from pathlib import Path

import pytest

from tests.end_to_end.commands import Command

pytestmark = pytest.mark.xdist_group("commands")


def test_a_running_peer_makes_the_backup_and_says_what_it_is(recmesh: Command, tmp_path: Path) -> None:
    made = recmesh("backup", "create", str(tmp_path / "backup"), "--json")
    checked = recmesh("backup", "verify", str(tmp_path / "backup"), "--json")
    told = recmesh("backup", "verify", str(tmp_path / "backup"))

    assert (made.status, checked.status, told.status) == (0, 0, 0)
    assert made.json["peer_id"] == recmesh("id").out.strip()
    assert made.json["files"] == checked.json["checked"]["files"]
    assert checked.json["ok"] is True
    assert checked.json["checked"]["groups"] == 1
    assert told.out.startswith("ok: checked ")


def test_a_folder_that_is_not_empty_is_refused_with_one_line(recmesh: Command, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")

    result = recmesh("backup", "create", str(tmp_path))

    assert (result.status, result.out, result.code) == (1, "", "backup_target")
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_a_changed_backup_is_exit_1_with_a_list(recmesh: Command, tmp_path: Path) -> None:
    recmesh("backup", "create", str(tmp_path / "backup"))
    (tmp_path / "backup/config.toml").write_text("")

    result = recmesh("backup", "verify", str(tmp_path / "backup"))

    assert (result.status, result.code) == (1, "verify_failed")
    assert "[backup_file_changed]" in result.out
    assert recmesh("backup", "verify", str(tmp_path / "none")).code == "verify_failed"


def test_without_a_running_peer_the_commands_do_it_themselves(recmesh: Command, tmp_path: Path) -> None:
    recmesh("init", "--data", str(tmp_path / "new"))
    never_started = recmesh("backup", "create", str(tmp_path / "early"), "--data", str(tmp_path / "new"))
    recmesh("backup", "create", str(tmp_path / "first"))

    made = recmesh("backup", "create", str(tmp_path / "second"), "--data", str(tmp_path / "first"))

    assert (never_started.status, never_started.code) == (1, "store_corrupt")
    assert "recmesh serve" in never_started.err
    assert not (tmp_path / "early").exists()
    assert made.status == 0
    assert recmesh("backup", "verify", str(tmp_path / "second")).status == 0
