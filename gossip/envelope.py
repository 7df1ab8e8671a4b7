"""What a peer says of itself and others pass on: its bytes and their signature, `[bytes, signature]` in deterministic CBOR. Pure."""

from peer.core.encoding import Value, decode, encode
from peer.core.identity import SIGNATURE_SIZE, KeyPair, PeerId, check_signature
from peer.errors import NotCanonicalError, RecordInvalidError, SignatureMismatchError


def seal(key: KeyPair, context: bytes, signed: bytes) -> bytes:
    """`signed` with the signature of `key` over `context` and it."""
    return encode([signed, key.sign(context + signed)])


def unseal(data: bytes, size_max: int, what: str) -> tuple[bytes, Value, bytes]:
    """What was signed, the value in it, and the signature, which is not checked. `what` names it in errors. Raises `RecordInvalidError`."""
    if len(data) > size_max:
        raise RecordInvalidError(f"a {what} of {len(data)} bytes; {size_max} are allowed")
    match _canonical(data, what):
        case [bytes(signed), bytes(signature)] if len(signature) == SIGNATURE_SIZE:
            return signed, _canonical(signed, what), signature
        case _:
            raise RecordInvalidError(f"a {what} is its bytes and their signature")


def check_sealed(peer: PeerId, context: bytes, signed: bytes, signature: bytes, what: str) -> None:
    """Raise `RecordInvalidError` unless `peer` signed it."""
    try:
        check_signature(peer, context + signed, signature)
    except SignatureMismatchError as error:
        raise RecordInvalidError(f"a {what} that its peer did not sign") from error


def _canonical(data: bytes, what: str) -> Value:
    try:
        return decode(data)
    except NotCanonicalError as error:
        raise RecordInvalidError(f"a {what} that is not canonical") from error
