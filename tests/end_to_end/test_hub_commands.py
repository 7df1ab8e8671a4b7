"""The hub from the command line."""

from collections.abc import Iterator

import pytest

from tests.end_to_end.commands import Command
from tests.end_to_end.processes import Site
from tests.end_to_end.test_hub import Plain

pytestmark = pytest.mark.xdist_group("commands")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site("hub", tmp_path_factory.mktemp("hub") / "data")
    site.start({"RECMESH_HUB__ENABLED": "true"})
    yield site
    assert site.stop() == 0


@pytest.fixture
def command(recmesh: Command, hub: Site) -> Command:
    return lambda *arguments: recmesh("--data", str(hub.folder), *arguments)


def test_a_key_is_one_line_on_standard_output_and_shown_this_once(command: Command) -> None:
    made = command("hub", "key", "create", "--hive", "lab", "--uses", "3", "--expires", "2h")

    assert made.status == 0
    (secret,) = made.out.splitlines()
    assert secret.startswith("ohpak_")
    assert secret not in made.err
    assert "hub_source" in made.err
    (listed,) = command("--json", "hub", "key", "list").json
    assert (listed["hive"], listed["uses_left"], listed["state"], listed["created_by"]) == ("lab", 3, "valid", "operator")
    assert listed["expires_ms"] - listed["created_ms"] == 2 * 3600 * 1000
    shown = command("hub", "key", "list").out
    assert "lab" in shown
    assert secret not in shown
    assert command("hub", "key", "revoke", listed["id"]).out == f"revoked {listed['id']}\n"
    assert command("--json", "hub", "key", "list").json == []


def test_who_registered_is_listed_and_forgotten(command: Command, hub: Site) -> None:
    assert command("hub", "peers").out == ""
    made = command("--json", "hub", "key", "create", "--hive", "lab").json
    assert made["url"] == f"http://127.0.0.1:{hub.listen}"
    client = Plain(hub)
    assert client.register("arm", made["key"]).status_code == 201
    assert command("--json", "hub", "peers").json[0]["state"] == "new"
    client.swarm("arm")
    (peer,) = command("--json", "hub", "peers").json
    assert (peer["name"], peer["state"], peer["hives"], peer["registered"][0]["endpoint"]) == ("arm", "online", ["lab"], "https://arm.example:7850")
    shown = command("hub", "peers").out
    assert "online" in shown
    assert "https://arm.example:7850" in shown
    assert command("hub", "forget", peer["id"][:8]).out == "forgot arm\n"
    assert command("hub", "peers").out == ""
    assert client.ask("GET", "/map/swarms").status_code == 401


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        (["key", "create", "--hive", "A B"], 1, "request_invalid"),
        (["key", "create", "--uses", "0"], 1, "request_invalid"),
        (["key", "create", "--uses", "x"], 2, "usage"),
        (["key", "create", "--expires", "soon"], 2, "config_invalid"),
        (["key", "create", "--expires", "400d"], 1, "request_invalid"),
        (["key", "revoke", "pak_none"], 1, "not_found"),
        (["key", "revoke", "../peers"], 1, "not_found"),
        (["forget", "nobody"], 1, "not_found"),
        (["forget"], 2, "usage"),
    ],
)
def test_what_cannot_be_done_is_one_line_with_a_code(command: Command, arguments: list[str], status: int, code: str) -> None:
    done = command("hub", *arguments)

    assert (done.status, done.code, done.out) == (status, code, "")


@pytest.mark.parametrize("arguments", [["key", "create"], ["key", "list"], ["key", "revoke", "x"], ["peers"], ["forget", "x"]])
def test_a_peer_that_is_no_hub_says_so_and_what_to_do(recmesh: Command, arguments: list[str]) -> None:
    done = recmesh("hub", *arguments)

    assert (done.status, done.code, done.out) == (1, "hub_disabled", "")
    assert "enabled = true" in done.err


def test_the_status_shows_the_url_for_the_others(command: Command, hub: Site) -> None:
    assert f"http://127.0.0.1:{hub.listen} (0 of " in command("status").out


def test_help_says_what_a_hub_is(recmesh: Command) -> None:
    assert "[hub]" in recmesh("hub", "--help").out
    assert "--uses" in recmesh("hub", "key", "create", "--help").out
