"""Whatever a hub answers: it is read or refused, and what is read keeps to its limits."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gossip.record import is_endpoint
from peer.core.names import is_name
from peer.errors import HubAnswerInvalidError
from resolver import hub_answers
from resolver.hub_answers import PROTOCOL
from resolver.hub_cache import NOTHING, Kept, Seen, read_kept, write_kept

WORDS = ["swarm", "id", "peers", "data", "metadata", "peer_id", "record", "sync_endpoint", "name", "error", "api_key", "status", "seen", "listed"]
TEXTS = st.text(max_size=8) | st.sampled_from(["a" * 64, "0" * 64, "../x", "https://10.0.0.1:1", "swarm_1", "lab", "LAB\n", "online"])
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | TEXTS
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=4), inner, max_size=6),
    max_leaves=20,
)
PEERS = st.fixed_dictionaries(
    {"swarm_id": TEXTS, "map_endpoint": TEXTS, "shared_hives": st.lists(TEXTS, max_size=4), "capabilities": st.just({"protocols": [PROTOCOL]})},
    optional={"status": LEAVES, "name": LEAVES, "unknown": JSON},
)
METADATA = st.fixed_dictionaries({"peer_id": TEXTS}, optional={"sync_endpoint": TEXTS | JSON, "record": TEXTS | JSON, "unknown": JSON})


@given(JSON)
def test_any_document_is_read_or_refused(document: Any) -> None:
    for read in (hub_answers.read_swarm_id, hub_answers.read_hive_id, hub_answers.read_api_key, hub_answers.read_peers):
        try:
            read(document)
        except HubAnswerInvalidError:
            continue
    hub_answers.find_swarm(document, "https://10.0.0.1:1")
    assert len(hub_answers.reason_of(document)) <= 40
    hub_answers.describe(document)
    assert read_kept(json.dumps(document).encode(), "https://hub") == NOTHING


@given(st.lists(PEERS | JSON, max_size=4), st.fixed_dictionaries({"name": TEXTS, "metadata": METADATA | JSON}))
def test_what_is_read_keeps_to_its_limits_and_comes_back_from_the_cache(peers: list[Any], swarm: dict[str, Any]) -> None:
    listed = hub_answers.read_peers({"peers": peers})
    described = hub_answers.describe(swarm)

    for each in listed:
        assert hub_answers.is_id(each.swarm)
        assert all(hub_answers.is_hive(hive) for hive in each.hives)
    if described is None:
        return
    assert described.name == "" or is_name(described.name)
    assert all(is_endpoint(endpoint) for endpoint in described.endpoints)
    kept = Kept("swarm_9", frozenset({"lab"}), tuple(Seen(each._replace(online=None), described, float("-inf")) for each in listed))
    assert read_kept(write_kept("https://hub", kept), "https://hub") == kept
    assert read_kept(write_kept("https://hub", kept), "https://other") == NOTHING


@given(st.binary(max_size=64))
def test_any_bytes_are_a_cache_with_nothing_in_it(data: bytes) -> None:
    assert read_kept(data, "https://hub") == NOTHING
