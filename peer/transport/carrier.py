"""What brings the frames of one link from one side to the other: in order, each once, none in half. A WebSocket, or a series of requests."""

from enum import StrEnum
from typing import Protocol


class CarrierKind(StrEnum):
    """How frames travel."""

    WEBSOCKET = "websocket"
    POLL = "poll"


class Carrier(Protocol):
    """One end of it. Whoever has it sends from one task and receives from one."""

    kind: CarrierKind

    @property
    def address(self) -> str:
        """Where the other end speaks from, empty if that is not known."""
        ...

    @property
    def other_end(self) -> str:
        """That with its port, as IP:PORT; empty if it is not known. Of requests, that of the latest."""
        ...

    @property
    def own_address(self) -> str:
        """Where this end speaks from; empty if that is not known, or may be another for each request."""
        ...

    async def send(self, frame: bytes) -> None:
        """Send `frame` after what was sent before; waits while the other side does not read. Raises `MeshError` if that is broken."""
        ...

    async def receive(self) -> bytes | None:
        """The next frame; None after the last. Raises `MeshError` where something broke that has a code of its own."""
        ...

    async def close(self) -> None:
        """Say that nothing more comes, and return when the other side knows. Whoever calls does not wait for ever."""
        ...

    def cut(self) -> None:
        """End it now, whatever is still under way."""
        ...
