"""What a session is told, and asks for, about proofs that a site holds a recording: its facts and effects."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from peer.core.identity import PeerId
from peer.errors import NotFoundError
from peer.sync.blob_messages import PossessionWant, RoundsEnded, RoundsWant


class WantPossession(NamedTuple):
    """Fact: somebody here wants them to prove that they hold this; answered by `PossessionArrived` with the same number."""

    want: PossessionWant


class PossessionArrived(NamedTuple):
    """Effect: give these proofs to whoever wanted them; there are none where `code` says why not."""

    number: int
    code: str | None
    proofs: Sequence[bytes]


class ReadPossession(NamedTuple):
    """Effect: promise and prove, if that may be; answer with `PossessionRead`."""

    want: PossessionWant


class PossessionRead(NamedTuple):
    """Fact: the proofs, or why there are none. What was promised with them is durable."""

    effect: ReadPossession
    code: str | None
    proofs: Sequence[bytes]


class TellRounds(NamedTuple):
    """Fact: ask them, or tell them, which rounds have ended."""

    message: RoundsWant | RoundsEnded


class RoundsHeard(NamedTuple):
    """Effect: a member asks, or tells, which rounds have ended."""

    message: RoundsWant | RoundsEnded


PossessionFact = WantPossession | PossessionRead | TellRounds
PossessionEffect = PossessionArrived | ReadPossession | RoundsHeard


class Custody(Protocol):
    """Who keeps the copies of this site, as links see it."""

    async def prove(self, peer: PeerId, want: PossessionWant) -> Sequence[bytes]:
        """Promise `peer` what it asks for, durably, then prove it. Raises a `MeshError` with the code of what stands against it."""
        ...

    def hear_rounds(self, peer: PeerId, message: RoundsWant | RoundsEnded) -> None:
        """A member asks, or tells, which rounds have ended. Returns at once and raises nothing."""
        ...


class NoCustody:
    """Of a peer that keeps nothing."""

    async def prove(self, peer: PeerId, want: PossessionWant) -> Sequence[bytes]:  # noqa: ARG002
        """Never."""
        raise NotFoundError("nothing is kept here")

    def hear_rounds(self, peer: PeerId, message: RoundsWant | RoundsEnded) -> None:
        """It made no promises."""
