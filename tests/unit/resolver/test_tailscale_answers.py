"""Reading what the daemon of a mesh says."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest

from peer.core.mesh import Mesh
from peer.errors import MeshAnswerInvalidError
from resolver.json_fields import LINE_MAX, OBJECTS_MAX
from resolver.tailscale_answers import read_status
from tests.fake_tailscaled import LOGGED_OUT, RUNNING, node


def read(document: object) -> Any:
    return read_status(json.dumps(document).encode())


def test_a_running_mesh_tells_of_this_machine_and_the_others() -> None:
    found = read(RUNNING)

    assert (found.mesh, found.backend, found.tailnet) == (Mesh.RUNNING, "Running", "robots.example")
    assert (found.own.node_id, found.own.name, found.own.tags) == ("n1", "arm-lab.mesh.example", ("tag:recmesh",))
    assert found.own.addresses == ("100.64.0.1", "fd7a:115c:a1e0::1")
    assert [each.host for each in found.peers] == ["depot", "field", "laptop", "quiet"]
    laptop = found.peers[2]
    assert (laptop.user, laptop.is_online, laptop.expires) == ("alice@example.org", False, "2027-01-03T00:00:00Z")


def test_a_daemon_that_is_logged_out_has_no_machine_and_no_others() -> None:
    found = read(LOGGED_OUT)

    assert (found.mesh, found.own, found.peers, found.complaints) == (Mesh.STOPPED, None, (), ("You are logged out.",))


def fields_of(document: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """The path to every field, down to those of machines."""
    for key, value in document.items():
        yield (key,)
        if isinstance(value, dict):
            yield from ((key, *rest) for rest in fields_of(value))


@pytest.mark.parametrize("change", ["missing", None, 7, "text", [1], {"a": 1}, True])
def test_a_field_that_is_missing_or_of_another_type_takes_nothing_else_with_it(change: object) -> None:
    for path in fields_of(RUNNING):
        document = copy.deepcopy(RUNNING)
        *outer, last = path
        place = document
        for key in outer:
            place = place[key]
        if change == "missing":
            del place[last]
        else:
            place[last] = change
        if path == ("BackendState",):
            continue

        found = read(document)

        assert (found.version, found.tailnet, found.complaints) == ("1.102.3-t0123456789", "robots.example", ()) or len(path) < 3
        if outer[:1] == ["Peer"]:
            assert len(found.peers) >= 3
            assert found.own == read(RUNNING).own


def test_fields_of_later_versions_are_passed_over() -> None:
    assert read({**RUNNING, "Later": {"deep": [1, 2]}, "Self": {**RUNNING["Self"], "Later": 1}}) == read(RUNNING)


@pytest.mark.parametrize("data", [b"", b"no", b"[]", b"null", b"{}", b'{"BackendState": 3}', b"[" * 100_000, b"\xff"])
def test_what_is_no_status_is_one_clear_error(data: bytes) -> None:
    with pytest.raises(MeshAnswerInvalidError):
        read_status(data)


def test_what_others_wrote_is_one_short_line_and_a_mesh_has_an_end() -> None:
    peers = {str(number): node(number, f"m{number}") for number in range(OBJECTS_MAX + 5)}
    peers["0"]["DNSName"] = "\x1b[2J" + "x" * 10_000

    found = read({**RUNNING, "Peer": peers, "Health": ["a\nb\x07"]})

    assert len(found.peers) == OBJECTS_MAX
    assert max(len(each.name) for each in found.peers) == LINE_MAX
    assert all(each.name.isprintable() for each in found.peers)
    assert found.complaints == ("a b ",)
