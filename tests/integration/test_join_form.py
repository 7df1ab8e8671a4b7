"""Joining by a single signed request: decided by the same rules as over a link, by whoever of the group can decide."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from peer.core.encoding import decode, encode
from peer.core.group import Invitation, join_bytes, read_invitation
from peer.core.hashing import hash_bytes
from peer.core.identity import GroupId, KeyPair, PeerId
from peer.sync import limits, messages
from peer.sync.joining import Joins
from peer.sync.sources import LinkToken
from peer.transport import bodies
from peer.transport.signatures import NONCE_HEADER, Request, sign_request
from tests.integration.running_peer import RunningPeer, running_peer
from tests.samples import key_pair

GROUPS = "/api/v1/sync/groups"


class Joiner:
    """Somebody with a key and an invitation."""

    def __init__(self, http: aiohttp.ClientSession, site: RunningPeer, key: KeyPair) -> None:
        self.http, self.site, self.key = http, site, key

    async def join(self, invitation: Invitation, **changes: Any) -> tuple[int, str]:
        """Status and code; the code is empty if it is in."""
        group = invitation.group
        path, nonce = f"/sync/v1/groups/{changes.get('where', group).hex()}/join", ""
        for _ in range(2):
            signed = join_bytes(group, changes.get("peer", self.key.peer_id), changes.get("nonce", hash_bytes(nonce.encode())))
            key = changes.get("key", invitation.key)
            frame = messages.encode_message(messages.Join(group, key.public, key.sign(signed), "script"))
            body = encode(changes.get("frames", [frame]))
            headers = sign_request(self.key, PeerId(bytes.fromhex(self.site.peer_id)), nonce, Request("POST", path, {}, body))
            async with self.http.post(f"{self.site.listen}{path}", data=body, headers=headers) as answer:
                nonce = answer.headers.get(NONCE_HEADER, "")
                data = await answer.read()
                if answer.status != 401:
                    break
        if answer.status == 200:
            (joined,) = [messages.decode_message(each) for each in messages_in(data)]
            assert isinstance(joined, messages.Joined)
            assert hash_bytes(joined.genesis) == group
            return 200, ""
        return answer.status, (await answer.json())["code"]


def messages_in(data: bytes) -> list[bytes]:
    frames = decode(data)
    assert isinstance(frames, list)
    return [bytes(frame) for frame in frames if isinstance(frame, bytes)]


@asynccontextmanager
async def joiner(site: RunningPeer, label: str) -> AsyncIterator[Joiner]:
    async with aiohttp.ClientSession() as http:
        yield Joiner(http, site, key_pair(label))


async def invited(site: RunningPeer, for_ms: int = 3_600_000) -> Invitation:
    made = await site.post(f"{GROUPS}/lab/invitations", {"role": "writer", "expires_in_ms": for_ms})
    return read_invitation(made["invitation"])


async def names(site: RunningPeer) -> list[str]:
    return sorted(each["name"] for each in (await site.get(f"{GROUPS}/lab"))["members"])


async def test_whoever_holds_an_invitation_is_let_in_once_and_nobody_else(tmp_path: Path) -> None:
    """A repetition changes nothing; a second key, another invitation's key, somebody else's signature or nonce, and one that expired are refused."""
    async with running_peer(tmp_path / "a", "a") as site, joiner(site, "one") as one, joiner(site, "two") as two:
        await site.post(GROUPS, {"name": "lab"})
        invitation, other, late = await invited(site), await invited(site), await invited(site, for_ms=1)
        assert await one.join(invitation) == (200, "")
        assert await one.join(invitation) == (200, "")
        assert await two.join(invitation) == (403, "invitation_refused"), "it was stolen"
        assert await two.join(other, key=key_pair("made up")) == (403, "invitation_refused")
        assert await two.join(other, peer=one.key.peer_id) == (403, "handshake_failed"), "signed for another"
        assert await two.join(other, nonce=bytes(32)) == (403, "handshake_failed"), "signed earlier"
        assert await two.join(late) == (403, "invitation_refused"), "it has expired"
        assert await two.join(other, where=bytes(32)) == (400, "malformed_frame")
        assert await two.join(other, frames=[b"\x00"]) == (400, "malformed_frame")
        assert await two.join(other._replace(group=GroupId(bytes(32)))) == (403, "invitation_refused")
        assert await names(site) == ["a", "script"]
        assert await two.join(other) == (200, "")
        assert await names(site) == ["a", "script", "script"]


async def test_a_member_that_cannot_decide_asks_an_admin_over_its_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its refusal comes back the same way; where no admin is linked there is an answer, too, after a while."""
    async with running_peer(tmp_path / "b", "b") as door:
        async with running_peer(tmp_path / "a", "a") as site:
            await site.post(GROUPS, {"name": "lab"})
            made = await site.post(f"{GROUPS}/lab/invitations", {"role": "writer", "expires_in_ms": 60_000})
            await door.post(f"{GROUPS}/join", {"invitation": made["invitation"], "wait": True, "timeout_ms": 20_000})
            invitation, other = await invited(site), await invited(site)
            async with joiner(door, "one") as one, joiner(door, "two") as two:
                assert await one.join(invitation) == (200, "")
                assert await names(site) == ["a", "b", "script"]
                assert await two.join(invitation) == (403, "invitation_refused")
        monkeypatch.setattr(limits, "JOIN_WAIT_MS", 300)
        async with joiner(door, "three") as three:
            assert await three.join(other) == (503, "no_admin_reached")


