"""The published schemas of control events and the reader that decides agree: on any body, either both take it or neither does."""

import random
from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from materializer.control_schemas import CONTROL_SCHEMAS, fits_control
from peer.core.control import Point, Role, event_void, invite, log_seal, member_leave, member_set, read_fact
from peer.core.encoding import decode_map, encode
from peer.core.event import link_event
from peer.core.identity import EventId, GroupId, LogId, PeerId
from peer.core.run import Draft
from tests.conftest import LONG
from tests.property.test_schemas import changed

LOG, EVENT = LogId(b"l" * 32), EventId(b"e" * 32)
POINTS = [Point(LOG, 1, EVENT), Point(LOG, 2**64 - 1, EVENT)]
DRAFTS = [
    member_set(PeerId(b"p" * 32), "lab", Role.WRITER, cut=POINTS, invite=b"i" * 32),
    member_set(PeerId(b"p" * 32), "lab", Role.NONE),
    member_leave([EVENT]),
    invite(b"k" * 32, Role.READER, 1_800_000_000_000),
    event_void(EVENT),
    log_seal(LOG, POINTS),
]
CASES = 20_000 if LONG else 2500


def accepted(draft: Draft, body: bytes) -> bool:
    """Whether the reader takes it."""
    event = link_event(group=GroupId(b"g" * 32), log=LOG, seq=0, previous=bytes(32), hlc=1, type_=draft.type, refs=[], body=body)
    return read_fact(event) is not None


def test_every_type_is_tried() -> None:
    assert {draft.type for draft in DRAFTS} == set(CONTROL_SCHEMAS)


def test_reader_and_schemas_take_the_same_bodies() -> None:
    seen: Counter[tuple[str, bool]] = Counter()

    @given(st.integers(0, 2**64 - 1))
    def check(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(CASES // 100):
            draft = chance.choice(DRAFTS)
            fields: Any = decode_map(draft.body)
            for _ in range(chance.choice([0, 1, 1, 1, 2])):
                fields = changed(chance, fields)
            try:
                body = encode(fields)
            except OverflowError:
                continue
            taken = accepted(draft, body)
            assert fits_control(draft.type, body) == taken, (draft.type, fields, taken)
            seen[draft.type, taken] += 1

    check()
    few = {(type_, taken): seen[type_, taken] for type_ in CONTROL_SCHEMAS for taken in (True, False) if seen[type_, taken] < CASES // 250}
    assert not few


@given(st.sampled_from(DRAFTS), st.binary(max_size=60))
def test_what_is_no_body_at_all_fits_nothing(draft: Draft, data: bytes) -> None:
    for body in (data, draft.body + data, draft.body[:-1] + data):
        assert fits_control(draft.type, body) == accepted(draft, body)
