"""Commands about the site, and what all commands share: streams, common options, exit status."""

import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.commands import Command
from tests.end_to_end.processes import Site
from tests.patience import PATIENCE_S, mortal

pytestmark = pytest.mark.xdist_group("commands")
ID = re.compile(r"[0-9a-f]{64}\Z")


# Options that every command has


def test_json_may_stand_before_or_after_the_command(recmesh: Command) -> None:
    assert recmesh("--json", "group", "list").json == recmesh("group", "list", "--json").json == recmesh("group", "--json", "list").json


def test_without_json_text_goes_to_standard_output_and_hints_to_standard_error(recmesh: Command, tmp_path: Path) -> None:
    loud = recmesh("init", "--data", str(tmp_path / "a"))
    quiet = recmesh("init", "--data", str(tmp_path / "b"), "--quiet")

    assert "peer id" in loud.out
    assert "Next:" in loud.err
    assert quiet.err == ""


def test_no_command_colours_what_is_no_terminal(recmesh: Command) -> None:
    for command in (["status"], ["group", "list"], ["recording", "list"], ["recording", "show", "first"], ["--help"], ["recording", "--help"]):
        result = recmesh(*command)
        assert "\x1b" not in result.out + result.err


@pytest.mark.parametrize(
    "command",
    [
        [],
        ["group"],
        ["group", "create"],
        ["group", "join"],
        ["recording"],
        ["recording", "add"],
        ["config"],
        ["transfers"],
        ["init"],
        ["serve"],
        ["id"],
        ["status"],
        ["verify"],
        ["rebuild"],
        ["state"],
        ["events"],
        ["demo"],
        ["completion"],
        ["peer"],
        ["peer", "list"],
        ["peer", "add"],
        ["group", "remove"],
        ["group", "leave"],
    ],
)
def test_every_command_has_help(recmesh: Command, command: list[str]) -> None:
    result = recmesh(*command, "--help")

    assert (result.status, result.err) == (0, "")
    assert "Usage: recmesh" in result.out


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["group", "nonsense"],
        ["group", "create"],
        ["status", "--nonsense"],
        ["group", "invite", "lab", "--role", "owner"],
        ["completion", "csh"],
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(recmesh: Command, arguments: list[str]) -> None:
    result = recmesh(*arguments)

    assert (result.status, result.out, result.code) == (2, "", "usage")
    assert result.err.count("\n") == 1


def test_a_value_that_is_missing_or_wrong_is_exit_2(recmesh: Command) -> None:
    assert recmesh("status", "--timeout").code == "config_invalid"
    assert recmesh("status", "--timeout", "soon").status == 2


