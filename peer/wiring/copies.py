"""The copies of this site and of others, put together: what is said of them, proven, promised and dropped."""

from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import NamedTuple

from materializer.holding import Holding
from peer.config import Config
from peer.core.identity import EventId, GroupId, PeerId
from peer.logs import get_log
from peer.operations.collecting import Collecting
from peer.operations.custody import Around, Asking, Custody, CustodyParts
from peer.operations.dropping import Dropping
from peer.operations.provenance import Provenance
from peer.operations.receipting import Receipting, ReceiptParts
from peer.operations.retention import Retention, SteadyClock
from peer.operations.room import Room
from peer.store.custody import PROMISES, CustodyStore
from peer.store.directory import DataDirectory
from peer.store.unread import UnreadRows
from peer.transport.links import PeerLinks
from peer.transport.possession import PossessionLinks
from peer.wiring.bytes_database import BytesDatabase, open_bytes_database
from peer.wiring.core import Core
from peer.wiring.room import make_collecting, make_room

SHORT_DIGITS = 8
_log = get_log("node")


class CopyKeeping(NamedTuple):
    """What has to do with copies."""

    custody: Custody
    dropping: Dropping
    receipting: Receipting
    room: Room
    collecting: Collecting
    unread: UnreadRows
    """What is remembered of bytes, and cannot be read."""

    def work(self) -> list[Callable[[], Coroutine[None, None, None]]]:
        """What goes on for as long as the peer runs."""
        return [self.custody.run, self.dropping.run, self.receipting.run, self.room.run, self.collecting.run]

    def arrived(self, group: GroupId, recording: EventId) -> None:
        """Bytes of a recording came."""
        self.receipting.touched({(group, recording)})
        self.dropping.arrived(group, recording)


async def make_copies(
    stack: AsyncExitStack, directory: DataDirectory, config: Config, core: Core, links: Callable[[], PeerLinks]
) -> tuple[BytesDatabase, CopyKeeping]:
    """With the database of what this site alone knows of bytes. `links` gives the links, which are made later.

    What a crash interrupted is brought to its end before this returns.
    """
    local = await open_bytes_database(stack, directory)
    me, store, replica, views = core.key.peer_id, core.store, core.store.replica, core.views
    memory, said = CustodyStore(local.database, local.unread), Holding(core.database)
    provenance = Provenance(me, replica, views, core.blobs)
    asking: Asking = PossessionLinks(links)
    parts = CustodyParts(me, replica, views, views, said, core.blobs, provenance, asking, memory)
    custody = Custody(parts, await memory.all())
    retention = Retention(views, lambda: store.position, SteadyClock())

    def name_of(group: GroupId, peer: PeerId) -> str:
        member = replica.groups[group].roster.members.get(peer) if group in replica.groups else None
        return member.name if member else peer.hex()[:SHORT_DIGITS]

    dropping = Dropping(parts, custody, store, lambda: store.position, Around(retention.may_drop, name_of))
    lost = local.is_new or local.unread.has(PROMISES)
    await dropping.load(promises_lost=lost and (await core.blobs.usage()).blobs > 0)
    await dropping.resume()
    stack.push_async_callback(dropping.close)
    receipts = ReceiptParts(
        me,
        store,
        replica,
        views,
        said,
        core.blobs,
        custody.is_releasing,
        provenance.may_give,
        dropping.writing,
        lambda: store.position,
        lambda event, fields: _log.warning(event, **fields),
    )
    receipting = Receipting(receipts, config.receipt_delay)
    dropping.ended = lambda group, recording: receipting.touched({(group, recording)})
    stack.callback(core.materializer.subscribe(receipting.touched))
    return local, CopyKeeping(custody, dropping, receipting, make_room(core, dropping), make_collecting(core, retention), local.unread)
