"""What a group asks of its recordings, and who is known to hold their bytes."""

from collections.abc import Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from types import MappingProxyType
from typing import NamedTuple

from materializer.values import MIN_COPIES, REQUIRED_PROPERTIES
from peer.core.control import Role
from peer.core.encoding import Value
from peer.core.identity import BlobId, EventId, GroupId, PeerId
from peer.core.interfaces import Replica
from peer.core.views import RegisterView, Views

COPIES_WANTED = 1
"""Where a group does not say."""


IsUnproven = Callable[[GroupId, EventId, PeerId], bool]
"""Whether a site could not prove that it holds a recording, when it was asked last."""


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
    not_holders: Mapping[EventId, AbstractSet[PeerId]] = MappingProxyType({})
    """Whoever said that it holds some of its bytes only, or none any more."""
    members: Mapping[GroupId, AbstractSet[PeerId]] = MappingProxyType({})

    def holding(self, group: GroupId, recording: EventId, site: PeerId) -> Sequence[PeerId]:
        """Who is known to have all bytes of a recording of `site`: those that said so, and `site` itself if it never said anything else.

        Older versions write no receipts: who made a recording and says nothing has it.
        """
        holders = [peer for peer in self.holders.get(recording, ()) if peer != site]
        said_so = site in self.holders.get(recording, ())
        is_silent = site not in self.not_holders.get(recording, ()) and site in self.members.get(group, ())
        return [site, *holders] if said_so or is_silent else holders


def rules_of(settings: Sequence[RegisterView]) -> Rules:
    """What these settings ask for."""
    values = {each.name: each.value for each in settings}
    copies, required = values.get(MIN_COPIES), values.get(REQUIRED_PROPERTIES)
    return Rules(copies if isinstance(copies, int) else COPIES_WANTED, [str(key) for key in required] if isinstance(required, list) else ())


async def read_standing(
    views: Views, replica: Replica, files: Mapping[EventId, tuple[GroupId, Collection[BlobId]]], is_unproven: IsUnproven = lambda *_: False
) -> Standing:
    """The rules for recordings, given by their groups and the blobs of their files, and the holders of all of these."""
    groups = {group for group, _ in files.values()}
    rules = {group: rules_of(await views.settings(group)) for group in groups}
    holders: dict[EventId, Sequence[PeerId]] = {}
    others: dict[EventId, AbstractSet[PeerId]] = {}
    members = {group: _members(replica, group) for group in groups}
    for group in groups:
        wanted = {recording: set(blobs) for recording, (its, blobs) in files.items() if its == group and blobs}
        every = set().union(*wanted.values())
        found, released = await views.holders(group, every), await views.released(group, every)
        for recording, blobs in wanted.items():
            everywhere = set.intersection(members[group], *(found.get(blob, ()) for blob in blobs))
            holders[recording] = sorted(peer for peer in everywhere if not is_unproven(group, recording, peer))
            spoke = set().union(*(said.get(blob, ()) for said in (found, released) for blob in blobs))
            others[recording] = spoke.difference(holders[recording])
    return Standing(rules, holders, others, members)


def _members(replica: Replica, group: GroupId) -> set[PeerId]:
    """Who is in a group now: a receipt of one that was removed says nothing any more."""
    view = replica.groups.get(group)
    return set() if view is None else {peer for peer in view.roster.members if view.roster.role(peer) is not Role.NONE}
