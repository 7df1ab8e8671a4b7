"""Sites that nobody can dial exchange recordings through a member that has no copy of them and keeps little of what passes."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from peer.blobs.relay import ANSWER_TIMEOUT_S
from peer.cli.sample import write_sample
from peer.core.group import Invitation, read_invitation
from peer.core.identity import BlobId, GroupId, PeerId
from peer.errors import NotAMemberError, TransportError
from peer.sync.messages import BlobPart, BlobWant, Joined
from peer.transport.blob_client import BlobClient
from tests.blob_site import MIB, STRANGER
from tests.counting_proxy import CountingProxy, counting_proxy
from tests.integration.hostile_peer import HostilePeer, hostile_link
from tests.integration.running_peer import RunningPeer, running_peer
from tests.samples import key_pair

GROUPS = "/api/v1/sync/groups"
RECORDINGS = "/api/v1/recordings"
STATUS = "/api/v1/status"
LIMIT = 3 * MIB
PART = 256 * 1024
DEADLINE_S = 40.0


class Scene:
    """A member that keeps nothing, and sites that dial it."""

    def __init__(self, folder: Path, stack: AsyncExitStack, hub: RunningPeer) -> None:
        self.folder, self.hub = folder, hub
        self._stack = stack

    async def invitation(self) -> Invitation:
        made = await self.hub.post(f"{GROUPS}/lab/invitations", {"role": "writer", "expires_in_ms": 60_000})
        return read_invitation(made["invitation"])

    async def site(self, name: str, through: CountingProxy | None = None, stack: AsyncExitStack | None = None, **settings: object) -> RunningPeer:
        """One that nobody can dial, unless `settings` say otherwise; ends with `stack`."""
        made = await (stack or self._stack).enter_async_context(running_peer(self.folder / name, name, **{"listen": "none", **settings}))
        invitation = await self.invitation()
        if through is not None:
            invitation = invitation._replace(endpoint=through.url)
        await made.post(f"{GROUPS}/join", {"invitation": invitation.to_text()})
        return made

    async def record(self, site: RunningPeer, name: str, size: int) -> tuple[Path, BlobId]:
        """A recording of about that size, and the id of its bytes."""
        path = self.folder / f"{name}.mcap"
        write_sample(path, size, 1)
        added = await site.post(RECORDINGS, {"paths": [str(path)]})
        return path, BlobId(bytes.fromhex(added["chunks"][0]["blob_id"]))

    async def mallory(self, stack: AsyncExitStack | None = None) -> HostilePeer:
        """A member that says what it is told to."""
        invitation = await self.invitation()
        peer = await (stack or self._stack).enter_async_context(hostile_link(invitation.endpoint, invitation.member, key_pair("mallory"), invitation))
        await peer.hears(lambda message: isinstance(message, Joined))
        return peer

    @property
    def passing(self) -> int:
        """What lies in the cache, by the operating system."""
        return on_disk(self.hub.root / "cache")


@asynccontextmanager
async def made_scene(folder: Path, **settings: object) -> AsyncIterator[Scene]:
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_peer(folder / "hub", "hub", **{"fetch": "none", "cache_bytes": LIMIT, **settings}))
        await hub.post(GROUPS, {"name": "lab"})
        yield Scene(folder, stack, hub)


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    async with made_scene(tmp_path) as made:
        yield made


def on_disk(folder: Path) -> int:
    """What the files of a folder take."""
    total = 0
    for path in folder.iterdir():
        try:
            total += path.stat().st_blocks * 512
        except FileNotFoundError:
            continue
    return total


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110  (what is waited for has no event of its own)
            await asyncio.sleep(0)


async def arrives(site: RunningPeer, path: Path) -> None:
    """Wait until a recording is whole at a site; what can be read there are the bytes that were recorded."""
    await site.until(f"{RECORDINGS}/{path.stem}", lambda recording: recording["state"] == "local")
    async with site.http.get(f"{site.url}{RECORDINGS}/{path.stem}/chunks/0") as answer:
        assert await answer.read() == path.read_bytes()


async def asked(peer: HostilePeer, group: GroupId, blob: BlobId, number: int, *, relay: bool) -> BlobPart:
    """What comes of asking for the first part of a blob over a link."""
    await peer.say(BlobWant(number, group, blob, 0, 1000, relay=relay))
    part = await peer.hears(lambda message: isinstance(message, BlobPart) and message.number == number)
    assert isinstance(part, BlobPart)
    return part


def parts_over(proxy: CountingProxy) -> int:
    """Answers with bytes, or without, that crossed a proxy."""
    return sum(crossing.messages["blob_part"] for crossing in proxy.crossings)


async def group_of(site: RunningPeer) -> GroupId:
    return GroupId(bytes.fromhex((await site.get(f"{GROUPS}/lab"))["group_id"]))


async def test_recordings_pass_both_ways_through_a_member_that_does_not_want_them(scene: Scene) -> None:
    """Each is larger than all that the member may keep, and what it keeps is no copy."""
    left, right = await scene.site("left"), await scene.site("right")
    fullest = 0

    async def watch() -> None:
        nonlocal fullest
        while True:
            fullest = max(fullest, scene.passing)
            await asyncio.sleep(0)

    watching = asyncio.create_task(watch())
    try:
        for site, other, name in ((left, right, "there"), (right, left, "back")):
            path, _ = await scene.record(site, name, 4 * LIMIT)
            await arrives(other, path)
    finally:
        watching.cancel()

    assert MIB < fullest <= LIMIT
    disk = (await scene.hub.get(STATUS))["disk"]
    assert (0 < disk["cache_bytes"] <= LIMIT, disk["cache_limit_bytes"]) == (True, LIMIT)
    for name in ("there", "back"):
        shown = await scene.hub.until(f"{RECORDINGS}/{name}", bool)
        assert (shown["state"], shown["bytes_here"]) == ("remote", 0)
        assert scene.hub.peer_id not in [replica["peer_id"] for replica in shown["replicas"]]
    assert not [path for path in (scene.hub.root / "blobs").rglob("*") if path.is_file() and path.stat().st_size > PART]


async def test_what_many_ask_for_at_once_leaves_its_site_once(tmp_path: Path) -> None:
    """Counted on the way: pieces, the list of pieces, and next to nothing else."""
    async with made_scene(tmp_path, cache_bytes=64 * MIB) as scene, counting_proxy(scene.hub.listen) as proxy:
        left = await scene.site("left", proxy)
        others = [await scene.site(name) for name in ("one", "two", "three")]
        path, _ = await scene.record(left, "popular", 8 * MIB)
        for each in others:
            await arrives(each, path)

        needed = -(-path.stat().st_size // PART)
        assert needed <= parts_over(proxy) <= needed + 5


async def test_who_is_no_member_gets_nothing_of_what_passes(scene: Scene) -> None:
    """Whether it is in the cache or would have to be got; over links and over HTTP."""
    left, right = await scene.site("left"), await scene.site("right")
    path, blob = await scene.record(left, "private", 2 * MIB)
    await arrives(right, path)
    assert scene.passing > MIB
    group, hub = await group_of(right), PeerId(bytes.fromhex(scene.hub.peer_id))

    async with hostile_link(scene.hub.listen, hub, key_pair("mallory"), groups=(group,)) as stranger:
        for number, relay in enumerate((False, True)):
            assert await asked(stranger, group, blob, number, relay=relay) == (number, "not_a_member", b"")
    async with BlobClient(STRANGER, hub, scene.hub.listen) as client:
        for relay in (False, True):
            with pytest.raises(NotAMemberError):
                await anext(client.read(group, blob, 0, 10, relay=relay))


async def test_a_member_may_ask_for_what_has_to_be_got_and_for_what_is_there_alone(scene: Scene) -> None:
    """Over links and over HTTP: only with `relay` others are asked."""
    left = await scene.site("left")
    path, blob = await scene.record(left, "asked-for", MIB // 2)
    mallory = await scene.mallory()
    group, hub = await group_of(left), PeerId(bytes.fromhex(scene.hub.peer_id))
    await scene.hub.until(f"{RECORDINGS}/asked-for", bool)

    async with BlobClient(key_pair("mallory"), hub, scene.hub.listen) as client:
        with pytest.raises(TransportError):
            await anext(client.read(group, blob, 0, 10, relay=False))
        assert (await asked(mallory, group, blob, 1, relay=False)).code == "not_found"
        assert scene.passing == 0
        assert (await asked(mallory, group, blob, 2, relay=True)).data == path.read_bytes()[:1000]
        assert (await asked(mallory, group, blob, 3, relay=False)).data == path.read_bytes()[:1000]
        assert b"".join([part async for part in client.read(group, blob, 0, path.stat().st_size, relay=False)]) == path.read_bytes()


async def test_where_nobody_has_it_two_relays_say_so_soon_and_ask_each_other_once(scene: Scene) -> None:
    async with AsyncExitStack() as stack, counting_proxy(scene.hub.listen) as proxy:
        left = await scene.site("left", stack=stack)
        second = await scene.site("second", proxy, listen="127.0.0.1:0", fetch="none")
        _, blob = await scene.record(left, "gone", PART // 2)
        await second.until(f"{RECORDINGS}/gone", bool)
        group, hub = await group_of(left), PeerId(bytes.fromhex(scene.hub.peer_id))
        await scene.mallory(stack)  # Her link ends, too: who is asked over it would not answer.
        await stack.aclose()
        before = sum(crossing.messages["blob_want"] for crossing in proxy.crossings)
        start = time.monotonic()

        async with BlobClient(key_pair("mallory"), hub, scene.hub.listen) as client:
            with pytest.raises(TransportError, match="does not have the blob"):
                await anext(client.read(group, blob, 0, 10))

        assert time.monotonic() - start < ANSWER_TIMEOUT_S / 2
        assert sum(crossing.messages["blob_want"] for crossing in proxy.crossings) == before + 1


async def test_a_site_that_goes_away_in_the_middle_and_comes_back_is_asked_for_the_rest(tmp_path: Path) -> None:
    async with made_scene(tmp_path, cache_bytes=64 * MIB) as scene, counting_proxy(scene.hub.listen) as proxy:
        right = await scene.site("right")
        async with AsyncExitStack() as stack:
            left = await scene.site("left", proxy, stack)
            path, _ = await scene.record(left, "torn", 32 * MIB)
            await until(lambda: parts_over(proxy) >= 12)
        needed, before = -(-path.stat().st_size // PART), parts_over(proxy)
        assert before < needed
        assert (await right.until(f"{RECORDINGS}/torn", bool))["state"] != "local"

        async with running_peer(scene.folder / "left", "left", listen="none"):
            await arrives(right, path)

        assert parts_over(proxy) <= needed + 40, "what was here was not asked for again, but for pieces that were on their way"


async def test_where_nothing_may_be_kept_nothing_passes(tmp_path: Path) -> None:
    async with made_scene(tmp_path, cache_bytes=0) as scene:
        left = await scene.site("left")
        _, blob = await scene.record(left, "kept", MIB // 2)
        mallory = await scene.mallory()
        await scene.hub.until(f"{RECORDINGS}/kept", bool)

        assert (await asked(mallory, await group_of(left), blob, 1, relay=True)).code == "not_found"
        assert (await scene.hub.get(STATUS))["disk"]["cache_limit_bytes"] == 0
