"""Tokens from the command line, and commands with them from elsewhere."""

from pathlib import Path

import pytest

from peer.core.access import TOKEN_PREFIX
from tests.end_to_end.commands import Command
from tests.end_to_end.processes import Site

pytestmark = pytest.mark.xdist_group("commands")


@pytest.fixture
def url(site: Site) -> str:
    return f"http://127.0.0.1:{site.admin}"


def test_the_secret_is_one_line_on_standard_output_and_shown_this_once(recmesh: Command) -> None:
    made = recmesh("token", "create", "grafana")

    assert made.status == 0
    (secret,) = made.out.splitlines()
    assert secret.startswith(TOKEN_PREFIX)
    assert secret not in made.err
    assert "viewer" in made.err
    listed = recmesh("token", "list")
    assert "grafana" in listed.out
    assert secret not in listed.out + recmesh("token", "list", "--json").out
    assert recmesh("token", "revoke", "grafana").out == "revoked grafana\n"
    assert "grafana" not in recmesh("token", "list").out


def test_a_token_in_json_has_its_times(recmesh: Command) -> None:
    made = recmesh("--json", "token", "create", "robot", "--tier", "operator", "--expires", "2h").json

    assert (made["name"], made["tier"], made["state"], made["expires_ms"] - made["created_ms"]) == ("robot", "operator", "valid", 2 * 3600 * 1000)
    assert recmesh("--json", "token", "list").json == [{key: value for key, value in made.items() if key != "token"}]
    assert recmesh("--json", "token", "revoke", "robot").json["name"] == "robot"


def test_a_token_works_from_elsewhere_as_far_as_its_tier_goes(recmesh: Command, url: str, tmp_path: Path, bag: Path) -> None:
    for tier in ("viewer", "operator", "admin"):
        (tmp_path / tier).write_text(recmesh("token", "create", f"by-{tier}", "--tier", tier).out)

    def by(tier: str, *arguments: str) -> tuple[int, str]:
        done = recmesh("--url", url, "--token-file", str(tmp_path / tier), *arguments)
        return done.status, "" if done.status == 0 else done.code

    assert by("viewer", "status") == by("operator", "rebuild") == by("admin", "token", "list") == (0, "")
    assert by("viewer", "rebuild") == by("operator", "token", "list") == by("viewer", "group", "create", "x") == (1, "tier_too_low")
    assert by("operator", "recording", "add", str(bag)) == by("admin", "recording", "add", str(bag)) == (1, "path_not_allowed")
    for tier in ("viewer", "operator", "admin"):
        assert recmesh("token", "revoke", f"by-{tier}").status == 0
        assert by(tier, "status") == (1, "token_invalid")


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        (["create", "a/b"], 1, "name_invalid"),
        (["create", "admin.token"], 1, "name_taken"),
        (["create", "x", "--expires", "11y"], 2, "config_invalid"),
        (["create", "x", "--expires", "4000d"], 1, "request_invalid"),
        (["create", "x", "--expires", "0s"], 1, "request_invalid"),
        (["create", "x", "--tier", "root"], 2, "usage"),
        (["create"], 2, "usage"),
        (["revoke", "nobody"], 1, "not_found"),
        (["revoke", "../status"], 1, "not_found"),
        (["revoke", ""], 1, "not_found"),
    ],
)
def test_what_cannot_be_done_is_one_line_with_a_code(recmesh: Command, arguments: list[str], status: int, code: str) -> None:
    done = recmesh("token", *arguments)

    assert (done.status, done.code, done.out) == (status, code, "")


def test_an_admin_api_off_loopback_has_to_be_wanted(recmesh: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ("init", "--data", str(tmp_path / "a"), "--admin", "0.0.0.0:7851")

    refused = recmesh(*arguments)
    assert (refused.status, refused.code) == (2, "config_invalid")
    assert "admin_insecure" in refused.err
    monkeypatch.setenv("RECMESH_ADMIN_INSECURE", "true")
    assert recmesh(*arguments).status == 0
