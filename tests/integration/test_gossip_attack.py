"""Members that tell of 10 000 addresses which nobody should dial: forged, of strangers, expired, with endless TTLs, leading where nothing may lead.

What is dialled is counted where connections arrive, and by what the interpreter says of every socket that connects.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gossip.record import RECORD_CONTEXT, VALID_FOR_MAX_S
from peer.core.encoding import encode
from peer.core.identity import GroupId, PeerId
from peer.sync.limits import NEIGHBOURS_MAX
from peer.sync.messages import Records
from tests.gossip_samples import record
from tests.integration.gossip_mesh import GROUPS, PEERS, gossip, introduce, learned, peers_named
from tests.integration.hostile_peer import HostilePeer, hostile_link
from tests.integration.running_peer import RunningPeer, running_peer
from tests.samples import key_pair

TELLERS = ("forger", "stranger", "expired", "misleading")
GHOSTS = [f"ghost-{number}" for number in range(30)]
"""Members that run nowhere; the attackers have their keys."""
EACH = 2500
"""Records that each of the four tells of."""
ENDLESS = 10**9
FORBIDDEN = ("169.254.169.254", "169.254.7.7", "100.100.100.200", "[fe80::1]", "0.0.0.0", "224.0.0.1", "[fd00:ec2::254]")  # noqa: S104
"""Link-local, multicast and unspecified addresses, and those where clouds tell a machine its passwords."""
ELSEWHERE = ("192.168.213.9", "10.213.7.7", "172.29.213.1")
"""Private addresses that are in none of this machine's networks."""

_connected: list[list[str]] = []


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect":
        for seen in _connected:
            seen.append(str(arguments[1][0]) if isinstance(arguments[1], tuple) else "")


@pytest.fixture
def connected() -> Iterable[list[str]]:
    """The address of every connection that is tried from now on, whoever asks for it."""
    if not getattr(sys, "_gossip_audit", False):
        sys.addaudithook(_audit)
        sys._gossip_audit = True  # type: ignore[attr-defined]
    seen: list[str] = []
    _connected.append(seen)
    yield seen
    _connected.remove(seen)


@asynccontextmanager
async def trap(host: str) -> AsyncIterator[tuple[str, list[object]]]:
    """An endpoint where something listens, and who came."""
    came: list[object] = []

    def took(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(writer.get_extra_info("peername"))
        writer.close()

    server = await asyncio.start_server(took, host, 0)
    async with server:
        yield f"http://{host}:{server.sockets[0].getsockname()[1]}", came


def told_by(teller: str, endpoint: str) -> list[tuple[bytes, int]]:
    """What this one tells, 2500 times something else as far as it can be."""
    if teller == "forger":
        good = record("ghost-0", endpoints=(endpoint,))
        return [(good[:-2] + number.to_bytes(2, "big"), 2) for number in range(EACH)]
    if teller == "stranger":
        return [(record("nobody", number, endpoints=(endpoint,)), 2) for number in range(EACH)]
    if teller == "expired":
        return [(signed_for("ghost-0", endpoint, number, (0, VALID_FOR_MAX_S + 1)[number % 2]), 2) for number in range(EACH)]
    places = [f"https://{host}:7850" for host in (*FORBIDDEN, *ELSEWHERE)]
    return [
        (record(GHOSTS[number % len(GHOSTS)], number // len(GHOSTS), endpoints=(places[number % len(places)],)), ENDLESS) for number in range(EACH)
    ]


def signed_for(name: str, endpoint: str, seq: int, valid_for_s: int) -> bytes:
    """A record with its peer's true signature, valid for a time that none may have."""
    data = encode([1, key_pair(name).public, seq, [endpoint], 0, valid_for_s])
    return encode([data, key_pair(name).sign(RECORD_CONTEXT + data)])


async def test_ten_thousand_records_that_nobody_should_take_lead_nowhere(tmp_path: Path, connected: list[str]) -> None:
    """None is dialled, what is kept stays small, each who told of them is not listened to any more, and the good link is the same as before."""
    async with running_peer(tmp_path / "victim", "victim", **gossip(max_failures=1)) as victim, peers_named(tmp_path, ("good",)) as (good,):
        await victim.post(GROUPS, {"name": "lab"})
        await introduce(victim, good, ("victim", "good"))
        for name in (*TELLERS, *GHOSTS):
            await admit(good, name)
        group = GroupId(bytes.fromhex((await victim.until(f"{GROUPS}/lab", lambda shown: len(shown["members"]) == 36))["group_id"]))
        before = (await good_link(victim))["backfilled"]
        async with trap("127.0.0.2") as (forged, first), trap("127.0.0.3") as (strange, second), trap("127.0.0.4") as (expired, third):
            connected.clear()
            for teller, endpoint in zip(TELLERS, (forged, strange, expired, ""), strict=True):
                async with member_link(victim, teller, group) as link:
                    await tell(link, group, told_by(teller, endpoint))
            status = await victim.until("/api/v1/status", lambda status: all(teller in gossip_error(status) for teller in TELLERS))
            assert first == second == third == []
        await victim.until(
            "/api/v1/status", lambda status: not any("ghost" in link["name"] and link["source"] == "gossip" for link in status["links"])
        )
        await goes_on(victim, good)
        link = await good_link(victim)

    assert set(connected) <= {"127.0.0.1", "::1", ""}, "the admin clients, the good peer and the attackers"
    assert len(status["links"]) <= 2 + len(TELLERS) + len(GHOSTS)
    assert (link["state"], link["source"], link["backfilled"]) == ("up_to_date", "manual", before)
    assert (tmp_path / "victim" / "gossip.json").stat().st_size < 4096


async def tell(link: HostilePeer, group: GroupId, entries: list[tuple[bytes, int]]) -> None:
    """All of it, in frames of the size that is allowed, and until they were taken note of."""
    for start in range(0, len(entries), NEIGHBOURS_MAX):
        await link.say(Records(group, tuple(entries[start : start + NEIGHBOURS_MAX])))
    await link.is_heard_out()


@asynccontextmanager
async def member_link(peer: RunningPeer, member: str, group: GroupId) -> AsyncIterator[HostilePeer]:
    """A link of this member, over which the group is spoken about."""
    async with hostile_link(peer.listen, PeerId(bytes.fromhex(peer.peer_id)), key_pair(member), groups=(group,)) as link:
        await link.hears(lambda message: isinstance(message, Records))
        yield link


async def admit(peer: RunningPeer, member: str) -> None:
    """A peer takes somebody into the group of whom there is no more than a key."""
    body = {"name": member, "peer_id": key_pair(member).peer_id.hex(), "shared_groups": ["lab"], "role": "writer"}
    await peer.post(PEERS, body, status=201)


def gossip_error(status: Any) -> str:
    """What the source gossip complains of."""
    return next(source["last_error"] or "" for source in status["sources"] if source["source"] == "gossip")


async def good_link(victim: RunningPeer) -> Any:
    """The link to the good peer, as it is shown."""
    status = await victim.until("/api/v1/status", lambda status: "good" in learned(status))
    return next(link for link in status["links"] if link["name"] == "good")


async def goes_on(victim: RunningPeer, good: RunningPeer) -> None:
    """What is written at one side is at the other."""
    events = (await victim.get(f"{GROUPS}/lab"))["events"]
    await good.post(f"{GROUPS}/lab/invitations", {"role": "writer", "expires_in_ms": 3_600_000})
    await victim.until(f"{GROUPS}/lab", lambda shown: shown["events"] > events)
