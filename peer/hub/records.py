"""What a hub knows: agents, hives, swarms, keys. A state is a value: who changes something makes another one. Pure.

An agent has a credential; a swarm is what an agent says about one peer of its; a hive is a set of agents that may see one another's swarms. The words
are those of the hubs that clients already know.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Json = dict[str, object]
Status = Literal["online", "offline", "unreachable"]
OPERATOR = "operator"
"""Who owns what no agent made."""


class Moment(NamedTuple):
    """Now, twice."""

    ms: int
    """Unix time, which people see. It may jump."""
    steady_ms: int
    """From any start, never back: what silence is measured with."""


@dataclass(frozen=True, slots=True)
class Agent:
    """Somebody with a credential."""

    id: str
    name: str
    description: str | None
    digest: bytes
    """SHA-256 of its key."""
    hive: str | None
    """That of the pre-auth key it came with: its swarms join it by themselves."""
    created_ms: int
    key: str = ""
    """The id of that pre-auth key: shown again by who came with it, it is not used again."""


@dataclass(frozen=True, slots=True)
class Hive:
    """Agents that may see one another's swarms."""

    id: str
    name: str
    description: str | None
    owner: str
    is_public: bool
    """Whether any agent may join; else only who came with a key for it."""
    settings: Json | None
    created_ms: int
    updated_ms: int
    members: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Swarm:
    """What an agent says about a peer."""

    id: str
    owner: str
    name: str
    map_endpoint: str
    created_ms: int
    updated_ms: int
    last_seen_ms: int
    description: str | None = None
    map_transport: str = "websocket"
    auth_method: str = "bearer"
    capabilities: Json | None = None
    metadata: Json | None = None
    agent_count: int = 0
    scope_count: int = 0
    status: Status = "online"
    hives: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Key:
    """A pre-auth key: lets so many in."""

    id: str
    digest: bytes
    """SHA-256 of its secret."""
    hive: str | None
    uses_left: int
    expires_ms: int | None
    created_by: str
    created_ms: int
    last_used_ms: int | None = None

    def is_valid(self, now_ms: int) -> bool:
        """Whether it lets anybody in."""
        return self.uses_left > 0 and (self.expires_ms is None or now_ms < self.expires_ms)


@dataclass(frozen=True, slots=True)
class State:
    """All of it, by id."""

    agents: Mapping[str, Agent] = field(default_factory=dict)
    hives: Mapping[str, Hive] = field(default_factory=dict)
    swarms: Mapping[str, Swarm] = field(default_factory=dict)
    keys: Mapping[str, Key] = field(default_factory=dict)
    heard: Mapping[str, int] = field(default_factory=dict)
    """When, by the steady clock, each swarm that is not offline was last heard of. Not kept over a restart."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """What those are told who wait for it."""

    type: str
    data: Json
    channels: tuple[str, ...]
    audience: frozenset[str]
    """Agents that may know."""


class Change(NamedTuple):
    """What became of a state."""

    state: State
    made: str = ""
    """The id of what this was about."""
    announcements: tuple[Announcement, ...] = ()
    is_durable: bool = True
    """False for what may be forgotten in a crash: when somebody was heard of."""
