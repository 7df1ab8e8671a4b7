"""What may happen to what a hub knows: each function takes a state and gives the next one, and what is to be announced. Pure.

Unlike other hubs, this one tells an agent only of swarms of hives that it is a member of, and lets nobody into a private hive who did not come with a
key for it. Who is told of a change is settled here, where it happens.
"""

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TypeVar

from peer.hub.limits import (
    AGENTS_MAX,
    HIVES_MAX,
    HIVES_PER_AGENT_MAX,
    HIVES_PER_SWARM_MAX,
    KEYS_MAX,
    SWARMS_MAX,
    SWARMS_PER_AGENT_MAX,
)
from peer.hub.records import OPERATOR, Agent, Announcement, Change, Hive, Json, Key, Moment, State, Swarm
from peer.hub.refusal import RefusedError, key_invalid, not_owner, too_many, unauthorised

DISCOVERY = "map:discovery"
T = TypeVar("T")


def hive_channel(hive: str) -> str:
    """Where those are told who wait for news of a hive."""
    return f"map:hive:{hive}"


def swarm_channel(swarm: str) -> str:
    """Where those are told who wait for news of a swarm."""
    return f"map:swarm:{swarm}"


def agent_of(state: State, digest: bytes) -> Agent | None:
    """Whose key this is. Looks at all of them, so how long it takes tells nothing."""
    found = None
    for agent in state.agents.values():
        if hmac.compare_digest(agent.digest, digest):
            found = agent
    return found


def valid_key(state: State, digest: bytes, now_ms: int, shown_by: Agent | None = None) -> Key:
    """The pre-auth key with this secret. Raises `RefusedError` if it lets nobody in; who came with it may show it again all the same."""
    found = None
    for key in state.keys.values():
        if hmac.compare_digest(key.digest, digest):
            found = key
    if found is None or not (found.is_valid(now_ms) or (shown_by is not None and shown_by.key == found.id)):
        raise key_invalid()
    return found


def may_see(state: State, agent: str, swarm: Swarm) -> bool:
    """Whether `agent` may know of `swarm`: it is its own, or they have a hive in common."""
    return swarm.owner == agent or any(agent in state.hives[hive].members for hive in swarm.hives)


def own_swarm(state: State, agent: str, swarm: str) -> Swarm:
    """The swarm, if it is the agent's. Raises `RefusedError`."""
    found = state.swarms.get(swarm)
    if found is None or found.owner != agent:
        raise not_owner()
    return found


def hive_named(state: State, name: str) -> Hive | None:
    """The hive that is called so."""
    return next((hive for hive in state.hives.values() if hive.name == name), None)


def register_agent(state: State, agent: Agent, key_digest: bytes, now: Moment) -> Change:
    """Let somebody in with a pre-auth key; that uses the key once. `agent` comes without a hive: it has that of the key."""
    key = valid_key(state, key_digest, now.ms)
    if any(each.name.lower() == agent.name.lower() for each in state.agents.values()):
        raise RefusedError(409, "Conflict", f'The name "{agent.name}" is taken; the operator of this hub can forget whoever had it')
    if len(state.agents) >= AGENTS_MAX:
        raise too_many("agents")
    state = _used(state, key, now)
    if key.hive is not None:
        state = _with_member(state, key.hive, agent.id, now)
    agent = replace(agent, hive=key.hive, key=key.id)
    return Change(replace(state, agents={**state.agents, agent.id: agent}), agent.id)


def create_hive(state: State, hive: Hive) -> Change:
    """One more, with its owner as its first member."""
    if hive.owner != OPERATOR:
        _present(state, hive.owner)
    if hive_named(state, hive.name) is not None:
        raise RefusedError(409, "Conflict", f'Hive "{hive.name}" already exists')
    made = sum(each.owner == hive.owner for each in state.hives.values())
    if len(state.hives) >= HIVES_MAX or (made >= HIVES_PER_AGENT_MAX and hive.owner != OPERATOR):
        raise too_many("hives")
    return Change(replace(state, hives={**state.hives, hive.id: hive}), hive.id)


