"""The targets of `make fuzz`, without its engine: on their seeds, on random changes of these, and on random bytes."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peer.core.encoding import decode
from tests.conftest import LONG
from tests.frame_attack import NAMES
from tests.fuzz.pieces import PIECES_MAX, join, split
from tests.fuzz.targets import TARGETS

SLOW = ("session", "projection")
"""Targets that build a whole site for each input."""


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_holds_on_its_seeds(name: str) -> None:
    seeds = list(TARGETS[name].seeds())

    for seed in seeds:
        assert len(seed) <= TARGETS[name].size_max
        TARGETS[name].run(seed)

    assert len(set(seeds)) == len(seeds) >= 2


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_holds_on_changed_seeds(name: str) -> None:
    target = TARGETS[name]
    seeds = list(target.seeds())
    inputs: Counter[str] = Counter()

    @settings(max_examples=(50 if name in SLOW else 500) * (20 if LONG else 1))
    @given(st.sampled_from(seeds), st.lists(st.tuples(st.sampled_from("=-+x"), st.integers(0, 4095), st.integers(0, 255)), max_size=4))
    def hold(seed: bytes, changes: list[tuple[str, int, int]]) -> None:
        data = bytearray(seed)
        for how, place, value in changes:
            at = place % (len(data) + 1)
            data[at : at + (how != "+")] = b"" if how == "-" else bytes([value ^ (data[at] if how == "x" and at < len(data) else 0)])
        inputs["changed"] += bytes(data) != seed
        target.run(bytes(data))

    hold()

    assert inputs["changed"] >= 20


@pytest.mark.parametrize("name", [name for name in TARGETS if name not in SLOW])
@settings(max_examples=2000 if LONG else 200)
@given(data=st.binary(max_size=400))
def test_a_target_holds_on_any_bytes(name: str, data: bytes) -> None:
    TARGETS[name].run(data)


def test_every_message_is_among_the_seeds() -> None:
    said = {decode(frame)[0] for frame in TARGETS["message"].seeds()}  # type: ignore[index]

    assert said >= set(NAMES) - {"events"}  # Those come in sessions.


@given(st.lists(st.binary(max_size=300), max_size=PIECES_MAX))
def test_pieces_are_what_was_joined(pieces: list[bytes]) -> None:
    assert split(join(pieces)) == pieces


@given(st.binary(max_size=400))
def test_any_bytes_are_pieces(data: bytes) -> None:
    pieces = split(data)

    assert split(join(pieces)) == pieces
    assert sum(map(len, pieces)) <= len(data)
