"""Ids, starts of ids, names: each means one thing, or it is said why not."""

import pytest

from peer.errors import AmbiguousError, NotFoundError, RequestError
from peer.operations.json_form import rfc3339, to_json
from peer.operations.references import choose, parse_id

ONE, TWO = bytes.fromhex("aabbccdd" + "00" * 28), bytes.fromhex("aabbccee" + "00" * 28)
THINGS = [(ONE, "Red", 1), (TWO, "Blue", 2)]


@pytest.mark.parametrize(("reference", "thing"), [(ONE.hex(), 1), ("aabbccdd", 1), ("aabbcce", 2), ("red", 1), ("BLUE", 2)])
def test_a_reference_finds_its_thing(reference: str, thing: int) -> None:
    assert choose(reference, "group", THINGS) == thing


def test_a_start_that_fits_two_is_ambiguous() -> None:
    with pytest.raises(AmbiguousError, match="aabbccdd"):
        choose("aabbcc", "group", THINGS)


@pytest.mark.parametrize("reference", ["aabbc", "green", "", "AABBCCDD"])
def test_what_is_too_short_or_unknown_is_not_found(reference: str) -> None:
    with pytest.raises(NotFoundError):
        choose(reference, "group", THINGS)


def test_two_things_of_one_name_are_ambiguous() -> None:
    with pytest.raises(AmbiguousError):
        choose("red", "group", [*THINGS, (bytes(32), "RED", 3)])


def test_a_full_id_wins_over_a_name() -> None:
    assert choose(ONE.hex(), "group", [(TWO, ONE.hex(), 2), (ONE, "x", 1)]) == 1


@pytest.mark.parametrize("text", ["", "zz" * 32, "aa" * 31, "AA" * 32])
def test_only_all_digits_are_an_id(text: str) -> None:
    with pytest.raises(RequestError):
        parse_id(text, "peer id")


def test_nanoseconds_become_text_with_a_twin() -> None:
    assert to_json({"a_ns": 1_500_000_000, "b_ns": None, "id": b"\x01", "list": [{"c_ns": 0}]}) == {
        "a_ns": "1500000000",
        "a": "1970-01-01T00:00:01.500000000Z",
        "b_ns": None,
        "b": None,
        "id": "01",
        "list": [{"c_ns": "0", "c": "1970-01-01T00:00:00.000000000Z"}],
    }


def test_the_greatest_time_has_a_twin() -> None:
    assert rfc3339(2**63 - 1) == "2262-04-11T23:47:16.854775807Z"
