"""What a group asks of its recordings, and who is known to hold their bytes."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from materializer.values import MIN_COPIES, REQUIRED_PROPERTIES
from peer.core.control import Role
from peer.core.encoding import Value
from peer.core.identity import BlobId, EventId, GroupId, PeerId
from peer.core.interfaces import Replica
from peer.core.views import RegisterView, Views

COPIES_WANTED = 1
"""Where a group does not say."""


class Rules(NamedTuple):
    """What the settings of a group ask for."""

    copies_wanted: int = COPIES_WANTED
    required: Sequence[str] = ()
    """Keys of properties that each recording should have."""

    def missing(self, properties: Mapping[str, Value]) -> list[str]:
        """The required properties that a recording lacks."""
        return [key for key in self.required if key not in properties]


class Standing(NamedTuple):
    """What is to be known of recordings beside themselves, to describe them."""

    rules: Mapping[GroupId, Rules]
    holders: Mapping[EventId, Sequence[PeerId]]
    """The members that said that they hold all of its bytes."""


def rules_of(settings: Sequence[RegisterView]) -> Rules:
    """What these settings ask for."""
    values = {each.name: each.value for each in settings}
    copies, required = values.get(MIN_COPIES), values.get(REQUIRED_PROPERTIES)
    return Rules(copies if isinstance(copies, int) else COPIES_WANTED, [str(key) for key in required] if isinstance(required, list) else ())


async def read_standing(views: Views, replica: Replica, files: Mapping[EventId, tuple[GroupId, Collection[BlobId]]]) -> Standing:
    """The rules for recordings, given by their groups and the blobs of their files, and the holders of all of these."""
    groups = {group for group, _ in files.values()}
    rules = {group: rules_of(await views.settings(group)) for group in groups}
    holders: dict[EventId, Sequence[PeerId]] = {}
    for group in groups:
        wanted = {recording: set(blobs) for recording, (its, blobs) in files.items() if its == group and blobs}
        found = await views.holders(group, set().union(*wanted.values()))
        is_member = _members(replica, group)
        for recording, blobs in wanted.items():
            everywhere = set.intersection(*(set(found.get(blob, ())) for blob in blobs))
            holders[recording] = sorted(peer for peer in everywhere if is_member(peer))
    return Standing(rules, holders)


def _members(replica: Replica, group: GroupId) -> Callable[[PeerId], bool]:
    """Whether a peer is in a group now: a receipt of one that was removed says nothing any more."""
    view = replica.groups.get(group)
    return lambda peer: view is not None and view.roster.role(peer) is not Role.NONE
