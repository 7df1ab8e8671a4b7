"""Events that name each other, written in one go: all of them or none."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from peer.core.certificate import LogKind
from peer.core.identity import EventId
from peer.core.run import RUN_EVENTS_MAX, Draft
from peer.errors import RequestError
from tests.integration.store_site import running_store
from tests.samples import GROUP, genesis


async def test_later_events_name_earlier_ones_of_the_same_write(tmp_path: Path) -> None:
    """More of them than one signature may cover, in one transaction all the same."""
    many = RUN_EVENTS_MAX + 10

    def parts(written: Sequence[EventId]) -> list[Draft]:
        return [Draft("part", written[0] + bytes([number % 256])) for number in range(many)]

    def end(written: Sequence[EventId]) -> list[Draft]:
        return [Draft("end", b"".join(written[1:4]))]

    async with running_store(tmp_path / "data") as store:
        await store.create_group(genesis())
        before = store.transactions
        events = await store.write(GROUP, LogKind.DATA, [Draft("begin", b"")], [parts, end])
        transactions = store.transactions - before

    ids = [entry.event.id for entry in events]
    assert transactions == 1
    assert len(events) == many + 2
    assert all(entry.event.body[:32] == ids[0] for entry in events[1:-1])
    assert events[-1].event.body == b"".join(ids[1:4])
    assert [entry.event.header.seq for entry in events] == list(range(many + 2))


async def test_if_what_comes_later_cannot_be_written_nothing_is(tmp_path: Path) -> None:
    def refuse(_: Sequence[EventId]) -> list[Draft]:
        raise RequestError("this does not fit an event")

    async with running_store(tmp_path / "data") as store:
        await store.create_group(genesis())
        with pytest.raises(RequestError, match="does not fit"):
            await store.write(GROUP, LogKind.DATA, [Draft("begin", b"")], [refuse])

        assert await store.events_after(0, 10) == ()
        (after,) = await store.write(GROUP, LogKind.DATA, [Draft("begin", b"")])

    assert after.event.header.seq == 0