async def test_who_waits_for_an_admin_is_answered_when_the_peer_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told to try again, and holds up nobody."""
    monkeypatch.setattr(limits, "JOIN_WAIT_MS", 3_600_000)
    async with aiohttp.ClientSession() as http, running_peer(tmp_path / "b", "b") as door:
        async with running_peer(tmp_path / "a", "a") as site:
            await site.post(GROUPS, {"name": "lab"})
            made = await site.post(f"{GROUPS}/lab/invitations", {"role": "writer", "expires_in_ms": 60_000})
            await door.post(f"{GROUPS}/join", {"invitation": made["invitation"], "wait": True, "timeout_ms": 20_000})
            invitation = await invited(site)
        waiting = asyncio.create_task(Joiner(http, door, key_pair("one")).join(invitation))
        done, _ = await asyncio.wait([waiting], timeout=1.0)
        assert not done
    async with asyncio.timeout(20):
        assert await waiting == (503, "shutting_down")


async def test_who_waits_for_an_admin_takes_no_room_from_requests_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one body at a time may come from an address: sites beside it there, and links that are polled, go on."""
    monkeypatch.setattr(limits, "JOIN_WAIT_MS", 3_600_000)
    monkeypatch.setattr(bodies, "BODIES_PER_ADDRESS_MAX", 1)
    waits, wait = asyncio.Event(), Joins.wait

    def waiting_from_now_on(joins: Joins, link: LinkToken) -> bool:
        waits.set()
        return wait(joins, link)

    monkeypatch.setattr(Joins, "wait", waiting_from_now_on)
    async with aiohttp.ClientSession() as http, running_peer(tmp_path / "b", "b") as door:
        async with running_peer(tmp_path / "a", "a") as site:
            await site.post(GROUPS, {"name": "lab"})
            made = await site.post(f"{GROUPS}/lab/invitations", {"role": "writer", "expires_in_ms": 60_000})
            await door.post(f"{GROUPS}/join", {"invitation": made["invitation"], "wait": True, "timeout_ms": 20_000})
            invitation = await invited(site)
        waiting = asyncio.create_task(Joiner(http, door, key_pair("one")).join(invitation))
        async with asyncio.timeout(20):
            await waits.wait()
            stranger = Joiner(http, door, key_pair("two"))
            assert await stranger.join(invitation._replace(group=GroupId(bytes(32)))) == (403, "invitation_refused")
        assert not waiting.done()
    async with asyncio.timeout(20):
        assert await waiting == (503, "shutting_down")
