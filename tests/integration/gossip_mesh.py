"""Whole peers that are introduced by hand, two at a time, and what each of them says then of whom it learned from whom."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from tests.integration.running_peer import RunningPeer, running_peer

GROUPS, PEERS = "/api/v1/sync/groups", "/api/v1/sync/peers"
INTERVAL_S = 0.5
FAST = {"exchange_interval": INTERVAL_S}
Way = tuple[str, str | None, int | None]
"""By which source somebody is known, from whom, with which TTL."""


def gossip(**settings: object) -> dict[str, object]:
    """The section of the configuration, with quick rounds."""
    return {"gossip": {**FAST, **settings}}


@asynccontextmanager
async def peers_named(folder: Path, names: Sequence[str], **settings: object) -> AsyncIterator[list[RunningPeer]]:
    """One running peer for each name."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(running_peer(folder / name, name, **gossip(**settings))) for name in names]


async def introduce(first: RunningPeer, second: RunningPeer, names: tuple[str, str], group: str = "lab") -> None:
    """By hand, at both of them: who is there already makes the other an admin."""
    for peer, other, name in ((first, second, names[1]), (second, first, names[0])):
        body = {"name": name, "peer_id": other.peer_id, "sync_endpoint": other.listen, "shared_groups": [group], "role": "admin"}
        await peer.post(PEERS, body, status=201)
    await second.until(f"{GROUPS}/{group}", lambda shown: shown.get("role") == "admin")


async def chain(peers: Sequence[RunningPeer], names: Sequence[str], group: str = "lab") -> None:
    """The first has a group; each is introduced to the one before it, and to nobody else."""
    await peers[0].post(GROUPS, {"name": group})
    for number in range(len(peers) - 1):
        await introduce(peers[number], peers[number + 1], (names[number], names[number + 1]), group)


def learned(status: Any) -> dict[str, Way]:
    """Of whom a peer knows by which source, from whom, with which TTL, by name; those alone with whom there is a link."""
    names = {link["peer_id"]: link["name"] for link in status["links"]}
    return {
        link["name"]: (link["source"], names.get(link["learned_from"]), link["ttl"])
        for link in status["links"]
        if link["source"] != "roster" and link["state"] in {"receiving", "up_to_date"}
    }
