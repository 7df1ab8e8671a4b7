"""The published schemas and the readers that decide agree: on any body, either both take it or neither does."""

import random
from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from materializer.bodies import read_body
from materializer.fields import PoisonError
from materializer.schemas import SCHEMAS, fits
from peer.core.encoding import encode
from peer.core.run import Draft
from tests.conftest import LONG
from tests.unit.materializer.test_bodies import DRAFTS as SOME
from tests.unit.materializer.test_bodies import RECORDING, fields_of

TOPICS = [["/a", "S", "ros2msg", "cdr", 10, b"h" * 32], ["/a", "", "", "", 10]]
DRAFTS = [*SOME, Draft("chunk.topics", encode({"recording": RECORDING, "chunk": RECORDING, "topics": TOPICS}))]
CASES = 20_000 if LONG else 2500
LENGTHS = (1, 63, 64, 65, 127, 128, 129, 255, 256, 257, 1024, 1025, 4096, 4097, 16_384, 16_385)
NUMBERS = (0, 1, 5, 6, 100, 101, 999_999, 1_000_000, 2**16 - 1, 2**16, 1 << 20, 1 << 22, 2**48, 2**48 + 1, 2**53 - 1, 2**53, 2**63 - 1, 2**63)
TEXTS = (
    "",
    " ",
    " a",
    "a ",
    "a",
    "a b",
    "\u00e9",
    "a\nb",
    "a\tb",
    "\x1b[2J",
    "\x7f",
    "\x85",
    "\u2028",
    ".",
    "..",
    "a/b",
    "raw",
    "none",
    "title",
    "robot",
)
KEYS = ("title", "robot", "description", "min_copies", "retention", "required_properties", "free", "a b", "")


def accepted(type_: str, body: bytes) -> bool:
    """Whether the reader takes it."""
    try:
        return read_body(type_, body) is not None
    except PoisonError:
        return False


def anything(chance: random.Random, depth: int = 0) -> Any:  # noqa: PLR0911  (one answer for each kind)
    """A value of any type, near the limits that there are."""
    kind = chance.randrange(8 if depth < 2 else 6)
    match kind:
        case 0:
            return chance.choice([None, True, False])
        case 1:
            return chance.choice(NUMBERS) * chance.choice([1, 1, 1, -1])
        case 2:
            return chance.choice(TEXTS)
        case 3:
            return chance.choice(["x", "\u00e9", "\n"]) * chance.choice(LENGTHS)
        case 4:
            return bytes(chance.choice([0, 31, 32, 32, 32, 33]))
        case 5:
            return chance.randbytes(32)
        case 6:
            return [anything(chance, depth + 1) for _ in range(chance.randrange(4))]
    return {chance.choice(KEYS): anything(chance, depth + 1) for _ in range(chance.randrange(3))}


def changed(chance: random.Random, value: Any) -> Any:  # noqa: PLR0911  (one answer for each kind)
    """The same with one thing changed, somewhere in it."""
    if isinstance(value, dict) and value and chance.random() < 0.9:
        key = chance.choice(sorted(value))
        action = chance.random()
        if action < 0.1:
            return {name: item for name, item in value.items() if name != key}
        if action < 0.2:
            return {**value, chance.choice(["extra", "z" * 30, "a"]): anything(chance)}
        if key == "key" and action < 0.6:
            return {**value, key: chance.choice(KEYS)}
        return {**value, key: changed(chance, value[key])}
    if isinstance(value, list) and value and chance.random() < 0.7:
        place = chance.randrange(len(value))
        if chance.random() < 0.2:
            return [*value, value[place]]
        return [*value[:place], changed(chance, value[place]), *value[place + 1 :]]
    return anything(chance)


def test_readers_and_schemas_know_the_same_types() -> None:
    assert set(SCHEMAS) == {draft.type for draft in DRAFTS}


def test_readers_and_schemas_take_the_same_bodies() -> None:
    seen: Counter[tuple[str, bool]] = Counter()

    @given(st.integers(0, 2**64 - 1))
    def check(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(CASES // 100):
            draft = chance.choice(DRAFTS)
            fields: Any = fields_of(draft)
            for _ in range(chance.choice([0, 1, 1, 1, 2])):
                fields = changed(chance, fields)
            try:
                body = encode(fields)
            except OverflowError:
                continue
            taken = accepted(draft.type, body)
            assert fits(draft.type, body) == taken, (draft.type, fields, taken)
            seen[draft.type, taken] += 1

    check()
    few = {(type_, taken): seen[type_, taken] for type_ in SCHEMAS for taken in (True, False) if seen[type_, taken] < CASES // 250}
    assert not few


@given(st.sampled_from(DRAFTS), st.binary(max_size=60))
def test_what_is_no_body_at_all_fits_nothing(draft: Any, data: bytes) -> None:
    for body in (data, draft.body + data, draft.body[:-1] + data):
        assert fits(draft.type, body) == accepted(draft.type, body)
