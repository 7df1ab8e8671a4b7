"""Whatever a peer sends, the session answers or closes with a known code, stores nothing but what is rightly signed, and does not grow on and on."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peer.core.certificate import LogKind
from peer.core.encoding import encode
from peer.core.frontier import Tip
from peer.core.identity import EventId
from peer.errors import MalformedFrameError, RemoteProtocolError
from peer.sync import limits, messages
from peer.sync.messages import decode_message, encode_message
from tests.frame_attack import HOSTILE, NAMES, OWN, WRONG, Attack, items_of, values
from tests.samples import SampleLog
from tests.sync_site import entry_of, events_of

LONG = os.environ.get("RECMESH_TEST_LONG") == "1"


@pytest.fixture(autouse=True, scope="module")
def small_limits() -> Iterator[None]:
    """Limits that a few hundred frames reach."""
    small = {"LOGS_PER_GROUP_MAX": 40, "TIPS_PER_GROUP_MAX": 400, "REJECTIONS_MAX": 60, "RETELLS_MAX": 8, "POSITIONS_WAITING_MAX": 2000}
    before = {name: getattr(limits, name) for name in small}
    for name, value in small.items():
        setattr(limits, name, value)
    yield
    for name, value in before.items():
        setattr(limits, name, value)


def test_nothing_that_a_member_sends_breaks_the_session() -> None:
    """The handshake is real, and at least half of all frames come from behind it."""
    frames: Counter[str] = Counter()

    @given(st.data())
    def attack_as_a_member(data: st.DataObject) -> None:
        attack = Attack(member=True)
        for _ in range(data.draw(st.integers(1, 25))):
            name = data.draw(st.sampled_from(HOSTILE + OWN))
            getattr(attack, name)(data.draw)
            frames[name] += 1
            if attack.end.closed is not None:
                break
        frames["member"] += attack.frames
        frames.update(attack.codes)

    @given(st.data())
    def attack_as_a_stranger(data: st.DataObject) -> None:
        attack = Attack(member=False)
        for _ in range(data.draw(st.integers(1, 4))):
            getattr(attack, data.draw(st.sampled_from(["random_bytes", "random_message", "mutated_message", "message"])))(data.draw)
        frames["stranger"] += attack.frames

    attack_as_a_member()
    attack_as_a_stranger()

    assert frames["member"] >= frames["stranger"]
    assert frames["wrong_run"] >= sum(frames[name] for name in ("random_message", "mutated_message"))
    assert min(frames[name] for name in {*HOSTILE, *OWN}) >= 5, frames
    assert frames["stored"] >= 10


EXPECTED = {
    "seq": {"log_gap", "signature_mismatch"},
    "hlc": {"clock_not_increasing", "log_gap"},
    "body hash": {"body_mismatch"},
    "type": {"header_invalid"},
    "refs": {"header_invalid"},
    "previous": {"log_gap"},
    "version": {"event_version_unknown"},
    "group": {"wrong_log"},
    "log": {"wrong_log"},
    "size": {"body_mismatch", "header_invalid"},
    "body": {"body_mismatch"},
    "not canonical": {"not_canonical"},
    "certificate": {"certificate_invalid", "protocol_violation"},
    "other group": {"protocol_violation"},
}
"""Codes of which at least one must come of each wrong."""


@pytest.mark.parametrize("kind", WRONG)
def test_a_run_that_is_validly_signed_and_wrong_further_in_is_found_out(kind: str) -> None:
    codes: Counter[str] = Counter()

    @settings(max_examples=1000 if LONG else 20)
    @given(st.data())
    def attack(data: st.DataObject) -> None:
        member = Attack(member=True)
        member.run_wrong_in(kind, data.draw)
        while member.end.asked:
            member.end.answer()
        member.check()
        codes.update(member.codes)

    attack()

    assert EXPECTED[kind] & codes.keys(), codes


@settings(max_examples=500 if LONG else 40)
@given(st.data())
def test_what_is_said_over_and_over_does_not_pile_up(data: st.DataObject) -> None:
    """Some moves, a hundred times, with other ids each time: in the end no more is held than after a part of them."""
    attack = Attack(member=True)
    moves = data.draw(st.lists(st.sampled_from(["want", "have", "good_run", "wrong_run", "ping", "unknown", "refusal"]), min_size=1, max_size=4))
    control = SampleLog("mallory", attack.group.id, kind=LogKind.CONTROL)
    held = []
    for number in range(60):
        for move in moves:
            repeat(attack, move, control)
        while attack.end.asked and number % 4 == 3:
            attack.end.answer()
        attack.check()
        held.append(items_of(attack.end.session, set()))

    assert max(held) <= 4000


def repeat(attack: Attack, move: str, control: SampleLog) -> None:
    """One move without choices."""
    group, log = attack.group.id, attack.alices.certificate.log
    mallorys = attack.logs[0]
    match move:
        case "want":
            said: Iterable[messages.Message] = [messages.Want(group, log, tuple(EventId(attack.fresh()) for _ in range(30)), search=True)]
        case "have":
            tips = tuple(sorted(Tip(height, EventId(attack.fresh())) for height in range(1, 9)))
            said = [messages.Have(group, complete=True, more=False, logs=(messages.LogEntry(log, b"", tips),))]
        case "good_run":
            run = mallorys.write_notes(1)
            said = [messages.Have(group, complete=True, more=False, logs=(entry_of(mallorys),)), events_of(group, run)]
        case "wrong_run":
            control.write_notes(1)
            run = control.write_notes(1)
            said = [messages.Have(group, complete=True, more=False, logs=(entry_of(control),)), events_of(group, run)]
        case "ping":
            said = [messages.Ping(1)]
        case "unknown":
            said = [messages.Unknown(group, log)]
        case _:
            said = [messages.Error("not_a_member", "no", attack.fresh())]
    for message in said:
        attack.say(encode_message(message))


@given(st.binary(max_size=400))
def test_any_bytes_are_a_message_or_are_refused(frame: bytes) -> None:
    try:
        message = decode_message(frame)
    except RemoteProtocolError:
        return
    assert encode_message(message) == frame


@given(st.sampled_from(NAMES), st.data())
def test_any_array_is_a_message_or_is_refused(name: str, data: st.DataObject) -> None:
    frame = encode([name, *(data.draw(values) for _ in range(messages._READERS[name][0]))])
    try:
        message = decode_message(frame)
    except RemoteProtocolError:
        return
    assert encode_message(message) == frame


def test_nesting_ends_at_eight() -> None:
    for depth in (limits.FRAME_DEPTH_MAX, 500, 100_000):
        with pytest.raises(MalformedFrameError):
            decode_message(b"\x82dping" + b"\x81" * depth + b"\x00")
