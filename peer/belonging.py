"""Who belongs to what, put together: the use cases about members, invitations and logs of groups."""

from collections.abc import Callable
from typing import NamedTuple

from peer.core.identity import PeerId
from peer.core.interfaces import EventStore, Replica
from peer.core.views import Views
from peer.operations.invitations import Invitations
from peer.operations.logs import Logs
from peer.operations.membership import Membership


class Belonging(NamedTuple):
    """In the order in which the admin API names them."""

    invitations: Invitations
    membership: Membership
    logs: Logs


def make_belonging(peer: PeerId, store: EventStore, replica: Replica, views: Views, now_ms: Callable[[], int]) -> Belonging:
    """For the site `peer`."""
    return Belonging(Invitations(peer, store, replica, views, now_ms), Membership(peer, store, replica, views), Logs(peer, store, replica, views))
