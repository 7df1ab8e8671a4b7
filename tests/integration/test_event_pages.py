"""The history of a group, page by page: whole, whatever else is in the store and however large the events are."""

from pathlib import Path

from peer.core.encoding import encode
from peer.core.event import BODY_SIZE_MAX
from peer.core.run import Draft
from peer.operations.events import Events
from tests.integration.store_site import running_store
from tests.samples import GROUP, SampleLog, genesis

LARGE = Draft("test.large", encode({"data": bytes(BODY_SIZE_MAX - 32)}))
COUNT = 120
"""More bytes than one read from the store brings."""


async def test_a_page_holds_as_many_events_as_were_asked_for_however_large(tmp_path: Path) -> None:
    """Events of another group lie in between; the next page begins where this one ended."""
    other = genesis("bob", name="other")
    log, stranger = SampleLog("alice"), SampleLog("bob", other.group)
    async with running_store(tmp_path / "site") as store:
        for group in (genesis(), other):
            await store.create_group(group)
        for _ in range(COUNT):
            await store.append(log.certificate, log.write(LARGE))
            await store.append(stranger.certificate, stranger.write_notes(1))
        events = Events(store, store.replica)

        first = await events.page(GROUP.hex(), 0, COUNT - 1)
        rest = await events.page(GROUP.hex(), first.next, COUNT)

    assert [event["seq"] for event in first.events + rest.events] == list(range(COUNT))
    assert len(first.events) == COUNT - 1
