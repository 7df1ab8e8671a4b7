"""Asking to be let in by a single request, without a link: what a session does for a joiner, and nothing else of it."""

from peer.core.identity import PeerId
from peer.errors import RemoteProtocolError, RequestError, TransportError
from peer.sync import effects as fx
from peer.sync.handshake import Handshake
from peer.sync.joining import JoinSide
from peer.sync.messages import Join
from peer.sync.outbox import Outbox
from peer.sync.sources import LinkToken
from peer.sync.surroundings import Surroundings


class AskingOnce:
    """One who asks. `joined` is sent when it is let in; a `CloseLink` says why it is not."""

    def __init__(self, surroundings: Surroundings, handshake: Handshake, link: LinkToken) -> None:
        """The nonce of `handshake` is what the joiner was given."""
        self._handshake = handshake
        self._outbox = Outbox()
        self._joining = JoinSide(surroundings.replica, surroundings.joins, self._outbox, handshake, link, None)

    def begin(self, caller: PeerId, join: Join) -> list[fx.Effect]:
        """`caller`, who signed a request, asks for `join`."""
        try:
            self._handshake.take_signed(caller)
            self._joining.asked(join)
        except (RemoteProtocolError, RequestError) as error:
            self._outbox.ask(fx.CloseLink(error.code, error.text))
        return self._outbox.take()

    def handle(self, fact: fx.Fact, now_ms: int) -> list[fx.Effect]:
        """Advance by one fact and return what the shell must do, in order. What is no matter of joining is passed over."""
        try:
            match fact:
                case fx.JoinDecided():
                    self._joining.decided(fact, now_ms)
                case fx.GroupsChanged():
                    self._joining.looked()
                case fx.RefusalReturned(refused):
                    self._joining.returned(refused)
                case fx.Tick():
                    self._joining.tick(now_ms)
                case _:
                    pass
        except (RemoteProtocolError, TransportError, RequestError) as error:
            self._outbox.ask(fx.CloseLink(error.code, error.text))
        return self._outbox.take()
