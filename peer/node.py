"""The composition root: the one module that knows every package, and puts a peer together from them.

Starts from the inside out (log, projections, bytes, links, admin API) and stops in the opposite order, so that nothing is asked of what is gone and
everything that waits to be written becomes durable.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from peer import __version__
from peer.api.server import listening, make_app
from peer.api.services import Services
from peer.config import Config, load_config
from peer.errors import DiskFullError, MeshError, StoreCorruptError
from peer.logs import get_log, set_up_logs
from peer.one_error import one_error
from peer.operations.joining import Joining
from peer.store.database import remove_database
from peer.store.directory import DataDirectory, is_disk_full, write_durably
from peer.store.full_disk import LOOK_FOR_ROOM_S
from peer.store.upkeep import Upkeep
from peer.transport.blob_sources import BlobSources
from peer.transport.links import PeerLinks
from peer.transport.reaching import part_from
from peer.wiring.belonging import make_belonging
from peer.wiring.choosing import Choosing
from peer.wiring.copies import make_copies
from peer.wiring.core import now_ms, opened_core, report
from peer.wiring.fetching import make_movers
from peer.wiring.gossiping import make_gossip
from peer.wiring.hub_source import HubSourceParts, follow_hub
from peer.wiring.hubbing import make_administration, open_hub
from peer.wiring.ingesting import open_watches
from peer.wiring.lasting import lasting
from peer.wiring.links import make_link_parts
from peer.wiring.listening import start_listener
from peer.wiring.mesh_addresses import make_mesh
from peer.wiring.neighbourhood import make_agreement, make_placing, make_site_service
from peer.wiring.relaying import make_serving
from peer.wiring.resolving import make_resolving
from peer.wiring.services import make_services
from resolver.composite import CompositePeerResolver

ADDRESS_FILE = "admin.address"
REPAIRS_MAX = 2
"""How often one run of a peer replaces a database that turned out to be damaged."""

_log = get_log("node")


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
    repairs, is_full = 0, False
    with directory.lock():
        while not stop.is_set():
            try:
                with one_error():
                    async with running(directory, config, damage) as site:
                        is_full = False
                        ready(site)
                        ready = _say_nothing
                        await stop.wait()
            except (DiskFullError, OSError) as error:
                if isinstance(error, OSError) and not is_disk_full(error):
                    raise
                if not is_full:
                    _log.warning("the disk is too full to start: the peer waits until there is room", error=str(error))
                is_full = True
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), LOOK_FOR_ROOM_S)
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
    async with opened_core(directory, damage, old_may_answer=True, disk=config.disk) as core, asyncio.TaskGroup() as tasks, AsyncExitStack() as stack:
        upkeep = Upkeep(directory, core.store)
        sites, room_here = make_site_service(core, directory, config, lambda: links)
        agreement = make_agreement(core, lambda: links)
        mesh = make_mesh(config, core, lambda: links, lambda: gossip)
        gossip, told = make_gossip(core, directory, config, (lambda: links, lambda: resolver, mesh), sites)
        asked = HubSourceParts(config, directory, core, lambda: links, gossip.record)
        manual, book, resolver, asking = await make_resolving(config, core, upkeep.keeper, (told, mesh), asked)
        joining: list[Joining] = []
        belonging = make_belonging(core.key.peer_id, (core.store, core.views, book), lambda: links, now_ms, report)
        choosing = Choosing(core.key.peer_id, core.store.replica, lambda: links, lambda: resolver)
        parts = make_link_parts(core, config, (manual, joining, belonging), (gossip, mesh), lambda: (serving, services.audit))
        local, copies = await make_copies(stack, directory, config, core, lambda: links)
        links = PeerLinks(replace(parts, ended=choosing.ended, hear_digests=agreement.hear, custody=copies.custody))
        sources = BlobSources(core.key, links)
        stack.push_async_callback(sources.close)
        placing = make_placing(core, config, room_here, (sites.seen, copies.dropping.is_unproven), lambda: fetching)
        movers = await make_movers(stack, directory, config, core, (local, sources, placing, copies))
        fetching, showing = movers.fetching, movers.showing
        hub, watches = await open_hub(stack, directory, config), await open_watches(stack, directory)
        administration = make_administration(hub, core.key.peer_id, lambda: links.endpoint)
        serving = make_serving(stack, directory, config, core, (sources, fetching, movers.fetcher))
        neighbourhood = (links, sites, gossip, administration, agreement, mesh)
        services = make_services(directory, config, core, neighbourhood, (manual, resolver, belonging), (*movers, serving, watches, copies))
        joining.append(services.joining)  # type: ignore[arg-type]
        listen = await start_listener(stack, serving, config, (links, mesh), services, hub)
        admin = await _listen(stack, directory, config, services)
        core.store.learn_first(links.own_events_learned)
        links_task = tasks.create_task(links.run())
        await asyncio.sleep(0)
        choosing.choose()
        stack.callback(resolver.subscribe(choosing.choose))
        work = [
            choosing.run(),
            lasting(fetching.run, _warn),
            sources.bandwidth.run(),
            lasting(movers.policies.run, _warn),
            lasting(placing.run, _warn),
            lasting(showing.run, _warn),
            lasting(sites.run, _warn),
            lasting(agreement.run, _warn),
            gossip.run(),
            lasting(partial(follow_hub, asking, core, links), _warn),
            lasting(upkeep.run, _warn),
            lasting(belonging.leaving.run, _warn),
            lasting(services.watch.run, _warn),
        ]
        work += [lasting(each, _warn) for each in (*copies.work(), room_here.run)]
        work += [_follow_links(links, (fetching.links_changed, copies.custody.links_changed), (resolver, fetching.addresses_changed)), mesh.run()]
        work += [hub.run()] if hub is not None else []
        background = [*map(tasks.create_task, work), links_task]
        fetching.touched(frozenset())
        stack.push_async_callback(_stop, background)
        yield {"peer_id": core.key.peer_id.hex(), "name": config.name, "listen": listen, "admin": admin}


async def _listen(stack: AsyncExitStack, directory: DataDirectory, config: Config, services: Services) -> str:
    """Let the admin API answer, and commands of this machine find it. Its address."""
    app = make_app(services, host=config.admin_address.host, version=__version__, report=report)
    admin = await stack.enter_async_context(listening(app, *config.admin_address))
    write_durably(directory.root / ADDRESS_FILE, f"{admin}\n".encode())
    stack.callback((directory.root / ADDRESS_FILE).unlink, missing_ok=True)
    return str(admin)


def _warn(event: str, fields: Mapping[str, object]) -> None:
    _log.warning(event, **fields)


async def _follow_links(links: PeerLinks, changed: Sequence[Callable[[], None]], places: tuple[CompositePeerResolver, Callable[[], None]]) -> None:
    resolver, moved = places

    def part() -> None:
        part_from(links, [each.peer for each in resolver.peers() if each.paused])

    def follow() -> None:
        part()
        moved()

    end = resolver.subscribe(follow)
    try:
        while True:
            await links.changed()
            part()
            for tell in changed:
                tell()
    finally:
        end()


async def _stop(background: list["asyncio.Task[None]"]) -> None:
    for task in background:
        task.cancel()
    await asyncio.wait(background)
