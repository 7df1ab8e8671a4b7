"""Which bytes that are here may be given to the members of a group: those that came here in that group.

Whoever writes in one group may name any bytes in an event there. That must not bring out what came here in another: a name is no reason to have been
given something. So bytes that more than one group names are given where this site itself added them, or where it got them from a member.
"""

from typing import Protocol

from peer.core.identity import BlobId, GroupId, PeerId
from peer.core.interfaces import Replica
from peer.core.relaying import GroupFiles


class Arrivals(Protocol):
    """What was fetched in which group."""

    def came(self, group: GroupId, blob: BlobId) -> bool:
        """True if members of `group` gave these bytes to this site."""
        ...


class Provenance:
    """Decides it."""

    def __init__(self, peer: PeerId, replica: Replica, files: GroupFiles, arrivals: Arrivals) -> None:
        """For the site `peer`."""
        self._peer = peer
        self._replica = replica
        self._files = files
        self._arrivals = arrivals

    async def may_give(self, group: GroupId, blob: BlobId) -> bool:
        """Whether a blob, or piece list, that is here may be given to a member of `group`."""
        files = await self._files.files_with(group, blob)
        if not files:
            return False
        if any(file.site == self._peer for file in files) or self._arrivals.came(group, blob):
            return True
        others = [other for other in self._replica.groups if other != group]
        return not any([await self._files.files_with(other, blob) for other in others])
