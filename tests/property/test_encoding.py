"""Any bytes either are the one encoding of a value, or are refused, quickly and in one way."""

from typing import Any

import cbor2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from peer.core.encoding import DEPTH_MAX, INTEGER_MAX, INTEGER_MIN, decode, decode_map, decode_shallow, encode
from peer.errors import NotCanonicalError

scalars = (
    st.none()
    | st.booleans()
    | st.integers(INTEGER_MIN, INTEGER_MAX)
    | st.binary(max_size=300)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
)
values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=30) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), inner, max_size=30),
    max_leaves=40,
)


def depth(value: object) -> int:
    if isinstance(value, list):
        return 1 + max((depth(item) for item in value), default=0)
    if isinstance(value, dict):
        return 1 + max((depth(item) for item in value.values()), default=0)
    return 0


def exactly(value: object) -> object:
    """`value` with the types spelled out, since True equals 1."""
    if isinstance(value, list):
        return [exactly(item) for item in value]
    if isinstance(value, dict):
        return {key: exactly(item) for key, item in value.items()}
    return (type(value), value)


@given(values.filter(lambda value: depth(value) <= DEPTH_MAX))
def test_decode_undoes_encode(value: object) -> None:
    assert exactly(decode(encode(value))) == exactly(value)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), scalars, max_size=40))
def test_the_order_in_which_a_map_was_filled_does_not_show(value: dict[str, object]) -> None:
    backwards = dict(reversed(value.items()))

    assert encode(backwards) == encode(value)


@given(st.binary(max_size=200))
@example(b"")
@example(b"\xff")
@example(b"\xd8\x1c\x81\xd8\x1d\x00")
def test_any_bytes_are_the_encoding_of_their_value_or_are_refused(data: bytes) -> None:
    try:
        value = decode(data)
    except NotCanonicalError:
        return
    assert encode(value) == data


@given(values, st.data())
def test_a_changed_byte_gives_another_value_or_is_refused(value: object, data: st.DataObject) -> None:
    encoded = bytearray(encode(value))
    place = data.draw(st.integers(0, len(encoded) - 1))
    encoded[place] ^= data.draw(st.integers(1, 255))
    try:
        changed = decode(bytes(encoded))
    except NotCanonicalError:
        return
    assert exactly(changed) != exactly(value)
    assert encode(changed) == encoded


@given(values, st.binary(min_size=1, max_size=4))
def test_trailing_bytes_are_refused(value: object, tail: bytes) -> None:
    with pytest.raises(NotCanonicalError):
        decode(encode(value) + tail)


@given(values, st.data())
def test_what_is_cut_short_is_refused(value: object, data: st.DataObject) -> None:
    encoded = encode(value)
    with pytest.raises(NotCanonicalError):
        decode(encoded[: data.draw(st.integers(0, len(encoded) - 1))])


@given(st.integers(0, 2**64 - 1), values)
def test_every_tag_is_refused_whatever_it_means(tag: int, value: object) -> None:
    """Also by the decoder that leaves types to its caller: an event header may not wake up what a library knows to do with tags."""
    data = cbor2.dumps(cbor2.CBORTag(tag, value), canonical=True)
    for read in (decode, decode_shallow):
        with pytest.raises(NotCanonicalError):
            read(data)


@given(values.filter(lambda value: not isinstance(value, dict)))
def test_what_is_no_map_is_refused_where_a_map_must_be(value: object) -> None:
    with pytest.raises(NotCanonicalError):
        decode_map(encode(value))


@given(st.dictionaries(st.integers() | st.binary(max_size=8) | st.booleans() | st.none(), st.integers(0, 5), min_size=1, max_size=5))
def test_keys_that_are_not_text_are_refused(value: dict[object, int]) -> None:
    with pytest.raises(NotCanonicalError):
        decode(cbor2.dumps(value, canonical=True))


@given(st.floats())
def test_floats_are_refused(number: float) -> None:
    for canonical in (True, False):
        with pytest.raises(NotCanonicalError):
            decode(cbor2.dumps([number], canonical=canonical))


@given(st.integers(min_value=INTEGER_MAX + 1) | st.integers(max_value=INTEGER_MIN - 1))
def test_integers_of_more_than_64_bits_are_refused(number: int) -> None:
    with pytest.raises(NotCanonicalError):
        decode(cbor2.dumps(number, canonical=True))
