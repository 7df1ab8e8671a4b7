"""Every command against a real peer: once as it should go, once as it should not; streams, fields, exit status."""

import io
import json
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from peer.cli import options
from peer.cli.main import run
from peer.cli.sample import write_sample
from tests.end_to_end.processes import Site

pytestmark = pytest.mark.xdist_group("commands")
ID = re.compile(r"[0-9a-f]{64}\Z")
ERROR_LINE = re.compile(r"recmesh: .+ \[[a-z_]+\]\n\Z")


class Result(NamedTuple):
    """What a command printed, and how it ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output, as one document."""
        return json.loads(self.out)

    @property
    def code(self) -> str:
        """The stable code of the one line that says what went wrong."""
        last = self.err.splitlines(keepends=True)[-1]
        assert ERROR_LINE.match(last), self.err
        return last.rsplit("[", 1)[1].rstrip("]\n")


Command = Callable[..., Result]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A peer with the group `lab` and the recording `first`."""
    folder = tmp_path_factory.mktemp("site")
    running = Site("solo", folder / "data")
    running.start()
    write_sample(folder / "first.mcap", 128 * 1024, 1_790_000_000 * 10**9)
    running.command("group", "create", "lab")
    running.command("recording", "add", str(folder / "first.mcap"), "--tag", "rain", "--machine", "r2")
    yield running
    if running.is_running:
        assert running.stop() == 0


@pytest.fixture
def recmesh(site: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run a command of this very program on the shared site, or on whatever `--data` names."""
    for name in ("RECMESH_URL", "RECMESH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RECMESH_DATA", str(site.folder))

    def command(*arguments: str) -> Result:
        capsys.readouterr()
        status = run(arguments)
        vars(options.current).update(vars(options.Options()))
        return Result(status, *capsys.readouterr())

    return command


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    path = tmp_path / "bag.mcap"
    write_sample(path, 64 * 1024, 1)
    return path


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
        ["peer", "list"],
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
    done = subprocess.run([sys.executable, "-m", "peer.cli", "--version"], capture_output=True, text=True, check=True)
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


def test_status_in_text_names_groups_and_disk(recmesh: Command) -> None:
    result = recmesh("status")

    assert result.status == 0
    for word in ("solo", "lab", "free", "DIGEST"):
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
    )

    assert done.stdout.split() == ["recording"]


# Groups


def test_a_group_is_created_shown_and_not_created_twice(recmesh: Command) -> None:
    created = recmesh("group", "create", "workshop", "--json")

    assert recmesh("group", "show", "workshop", "--json").json == created.json
    assert created.json in recmesh("group", "list", "--json").json
    assert "workshop" in recmesh("group", "list").out
    assert (created.json["role"], created.json["conflicts"]) == ("owner", [])
    assert recmesh("group", "create", "Workshop").code == "name_taken"
    assert recmesh("group", "show", created.json["group_id"][:6]).status == 0


@pytest.mark.parametrize("name", ["a/b", ".a", "a" * 129, "a b", "..", ""])
def test_a_group_name_that_could_not_be_a_path_is_refused(recmesh: Command, name: str) -> None:
    result = recmesh("group", "create", name)

    assert (result.status, result.code) == (1, "name_invalid")


def test_an_unknown_group_is_exit_1(recmesh: Command) -> None:
    for command in (["group", "show"], ["group", "invite"], ["group", "invitations"], ["events"]):
        result = recmesh(*command, "nowhere")
        assert (result.status, result.out, result.code) == (1, "", "not_found")


def test_an_invitation_is_the_one_line_on_standard_output(recmesh: Command) -> None:
    result = recmesh("group", "invite", "lab", "--role", "reader", "--expires", "1h")

    assert result.out.count("\n") == 1
    assert result.out.startswith("recmesh1")
    assert "group join" in result.err
    listed = recmesh("group", "invitations", "lab", "--json").json[-1]
    assert (listed["role"], listed["state"]) == ("reader", "open")
    assert "reader" in recmesh("group", "invitations", "lab").out
    assert recmesh("group", "invite", "lab", "--expires", "soon").status == 2


def test_an_invitation_is_read_from_the_line_a_file_or_standard_input(recmesh: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    invitation = recmesh("group", "invite", "lab").out
    (tmp_path / "invitation").write_text(invitation)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(invitation.encode())))

    for given in (invitation.strip(), f"@{tmp_path / 'invitation'}", "-"):
        assert recmesh("group", "join", given, "--json").json["role"] == "owner"
    assert recmesh("group", "join", f"@{tmp_path / 'none'}").code == "file_unreadable"
    typo = recmesh("group", "join", invitation.strip()[:-1])
    assert (typo.status, typo.code) == (1, "invitation_typo")


