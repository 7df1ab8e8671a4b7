"""What a hub answers: the shapes that clients of hubs know, field by field."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from peer.hub.records import Agent, Hive, Json, Key, State, Swarm
from peer.hub.registry import may_see

MS_PER_S = 1000


def stored_time(ms: int) -> str:
    """A time, as hubs write those that they keep."""
    return f"{datetime.fromtimestamp(ms // MS_PER_S, UTC):%Y-%m-%d %H:%M:%S}"


def computed_time(ms: int) -> str:
    """A time, as hubs write all others."""
    return datetime.fromtimestamp(ms / MS_PER_S, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def agent_registered(agent: Agent, secret: str) -> Json:
    """A new agent with its key, which is told this once."""
    return {
        "agent": {
            "id": agent.id,
            "name": agent.name,
            "description": agent.description,
            "avatar_url": None,
            "karma": 0,
            "is_verified": True,
            "created_at": stored_time(agent.created_ms),
            "account_type": "agent",
        },
        "api_key": secret,
        "verification": {"status": "verified"},
    }


def hive_made(hive: Hive) -> Json:
    """A hive."""
    return {
        "id": hive.id,
        "name": hive.name,
        "description": hive.description,
        "owner_id": hive.owner,
        "is_public": hive.is_public,
        "settings": hive.settings,
        "member_count": len(hive.members),
        "created_at": stored_time(hive.created_ms),
        "updated_at": stored_time(hive.updated_ms),
    }


def hive_shown(state: State, agent: str, hive: Hive) -> Json:
    """A hive, and what `agent` is in it."""
    owner = state.agents.get(hive.owner)
    role = "owner" if hive.owner == agent else "member"
    return {
        **hive_made(hive),
        "owner": {"id": owner.id, "name": owner.name} if owner else None,
        "user_membership": {"role": role} if agent in hive.members else None,
    }


def swarm_registered(swarm: Swarm, joined: str | None) -> Json:
    """A new swarm, to its owner. Nothing is kept of `auth_token`, so there is no hash of it."""
    document: Json = {
        "id": swarm.id,
        "name": swarm.name,
        "description": swarm.description,
        "map_endpoint": swarm.map_endpoint,
        "map_transport": swarm.map_transport,
        "owner_agent_id": swarm.owner,
        "status": swarm.status,
        "last_seen_at": stored_time(swarm.last_seen_ms),
        "capabilities": swarm.capabilities,
        "auth_method": swarm.auth_method,
        "auth_token_hash": None,
        "agent_count": swarm.agent_count,
        "scope_count": swarm.scope_count,
        "headscale_node_id": None,
        "tailscale_ips": None,
        "tailscale_dns_name": None,
        "metadata": swarm.metadata,
        "created_at": stored_time(swarm.created_ms),
        "updated_at": stored_time(swarm.updated_ms),
    }
    return {"swarm": document, "auto_joined_hive": joined}


def swarm_listed(state: State, agent: str, swarm: Swarm) -> Json:
    """A swarm in a list, with those of its hives that `agent` may know of."""
    return {
        "id": swarm.id,
        "name": swarm.name,
        "description": swarm.description,
        "map_endpoint": swarm.map_endpoint,
        "map_transport": swarm.map_transport,
        "status": swarm.status,
        "last_seen_at": stored_time(swarm.last_seen_ms),
        "capabilities": swarm.capabilities,
        "auth_method": swarm.auth_method,
        "agent_count": swarm.agent_count,
        "scope_count": swarm.scope_count,
        "metadata": swarm.metadata,
        "hives": names(state, (hive for hive in swarm.hives if agent in state.hives[hive].members)),
        "created_at": stored_time(swarm.created_ms),
    }


def swarm_shown(state: State, agent: str, swarm: Swarm) -> Json:
    """A swarm by itself."""
    return {**swarm_listed(state, agent, swarm), "tailscale_ips": None, "tailscale_dns_name": None}


def page_of_swarms(state: State, agent: str, hive: str | None, status: str | None) -> list[Swarm]:
    """All swarms that `agent` may know of and that fit, the newest first."""
    found = [
        swarm
        for swarm in state.swarms.values()
        if may_see(state, agent, swarm)
        and (hive is None or (hive in swarm.hives and agent in state.hives[hive].members))
        and (status is None or swarm.status == status)
    ]
    return sorted(found, key=lambda swarm: (-swarm.created_ms, swarm.id))


def peers(state: State, swarm: Swarm, now_ms: int) -> Json:
    """The other swarms of its hives, offline ones too."""
    found: list[Json] = []
    for other in state.swarms.values():
        shared = swarm.hives & other.hives
        if other.id == swarm.id or not shared:
            continue
        found.append(
            {
                "swarm_id": other.id,
                "name": other.name,
                "map_endpoint": other.map_endpoint,
                "map_transport": other.map_transport,
                "auth_method": other.auth_method,
                "status": other.status,
                "agent_count": other.agent_count,
                "capabilities": other.capabilities,
                "shared_hives": names(state, shared),
                "tailscale_ips": None,
                "tailscale_dns_name": None,
            }
        )
    return {"swarm_id": swarm.id, "peers": found, "generated_at": computed_time(now_ms)}


def key_made(key: Key, secret: str) -> Json:
    """A new pre-auth key with its secret, which is told this once."""
    return {
        "id": key.id,
        "key": secret,
        "hive_id": key.hive,
        "uses_left": key.uses_left,
        "expires_at": None if key.expires_ms is None else computed_time(key.expires_ms),
        "created_at": stored_time(key.created_ms),
    }


def keys_listed(keys: Sequence[Key]) -> Json:
    """Pre-auth keys, without their secrets."""
    return {
        "data": [
            {
                "id": key.id,
                "hive_id": key.hive,
                "uses_left": key.uses_left,
                "expires_at": None if key.expires_ms is None else computed_time(key.expires_ms),
                "created_by": key.created_by,
                "created_at": stored_time(key.created_ms),
                "last_used_at": None if key.last_used_ms is None else stored_time(key.last_used_ms),
            }
            for key in keys
        ]
    }


def names(state: State, hives: Iterable[str]) -> list[str]:
    """What hives are called, in order."""
    return sorted(state.hives[hive].name for hive in hives)
