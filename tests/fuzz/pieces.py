"""How a fuzzer's bytes become several values: each piece with its length in two bytes in front. Whatever the bytes are, they are some pieces."""

from collections.abc import Iterable, Sequence

PIECES_MAX = 64
_LENGTH_BYTES = 2


def join(pieces: Iterable[bytes]) -> bytes:
    """The bytes that `split` takes apart again."""
    return b"".join(len(piece).to_bytes(_LENGTH_BYTES, "big") + piece for piece in pieces)


def split(data: bytes) -> Sequence[bytes]:
    """The pieces in `data`; one that is cut off is as long as there are bytes."""
    found = []
    while data and len(found) < PIECES_MAX:
        size = int.from_bytes(data[:_LENGTH_BYTES], "big")
        found.append(data[_LENGTH_BYTES : _LENGTH_BYTES + size])
        data = data[_LENGTH_BYTES + size :]
    return found
