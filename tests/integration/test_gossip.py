"""Whole peers that tell one another where members are: who learns of whom, how far it goes, and what stays in its group."""

from pathlib import Path

from tests.integration.gossip_mesh import Way, chain, learned, peers_named

NAMES = ("a", "b", "c", "d")


async def test_three_introductions_make_a_full_mesh_of_four(tmp_path: Path) -> None:
    """Each shows from whom it learned of whom, and how far that may go: as often as nobody is in between."""
    by_hand = ("manual", None, 2)
    expected = [
        {"b": {by_hand}, "c": {("gossip", "b", 1)}, "d": {("gossip", "b", 0), ("gossip", "c", 0)}},
        {"a": {by_hand}, "c": {by_hand}, "d": {("gossip", "c", 1)}},
        {"b": {by_hand}, "d": {by_hand}, "a": {("gossip", "b", 1)}},
        {"c": {by_hand}, "b": {("gossip", "c", 1)}, "a": {("gossip", "b", 0), ("gossip", "c", 0)}},
    ]
    async with peers_named(tmp_path, NAMES) as peers:
        await chain(peers, NAMES)
        for peer, known in zip(peers, expected, strict=True):
            await peer.until("/api/v1/status", lambda status, known=known: is_known(learned(status), known))


def is_known(found: dict[str, Way], expected: dict[str, set[Way]]) -> bool:
    """Whether everybody who is expected is there, in one of the ways that are, and nobody else."""
    return found.keys() == expected.keys() and all(found[name] in ways for name, ways in expected.items())
