"""Where others dial this peer: its listener, with everything that it answers."""

from contextlib import AsyncExitStack, suppress
from functools import partial
from ipaddress import ip_network
from pathlib import Path

from peer.api.services import Services
from peer.config import Config
from peer.core.endpoint import LOOPBACK_NETWORKS, may_be_dialled_plain, read_endpoint
from peer.core.identity import KeyPair
from peer.errors import MeshError
from peer.hub.hub import Hub
from peer.transport.blob_routes import BlobRoutes
from peer.transport.door import Crowding
from peer.transport.forms import FormRoutes
from peer.transport.links import PeerLinks
from peer.transport.listener import PeerListener
from peer.transport.mesh_listening import MeshListening
from peer.transport.pinning import pinned
from peer.transport.signatures import RequestVerifier
from peer.transport.tls import ServerTls, operator_tls, own_tls
from peer.wiring.hubbing import make_hub_routes
from peer.wiring.mesh_addresses import Doors, Meshing
from peer.wiring.relaying import Serving


async def start_listener(
    stack: AsyncExitStack, serving: Serving, config: Config, others: tuple[PeerLinks, Meshing], services: Services, hub: Hub | None
) -> str:
    """Let others dial us, unless this site only dials out; where, to show."""
    (links, mesh), address = others, config.listen_address
    if address is None:
        return "none"
    core = serving.core
    tls = _listener_tls(core.key, config)
    crowding = _crowding(config)
    listener = PeerListener(links, tls=tls, rules=links.channel_rules, crowding=crowding, callers=links.callers)
    verifier = RequestVerifier(core.key.peer_id)
    blobs = BlobRoutes(
        core.store.replica, core.blobs, (core.views.has_blob, serving.provenance.may_give), verifier, (serving.bandwidth, serving.relay)
    )
    forms = FormRoutes(links, lambda group, peer: services.membership.remove(group.hex(), peer.hex(), since_ms=None, dry_run=False), verifier)
    of_hub = make_hub_routes(hub, crowding, services.tokens, services.audit)
    await listener.start([*blobs.routes(), *forms.routes(), *(of_hub.routes() if of_hub is not None else [])])
    stack.push_async_callback(listener.stop)
    if of_hub is not None:
        stack.callback(of_hub.sockets.close)
    shown = tls.channel_key if tls else next(iter(config.proxy_keys), None)
    pin = partial(pinned, peer=core.key.peer_id, channel_key=shown)
    doors = Doors(None, None, pin(config.advertise[0]) if config.advertise else None, pin)
    if config.listens_in_mesh:
        with suppress(MeshError):
            await mesh.watch.status()
        await mesh.addresses.start(doors._replace(mesh=MeshListening(listener, address.port, partial(_is_plain, config))))
        return links.endpoint or "tailnet"
    url = await listener.listen(*address)
    links.endpoint = doors.advertised or pin(url)
    fixed = read_endpoint(url)._replace(host=address.host) if tls is not None else None
    await mesh.addresses.start(doors._replace(fixed=fixed))
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
    if config.proxy_keys or (not config.listens_in_mesh and _is_plain(config, config.listen_address.host)):
        return None
    return own_tls(key)


def _is_plain(config: Config, host: str) -> bool:
    """Whether a listener there needs no TLS of its own."""
    return not config.tls_cert and may_be_dialled_plain(host, config.wireguard_networks)
