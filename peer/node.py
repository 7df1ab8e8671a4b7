"""The composition root: the one module that knows every package, and puts a peer together from them.

Starts from the inside out (log, projections, bytes, links, admin API) and stops in the opposite order, so that nothing is asked of what is gone and
everything that waits to be written becomes durable.
"""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from ipaddress import ip_network
from pathlib import Path
from typing import NamedTuple

from gossip.record import VALID_FOR_MAX_S, PeerRecord, Reachability, read_record, sign_record
from materializer.files import RecordingTree
from materializer.queries import Projections
from materializer.runner import Materializer
from peer import __version__
from peer.api.server import listening, make_app
from peer.api.services import MembershipService, Services
from peer.belonging import Belonging, make_belonging, open_book
from peer.blobs.store import FileBlobStore
from peer.blobs.transfer import Fetcher
from peer.checking import make_backups, make_verification
from peer.config import Config, load_config
from peer.core.endpoint import LOOPBACK_NETWORKS, may_be_dialled_plain
from peer.core.group import Invitation
from peer.core.identity import BlobId, GroupId, KeyPair, PeerId
from peer.errors import MeshError, RecordInvalidError, StoreCorruptError
from peer.logs import get_log, set_up_logs
from peer.one_error import one_error
from peer.operations.adding import Adding
from peer.operations.editing import Editing
from peer.operations.events import Events
from peer.operations.fetching import Fetching
from peer.operations.groups import Groups
from peer.operations.joining import Joining, genesis_of
from peer.operations.paths import ServerPaths
from peer.operations.peers import Peers
from peer.operations.recordings import Recordings
from peer.operations.showing import Showing
from peer.operations.site import Site, SiteParts
from peer.operations.tokens import Tokens
from peer.store.audit import AuditFile
from peer.store.database import Database, open_database, remove_database
from peer.store.directory import DataDirectory, write_durably
from peer.store.events import SqliteEventStore, opened_event_store
from peer.store.keys import GROUP_CHARACTERS, KeyFiles
from peer.store.recovery import recover, reports
from peer.store.tokens import TokenFile, read_own_token
from peer.store.upkeep import Upkeep
from peer.transport.blob_routes import BlobRoutes
from peer.transport.blob_sources import BlobSources
from peer.transport.channel import ChannelRules
from peer.transport.connection import now_ms as link_time_ms
from peer.transport.door import Crowding
from peer.transport.forms import FormRoutes
from peer.transport.link_parts import LinkParts
from peer.transport.links import PeerLinks
from peer.transport.listener import PeerListener
from peer.transport.pace import Pace
from peer.transport.pinning import pinned
from peer.transport.reaching import part_from, reach, resync
from peer.transport.signatures import RequestVerifier
from peer.transport.tls import ServerTls, operator_tls, own_tls
from resolver.composite import CompositePeerResolver
from resolver.manual import ManualPeerResolver

ADDRESS_FILE = "admin.address"
FREE_FLOOR_BYTES = 256 * 1024 * 1024
"""The disk is never filled further than this by bytes from elsewhere."""

REPAIRS_MAX = 2
"""How often one run of a peer replaces a database that turned out to be damaged."""

SHORT_DIGITS = 8
_log = get_log("node")


class Core(NamedTuple):
    """What works without a network: log, projections, bytes."""

    key: KeyPair
    store: SqliteEventStore
    views: Projections
    materializer: Materializer
    blobs: FileBlobStore


def now_ms() -> int:
    """Unix time."""
    return time.time_ns() // 1_000_000


async def serve(root: Path, ready: Callable[[dict[str, str]], None]) -> None:
    """Run the peer of the data directory `root` until SIGTERM or SIGINT. `ready` is called once it answers."""
    directory = DataDirectory(root)
    directory.open()
    config = load_config(root)
    set_up_logs(config.log_level, config.log_format)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    damage: MeshError | None = None
    repairs = 0
    with directory.lock():
        while not stop.is_set():
            try:
                with one_error():
                    async with running(directory, config, damage) as site:
                        ready(site)
                        ready = _say_nothing
                        await stop.wait()
            except StoreCorruptError as error:
                repairs += 1
                if repairs > REPAIRS_MAX:
                    raise  # This machine cannot be relied on.
                _log.warning("a database turned out to be damaged: the peer begins anew", error=error.text)
                damage = None if str(directory.views_database) in error.text else error
                if damage is None:
                    remove_database(directory.views_database)


