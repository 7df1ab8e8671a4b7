"""The use cases, put together for the admin API."""

from functools import partial
from pathlib import Path

from gossip.service import GossipService
from gossip.site_service import SiteService
from materializer.agreement import Agreement
from materializer.summaries import Summaries
from peer import __version__
from peer.api.services import Services
from peer.blobs.transfer import Fetcher
from peer.config import Config
from peer.core.identity import EventId, GroupId
from peer.hub.administration import HubAdministration
from peer.operations.adding import Adding
from peer.operations.copies import Copies
from peer.operations.counting import Counting
from peer.operations.dropping import Dropping
from peer.operations.drops import Drops
from peer.operations.editing import Editing
from peer.operations.events import Events
from peer.operations.exporting import Exporting
from peer.operations.fetching import Fetching
from peer.operations.finding import Finding
from peer.operations.groups import Groups
from peer.operations.joining import Joining
from peer.operations.machines import Machines
from peer.operations.messages import Messages
from peer.operations.naming import Naming
from peer.operations.paths import ServerPaths
from peer.operations.peers import Peers
from peer.operations.policies import Policies
from peer.operations.rates import Rates
from peer.operations.reconciling import Reconciling, Surroundings
from peer.operations.recordings import Recordings
from peer.operations.recovering import Recovering
from peer.operations.retaining import Retaining
from peer.operations.retention import Retention, SteadyClock
from peer.operations.showing import Showing
from peer.operations.site import Site, SiteParts
from peer.operations.streaming import Streaming
from peer.operations.tokens import Tokens
from peer.operations.transfers import Transfers
from peer.operations.wishing import Asked
from peer.store.audit import AuditFile
from peer.store.directory import DataDirectory
from peer.store.recovery import reports
from peer.store.tokens import TokenFile, read_own_token
from peer.store.watches import WatchStore
from peer.transport.links import PeerLinks
from peer.transport.reaching import reach, resync
from peer.wiring.belonging import Belonging
from peer.wiring.checking import make_backups, make_verification
from peer.wiring.copies import CopyKeeping
from peer.wiring.core import Core, report
from peer.wiring.ingesting import make_ingest
from peer.wiring.mesh_addresses import Meshing
from peer.wiring.networking import make_network
from peer.wiring.relaying import Serving
from resolver.composite import CompositePeerResolver
from resolver.manual import ManualPeerResolver

Neighbourhood = tuple[PeerLinks, SiteService, GossipService, HubAdministration, Agreement, Meshing]
Addresses = tuple[ManualPeerResolver, CompositePeerResolver, Belonging]
Movers = tuple[Fetcher, Fetching, Asked, Policies, Showing, Surroundings, Serving, WatchStore, CopyKeeping]


def make_services(
    directory: DataDirectory, config: Config, core: Core, neighbourhood: Neighbourhood, addresses: Addresses, movers: Movers
) -> Services:
    """The use cases, put together."""
    (manual, resolver, belonging), (links, _, _, hub, _, mesh) = addresses, neighbourhood
    _, fetching, asked, policies, showing, surroundings, serving, watches, copies = movers
    me, store, replica, views = core.key.peer_id, core.store, core.store.replica, core.views
    adding = Adding(Naming(me, views, lambda: store.position), store, replica, core.blobs, views, showing.now)
    adding.make_room = copies.room.make
    finding = Finding(me, replica, core.blobs, Summaries(core.database), views, copies.dropping.is_unproven)
    retention = Retention(views, lambda: store.position, SteadyClock())
    recordings = Recordings(finding, views, adding, partial(_ask, asked, fetching, copies.dropping), retention)
    editing = Editing(me, store, replica, views, recordings, retention.may_remove, site=config.name)
    transfers = Transfers(fetching, lambda: [transfer.to_json() for transfer in movers[0].transfers], serving.bandwidth, (replica, finding.named))
    drops = Drops(copies.dropping, recordings)
    looked_at = transfers, Copies(finding, views, core.blobs), drops
    events = Events(store, replica)
    site = Site(_site_parts(directory, config, core, neighbourhood, addresses, movers, looked_at))
    return Services(
        site,
        Groups(me, config.name, (store, replica, views), partial(resync, links)),
        Joining(core.key, store, replica, lambda: links, manual),
        *belonging[:-1],
        Peers(me, (replica, resolver, links, partial(reach, links)), belonging.acquaintance),
        events,
        recordings,
        editing,
        Retaining(editing, retention),
        Machines(me, store, replica, views),
        *_guards(directory, config),
        make_backups(directory),
        hub,
        *make_ingest(core, (directory, config, watches), (adding, recordings), showing.now),
        policies,
        transfers,
        *make_network(config, me, replica, mesh.watch, (links, resolver)),
        *_reading(recordings, serving),
        *_bags(directory, core, adding, recordings, config.disk.floor_bytes),
        Reconciling(surroundings, recordings.find),
        drops,
        Counting(site.status, (fetching, serving.bandwidth, copies.room, copies.collecting)),
        Streaming(store, lambda: store.position, events.describe, {"transfers": transfers.shown, "links": lambda: list(links.links())}),
    )


