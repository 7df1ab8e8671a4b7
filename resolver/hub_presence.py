"""What this site is at a hub: an agent with a key, a swarm with an address, a member of the hives that are called like its groups."""

import base64
import re
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from peer.core.endpoint import read_endpoint
from peer.core.identity import PeerId
from peer.errors import HubRefusedError
from resolver.hub_answers import PROTOCOL, find_swarm, read_api_key, read_hive_id, read_swarm_id
from resolver.hub_client import Answer, HubClient

PREAUTH_PREFIX = "ohpak_"
"""How a pre-auth key begins: it is no credential of its own, but gets one."""

RENEW_S = 6 * 60 * 60.0
"""How often the signed record at the hub is renewed: readers count it as valid for a day."""

HIVE_AGAIN_S = 300.0
"""How long a hive is not asked for again that the hub refused."""

HIVES_MAX = 64
PAGES_MAX = 10
PAGE_SIZE = 200
AGENT_NAME_CHARACTERS_MAX = 32
SHORT_DIGITS = 8
UNAUTHORIZED, FORBIDDEN, NOT_FOUND, CONFLICT = 401, 403, 404, 409
NO_ADDRESS = "https://{}.invalid"
"""Stands at a hub for a site that nobody can dial: hubs want an address of everybody, and each only once."""


class Ours(NamedTuple):
    """What this site says of itself."""

    peer: PeerId
    name: str
    endpoint: Callable[[], str | None]
    """Where others dial it now, None if nobody can."""
    record: Callable[[], bytes]
    """Its signed peer record, or empty."""


class KeyFile(NamedTuple):
    """Where the key is kept that a pre-auth key got."""

    load: Callable[[], str]
    """Empty if there is none."""
    save: Callable[[str], bool]
    """Durable, readable by this user alone. False if that did not work, which is reported."""


