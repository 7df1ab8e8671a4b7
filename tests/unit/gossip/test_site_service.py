"""What a site says of itself, whatever the group and whatever its clock."""

import asyncio
import contextlib
from types import SimpleNamespace
from typing import Any

import pytest

from gossip.site import VALID_FOR_MAX_S, SiteStatus, read_status, sign_status
from gossip.site_service import Clocks, Disk, SiteService
from peer.core.identity import GroupId, PeerId
from peer.core.neighbours import Told
from tests.samples import key_pair

GROUP = GroupId(b"g" * 32)
ME, BOB = key_pair("me"), key_pair("bob")
MEMBERS_BEYOND_A_DAY = 50_000


class Links:
    """One link, to Bob; remembers what was told over it."""

    def __init__(self) -> None:
        self.told = asyncio.Queue[Told]()

    def group_peers(self, _group: GroupId) -> list[PeerId]:
        return [BOB.peer_id]

    def tell_sites(self, _peer: PeerId, _group: GroupId, entries: Told) -> None:
        self.told.put_nowait(entries)


async def first_told(members: int, clock_ms: int, *, heard: bytes = b"") -> SiteStatus:
    """What Bob is told first in a group with so many members, after he told something himself."""
    links = Links()
    everybody = dict.fromkeys([ME.peer_id, BOB.peer_id, *(PeerId(number.to_bytes(32, "big")) for number in range(members - 2))])
    replica: Any = SimpleNamespace(groups={GROUP: SimpleNamespace(roster=SimpleNamespace(members=everybody), tips={})})
    service = SiteService(ME, "1.0", replica, lambda: links, lambda: Disk(5, 10), Clocks(lambda: 0, lambda: clock_ms))
    if heard:
        service.hear_sites(BOB.peer_id, GROUP, [(heard, 0)])
    task = asyncio.create_task(service.run())
    try:
        async with asyncio.timeout(20):
            ((data, _),) = await links.told.get()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    return read_status(data).status


@pytest.mark.parametrize(("members", "valid_for_s"), [(2, 60), (1000, 1800), (MEMBERS_BEYOND_A_DAY, VALID_FOR_MAX_S)])
async def test_no_group_is_too_large_for_a_status(members: int, valid_for_s: int) -> None:
    """Else one admin with many keys would end all peers of a group."""
    assert (await first_told(members, 1000)).valid_for_s == valid_for_s


async def test_after_its_clock_was_put_back_a_site_goes_above_what_it_said_before() -> None:
    before = await first_told(2, 10**12)

    assert (await first_told(2, 1000, heard=sign_status(ME, before).data)).seq == before.seq + 1
