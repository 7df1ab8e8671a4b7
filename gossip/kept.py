"""What of gossip outlives a restart, as the content of a file. Pure.

Only what may be dialled again is of use: where peers are, and how far that may go on. That they were reached is not kept, so nobody is told of them
before they are reached again. Each record is verified as if it came from elsewhere.
"""

import json
from collections.abc import Sequence
from typing import NamedTuple

from gossip.record import read_record
from gossip.table import Hearsay
from peer.core.identity import ID_SIZE, GroupId, PeerId
from peer.errors import RecordInvalidError

FORMAT = 1
FILE_BYTES_MAX = 64 * 1024 * 1024
ENTRIES_MAX = 20_000
"""What is more is not kept."""


class KeptPeer(NamedTuple):
    """One peer in one group."""

    group: GroupId
    told: Hearsay
    good_for_ms: int | None
    """How long its record is valid yet; None if it never was reached."""


class Kept(NamedTuple):
    """All of it."""

    own_seq: int
    """The last seq of this peer's own records."""
    peers: Sequence[KeptPeer]

    def to_bytes(self) -> bytes:
        """One JSON document, the same for the same content."""
        peers = [
            {
                "group_id": each.group.hex(),
                "record": each.told.signed.data.hex(),
                "ttl": each.told.ttl,
                "learned_from": each.told.learned_from.hex(),
                "good_for_ms": each.good_for_ms,
            }
            for each in self.peers[:ENTRIES_MAX]
        ]
        return (json.dumps({"format": FORMAT, "own_seq": self.own_seq, "peers": peers}, indent=1) + "\n").encode()


def read_kept(data: bytes, now_ms: int) -> Kept | None:
    """What stands in a file; None if it is not as it was written. Whoever is in it counts as told of now."""
    try:
        document = json.loads(data)
        if document["format"] != FORMAT:
            return None
        peers = [
            KeptPeer(
                GroupId(_id(each["group_id"])),
                Hearsay(read_record(bytes.fromhex(each["record"])), _whole(each["ttl"]), PeerId(_id(each["learned_from"])), now_ms),
                None if each["good_for_ms"] is None else _whole(each["good_for_ms"]),
            )
            for each in document["peers"][:ENTRIES_MAX]
        ]
        return Kept(_whole(document["own_seq"]), peers)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, RecordInvalidError):
        return None


def _id(text: str) -> bytes:
    value = bytes.fromhex(text)
    if len(value) != ID_SIZE:
        raise ValueError("not an id")
    return value


def _whole(value: object) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError("not a number that was written")
    return value
