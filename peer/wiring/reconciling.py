"""Reconciling, put together."""

from materializer.files import RecordingTree
from peer.blobs.mending import Mending
from peer.blobs.probing import Prober
from peer.core.identity import BlobId, GroupId, PeerId
from peer.operations.fetching import Fetching
from peer.operations.finding import SHORT_DIGITS
from peer.operations.provenance import Provenance
from peer.operations.reconciling import Surroundings
from peer.operations.repairing import Repairing
from peer.operations.showing import Showing
from peer.transport.blob_sources import BlobSources
from peer.wiring.copies import CopyKeeping
from peer.wiring.core import Core


def make_surroundings(
    core: Core, tree: RecordingTree, sources: BlobSources, repairing: Repairing, others: tuple[Fetching, Showing, CopyKeeping]
) -> Surroundings:
    """What reconciling works with. Damage that somebody comes upon lets the movers among `others` look at everything again."""
    fetching, showing, copies = others
    replica = core.store.replica

    def name_of(group: GroupId, peer: PeerId) -> str:
        member = replica.groups[group].roster.members.get(peer)
        return member.name if member else peer.hex()[:SHORT_DIGITS]

    def look_again(_blob: BlobId) -> None:
        fetching.touched(frozenset())
        showing.touched(frozenset())

    core.blobs.found_damaged = look_again
    prober = Prober(core.blobs, sources.holders, sources.doubt)
    may_give = Provenance(core.key.peer_id, replica, core.views, core.blobs).may_give
    bytes_here = (core.blobs, Mending(core.blobs))
    return Surroundings(
        core.key.peer_id,
        core.store,
        replica,
        core.views,
        *bytes_here,
        tree,
        prober,
        repairing,
        fetching.touched,
        name_of,
        may_give,
        copies.custody.is_releasing,
        copies.dropping.writing,
    )
