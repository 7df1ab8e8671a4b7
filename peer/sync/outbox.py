"""What a session wants done, gathered while it handles one fact."""

from peer.sync.effects import Effect, SendFrame
from peer.sync.messages import Message, encode_message


class Outbox:
    """Effects in the order in which they were asked for."""

    def __init__(self) -> None:
        self._effects: list[Effect] = []

    def send(self, message: Message) -> int:
        """Ask for a frame to be sent; returns its size in bytes."""
        frame = encode_message(message)
        self._effects.append(SendFrame(frame))
        return len(frame)

    def send_last(self, message: Message) -> None:
        """Ask for a frame to be sent when nothing else waits."""
        self._effects.append(SendFrame(encode_message(message), may_wait=True))

    def send_frame(self, frame: bytes) -> None:
        """Ask for a frame to be sent that is encoded already."""
        self._effects.append(SendFrame(frame))

    def ask(self, effect: Effect) -> None:
        """Ask for any other effect."""
        self._effects.append(effect)

    def take(self) -> list[Effect]:
        """All effects so far; the outbox is empty afterwards."""
        effects, self._effects = self._effects, []
        return effects
