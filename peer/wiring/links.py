"""What links ask of the rest of the peer."""

from collections.abc import Callable, Mapping
from contextlib import suppress

from gossip.record import read_record
from gossip.service import GossipService
from peer.api.services import AuditService
from peer.config import Config
from peer.core.group import Invitation
from peer.core.identity import GroupId, PeerId
from peer.core.relaying import WantedPart
from peer.errors import RecordInvalidError
from peer.logs import get_log
from peer.operations.joining import Joining, genesis_of
from peer.transport.callers import CallerParts, Callers
from peer.transport.channel import ChannelRules
from peer.transport.connection import now_ms as link_time_ms
from peer.transport.link_parts import LinkParts
from peer.transport.pace import Pace
from peer.wiring.belonging import Belonging
from peer.wiring.core import Core
from peer.wiring.mesh_addresses import Meshing
from peer.wiring.relaying import Serving
from resolver.manual import ManualPeerResolver

SHORT_DIGITS = 8
_log = get_log("node")


def make_link_parts(
    core: Core,
    config: Config,
    parts: tuple[ManualPeerResolver, list[Joining], Belonging],
    around: tuple[GossipService, Meshing],
    later: Callable[[], tuple[Serving, AuditService]],
) -> LinkParts:
    """What links ask of the rest; what stands in the list is made later than this, and so is what serves bytes, and the audit log."""
    (manual, joining, belonging), (gossip, mesh) = parts, around

    async def decide_join(group: GroupId, key: bytes, peer: PeerId, its_name: str) -> None:
        await joining[0].decide(group, key, peer, its_name)

    async def open_group(invitation: Invitation, data: bytes) -> None:
        await core.store.create_group(genesis_of(invitation, data))
        # Nobody is told yet: a second link to the same peer, while the first one is still joining, would end one of them.
        await manual.remember(invitation.member, invitation.member.hex()[:SHORT_DIGITS], invitation.endpoint, invitation.group, tell=False)

    def endpoints_in(peer: PeerId, data: bytes) -> tuple[str, ...]:
        with suppress(RecordInvalidError):
            theirs = read_record(data).record
            if theirs.peer == peer:
                return theirs.endpoints
        return ()

    async def read_blob(peer: PeerId, part: WantedPart) -> bytes | None:
        return await later()[0].read(peer, part)

    def write(entry: Mapping[str, object]) -> None:
        later()[1].write(entry)

    def is_member(peer: PeerId) -> bool:
        replica = core.store.replica
        return any(replica.shares(group, peer) for group in replica.groups)

    def report(event: str, error: Exception) -> None:
        _log.error(event, exc_info=error)

    return LinkParts(
        core.key,
        config.name,
        lambda: core.store.incarnation,
        core.store,
        core.store.replica,
        decide_join,
        open_group,
        read_blob,
        report,
        gossip.record,
        endpoints_in,
        Pace(config.peer_events_per_second, config.peer_bytes_per_second, link_time_ms),
        ChannelRules(config.wireguard_networks, config.proxy_addresses, config.proxy_keys, config.hint_networks, lambda: mesh.watch.current),
        peer_timeout_s=config.peer_timeout,
        take_offer=belonging.acquaintance.take_offer,
        neighbours=gossip,
        callers=Callers(CallerParts(mesh.watch, config.tailscale.rule, write, is_member, report)),
    )
