"""Proofs that a site holds bytes: a keyed hash of a piece that whoever asks chose by chance. Who does not have the piece cannot answer.

The key names both sites, the recording and the round that it is for: a proof is of use to nobody else, and none can be told again.
"""

from typing import NamedTuple

from peer.core.hashing import hash_bytes, keyed_hash
from peer.core.identity import BlobId, EventId, GroupId, PeerId

POSSESSION_CONTEXT = b"recmesh/possession/v1\0"
PIECE_NUMBER_SIZE = 8


class Question(NamedTuple):
    """What is to be proven, but for the pieces."""

    group: GroupId
    recording: EventId
    round_id: bytes
    """32 bytes that the asker drew by chance."""
    asker: PeerId
    prover: PeerId


def prove(question: Question, blob: BlobId, piece: int, data: bytes | memoryview) -> bytes:
    """The proof for one piece, whose bytes are `data`: 32 bytes."""
    number = piece.to_bytes(PIECE_NUMBER_SIZE, "big")
    return keyed_hash(data, hash_bytes(POSSESSION_CONTEXT + b"".join(question) + blob + number))