def test_the_version_is_told_quickly() -> None:
    """Counted is the work, not the time: others use this machine too."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-m", "peer.cli", "--version"], capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)

    assert re.fullmatch(r"recmesh [0-9.]+\n", done.stdout)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5


# Which peer


def test_a_directory_that_is_not_set_up_is_exit_2(recmesh: Command, tmp_path: Path) -> None:
    for command in (["status"], ["id"], ["verify"], ["serve"], ["config", "show"]):
        result = recmesh(*command, "--data", str(tmp_path / "none"))
        assert (result.status, result.code) == (2, "not_initialised")
        assert "recmesh init" in result.err


def test_without_a_peer_that_runs_the_exit_is_3(recmesh: Command, tmp_path: Path) -> None:
    recmesh("init", "--data", str(tmp_path / "a"))

    result = recmesh("status", "--data", str(tmp_path / "a"))

    assert (result.status, result.code) == (3, "no_peer")


def test_a_peer_elsewhere_is_asked_by_url_and_token(recmesh: Command, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"http://127.0.0.1:{site.admin}"
    token = (site.folder / "admin.token").read_text()
    (tmp_path / "wrong").write_text("wrong\n")

    assert recmesh("status", "--url", url).status == 2
    assert recmesh("status", "--url", url, "--token-file", str(tmp_path / "missing")).code == "file_unreadable"
    assert recmesh("status", "--url", url, "--token-file", str(tmp_path / "wrong")).code == "token_invalid"
    assert recmesh("status", "--url", url, "--token-file", str(site.folder / "admin.token")).status == 0
    assert recmesh("status", "--url", "http://127.0.0.1:1", "--token-file", str(site.folder / "admin.token")).status == 3
    monkeypatch.setenv("RECMESH_URL", url)
    monkeypatch.setenv("RECMESH_TOKEN", token.strip())
    assert recmesh("id").status == 0


def test_an_answer_that_takes_too_long_is_exit_4(recmesh: Command, bag: Path) -> None:
    result = recmesh("recording", "add", str(bag), "--name", "late", "--timeout", "1ms")

    assert (result.status, result.code) == (4, "timed_out")


# The site


def test_init_prints_who_and_where_and_does_not_do_it_twice(recmesh: Command, tmp_path: Path) -> None:
    data = str(tmp_path / "a")

    first = recmesh("init", "--data", data, "--name", "alpha", "--listen", "none", "--json")
    second = recmesh("init", "--data", data)

    assert ID.match(first.json["peer_id"])
    assert (first.json["name"], first.json["listen"]) == ("alpha", "none")
    assert recmesh("id", "--data", data, "--json").json == {"peer_id": first.json["peer_id"], "name": "alpha"}
    assert (second.status, second.code) == (2, "config_invalid")


@pytest.mark.parametrize("wrong", [["--name", "a/b"], ["--name", ".a"], ["--name", "a" * 129], ["--listen", "x"], ["--admin", "none"]])
def test_init_with_a_wrong_value_leaves_nothing_behind(recmesh: Command, tmp_path: Path, wrong: list[str]) -> None:
    result = recmesh("init", "--data", str(tmp_path / "a"), *wrong)

    assert (result.status, result.code) == (2, "config_invalid")
    assert not (tmp_path / "a").exists()


def test_id_is_the_peer_id(recmesh: Command) -> None:
    assert recmesh("id").out.strip() == recmesh("status", "--json").json["peer_id"]


def test_status_in_text_names_groups_disk_and_sources(recmesh: Command) -> None:
    result = recmesh("status")

    assert result.status == 0
    for word in ("solo", "lab", "free", "DIGEST", "manual (ok), hub (off), gossip (ok)"):
        assert word in result.out


def test_verify_asks_the_running_peer(recmesh: Command) -> None:
    result = recmesh("verify", "--deep", "--json")

    assert (result.status, result.json["ok"], result.json["problems"]) == (0, True, [])
    assert result.json["checked"]["events"] >= 4
    assert recmesh("verify").out.startswith("ok: checked")


def test_rebuild_ends_with_the_same_digest(recmesh: Command) -> None:
    before = recmesh("group", "show", "lab", "--json").json["state_digest"]

    assert before in recmesh("rebuild").out
    assert recmesh("group", "show", "lab", "--json").json["state_digest"] == before


def test_state_is_an_export_and_needs_a_group(recmesh: Command) -> None:
    assert recmesh("state", "lab", "--json").json["tables"]["recordings"]
    assert recmesh("state", "nowhere").code == "not_found"


def test_config_tells_where_it_is_and_what_it_says(recmesh: Command, site: Site, tmp_path: Path) -> None:
    assert recmesh("config", "path").out.strip() == str(site.folder / "config.toml")
    assert recmesh("config", "show", "--json").json["name"] == "solo"
    assert recmesh("config", "check").status == 0
    recmesh("init", "--data", str(tmp_path / "a"))
    with (tmp_path / "a" / "config.toml").open("a") as file:
        file.write('colour = "red"\n')
    wrong = recmesh("config", "check", "--data", str(tmp_path / "a"))
    assert (wrong.status, wrong.code) == (2, "config_invalid")
    assert "'colour'" in wrong.err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_a_script_for_the_shell(recmesh: Command, shell: str) -> None:
    assert "_RECMESH_COMPLETE" in recmesh("completion", shell).out


def test_the_script_completes_commands() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "peer.cli"],
        env={**os.environ, "_RECMESH_COMPLETE": "complete_bash", "COMP_WORDS": "recmesh rec", "COMP_CWORD": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )

    assert done.stdout.split() == ["recording"]


def test_interrupting_is_exit_130(recmesh: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("peer.cli.site.connect", interrupt)

    assert recmesh("status").status == 130


def test_a_reader_that_goes_away_is_no_traceback(site: Site) -> None:
    command = [sys.executable, "-m", "peer.cli", "--data", str(site.folder), "events", "lab", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as events:
        assert events.stdout is not None
        assert events.stderr is not None
        events.stdout.close()
        with mortal(events):
            assert events.stderr.read() == ""
