"""Offers: of two that add each other by their ids, the one that has the group tells the other how it began. Whether to take it the shell decides."""

from peer.core.identity import GroupId, PeerId
from peer.core.interfaces import Replica
from peer.sync import limits
from peer.sync.effects import OfferDecided, TakeOffer
from peer.sync.messages import Error, Offer
from peer.sync.outbox import Outbox


class OfferSide:
    """Groups offered on one link, in both directions."""

    def __init__(self, replica: Replica, outbox: Outbox, remote: PeerId) -> None:
        self._replica = replica
        self._outbox = outbox
        self._remote = remote
        self._made: set[GroupId] = set()
        self._open: dict[GroupId, bytes] = {}
        """Offered to us, and neither taken nor refused."""
        self._deciding: set[GroupId] = set()

    @property
    def is_deciding(self) -> bool:
        """True while somebody here thinks about an offer."""
        return bool(self._deciding)

    def make(self, group: GroupId) -> None:
        """Offer a group of which they are a member: once."""
        if group not in self._made and len(self._made) < limits.GROUPS_PER_LINK_MAX:
            self._made.add(group)
            self._outbox.send(Offer(group, self._replica.groups[group].genesis.to_bytes()))

    def is_made(self, group: GroupId) -> bool:
        """True if they were offered `group` and have not spoken about it since."""
        return group in self._made

    def unmake(self, group: GroupId) -> None:
        """`group` is spoken about."""
        self._made.discard(group)

    def made_to_us(self, message: Offer) -> None:
        """They offer a group that is not held here. What is too much is passed over."""
        if message.group in self._open or len(self._open) < limits.OFFERS_MAX:
            self._open[message.group] = message.genesis
            self._ask(message.group)

    def ask_again(self) -> None:
        """What the operator wants may have changed."""
        for group in self._open:
            self._ask(group)

    def decided(self, fact: OfferDecided) -> bool:
        """True if the group is held now."""
        group = fact.effect.group
        self._deciding.discard(group)
        if fact.taken or fact.code is not None:
            self._open.pop(group, None)
        if fact.code is not None:
            self._outbox.send(Error(fact.code, fact.text[: limits.TEXT_CHARACTERS_MAX], group))
        return fact.taken

    def _ask(self, group: GroupId) -> None:
        if group not in self._deciding:
            self._deciding.add(group)
            self._outbox.ask(TakeOffer(group, self._open[group], self._remote))