def _say_nothing(_: dict[str, str]) -> None:
    """It was said before."""


@asynccontextmanager
async def running(directory: DataDirectory, config: Config, damage: MeshError | None = None) -> AsyncIterator[dict[str, str]]:
    """A whole peer; gives its id and addresses. The directory is locked by whoever calls. Raises exception groups.

    `damage` is what was found wrong with `log.db` when it was open last.
    """
    async with opened_core(directory, damage) as core, asyncio.TaskGroup() as tasks, AsyncExitStack() as stack:
        upkeep = Upkeep(directory, core.store)
        manual = await open_book(core.store, upkeep.keeper)
        resolver = CompositePeerResolver([manual])
        joining: list[Joining] = []
        belonging = make_belonging(core.key.peer_id, (core.store, core.views, manual), lambda: links, now_ms, _report)
        links = PeerLinks(_link_parts(core, config, (manual, joining, belonging), lambda: links))
        sources = BlobSources(core.key, links)
        stack.push_async_callback(sources.close)
        replica = core.store.replica
        tree = RecordingTree(directory.recordings, core.blobs, core.views, core.store.replica.whole)
        showing = Showing(tree, replica, lambda event, fields: _log.warning(event, **fields))
        fetcher = Fetcher(core.blobs)
        stack.callback(fetcher.close)
        fetching = Fetching(
            fetcher,
            core.blobs,
            core.store.replica,
            core.views,
            sources.of_group,
            everything=config.fetch == "all",
            arrived=lambda group, recording: showing.touched({(group, recording)}),
            report=lambda event, fields: _log.debug(event, **fields),
        )
        services = _services(directory, config, core, links, (manual, resolver, belonging), (fetcher, fetching, showing))
        joining.append(services.joining)  # type: ignore[arg-type]
        listen = await _start_listener(stack, core, config, links, services.membership)
        app = make_app(services, host=config.admin_address.host, version=__version__, report=_report)
        admin = await stack.enter_async_context(listening(app, *config.admin_address))
        write_durably(directory.root / ADDRESS_FILE, f"{admin}\n".encode())
        stack.callback((directory.root / ADDRESS_FILE).unlink, missing_ok=True)
        core.store.learn_first(links.own_events_learned)
        links_task = tasks.create_task(links.run())
        await asyncio.sleep(0)
        links.set_targets(resolver.peers())
        stack.callback(resolver.subscribe(lambda: links.set_targets(resolver.peers())))
        stack.callback(core.materializer.subscribe(fetching.touched))
        stack.callback(core.materializer.subscribe(showing.touched))
        background = [
            tasks.create_task(fetching.run()),
            tasks.create_task(showing.run()),
            tasks.create_task(_follow_links(links, fetching, resolver)),
            tasks.create_task(upkeep.run()),
            tasks.create_task(belonging.leaving.run()),
            links_task,
        ]
        fetching.touched(frozenset())
        stack.push_async_callback(_stop, background)
        yield {"peer_id": core.key.peer_id.hex(), "name": config.name, "listen": listen, "admin": admin}