async def _ask(asked: Asked, fetching: Fetching, dropping: Dropping, group: GroupId, recording: EventId) -> None:
    """Bring the bytes of a recording here, whatever else is decided about them."""
    await dropping.lift(group, recording)
    await asked.ask(group, recording)
    await fetching.asked(group, recording)


def _site_parts(  # noqa: PLR0913, PLR0917  (all that can be looked at)
    directory: DataDirectory,
    config: Config,
    core: Core,
    neighbourhood: Neighbourhood,
    addresses: Addresses,
    movers: Movers,
    looked_at: tuple[Transfers, Copies, Drops],
) -> SiteParts:
    """What there is to be looked at."""
    (_, resolver, belonging), (links, sites, gossip, hub, agreement, mesh) = addresses, neighbourhood
    (transfers, copies, drops), (fetcher, fetching, _, policies, _, _, serving, *_) = looked_at, movers
    me, store = core.key.peer_id, core.store
    return SiteParts(
        me,
        config.name,
        __version__,
        directory.blobs,
        config.disk.floor_bytes,
        config.disk.quota_bytes or None,
        store.replica,
        core.views,
        links,
        fetching,
        make_verification(directory, me, core.blobs),
        store.counts,
        lambda: store.failure,
        transfers.shown,
        resolver.states,
        core.materializer.rebuild,
        lambda: [
            *(each.problem for each in reports(directory)),
            *filter(None, [core.blobs.soundness.problem]),
            *filter(None, [core.materializer.problem, mesh.addresses.problem]),
            *links.callers.problems(),
            *policies.problems(),
            *fetcher.problems(),
            *drops.problems(),
            *transfers.problems(),
            *movers[-1].unread.problems(),
        ],
        store.health,
        belonging.acquaintance.pending,
        belonging.acquaintance.conflicts,
        sites.seen,
        gossip,
        serving.cache,
        hub.summary,
        agreement.differences,
        copies,
        lambda: core.materializer.rebuilding,
    )


def _guards(directory: DataDirectory, config: Config) -> tuple[Tokens, AuditFile, ServerPaths]:
    """What stands between callers and the use cases."""
    tokens = Tokens(read_own_token(directory.token_file), TokenFile(directory.tokens))
    paths = ServerPaths([Path(folder) for folder in config.ingest_folders], directory.root)
    return tokens, AuditFile(directory.audit_log, report), paths


def _bags(directory: DataDirectory, core: Core, adding: Adding, recordings: Recordings, floor: int) -> tuple[Recovering, Exporting]:
    """What goes around recorders and players."""
    recovering = Recovering(adding, directory.recovering, f"recmesh {__version__}", floor)
    return recovering, Exporting(recordings, core.blobs, directory.root)


def _reading(recordings: Recordings, serving: Serving) -> tuple[Messages, Rates]:
    """What reads messages."""
    messages = Messages(recordings.find, serving.open_bytes, __version__)
    return messages, Rates(recordings.find, messages.times)
