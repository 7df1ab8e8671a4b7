"""Which machines of a mesh may be linked."""

import pytest

from peer.core.mesh import Caller
from peer.core.mesh_rule import MeshRule, read_capability, read_tag
from peer.errors import CallerRefusedError

ROBOT = Caller("n1", "robot.mesh.example", "tagged-devices", ("tag:robot", "tag:lab"), frozenset({"example.org/cap/recmesh"}))
LAPTOP = Caller("n2", "laptop.mesh.example", "alice@example.org")


@pytest.mark.parametrize("caller", [ROBOT, LAPTOP, None])
def test_without_a_rule_everybody_may(caller: Caller | None) -> None:
    MeshRule().check(caller)

    assert not MeshRule().is_set


@pytest.mark.parametrize(
    "rule",
    [
        MeshRule(frozenset({"tag:lab", "tag:other"})),
        MeshRule(capability="example.org/cap/recmesh"),
        MeshRule(frozenset({"tag:robot"}), "example.org/cap/recmesh"),
    ],
)
def test_a_machine_needs_one_of_the_tags_and_the_capability(rule: MeshRule) -> None:
    rule.check(ROBOT)

    for other in (LAPTOP, None):
        with pytest.raises(CallerRefusedError):
            rule.check(other)


@pytest.mark.parametrize(
    ("rule", "lacks"),
    [
        (MeshRule(frozenset({"tag:robot"}), "example.org/cap/other"), "capability example.org/cap/other"),
        (MeshRule(frozenset({"tag:other"}), "example.org/cap/recmesh"), "none of the tags tag:other"),
        (MeshRule(frozenset({"tag:ROBOT"})), "none of the tags tag:ROBOT"),
    ],
)
def test_one_of_both_is_not_enough(rule: MeshRule, lacks: str) -> None:
    with pytest.raises(CallerRefusedError, match=lacks):
        rule.check(ROBOT)


@pytest.mark.parametrize("text", ["", "robot", "tag:", "tag:1", "tag:a b", "tag:" + "a" * 62, "Tag:a", "tag:a\n"])
def test_what_is_no_tag_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no tag"):
        read_tag(text)


def test_what_is_no_capability_is_refused() -> None:
    assert [read_capability(each) for each in ("", "example.org/cap/x")] == ["", "example.org/cap/x"]
    for text in ("a b", "a\n", "é", "a" * 257):
        with pytest.raises(ValueError, match="is no name of a capability"):
            read_capability(text)