class HubPresence:
    """Keeps this site registered."""

    def __init__(self, client: HubClient, credential: str, ours: Ours, keys: KeyFile) -> None:
        """`credential` is a key of an agent, or a pre-auth key with which one is got; empty for a hub that wants none."""
        self._client, self._ours, self._keys = client, ours, keys
        self._preauth = credential if credential.startswith(PREAUTH_PREFIX) else ""
        client.key = credential if not self._preauth else keys.load()
        self._is_kept = True
        """False for a key that is nowhere but in memory: the pre-auth key that got it is used up."""
        self.swarm: str | None = None
        self.joined: frozenset[str] = frozenset()
        """Hives that this site has joined by itself, also in an earlier run."""
        self.hive_ids: dict[str, str] = {}
        """Of hives that it is in: what announcements about them are called by."""
        self.refused: dict[str, str] = {}
        """Hives that it could not join, and why."""
        self._refused_until: dict[str, float] = {}
        self._confirmed: frozenset[str] = frozenset()
        self._said: tuple[str, str] | None = None
        self._said_s = 0.0

    @property
    def peer(self) -> PeerId:
        """This site."""
        return self._ours.peer

    async def register(self) -> None:
        """Be an agent and a swarm there, with the address and record of now. Raises a `ResolveError`."""
        if self._preauth and not self._client.key:
            await self._become_agent()
        if not self._is_kept:
            self._is_kept = self._keys.save(self._client.key)
        said = (self._address(), self._ours.endpoint() or "")
        if self.swarm is not None and said == self._said and time.monotonic() - self._said_s < RENEW_S:
            return
        if self.swarm is None or not await self._update(self.swarm):
            await self._become_swarm()
        self._said, self._said_s = said, time.monotonic()

    async def beat(self) -> None:
        """Say that this site is there. Raises a `ResolveError`."""
        answer = await self._client.call("POST", f"/map/swarms/{self.swarm}/heartbeat")
        if not answer.is_ok:
            raise self.lost(answer, "the heartbeat of this site")

    async def join(self, wanted: frozenset[str]) -> None:
        """Be in these hives, and in no other that this site joined by itself. Raises a `ResolveError`."""
        for hive in sorted(self.joined - wanted):
            answer = await self._client.call("DELETE", f"/map/swarms/{self.swarm}/hives/{hive}")
            if not answer.is_ok and answer.status != NOT_FOUND:
                raise self.lost(answer, f"leaving the hive {hive}")
            self.joined -= {hive}
            self._confirmed -= {hive}
            self.hive_ids.pop(hive, None)
        for hive in set(self.refused) - wanted:
            del self.refused[hive], self._refused_until[hive]
        for hive in sorted(wanted - self._confirmed)[:HIVES_MAX]:
            if self._refused_until.get(hive, 0.0) <= time.monotonic():
                await self._join(hive)

    def lost(self, answer: Answer, what: str) -> HubRefusedError:
        """What to raise where the hub does not do something for our swarm: it may not be ours any more, so it is registered anew."""
        if answer.status in (FORBIDDEN, NOT_FOUND):
            self.swarm = None
            self._confirmed = frozenset()
        return self._refusal(answer, what)

    async def _become_agent(self) -> None:
        body = {"name": _agent_name(self._ours), "preauth_key": self._preauth}
        answer = await self._client.call("POST", "/agents/register", body, keyed=False)
        if answer.status == CONFLICT:  # It was registered before, and the key was lost with the data directory.
            body["name"] = f"{body['name'][: AGENT_NAME_CHARACTERS_MAX - 11]}-{time.time_ns() % 10**10:010d}"
            answer = await self._client.call("POST", "/agents/register", body, keyed=False)
        if not answer.is_ok:
            raise self._refusal(answer, "registering with the pre-auth key")
        self._client.key = read_api_key(answer.document)
        self._is_kept = False

    async def _become_swarm(self) -> None:
        body = self._body()
        answer = await self._client.call("POST", "/map/swarms", {**body, **({"preauth_key": self._preauth} if self._preauth else {})})
        if answer.status == UNAUTHORIZED and answer.reason == "INVALID_PREAUTH_KEY":  # Used up: the agent's own key may be enough.
            answer = await self._client.call("POST", "/map/swarms", body)
        if answer.status == CONFLICT:
            swarm = await self._find()
            if swarm is None or not await self._update(swarm):
                raise HubRefusedError(
                    f"somebody else registered {self._address()} at the hub [{answer.reason or answer.status}]",
                    fix="check `advertise` in config.toml; if the key for the hub was changed, let its operator remove the old entry",
                )
            self.swarm = swarm
        elif answer.is_ok:
            self.swarm = read_swarm_id(answer.document)
        else:
            raise self._refusal(answer, "registering this site")
        self._confirmed = frozenset()

    async def _update(self, swarm: str) -> bool:
        """False if that swarm is not ours."""
        answer = await self._client.call("PUT", f"/map/swarms/{swarm}", self._body())
        if answer.is_ok:
            return True
        if answer.status in (FORBIDDEN, NOT_FOUND):
            return False
        raise self._refusal(answer, "saying where this site is")

    async def _find(self) -> str | None:
        """The swarm with our address."""
        for page in range(PAGES_MAX):
            answer = await self._client.call("GET", f"/map/swarms?limit={PAGE_SIZE}&offset={page * PAGE_SIZE}")
            swarm, count = find_swarm(answer.document, self._address()) if answer.is_ok else (None, 0)
            if swarm is not None or count < PAGE_SIZE:
                return swarm
        return None

    async def _join(self, hive: str) -> None:
        answer = await self._ask_to_join(hive)
        if answer.status == NOT_FOUND and answer.reason == "HIVE_NOT_FOUND":
            made = await self._client.call("POST", "/hives", {"name": hive, "description": "a group of recmesh"})
            answer = await self._ask_to_join(hive) if made.is_ok or made.status == CONFLICT else made
        if not answer.is_ok:
            if answer.reason == "NOT_SWARM_OWNER":
                raise self.lost(answer, f"joining the hive {hive}")
            self.refused[hive] = self._refusal(answer, f"joining the hive {hive}").text
            self._refused_until[hive] = time.monotonic() + HIVE_AGAIN_S
            return
        self.refused.pop(hive, None)
        self._refused_until.pop(hive, None)
        self.joined |= {hive}
        self._confirmed |= {hive}
        shown = await self._client.call("GET", f"/hives/{hive}")
        if shown.is_ok:  # A private one tells its id to nobody else: then there are no announcements of it.
            self.hive_ids[hive] = read_hive_id(shown.document)

    async def _ask_to_join(self, hive: str) -> Answer:
        return await self._client.call("POST", f"/map/swarms/{self.swarm}/hives", {"hive_name": hive})

    def _refusal(self, answer: Answer, what: str) -> HubRefusedError:
        fix = "its line in docs/errors.md says what to look at"
        if answer.status == UNAUTHORIZED:
            if self._preauth and answer.reason != "INVALID_PREAUTH_KEY":
                self._client.key = ""  # What it got is worth nothing any more: perhaps it gets another one.
            fix = "check the key in hub_source.credential_file or RECMESH_HUB_KEY: ask the hub's operator for a new one"
        return HubRefusedError(f"the hub refuses {what} [{answer.reason or answer.status}]", fix=fix)

    def _address(self) -> str:
        endpoint = self._ours.endpoint()
        return read_endpoint(endpoint).url if endpoint else NO_ADDRESS.format(self._ours.peer.hex()[: 4 * SHORT_DIGITS])

    def _body(self) -> Mapping[str, object]:
        """What the hub is told of this site. With this transport it does not dial back."""
        endpoint, record = self._ours.endpoint(), self._ours.record()
        metadata = {"peer_id": self._ours.peer.hex()}
        if endpoint:
            metadata["sync_endpoint"] = endpoint
        if record:
            metadata["record"] = base64.b64encode(record).decode()
        return {
            "name": self._ours.name[:100],
            "map_endpoint": self._address(),
            "map_transport": "http-sse",
            "capabilities": {"federation": True, "protocols": [PROTOCOL]},
            "metadata": metadata,
        }


def _agent_name(ours: Ours) -> str:
    digits = ours.peer.hex()[:SHORT_DIGITS]
    return re.sub(r"[^A-Za-z0-9_-]", "-", ours.name)[: AGENT_NAME_CHARACTERS_MAX - SHORT_DIGITS - 1] + "-" + digits
