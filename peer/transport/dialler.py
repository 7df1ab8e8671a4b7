"""Dialling one address of a peer, once. `dialling` says when, and whom."""

from typing import Protocol

from peer.core.identity import PeerId
from peer.core.neighbours import Neighbours
from peer.transport.callers import Callers
from peer.transport.carrier import Carrier
from peer.transport.channel import ChannelRules
from peer.transport.connection import Connection, JoinAttempt
from peer.transport.opening import Upgrades, opened_carrier
from peer.transport.pinning import Dialled


class Server(Protocol):
    """Who runs a session on a carrier, and knows which links stand."""

    callers: Callers
    channel_rules: ChannelRules
    upgrades: Upgrades
    neighbours: Neighbours

    async def serve(
        self,
        carrier: Carrier,
        *,
        dialled: PeerId | None,
        channel_key: bytes,
        attempt: JoinAttempt | None = None,
        came_from: str | None = None,
        endpoint: str | None = None,
    ) -> Connection:
        """Until it ends; tells `neighbours` once somebody proves at `endpoint` to be `dialled`."""
        ...

    def has_room(self, came_from: str | None) -> bool:
        """Whether one more that dialled us may try to prove who it is."""
        ...

    def report(self, error: Exception) -> None:
        """A bug of ours ended a link."""
        ...

    def link_to(self, peer: PeerId) -> Connection | None:
        """The proven link to `peer`, None while there is none."""
        ...

    def is_linked(self, peer: PeerId) -> bool:
        """Whether a proven link stands."""
        ...

    async def changed(self) -> None:
        """Return when some link came or went."""
        ...


async def dial(
    server: Server,
    peer: PeerId,
    endpoint: str,
    *,
    attempt: JoinAttempt | None = None,
    is_hint: bool = False,
) -> Connection:
    """Open a link to `peer` at `endpoint` and serve it until it ends. A hint is an endpoint that others told of.

    Raises `TransportError`, or a `HandshakeFailedError` if it must not be used.
    """
    dialled = Dialled(peer, endpoint, server.channel_rules, is_hint=is_hint)
    async with opened_carrier(dialled, server.upgrades) as carrier:
        await server.callers.check(carrier.other_end)
        return await server.serve(carrier, dialled=peer, channel_key=dialled.channel_key, attempt=attempt, endpoint=endpoint)
