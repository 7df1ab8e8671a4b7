"""A member floods a real peer with wrong frames, most of them signed by itself: known codes come back, memory stays, a good link goes on."""

import asyncio
import random
from collections import Counter
from pathlib import Path

import aiohttp
import psutil

from bench.backfill import Memory
from peer.cli.sample import write_sample
from peer.core.group import Invitation, read_invitation
from peer.sync.messages import Error, Joined, Message, Rejected
from tests.conftest import LONG
from tests.end_to_end.processes import Site, found, join, wait_until
from tests.frame_attack import KNOWN_CODES
from tests.integration.hostile_peer import HostilePeer, hostile_link
from tests.samples import SampleLog, key_pair
from tests.wrong_inputs import signed_run, unsigned_frame

INPUTS = 30_000 if LONG else 3_000
LINK_INPUTS = 12
"""Runs that are said on one link, at most, before what may end it."""

UNSIGNED_INPUTS = 4

RESIDENT_MAX = 150 * 2**20
GROWTH_MAX = 24 * 2**20
"""What a peer may take more at the end than when the first part of the flood was through."""


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
        await mallory.say(*signed_run(self._chance, self._fresh_log()))

    async def _unsigned(self, mallory: HostilePeer) -> None:
        """What nobody signed."""
        await mallory.say_bytes(unsigned_frame(self._chance, self._fresh_log()))

    def _fresh_log(self) -> SampleLog:
        self._logs += 1
        return SampleLog("mallory", self._invitation.group, label=str(self._logs))


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
    return int(psutil.Process(site.process.pid).memory_info().rss)