@asynccontextmanager
async def opened_core(directory: DataDirectory, damage: MeshError | None = None) -> AsyncIterator[Core]:
    """Log, projections and bytes of a directory that the caller has locked."""
    keys = KeyFiles(directory.keys)
    key = keys.peer_key()
    await recover(directory, key, lambda event, fields: _log.warning(event, **fields), damage)
    async with AsyncExitStack() as stack:
        log = await stack.enter_async_context(await open_database(directory.log_database, "log", backups=directory.backups))
        store = await stack.enter_async_context(opened_event_store(log, keys, key, now_ms))
        lost = keys.log_key_files().keys() - {group.hex()[:GROUP_CHARACTERS] for group in store.replica.whole.groups}
        if lost:
            _log.warning("log.db knows nothing of groups that this peer has written in: put it back, or join them again", groups=sorted(lost))
        views = await stack.enter_async_context(await _open_views(directory))
        materializer = Materializer(views, store, store.replica.whole)
        blobs = FileBlobStore(directory.blobs, free_floor=FREE_FLOOR_BYTES)
        stack.callback(blobs.close)
        await materializer.start()
        async with asyncio.TaskGroup() as tasks:
            projecting = tasks.create_task(materializer.run())
            try:
                await materializer.reached(store.position)
                projections = Projections(views, materializer)
                if blobs.has_leftovers:
                    await _sweep(blobs, projections, store.replica.groups)
                yield Core(key, store, projections, materializer, blobs)
            finally:
                projecting.cancel()


async def _sweep(blobs: FileBlobStore, views: Projections, groups: Iterable[GroupId]) -> None:
    """Delete what a crash left half-written, except downloads that go on."""
    wanted = [file for group in list(groups) for file in await views.wanted_blobs(group)]
    await blobs.sweep({blob for file in wanted for blob in (file.blob, file.pieces)})


def _services(
    directory: DataDirectory,
    config: Config,
    core: Core,
    links: PeerLinks,
    addresses: tuple[ManualPeerResolver, CompositePeerResolver, Belonging],
    movers: tuple[Fetcher, Fetching, Showing],
) -> Services:
    """The use cases, put together."""
    (manual, resolver, belonging), (fetcher, fetching, showing) = addresses, movers
    me, store, replica, views = core.key.peer_id, core.store, core.store.replica, core.views
    verification = make_verification(directory, me, core.blobs)
    site = SiteParts(
        me,
        config.name,
        __version__,
        directory.blobs,
        FREE_FLOOR_BYTES,
        replica,
        views,
        links,
        fetching,
        verification,
        store.counts,
        lambda: store.failure,
        lambda: [transfer.to_json() for transfer in fetcher.transfers],
        resolver.states,
        core.materializer.rebuild,
        lambda: [each.problem for each in reports(directory)],
        store.health,
        belonging.acquaintance.pending,
        belonging.acquaintance.conflicts,
    )
    adding = Adding(me, store, replica, core.blobs, views, showing.now)
    recordings = Recordings(me, replica, core.blobs, views, adding, fetching.request)
    return Services(
        Site(site),
        Groups(me, config.name, (store, replica, views), partial(resync, links)),
        Joining(core.key, store, replica, lambda: links, manual),
        *belonging[:-1],
        Peers(me, (replica, resolver, links, partial(reach, links)), belonging.acquaintance),
        Events(store, replica),
        recordings,
        Editing(me, store, replica, views, recordings),
        Tokens(read_own_token(directory.token_file), TokenFile(directory.tokens)),
        AuditFile(directory.audit_log, _report),
        ServerPaths([Path(folder) for folder in config.ingest_folders], directory.root),
        make_backups(directory),
    )


def _report(event: str, error: BaseException) -> None:
    _log.error(event, exc_info=error)


