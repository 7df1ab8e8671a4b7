"""The hub through which this peer finds others, put together: its key, its files, its client."""

import asyncio
import contextlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from peer.config import Config
from peer.core.certificate import LogKind
from peer.core.endpoint import read_endpoint
from peer.core.identity import PeerId
from peer.core.interfaces import Commit
from peer.errors import HubCredentialError
from peer.logs import get_log
from peer.store.directory import DataDirectory, is_disk_full, write_durably
from peer.transport.links import PeerLinks
from peer.transport.retry_after import retry_after_ms
from peer.transport.tls import spki_sha256
from peer.wiring.core import Core, report
from peer.wiring.credentials import Credential, read_credential
from resolver.base import PeerResolver
from resolver.hub import HubPeerResolver, Known, Pace
from resolver.hub_cache import CACHE_SIZE_MAX, CacheFile
from resolver.hub_client import HubClient, Outside
from resolver.hub_presence import HubPresence, KeyFile, Ours

HUB_KEY = Credential(
    "RECMESH_HUB_KEY", "hub_source.credential_file", "key for a hub", "put there the one line that the hub's operator gave you", HubCredentialError
)
KEY_FILE = "hub.key"
"""The key that a pre-auth key got, with the hub that it is for."""

CACHE_FILE = "hub_peers.json"
KEY_SIZE_MAX = 4096
DECISIONS_S = 0.2
"""How long decisions are collected before it is looked who is of use now: a backfill brings thousands."""

_log = get_log("node")


class HubSourceParts(NamedTuple):
    """What it is made with."""

    config: Config
    directory: DataDirectory
    core: Core
    links: Callable[[], PeerLinks]
    """Made later than this: asked once it runs."""
    record: Callable[[], bytes]
    """This site's own signed record, or empty."""


def make_hub_source(parts: HubSourceParts, operator: PeerResolver) -> HubPeerResolver | None:
    """None where the operator wants no hub; `operator` is what that said of peers. Raises `HubCredentialError`."""
    config, directory, core, links, record = parts
    settings = config.hub_source
    if not settings.url:
        return None
    hub = read_endpoint(settings.url).url
    client = HubClient(settings.url, Outside(spki_sha256, retry_after_ms))
    ours = Ours(core.key.peer_id, config.name, lambda: links().endpoint, record)
    presence = HubPresence(client, read_credential(HUB_KEY, settings.credential_file), ours, _key_file(directory.root / KEY_FILE, hub))
    known = Known(core.store.replica, operator, report)
    cache = _cache_file(directory.root / CACHE_FILE)
    return HubPeerResolver(client, presence, known, cache, pace=Pace(settings.interval), ttl=config.gossip.hub_peer_ttl)


async def follow_hub(hub: HubPeerResolver | None, core: Core, links: PeerLinks) -> None:
    """Ask the hub until cancelled, and dial at once who comes back by its word."""
    if hub is None:
        return
    soon: list[asyncio.TimerHandle] = []

    def decided() -> None:
        soon.clear()
        hub.roster_changed()

    def committed(commit: Commit) -> None:
        if commit.certificate.kind is LogKind.CONTROL and not soon:
            soon.append(asyncio.get_running_loop().call_later(DECISIONS_S, decided))

    ends = [core.store.subscribe(committed), hub.subscribe(_Returning(hub, links).look)]
    try:
        await hub.run()
    finally:
        for end in (*ends, *(each.cancel for each in soon)):
            end()


class _Returning:
    """Those whom the hub did not see, until it does."""

    def __init__(self, hub: HubPeerResolver, links: PeerLinks) -> None:
        self._hub, self._links = hub, links
        self._away: set[PeerId] = set()

    def look(self) -> None:
        """Let nobody wait for the next try who is back."""
        here = {each.peer for each in self._hub.peers() if self._hub.is_online(each.peer) is not False}
        for peer in self._away & here:
            dialler = self._links.dialler_of(peer)
            if dialler is not None and not self._links.is_linked(peer):
                dialler.hurry()
        self._away = {each.peer for each in self._hub.peers()} - here


def _key_file(path: Path, hub: str) -> KeyFile:
    def load() -> str:
        try:
            document = json.loads(path.read_bytes()[:KEY_SIZE_MAX])
        except (OSError, ValueError):
            return ""
        match document:
            case {"hub": str(url), "key": str(key)} if url == hub and re.fullmatch(r"[!-~]{8,512}", key):
                return key
            case _:
                return ""

    def save(key: str) -> bool:
        try:
            write_durably(path, json.dumps({"hub": hub, "key": key}).encode())
        except OSError as error:
            _log.warning("the key that the hub gave cannot be kept, and is lost when this peer stops", error=error.strerror)
            return False
        return True

    return KeyFile(load, save)


def _cache_file(path: Path) -> CacheFile:
    def load() -> bytes | None:
        with contextlib.suppress(OSError), path.open("rb") as file:
            return file.read(CACHE_SIZE_MAX)
        return None

    def save(data: bytes) -> None:
        try:
            write_durably(path, data)
        except OSError as error:
            if not is_disk_full(error):
                _log.warning("what the hub told cannot be kept", error=error.strerror)

    return CacheFile(load, save)