def test_another_site_joins_and_has_what_was_there(recmesh: Command, tmp_path: Path) -> None:
    guest = Site("guest", tmp_path / "guest")
    guest.start()
    try:
        joined = guest.json("group", "join", recmesh("group", "invite", "lab").out.strip())
        here = recmesh("group", "show", "lab", "--json").json
        fetched = guest.json("recording", "fetch", "first")
        shown = recmesh("peer", "show", "guest", "--json").json
    finally:
        assert guest.stop() == 0

    assert (joined["role"], joined["state_digest"]) == ("writer", here["state_digest"])
    assert [each["state"] for each in fetched] == ["local"]
    assert shown["shared_groups"][0]["name"] == "lab"
    assert "guest" in recmesh("peer", "list").out
    assert recmesh("peer", "show", "nobody").code == "not_found"


def test_events_are_listed_and_followed(recmesh: Command, site: Site) -> None:
    listed = recmesh("events", "lab", "--json").json

    assert [event["type"] for event in listed][:4] == ["member.set", "recording.create", "chunk.add", "recording.finalize"]
    assert "recording.create" in recmesh("events", "lab").out
    following = subprocess.Popen(
        [sys.executable, "-m", "peer.cli", "events", "lab", "--follow", "--json"],
        env={**os.environ, "RECMESH_DATA": str(site.folder)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert following.stdout is not None
    try:
        seen = [json.loads(following.stdout.readline()) for _ in listed]
        recmesh("group", "invite", "lab")
        new = json.loads(following.stdout.readline())
    finally:
        following.send_signal(signal.SIGINT)
        assert following.wait(10) == 130
        following.stdout.close()
    assert seen == listed
    assert new["type"] == "invite"


# Recordings


def test_a_recording_is_added_listed_and_shown(recmesh: Command, bag: Path) -> None:
    added = recmesh("recording", "add", str(bag), "--group", "lab", "--name", "mine", "--tag", "dry", "--machine", "r7", "--json").json

    listed = recmesh("recording", "list", "--tag", "dry", "--machine", "r7", "--json").json
    shown = recmesh("recording", "show", "mine", "--json").json
    assert [each["id"] for each in listed] == [added["id"]]
    assert shown == added
    for key in ("id", "group", "name", "site", "machine", "state", "size_bytes", "chunk_count", "message_count", "start_time_ns", "end_time_ns"):
        assert key in listed[0]
    for key in ("tags", "manifest_id", "finalized", "copies", "copies_wanted", "bytes_here"):
        assert key in listed[0]
    for key in ("chunks", "topics", "replicas", "annotations", "reviews", "conflicts"):
        assert key in shown
    assert (shown["start_time_ns"], shown["start_time"]) == ("1", "1970-01-01T00:00:00.000000001Z")
    for word in ("mine", "r7", "/camera", "manifest"):
        assert word in recmesh("recording", "show", "mine").out
    assert recmesh("recording", "list", "--since", "2026-10-01", "--until", "2d", "--json").json == []


def test_a_recording_that_is_not_there_is_exit_1(recmesh: Command) -> None:
    for command in ("show", "fetch"):
        assert recmesh("recording", command, "nothing").code == "not_found"


@pytest.mark.parametrize("case", ["missing", "empty", "text", "cut", "two ways", "name"])
def test_what_is_no_recording_is_one_line(recmesh: Command, bag: Path, tmp_path: Path, case: str) -> None:
    (tmp_path / "empty.mcap").touch()
    (tmp_path / "text.mcap").write_text("not a recording at all")
    (tmp_path / "cut.mcap").write_bytes(bag.read_bytes()[:30_000])
    expected = {
        "missing": ([str(tmp_path / "missing.mcap")], "file_unreadable"),
        "empty": ([str(tmp_path / "empty.mcap")], "mcap_empty"),
        "text": ([str(tmp_path / "text.mcap")], "not_mcap"),
        "cut": ([str(tmp_path / "cut.mcap")], "mcap_truncated"),
        "two ways": ([str(bag), "--link", "--move"], "config_invalid"),
        "name": ([str(bag), "--name", "a/b"], "name_invalid"),
    }
    arguments, code = expected[case]
    before = recmesh("recording", "list", "--json").json

    result = recmesh("recording", "add", "--group", "lab", *arguments)

    assert (result.out, result.code) == ("", code)
    assert result.err.count("\n") == 1
    assert result.status == (2 if code == "config_invalid" else 1)
    assert recmesh("recording", "list", "--json").json == before


def test_fetching_some_of_several_is_exit_5(recmesh: Command) -> None:
    result = recmesh("recording", "fetch", "first", "nothing", "--json")

    assert (result.status, result.code) == (5, "some_failed")
    assert [each["name"] for each in result.json] == ["first"]


def test_with_nothing_on_its_way_transfers_says_so(recmesh: Command) -> None:
    assert recmesh("transfers", "--json").json == []
    assert recmesh("transfers").err == "Nothing on its way.\n"
    assert recmesh("transfers", "--follow").status == 0
    assert recmesh("transfers", "nonsense").status == 2


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
        assert events.stderr.read() == ""
