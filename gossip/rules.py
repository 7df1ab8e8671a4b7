"""What an operator may set of gossip. Pure."""

from typing import NamedTuple


class GossipRules(NamedTuple):
    """As in the section `[gossip]` of the configuration; times in ms."""

    enabled: bool = True
    default_ttl: int = 2
    hub_peer_ttl: int = 1
    exchange_interval_ms: int = 60_000
    max_gossip_peers: int = 50
    stale_timeout_ms: int = 300_000
    max_failures: int = 3
