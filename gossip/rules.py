"""What an operator may set of gossip. Pure."""

from typing import NamedTuple

MAX_GOSSIP_PEERS = 50
"""Peers of a group that only gossip told of, unless the operator says otherwise."""


class GossipRules(NamedTuple):
    """As in the section `[gossip]` of the configuration; times in ms."""

    enabled: bool = True
    default_ttl: int = 2
    hub_peer_ttl: int = 1
    exchange_interval_ms: int = 60_000
    max_gossip_peers: int = MAX_GOSSIP_PEERS
    stale_timeout_ms: int = 300_000
    max_failures: int = 3
