"""Commands about which bytes come here: as they should go, and where something is wrong."""

from pathlib import Path

import pytest

from tests.end_to_end.commands import Command
from tests.integration.test_watch import mcap

pytestmark = pytest.mark.xdist_group("commands")


def test_rules_are_tried_set_shown_and_taken_away(recmesh: Command, tmp_path: Path) -> None:
    added = recmesh("recording", "add", str(mcap(tmp_path / "ruled.mcap", 950)), "--group", "lab", "--tag", "ruled", "--json").json
    assert recmesh("policy", "show", "lab", "--json").json["is_default"]

    tried = recmesh("policy", "dry-run", "lab", "keep@5 tag=ruled size<1GB", "skip", "--json").json
    said = next(each for each in tried["recordings"] if each["id"] == added["id"])
    assert (said["keep"], said["rule"], said["reason"], said["travels_bytes"]) == (True, 1, "rule 1: keep@5 tag=ruled size<1GB", 0)
    assert (tried["kept"]["recordings"], tried["kept"]["bytes"], tried["travels"]["bytes"]) == (1, added["size_bytes"], 0)
    shown = recmesh("policy", "dry-run", "lab", "skip tag=ruled", "all")
    assert "rule 1: skip tag=ruled" in shown.out
    assert "travels" in shown.out
    assert recmesh("policy", "show", "lab", "--json").json["is_default"]

    changed = recmesh("policy", "set", "lab", "skip size>20GB", "keep 'annotation=near miss'", "none")
    assert (changed.status, changed.out) == (0, "1  skip size>20GB\n2  keep 'annotation=near miss'\n3  skip\n")
    assert "policy dry-run lab" in changed.err
    listed = recmesh("policy", "show")
    assert "keep 'annotation=near miss'" in listed.out
    (policy,) = [each for each in recmesh("policy", "show", "--json").json if each["group"] == "lab"]
    assert (policy["rules"], policy["is_default"]) == (["skip size>20GB", "keep 'annotation=near miss'", "skip"], False)
    assert recmesh("policy", "dry-run", "lab", "--json", "--limit", "1").json["left_out"] >= 0

    assert recmesh("policy", "set", "lab", "default").out == "1  keep\n"
    assert recmesh("policy", "show", "lab", "--json").json["is_default"]


def test_a_rule_that_says_nothing_is_told_and_changes_nothing(recmesh: Command) -> None:
    for rules, said in [(["keep", "tag=crash"], "rule 2 is never reached"), (["tag=crash"], "begins with"), (["keep age<5x"], "is no age")]:
        for command in ("set", "dry-run"):
            refused = recmesh("policy", command, "lab", *rules)
            assert (refused.status, refused.code) == (1, "rule_invalid")
            assert said in refused.err
    assert recmesh("policy", "show", "lab", "--json").json["is_default"]
    assert recmesh("policy", "show", "nowhere").code == "not_found"
    assert recmesh("policy", "set", "lab").status == 2