def register_swarm(state: State, swarm: Swarm, key_digest: bytes | None, now: Moment) -> Change:
    """One more; it joins the hive of the pre-auth key, if there is one, and the hive that its agent came for.

    A swarm that is offline makes room for one at its place, if the two agents may know of each other: a site that was set up anew comes back.
    """
    owner = _present(state, swarm.owner)
    key = valid_key(state, key_digest, now.ms, owner) if key_digest is not None else None
    announced: list[Announcement] = []
    held = _at(state, swarm.map_endpoint)
    if held is not None:
        if held.status != "offline" or held.owner == swarm.owner or not may_see(state, swarm.owner, held):
            raise _duplicate(swarm.map_endpoint)
        state, _, gone, _ = _remove(state, held)
        announced += gone
    if len(state.swarms) >= SWARMS_MAX or sum(each.owner == swarm.owner for each in state.swarms.values()) >= SWARMS_PER_AGENT_MAX:
        raise too_many("swarms")
    if key is not None and key.id != owner.key:
        state = _used(state, key, now)
        if key.hive is not None:
            state = _with_member(state, key.hive, swarm.owner, now)
    hives = [hive for hive in ((key.hive if key else None), owner.hive) if hive is not None and hive in state.hives]
    swarm = replace(swarm, hives=frozenset(hives))
    state = _heard(_with_swarm(state, swarm), swarm.id, now)
    data: Json = {"swarm_id": swarm.id, "name": swarm.name, "map_endpoint": swarm.map_endpoint}
    announced.append(Announcement("swarm_registered", data, (DISCOVERY,), _audience(state, swarm)))
    announced += [_membership(state, "swarm_joined_hive", swarm, state.hives[hive]) for hive in dict.fromkeys(hives)]
    return Change(state, swarm.id, tuple(announced))


def update_swarm(state: State, agent: str, swarm: str, changes: Mapping[str, object], now: Moment) -> Change:
    """Let some fields of a swarm be different. Whoever says so is there: that counts as being heard of."""
    found = own_swarm(state, agent, swarm)
    endpoint = changes.get("map_endpoint", found.map_endpoint)
    held = _at(state, str(endpoint))
    if held is not None and held.id != swarm:
        raise _duplicate(str(endpoint))
    changed = replace(found, **changes, updated_ms=now.ms, last_seen_ms=now.ms)  # type: ignore[arg-type]
    state = _with_swarm(state, changed)
    if changed.status == "offline":
        heard = {each: when for each, when in state.heard.items() if each != swarm}
        return Change(replace(state, heard=heard), swarm, _turned(state, found, changed))
    return Change(_heard(state, swarm, now), swarm, _turned(state, found, changed))


def heartbeat(state: State, agent: str, swarm: str, now: Moment) -> Change:
    """A swarm is there."""
    found = own_swarm(state, agent, swarm)
    changed = replace(found, status="online", last_seen_ms=now.ms)
    state = _heard(_with_swarm(state, changed), swarm, now)
    return Change(state, swarm, _turned(state, found, changed), is_durable=found.status != "online")


def remove_swarm(state: State, agent: str, swarm: str) -> Change:
    """One less."""
    return _remove(state, own_swarm(state, agent, swarm))


def join_hive(state: State, agent: str, swarm: str, name: str, now: Moment) -> Change:
    """Let a swarm be in a hive. Joining again is no error."""
    found, hive = own_swarm(state, agent, swarm), hive_named(state, name)
    if hive is None:
        raise RefusedError(404, "HIVE_NOT_FOUND", f'Hive "{name}" not found')
    if not hive.is_public and agent not in hive.members:
        raise RefusedError(403, "NOT_HIVE_MEMBER", f'Hive "{name}" is private: join with a pre-auth key for it')
    if hive.id in found.hives:
        return Change(state, swarm, is_durable=False)
    if len(found.hives) >= HIVES_PER_SWARM_MAX:
        raise too_many("hives of one swarm")
    joined = replace(found, hives=found.hives | {hive.id}, updated_ms=now.ms)
    state = _with_swarm(_with_member(state, hive.id, agent, now), joined)
    return Change(state, swarm, (_membership(state, "swarm_joined_hive", joined, hive),))


def leave_hive(state: State, agent: str, swarm: str, name: str, now: Moment) -> Change:
    """Let a swarm be in a hive no more. Its agent stays a member and may come back."""
    found, hive = own_swarm(state, agent, swarm), hive_named(state, name)
    if hive is None or (hive.id not in found.hives and agent not in hive.members):
        raise RefusedError(404, "HIVE_NOT_FOUND", f'Hive "{name}" not found')
    if hive.id not in found.hives:
        return Change(state, swarm, is_durable=False)
    left = replace(found, hives=found.hives - {hive.id}, updated_ms=now.ms)
    return Change(_with_swarm(state, left), swarm, (_membership(state, "swarm_left_hive", left, hive),))


def add_key(state: State, key: Key, now: Moment) -> Change:
    """One more pre-auth key; those that let nobody in make room for it where there is none."""
    keys: Mapping[str, Key] = state.keys
    if len(keys) >= KEYS_MAX:
        keys = {each.id: each for each in keys.values() if each.is_valid(now.ms)}
    if len(keys) >= KEYS_MAX:
        raise too_many("pre-auth keys")
    if key.hive is not None and key.hive not in state.hives:
        raise RefusedError(404, "HIVE_NOT_FOUND", f'Hive "{key.hive}" not found')
    return Change(replace(state, keys={**keys, key.id: key}), key.id)


