"""The messages about bytes: parts of blobs, and proofs that a site holds what it says. Part of the vocabulary of `messages`.

Parts of blobs are for sites that nobody can dial. Proofs are part of version 3 of the protocol.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from peer.core.dropping import ROUND_SIZE
from peer.core.encoding import Value
from peer.core.hashing import HASH_SIZE
from peer.core.identity import ID_SIZE, BlobId, EventId, GroupId
from peer.core.relaying import WantedPart
from peer.errors import LimitExceededError, MalformedFrameError
from peer.sync import limits
from peer.sync.fields import read_bytes, read_bytes_up_to, read_code, read_flag, read_group, read_items, read_tuple, read_whole

POSSESSION_VERSION = 3
"""The version of the protocol from which on links carry proofs."""


class BlobWant(NamedTuple):
    """Send me this part of a blob, if it belongs to the group: for sites that I cannot dial."""

    number: int
    group: GroupId
    blob: BlobId
    start: int
    size: int
    relay: bool
    """Get it from others if you have to; who asks on behalf of somebody else says no, so that no request goes further than that."""


class BlobPart(NamedTuple):
    """The part that was asked for under this number, or, with a code, why there is none."""

    number: int
    code: str
    data: bytes


class PossessionWant(NamedTuple):
    """Prove that you hold these pieces of a recording, and with that promise not to drop your copy of it until this round of mine has ended."""

    number: int
    group: GroupId
    recording: EventId
    round_id: bytes
    pieces: tuple[tuple[BlobId, int], ...]
    """Blobs, each with the number of one of its pieces."""


class Possession(NamedTuple):
    """The proofs that were asked for under this number, one for each piece, or, with a code, why there are none."""

    number: int
    code: str
    proofs: tuple[bytes, ...]


class RoundsWant(NamedTuple):
    """I promised something for these rounds of yours: say which of them have ended."""

    group: GroupId
    rounds: tuple[bytes, ...]


class RoundsEnded(NamedTuple):
    """These rounds of mine have ended: what was promised for them binds no more."""

    group: GroupId
    rounds: tuple[bytes, ...]


BlobMessage = BlobWant | BlobPart
PossessionMessage = PossessionWant | Possession | RoundsWant | RoundsEnded


def _blob_want(fields: list[Value]) -> BlobWant:
    number, group, blob, start, size, relay = fields
    if not 0 < read_whole(size) <= limits.BLOB_PART_SIZE_MAX:
        raise LimitExceededError(f"a part of a blob that is not of 1 to {limits.BLOB_PART_SIZE_MAX} bytes")
    part = WantedPart(read_group(group), BlobId(read_bytes(blob, ID_SIZE)), read_whole(start), read_whole(size), read_flag(relay))
    return BlobWant(read_whole(number), *part)


def _blob_part(fields: list[Value]) -> BlobPart:
    number, code, data = fields
    return BlobPart(read_whole(number), _code_or_empty(code), read_bytes_up_to(data, limits.BLOB_PART_SIZE_MAX))


def _possession_want(fields: list[Value]) -> PossessionWant:
    number, group, recording, round_id, pieces = fields
    found = []
    for entry in read_items(pieces, limits.PROOFS_MAX):
        blob, piece = read_tuple(entry, 2)
        found.append((BlobId(read_bytes(blob, ID_SIZE)), read_whole(piece)))
    if not found:
        raise MalformedFrameError("a question for proofs of nothing")
    its = EventId(read_bytes(recording, ID_SIZE))
    return PossessionWant(read_whole(number), read_group(group), its, read_bytes(round_id, ROUND_SIZE), tuple(found))


def _possession(fields: list[Value]) -> Possession:
    number, code, proofs = fields
    found = tuple(read_bytes(proof, HASH_SIZE) for proof in read_items(proofs, limits.PROOFS_MAX))
    return Possession(read_whole(number), _code_or_empty(code), found)


def _rounds(value: Value) -> tuple[bytes, ...]:
    return tuple(read_bytes(each, ROUND_SIZE) for each in read_items(value, limits.ROUNDS_MAX))


def _rounds_want(fields: list[Value]) -> RoundsWant:
    return RoundsWant(read_group(fields[0]), _rounds(fields[1]))


def _rounds_ended(fields: list[Value]) -> RoundsEnded:
    return RoundsEnded(read_group(fields[0]), _rounds(fields[1]))


def _code_or_empty(value: Value) -> str:
    return "" if value == "" else read_code(value)


BLOB_READERS: Mapping[str, tuple[int, Callable[[list[Value]], BlobMessage | PossessionMessage]]] = {
    "blob_want": (6, _blob_want),
    "blob_part": (3, _blob_part),
    "possession_want": (5, _possession_want),
    "possession": (3, _possession),
    "rounds_want": (2, _rounds_want),
    "rounds_ended": (2, _rounds_ended),
}

BLOB_NAMES: Mapping[type, str] = {
    BlobWant: "blob_want",
    BlobPart: "blob_part",
    PossessionWant: "possession_want",
    Possession: "possession",
    RoundsWant: "rounds_want",
    RoundsEnded: "rounds_ended",
}


def blob_fields(message: BlobMessage | PossessionMessage) -> list[object]:
    """The fields of the frame, without its name."""
    match message:
        case BlobWant() | BlobPart():
            return list(message)
        case PossessionWant():
            return [*message[:-1], [list(entry) for entry in message.pieces]]
        case Possession() | RoundsWant() | RoundsEnded():
            return [*message[:-1], list(message[-1])]
