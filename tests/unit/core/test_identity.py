"""Keys: what verifies, and what never does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.core.identity import KeyPair, check_signature
from peer.errors import SignatureMismatchError
from tests.samples import key_pair

ALICE = key_pair("alice")


@given(st.binary(max_size=200))
def test_what_a_key_signed_verifies(message: bytes) -> None:
    check_signature(ALICE.public, message, ALICE.sign(message))


@given(st.binary(min_size=1, max_size=64), st.data())
def test_one_changed_bit_anywhere_does_not_verify(message: bytes, data: st.DataObject) -> None:
    whole = [bytearray(ALICE.public), bytearray(message), bytearray(ALICE.sign(message))]
    part = whole[data.draw(st.integers(0, 2))]
    part[data.draw(st.integers(0, len(part) - 1))] ^= 1 << data.draw(st.integers(0, 7))

    with pytest.raises(SignatureMismatchError):
        check_signature(bytes(whole[0]), bytes(whole[1]), bytes(whole[2]))


SMALL_ORDER = [
    bytes(32),
    b"\x01" + bytes(31),
    b"\xec" + b"\xff" * 30 + b"\x7f",
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
]


@pytest.mark.parametrize("public", SMALL_ORDER)
def test_keys_of_small_order_verify_nothing(public: bytes) -> None:
    """Under such a key one signature would fit many messages: a log that says different things to different peers."""
    for signature in (bytes(64), public + bytes(32)):
        for message in (b"", b"one", b"other"):
            with pytest.raises(SignatureMismatchError):
                check_signature(public, message, signature)


def test_a_signature_with_a_number_beyond_the_order_is_refused() -> None:
    """Else anybody could make a second valid signature out of the first."""
    order = 2**252 + 27742317777372353535851937790883648493
    signature = ALICE.sign(b"m")
    number = int.from_bytes(signature[32:], "little") + order
    other = signature[:32] + number.to_bytes(32, "little")

    with pytest.raises(SignatureMismatchError):
        check_signature(ALICE.public, b"m", other)


@pytest.mark.parametrize(("public", "signature"), [(b"", bytes(64)), (bytes(31), bytes(64)), (ALICE.public, b""), (ALICE.public, bytes(63))])
def test_sizes_are_checked_before_the_library_is_asked(public: bytes, signature: bytes) -> None:
    with pytest.raises(SignatureMismatchError):
        check_signature(public, b"m", signature)


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_a_seed_has_32_bytes(size: int) -> None:
    with pytest.raises(ValueError, match="32"):
        KeyPair(bytes(size))


def test_a_key_pair_shows_its_public_half_only() -> None:
    assert ALICE.seed.hex()[:8] not in repr(ALICE)
    assert ALICE.public.hex()[:8] in repr(ALICE)
    assert ALICE.peer_id == ALICE.public