def _link_parts(core: Core, config: Config, parts: tuple[ManualPeerResolver, list[Joining], Belonging], links: Callable[[], PeerLinks]) -> LinkParts:
    """What links ask of the rest; `links` and what stands in the list are made later than this."""
    manual, joining, belonging = parts

    async def decide_join(group: GroupId, key: bytes, peer: PeerId, its_name: str) -> None:
        await joining[0].decide(group, key, peer, its_name)

    async def open_group(invitation: Invitation, data: bytes) -> None:
        await core.store.create_group(genesis_of(invitation, data))
        # Nobody is told yet: a second link to the same peer, while the first one is still joining, would end one of them.
        await manual.remember(invitation.member, invitation.member.hex()[:SHORT_DIGITS], invitation.endpoint, invitation.group, tell=False)

    async def read_blob(group: GroupId, blob: BlobId, start: int, size: int) -> bytes | None:
        return await core.blobs.read(blob, start, size) if await core.views.has_blob(group, blob) else None

    def record() -> bytes:
        endpoint = links().endpoint
        endpoints = (endpoint,) if endpoint else ()
        reachability = Reachability.UNKNOWN if endpoint else Reachability.OUTBOUND_ONLY
        try:
            return sign_record(core.key, PeerRecord(core.key.peer_id, now_ms(), endpoints, reachability, VALID_FOR_MAX_S)).data
        except RecordInvalidError:
            return b""  # An endpoint that others would not take: they are told nothing.

    def endpoints_in(peer: PeerId, data: bytes) -> tuple[str, ...]:
        with suppress(RecordInvalidError):
            theirs = read_record(data).record
            if theirs.peer == peer:
                return theirs.endpoints
        return ()

    return LinkParts(
        core.key,
        config.name,
        lambda: core.store.incarnation,
        core.store,
        core.store.replica,
        decide_join,
        open_group,
        read_blob,
        lambda event, error: _log.error(event, exc_info=error),
        record,
        endpoints_in,
        Pace(config.peer_events_per_second, config.peer_bytes_per_second, link_time_ms),
        ChannelRules(config.wireguard_networks, config.proxy_addresses, config.proxy_keys),
        take_offer=belonging.acquaintance.take_offer,
    )


async def _start_listener(stack: AsyncExitStack, core: Core, config: Config, links: PeerLinks, members: MembershipService) -> str:
    """Let others dial us, unless this site only dials out; where, to show."""
    address = config.listen_address
    if address is None:
        return "none"
    tls = _listener_tls(core.key, config)
    listener = PeerListener(links, address.host, address.port, tls=tls, rules=links.channel_rules, crowding=_crowding(config))
    verifier = RequestVerifier(core.key.peer_id)
    blobs = BlobRoutes(core.store.replica, core.blobs, core.views.has_blob, verifier)
    forms = FormRoutes(links, lambda group, peer: members.remove(group.hex(), peer.hex(), since_ms=None, dry_run=False), verifier)
    url = await listener.start([*blobs.routes(), *forms.routes()])
    stack.push_async_callback(listener.stop)
    shown = tls.channel_key if tls else next(iter(config.proxy_keys), None)
    links.endpoint = pinned(config.advertise[0] if config.advertise else url, core.key.peer_id, shown)
    return url


def _crowding(config: Config) -> Crowding:
    """Who may have how many connections; what proxies bring is from many."""
    proxies = [ip_network(each) for each in config.proxy_addresses]
    if config.proxy_keys and not proxies:
        proxies = [ip_network(each) for each in LOOPBACK_NETWORKS]
    return Crowding(config.connections_per_address, (*config.exempt_networks, *proxies))


def _listener_tls(key: KeyPair, config: Config) -> ServerTls | None:
    """None where plain HTTP is protected, or what comes is from a proxy: connections that are neither are refused one by one."""
    if config.tls_cert:
        return operator_tls(Path(config.tls_cert), Path(config.tls_key))
    assert config.listen_address is not None
    host = config.listen_address.host
    if config.proxy_keys or config.listen_address.is_loopback or may_be_dialled_plain(host, config.wireguard_networks):
        return None
    return own_tls(key)


async def _open_views(directory: DataDirectory) -> Database:
    """`views.db`; one that is damaged or newer is thrown away, since it is computed again."""
    try:
        return await open_database(directory.views_database, "views", synchronous="NORMAL")
    except StoreCorruptError as error:
        _log.warning("the projections are damaged and are computed again", error=error.text)
        remove_database(directory.views_database)
        return await open_database(directory.views_database, "views", synchronous="NORMAL")


async def _follow_links(links: PeerLinks, fetching: Fetching, resolver: CompositePeerResolver) -> None:
    def part() -> None:
        part_from(links, [each.peer for each in resolver.peers() if each.paused])

    end = resolver.subscribe(part)
    try:
        while True:
            await links.changed()
            part()
            fetching.links_changed()
    finally:
        end()


async def _stop(background: list["asyncio.Task[None]"]) -> None:
    for task in background:
        task.cancel()
    await asyncio.wait(background)
