"""The hub as its operator sees it: pre-auth keys, who came with them, who is there. The same where there is no hub: then that is what is said."""

import re
from collections.abc import Callable

from peer.errors import AmbiguousError, HubDisabledError, NotFoundError, RequestError
from peer.hub.answers import names
from peer.hub.hub import Hub
from peer.hub.limits import KEY_HOURS_MAX, USES_MAX
from peer.hub.records import OPERATOR, Agent, Hive, Json, Key, State, Swarm
from peer.hub.refusal import RefusedError

EXPIRES_MS_MAX = KEY_HOURS_MAX * 3600 * 1000
PREFIX_CHARACTERS_MIN = 6
SHOWN_MAX = 5
HIVE_NAME = re.compile(r"[a-z0-9_-]{2,32}")


class HubAdministration:
    """What an operator can ask of the hub of this peer."""

    def __init__(self, hub: Hub | None, url: Callable[[], str | None]) -> None:
        """`url` is what others write into their `hub_source.url`."""
        self._hub = hub
        self._url = url

    def summary(self) -> Json:
        """In a few words."""
        if self._hub is None:
            return {"enabled": False, "url": None, "peers": 0, "peers_online": 0}
        state = self._hub.state
        online = {swarm.owner for swarm in state.swarms.values() if swarm.status != "offline"}
        return {"enabled": True, "url": self._url(), "peers": len(state.agents), "peers_online": len(online)}

    def keys(self) -> list[Json]:
        """All pre-auth keys, the newest last, without their secrets. Raises `HubDisabledError`."""
        hub = self._enabled()
        now_ms = hub.now().ms
        return [_key(hub.state, key, now_ms) for key in sorted(hub.state.keys.values(), key=lambda key: (key.created_ms, key.id))]

    async def create_key(self, hive: str | None, uses: int, expires_in_ms: int) -> Json:
        """A new one with its secret, which is told this once. A hive that is not there is made, as a private one; one that an agent made is refused.

        Raises `HubDisabledError`, `RequestError`.
        """
        hub = self._enabled()
        if hive is not None and not HIVE_NAME.fullmatch(hive):
            raise RequestError(f"{hive[:80]!r} is no name of a hive", fix="write 2 to 32 characters of a-z 0-9 _ -")
        if not 1 <= uses <= USES_MAX:
            raise RequestError(f"a key is good for 1 to {USES_MAX} peers", fix="write --uses 1")
        if not 0 < expires_in_ms <= EXPIRES_MS_MAX:
            raise RequestError("a key is good for up to a year", fix="write --expires 30d")
        try:
            identifier = None if hive is None else await hub.hive_for(hive)
            if identifier is not None:
                _check_ours(hub.state, hub.state.hives[identifier])
            key, secret = await hub.make_key(identifier, uses, expires_in_ms, OPERATOR)
        except RefusedError as error:
            raise RequestError(error.text, fix="revoke keys with `recmesh hub key revoke`, or forget peers with `recmesh hub forget`") from error
        return {**_key(hub.state, key, hub.now().ms), "key": secret, "url": self._url()}

    async def revoke_key(self, key: str) -> Json:
        """Let nobody in with a key any more; who came with it stays. Raises `HubDisabledError`, `NotFoundError`."""
        hub = self._enabled()
        found = hub.state.keys.get(key)
        if found is None:
            raise NotFoundError(f"there is no key {key[:80]!r}", fix="see `recmesh hub key list`")
        shown = _key(hub.state, found, hub.now().ms)
        try:
            await hub.revoke_key(key)
        except RefusedError as error:  # Somebody else was faster.
            raise NotFoundError(f"there is no key {key[:80]!r} any more", fix="see `recmesh hub key list`") from error
        return shown

    def peers(self) -> list[Json]:
        """Who came with a key, by name. Raises `HubDisabledError`."""
        state = self._enabled().state
        return [_peer(state, agent) for agent in sorted(state.agents.values(), key=lambda agent: (agent.name.lower(), agent.id))]

    async def forget(self, reference: str) -> Json:
        """Let one of them be nobody: its key, and what it registered. Raises `HubDisabledError`, `NotFoundError`, `AmbiguousError`."""
        hub = self._enabled()
        agent = _find(hub.state, reference)
        shown = _peer(hub.state, agent)
        await hub.forget(agent.id)
        return shown

    def _enabled(self) -> Hub:
        if self._hub is None:
            raise HubDisabledError("this peer is no hub", fix="set `enabled = true` in the section [hub] of config.toml, then start the peer again")
        return self._hub


def _check_ours(state: State, hive: Hive) -> None:
    """Raise `RequestError` for a hive that an agent made: whoever comes with a key for it would be seen by those whom that agent let in."""
    if hive.owner == OPERATOR:
        return
    who = state.agents[hive.owner].name if hive.owner in state.agents else "an agent that is gone"
    what = "every agent may join it, without a key for it" if hive.is_public else "who is in it is not for you to say"
    fix = "choose another name, make a key without --hive, or forget whoever made it with `recmesh hub forget`"
    raise RequestError(f"the hive {hive.name} was made by {who}: {what}", fix=fix)


def _key(state: State, key: Key, now_ms: int) -> Json:
    validity = "valid" if key.is_valid(now_ms) else "used_up" if key.uses_left < 1 else "expired"
    return {
        "id": key.id,
        "hive": state.hives[key.hive].name if key.hive is not None and key.hive in state.hives else None,
        "uses_left": key.uses_left,
        "state": validity,
        "created_by": key.created_by,
        "created_ms": key.created_ms,
        "expires_ms": key.expires_ms,
        "last_used_ms": key.last_used_ms,
    }


def _peer(state: State, agent: Agent) -> Json:
    swarms = [swarm for swarm in state.swarms.values() if swarm.owner == agent.id]
    is_online = any(swarm.status != "offline" for swarm in swarms)
    return {
        "id": agent.id,
        "name": agent.name,
        "state": "online" if is_online else "offline" if swarms else "new",
        "last_seen_ms": max((swarm.last_seen_ms for swarm in swarms), default=None),
        "created_ms": agent.created_ms,
        "hives": names(state, (hive.id for hive in state.hives.values() if agent.id in hive.members)),
        "registered": [_swarm(state, swarm) for swarm in swarms],
    }


def _swarm(state: State, swarm: Swarm) -> Json:
    return {
        "id": swarm.id,
        "name": swarm.name,
        "endpoint": swarm.map_endpoint,
        "status": swarm.status,
        "last_seen_ms": swarm.last_seen_ms,
        "hives": names(state, swarm.hives),
    }


def _find(state: State, reference: str) -> Agent:
    """Who is meant: an id, the start of one, a name, or the id of what it registered."""
    owner = state.swarms[reference].owner if reference in state.swarms else reference
    if owner in state.agents:
        return state.agents[owner]
    is_start = len(reference) >= PREFIX_CHARACTERS_MIN
    found = [each for each in state.agents.values() if each.name.lower() == reference.lower() or (is_start and each.id.startswith(reference))]
    if not found:
        raise NotFoundError(f"there is no peer {reference[:80]!r} at this hub", fix="see `recmesh hub peers`")
    if len(found) > 1:
        shown = ", ".join(f"{each.name} {each.id}" for each in found[:SHOWN_MAX])
        raise AmbiguousError(f"{reference[:80]!r} fits {len(found)} peers: {shown}", fix="write more of its id")
    return found[0]