def remove_key(state: State, key: str) -> Change:
    """One less. Whoever came with it stays."""
    if key not in state.keys:
        raise RefusedError(404, "Not Found", "No such pre-auth key")
    return Change(replace(state, keys=_without(state.keys, key)), key)


def forget(state: State, agent: str) -> Change:
    """Let an agent be nobody: its key, its swarms, its memberships, and hives that only it was in."""
    announced: list[Announcement] = []
    for swarm in [each for each in state.swarms.values() if each.owner == agent]:
        state, _, gone, _ = _remove(state, swarm)
        announced += gone
    hives = {each.id: replace(each, members=each.members - {agent}) for each in state.hives.values()}
    wanted = {key.hive for key in state.keys.values()}
    kept = {each.id: each for each in hives.values() if each.members or each.owner != agent or each.id in wanted}
    return Change(replace(state, agents=_without(state.agents, agent), hives=kept), agent, tuple(announced))


def go_stale(state: State, now: Moment, stale_after_ms: int) -> Change:
    """Take those for offline of whom nothing was heard for so long, and announce it."""
    silent = [state.swarms[swarm] for swarm, when in state.heard.items() if now.steady_ms - when >= stale_after_ms]
    announced: list[Announcement] = []
    swarms, heard = dict(state.swarms), dict(state.heard)
    for swarm in silent:
        swarms[swarm.id] = replace(swarm, status="offline")
        del heard[swarm.id]
        announced += _turned(state, swarm, swarms[swarm.id])
    return Change(replace(state, swarms=swarms, heard=heard), "", tuple(announced), is_durable=bool(silent))


def begin(state: State, now: Moment) -> State:
    """A state as it was kept, with nobody taken for silent because the hub was."""
    return replace(state, heard={each.id: now.steady_ms for each in state.swarms.values() if each.status != "offline"})


def _present(state: State, agent: str) -> Agent:
    """The agent, unless it was forgotten since it showed its key."""
    found = state.agents.get(agent)
    if found is None:
        raise unauthorised()
    return found


def _at(state: State, endpoint: str) -> Swarm | None:
    return next((each for each in state.swarms.values() if each.map_endpoint == endpoint), None)


def _duplicate(endpoint: str) -> RefusedError:
    return RefusedError(409, "DUPLICATE_ENDPOINT", f"A swarm is already registered at {endpoint}")


def _used(state: State, key: Key, now: Moment) -> State:
    return replace(state, keys={**state.keys, key.id: replace(key, uses_left=key.uses_left - 1, last_used_ms=now.ms)})


def _with_member(state: State, hive: str, agent: str, now: Moment) -> State:
    found = state.hives.get(hive)
    if found is None or agent in found.members:
        return state
    return replace(state, hives={**state.hives, hive: replace(found, members=found.members | {agent}, updated_ms=now.ms)})


def _with_swarm(state: State, swarm: Swarm) -> State:
    return replace(state, swarms={**state.swarms, swarm.id: swarm})


def _heard(state: State, swarm: str, now: Moment) -> State:
    return replace(state, heard={**state.heard, swarm: now.steady_ms})


def _without(entries: Mapping[str, T], key: str) -> dict[str, T]:
    return {each: entry for each, entry in entries.items() if each != key}


def _remove(state: State, swarm: Swarm) -> Change:
    announced = [_membership(state, "swarm_left_hive", swarm, state.hives[hive]) for hive in sorted(swarm.hives)]
    kept = replace(state, swarms=_without(state.swarms, swarm.id), heard=_without(state.heard, swarm.id))
    return Change(kept, swarm.id, tuple(announced))


def _audience(state: State, swarm: Swarm) -> frozenset[str]:
    return frozenset({swarm.owner}.union(*(state.hives[hive].members for hive in swarm.hives)))


def _membership(state: State, kind: str, swarm: Swarm, hive: Hive) -> Announcement:
    data: Json = {"swarm_id": swarm.id, "swarm_name": swarm.name, "hive_name": hive.name}
    return Announcement(kind, data, (hive_channel(hive.id),), state.hives[hive.id].members)


def _turned(state: State, before: Swarm, after: Swarm) -> tuple[Announcement, ...]:
    """Word of a swarm that is there or is not, where that changed."""
    if (before.status == "offline") == (after.status == "offline"):
        return ()
    data: Json = {"swarm_id": after.id, "name": after.name}
    channels: Iterable[str] = (DISCOVERY, *(hive_channel(hive) for hive in sorted(after.hives)), swarm_channel(after.id))
    kind = "swarm_offline" if after.status == "offline" else "swarm_online"
    return (Announcement(kind, data, tuple(channels), _audience(state, after)),)
