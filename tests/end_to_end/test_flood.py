"""A member floods a real peer with wrong frames, most of them signed by itself: known codes come back, memory stays, a good link goes on."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import aiohttp

from bench.backfill import Memory
from peer.cli.sample import write_sample
from peer.core.encoding import encode
from peer.core.event import Header
from peer.core.group import Invitation, read_invitation
from peer.core.hashing import event_hash
from peer.core.identity import EventId, GroupId, LogId
from peer.core.run import signed_bytes
from peer.sync.messages import Error, Events, Joined, Message, Rejected, encode_message
from tests.conftest import LONG
from tests.end_to_end.processes import Site, found, join, wait_until
from tests.frame_attack import KNOWN_CODES, NAMES
from tests.integration.hostile_peer import HostilePeer, hostile_link
from tests.samples import SampleLog, key_pair
from tests.sync_site import have_of

INPUTS = 30_000 if LONG else 3_000
LINK_INPUTS = 12
"""Runs that are said on one link, at most, before what may end it."""

UNSIGNED_INPUTS = 4

RESIDENT_MAX = 150 * 2**20
GROWTH_MAX = 24 * 2**20
"""What a peer may take more at the end than when the first part of the flood was through."""

CHANGES: Mapping[str, Callable[[random.Random, Header], Header]] = {
    "seq": lambda chance, header: header._replace(seq=chance.randrange(9)),
    "previous": lambda chance, header: header._replace(previous=chance.randbytes(32)),
    "hlc": lambda chance, header: header._replace(hlc=chance.getrandbits(64)),
    "type": lambda chance, header: header._replace(type=chance.choice(["", "x" * 65, "recording.create", "member.set", "log.seal"])),
    "refs": lambda chance, header: header._replace(refs=[EventId(chance.randbytes(chance.choice([31, 32])))] * chance.choice([1, 17])),
    "version": lambda chance, header: header._replace(version=chance.randrange(4)),
    "group": lambda chance, header: header._replace(group=GroupId(chance.randbytes(32))),
    "log": lambda chance, header: header._replace(log=LogId(chance.randbytes(32))),
    "body_size": lambda chance, header: header._replace(body_size=chance.getrandbits(17)),
    "body_hash": lambda chance, header: header._replace(body_hash=chance.randbytes(32)),
    "nothing": lambda _, header: header,
}


class Flood:
    """What Mallory says, from one seed."""

    def __init__(self, invitation: Invitation, seed: int) -> None:
        self.said: Counter[str] = Counter()
        self.codes: Counter[str] = Counter()
        self._invitation = invitation
        self._chance = random.Random(seed)
        self._logs = 0

    async def run(self, count: int) -> None:
        """So many inputs, over as many links as it takes."""
        end = self.said.total() + count
        while self.said.total() < end:
            await self._one_link(self._chance.randrange(1, LINK_INPUTS))

    async def _one_link(self, count: int) -> None:
        joining = None if self.said else self._invitation
        async with hostile_link(self._invitation.endpoint, self._invitation.member, key_pair("mallory"), joining) as mallory:
            if joining is not None:
                await mallory.hears(lambda message: isinstance(message, Joined))
            for _ in range(count):
                await self._signed(mallory)
            await mallory.is_heard_out()
            self.said["signed"] += count
            for _ in range(UNSIGNED_INPUTS):
                await self._unsigned(mallory)
                self.said["unsigned"] += 1
                try:
                    await mallory.is_heard_out()
                except (ConnectionError, aiohttp.ClientError, AssertionError):
                    await mallory.is_shut_out()
                    break
            self._take_codes(mallory.heard)

    def _take_codes(self, heard: list[Message]) -> None:
        for message in heard:
            if isinstance(message, Error | Rejected):
                assert message.code in KNOWN_CODES
                self.codes[message.code] += 1

    async def _signed(self, mallory: HostilePeer) -> None:
        """A run that its author links and signs, with one thing in it that is wrong, or none."""
        self._logs += 1
        log = SampleLog("mallory", self._invitation.group, label=str(self._logs))
        kind = self._chance.choice(list(CHANGES))
        place, made = self._chance.randrange(3), []
        for number, event in enumerate(log.write_notes(3).events):
            header = event.header if not made else event.header._replace(previous=EventId(event_hash(made[-1][0])))
            made.append((encode(list(CHANGES[kind](self._chance, header) if number == place else header)), event.body))
        if self._chance.random() < 0.1:
            made[place] = (made[place][0] + b"\0", made[place][1])
        signature = log.key.sign(signed_bytes(log.certificate.group, log.certificate.log, 2, EventId(event_hash(made[-1][0]))))
        await mallory.announce(log)
        await mallory.say(Events(self._invitation.group, log.certificate.log, signature, tuple(made)))

    async def _unsigned(self, mallory: HostilePeer) -> None:
        """Bytes, a message of random fields, or a true message with one byte changed."""
        chance = self._chance
        self._logs += 1
        log = SampleLog("mallory", self._invitation.group, label=str(self._logs))
        log.write_notes(1)
        frame = bytearray(encode_message(have_of(self._invitation.group, log)))
        frame[chance.randrange(len(frame))] ^= chance.randrange(1, 256)
        fields = [chance.choice([0, -1, True, None, "", b"", [], [[]], {}, bytes(32), 2**64 - 1]) for _ in range(chance.randrange(6))]
        await mallory.say_bytes(chance.choice([bytes(frame), bytes(frame), encode([chance.choice(NAMES), *fields]), chance.randbytes(60)]))


def test_a_flood_of_wrong_frames_from_a_member_changes_nothing_for_the_others(tmp_path: Path) -> None:
    alice, bob = Site("alice", tmp_path / "alice"), Site("bob", tmp_path / "bob")
    try:
        for site in (alice, bob):
            site.start()
        found(alice)
        join(alice, bob)
        wait_until(lambda: link_of(bob)["state"] == "up_to_date", "Bob has all")
        flood = Flood(read_invitation(alice.command("group", "invite", "lab").stdout.strip()), seed=1)
        assert alice.process is not None
        asyncio.run(flood.run(INPUTS // 3))
        before = resident(alice)
        memory = Memory(alice.process.pid)
        memory.start()
        asyncio.run(flood.run(INPUTS - INPUTS // 3))
        (peak,) = memory.end()
        print(dict(flood.said), dict(flood.codes), f"{before / 2**20:.0f} MB, at most {peak / 2**20:.0f} MB")  # noqa: T201

        assert flood.said["signed"] >= flood.said["unsigned"]
        assert {"log_gap", "header_invalid", "not_canonical", "event_version_unknown", "wrong_log", "body_mismatch", "malformed_frame"} <= set(
            flood.codes
        )
        assert peak < RESIDENT_MAX
        assert peak - before < GROWTH_MAX
        assert link_of(bob)["last_error"] is None
        write_sample(tmp_path / "after.mcap", 64 * 1024, 1)
        alice.add(tmp_path / "after.mcap")
        wait_until(lambda: bob.recordings().get("after", {}).get("state") == "local", "Bob has what Alice adds afterwards")
        assert alice.is_running
        assert alice.stop() == bob.stop() == 0
        assert alice.json("verify")["ok"]
        assert "Traceback" not in (tmp_path / "alice.log").read_text()
    finally:
        for site in (alice, bob):
            if site.is_running:
                site.kill()


def link_of(site: Site) -> dict[str, object]:
    """The one link of a site, as `status` has it."""
    (link,) = site.status()["links"]
    return link  # type: ignore[no-any-return]


def resident(site: Site) -> int:
    """Bytes of memory of its process, as the system sees it."""
    assert site.process is not None
    watch = Memory(site.process.pid)
    return int(watch._processes[0].memory_info().rss)
