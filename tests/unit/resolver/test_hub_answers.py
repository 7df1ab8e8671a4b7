"""What a hub answers, read piece by piece."""

import json
from typing import Any

import pytest

from peer.core.identity import KeyPair
from resolver.hub_answers import HIVES_MAX, PEERS_MAX, PROTOCOL, describe, read_peers
from tests.unit.resolver.hub_lab import metadata_of, record_of

ALICE, BOB = KeyPair(b"a" * 32), KeyPair(b"b" * 32)


def a_peer(number: int = 0, **fields: Any) -> dict[str, Any]:
    given = {"swarm_id": f"swarm_{number}", "map_endpoint": "https://x", "shared_hives": ["lab"], "capabilities": {"protocols": [PROTOCOL]}}
    return {**given, **fields}


def test_of_endless_lists_the_beginning_is_read() -> None:
    hives = [f"hive{number}" for number in range(HIVES_MAX + 5)]

    found = read_peers({"peers": [a_peer(number, shared_hives=hives) for number in range(PEERS_MAX + 5)]})

    assert len(found) == PEERS_MAX
    assert found[0].hives == set(hives[:HIVES_MAX])


@pytest.mark.parametrize(
    "wrong",
    [
        {"swarm_id": "../admin"},
        {"swarm_id": 7},
        {"swarm_id": "swarm\n"},
        {"map_endpoint": "x" * 513},
        {"shared_hives": "lab"},
        {"capabilities": None},
        {"capabilities": {"protocols": ["another/1"]}},
        {"capabilities": {"protocols": ["another/1"] * 16 + [PROTOCOL]}},
    ],
    ids=json.dumps,
)
def test_a_peer_that_is_none_of_our_kind_is_passed_over_and_the_others_are_read(wrong: dict[str, Any]) -> None:
    found = read_peers({"peers": [a_peer(1, **wrong), None, [], a_peer(2, status={"online": True}, name=["x"], more={})]})

    assert [(each.swarm, each.online) for each in found] == [("swarm_2", None)]


def test_a_record_of_somebody_else_is_no_word_of_this_peer() -> None:
    metadata = metadata_of(ALICE, "https://10.0.0.1:1", record_of(BOB, "https://10.0.0.2:1"))

    found = describe({"name": "alice", "metadata": metadata})

    assert found is not None
    assert (found.peer, found.endpoints, found.seq) == (ALICE.peer_id, ("https://10.0.0.1:1",), None)


@pytest.mark.parametrize("name", ["", "../x", "a b", "\x1b[31mred", "x" * 129, None, 7])
def test_a_name_that_is_none_is_not_shown(name: object) -> None:
    found = describe({"name": name, "metadata": metadata_of(ALICE, "https://10.0.0.1:1")})

    assert found is not None
    assert found.name == ""


@pytest.mark.parametrize(
    "endpoint", ["ftp://x:1", "https://x", "https://u:p@x:1", "https://x:1/path", "https://x:1 ", "https://x:0", 7, ["https://x:1"]]
)
def test_an_address_that_is_none_is_left_out(endpoint: object) -> None:
    found = describe({"name": "alice", "metadata": {"peer_id": ALICE.peer_id.hex(), "sync_endpoint": endpoint}})

    assert found is not None
    assert found.endpoints == ()
