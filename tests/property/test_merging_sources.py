"""Merging sources: whatever they say, precedence holds, nothing is lost and nothing is made up."""

import random

from hypothesis import given
from hypothesis import strategies as st

from peer.core.identity import GroupId, PeerId
from resolver.base import KnownPeer
from resolver.composite import CompositePeerResolver
from tests.unit.resolver.fixed_source import FixedSource

PEERS = [PeerId(bytes([number]) * 32) for number in range(4)]
ENDPOINTS = [f"https://10.0.0.{number}:7850" for number in range(5)]
SOURCES = ("manual", "manual", "hub", "gossip")
"""The second one stands for the configuration file."""


def entries(source: str) -> st.SearchStrategy[KnownPeer]:
    def made(peer: PeerId, endpoints: list[str], hinted: bool, paused: bool, ttl: int | None) -> KnownPeer:  # noqa: FBT001
        hints = frozenset(endpoints) if source in {"hub", "gossip"} and hinted else frozenset()
        named = KnownPeer(peer, f"{source}-{peer[:1].hex()}", tuple(endpoints), frozenset({GroupId(bytes([ttl or 0]) * 32)}), source)
        return named._replace(paused=paused and source == "manual", hints=hints, ttl=ttl, learned_from=PEERS[0] if source == "gossip" else None)

    return st.builds(
        made,
        st.sampled_from(PEERS),
        st.lists(st.sampled_from(ENDPOINTS), max_size=4, unique=True),
        st.booleans(),
        st.booleans(),
        st.none() | st.integers(0, 2),
    )


def said() -> st.SearchStrategy[list[list[KnownPeer]]]:
    """What each source says, one entry a peer."""
    return st.tuples(*(st.lists(entries(source), max_size=4, unique_by=lambda each: each.peer) for source in SOURCES)).map(list)


@given(said(), st.randoms(use_true_random=False))
def test_merging_keeps_precedence_and_everything_that_was_said(sources: list[list[KnownPeer]], chance: random.Random) -> None:
    merged = CompositePeerResolver([FixedSource(each) for each in sources]).peers()
    shuffled = [chance.sample(each, len(each)) for each in sources]

    assert CompositePeerResolver([FixedSource(each) for each in shuffled]).peers() == merged  # The order within a source means nothing.
    assert [each.peer for each in merged] == sorted({each.peer for source in sources for each in source})
    for found in merged:
        about = [each for source in sources for each in source if each.peer == found.peer]
        assert (found.name, found.paused, found.source) == (about[0].name, about[0].paused, about[0].source)
        assert set(found.endpoints) == {endpoint for each in about for endpoint in each.endpoints}
        assert found.endpoints[: len(about[0].endpoints)] == about[0].endpoints
        assert found.groups == {group for each in about for group in each.groups}
        surely = {endpoint for each in about for endpoint in each.endpoints if endpoint not in each.hints}
        assert found.hints == set(found.endpoints) - surely
        ttls = [(each.ttl, each.learned_from) for each in about if each.ttl is not None]
        assert (found.ttl, found.learned_from) == (ttls[0] if ttls else (None, about[0].learned_from))
