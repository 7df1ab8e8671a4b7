"""Damage to a run, validly signed or not, is found; nothing but the tree of event errors comes out of the readers."""

import contextlib
import random

from hypothesis import given
from hypothesis import strategies as st

from peer.core.certificate import read_certificate
from peer.core.encoding import encode
from peer.core.event import Event, Header, read_event, read_header
from peer.core.hashing import event_hash, hash_bytes
from peer.core.identity import EventId
from peer.core.run import RUN_EVENTS_MAX, Draft, read_run, sign_run
from peer.errors import CertificateInvalidError, EventRejectedError, NotCanonicalError
from tests.samples import GROUP, SampleLog, parts

bodies = st.binary(max_size=200)
ids = st.binary(min_size=32, max_size=32).map(EventId)
types = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=16)
drafts = st.lists(st.builds(Draft, types, bodies, st.lists(ids, max_size=3)), min_size=1, max_size=8)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64 - 1)
    | st.binary(max_size=40)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
)


def forged(header: Header, body: bytes) -> Event:
    """An event with whatever header, as a member that means harm would build it."""
    data = encode(list(header))
    return Event(header, data, EventId(event_hash(data)), body)


@given(st.lists(drafts, min_size=1, max_size=4))
def test_what_a_log_writes_is_read_in_any_cut_at_its_signatures(batches: list[list[Draft]]) -> None:
    log = SampleLog("alice")
    runs = [log.write(*batch) for batch in batches]

    whole = read_run(log.certificate, [part for run in runs for part in parts(run)], runs[-1].signature)

    assert [event.id for event in whole.events] == [event.id for run in runs for event in read_run(log.certificate, parts(run), run.signature).events]
    assert [event.body for event in whole.events] == [draft.body for batch in batches for draft in batch]
    assert len(whole.events) <= RUN_EVENTS_MAX


@given(drafts, st.data())
def test_a_changed_byte_anywhere_in_a_run_is_refused(batch: list[Draft], data: st.DataObject) -> None:
    log = SampleLog("alice")
    run = log.write(*batch)
    pieces = [bytearray(piece) for part in parts(run) for piece in part] + [bytearray(run.signature)]
    piece = data.draw(st.sampled_from([each for each in pieces if each]))
    piece[data.draw(st.integers(0, len(piece) - 1))] ^= data.draw(st.integers(1, 255))
    changed = [bytes(each) for each in pieces]

    try:
        read_run(log.certificate, list(zip(changed[:-1:2], changed[1:-1:2], strict=True)), changed[-1])
    except EventRejectedError:
        return
    raise AssertionError("a changed run was accepted")


@given(drafts, st.data())
def test_events_in_any_other_order_or_number_are_refused(batch: list[Draft], data: st.DataObject) -> None:
    log = SampleLog("alice")
    run = log.write(*batch)
    order = data.draw(st.lists(st.integers(0, len(batch) - 1), max_size=10))
    accepted = True
    try:
        read_run(log.certificate, [parts(run)[place] for place in order], run.signature)
    except EventRejectedError:
        accepted = False

    # What is left of a run without its beginning is whole in itself: that its place is not held is for the store to find.
    assert accepted == (bool(order) and order == list(range(order[0], len(batch))))


@given(st.integers(0, 9), scalars | st.lists(scalars, max_size=3), st.integers(0, 2))
def test_a_member_that_signs_nonsense_gets_an_event_error(place: int, value: object, position: int) -> None:
    """At least two of three of these are validly signed: the damage lies behind the signature."""
    log = SampleLog("alice")
    events = list(log.write_notes(3).events)
    fields = list(events[position].header)
    if fields[place] == value and type(fields[place]) is type(value):
        return
    fields[place] = value
    events[position] = forged(Header(*fields), events[position].body)  # type: ignore[arg-type]
    signature = sign_run(log.key, log.write_notes(1).events).signature
    with contextlib.suppress(AttributeError, TypeError, OverflowError):  # A last event whose seq or ids are no numbers and bytes cannot be signed.
        signature = sign_run(log.key, events).signature

    accepted = False
    with contextlib.suppress(EventRejectedError):
        read_run(log.certificate, [(event.header_bytes, event.body) for event in events], signature)
        accepted = True

    # In the last event type, refs and a later clock are the author's own business; everything else breaks the chain, the body or the place.
    assert not accepted or (position == 2 and place in {5, 6, 7})


@given(st.binary(max_size=300), st.binary(max_size=50))
def test_any_bytes_are_an_event_or_are_refused(header: bytes, body: bytes) -> None:
    for read in (lambda: read_header(header), lambda: read_event(header, body), lambda: read_certificate(header, GROUP)):
        with contextlib.suppress(EventRejectedError):
            read()


@given(st.lists(scalars | st.lists(scalars, max_size=3), max_size=12))
def test_any_array_is_a_header_or_is_refused(fields: list[object]) -> None:
    for candidate in (fields, [1, *fields], [1, GROUP, bytes(32), *fields]):
        with contextlib.suppress(EventRejectedError):
            assert list(read_header(encode(candidate))) == candidate


def written(value: object, chance: random.Random) -> bytes:
    """`value` in any CBOR that means it: with heads longer than needed, now and then."""
    if isinstance(value, list):
        return head(4, len(value), chance) + b"".join(written(item, chance) for item in value)
    if isinstance(value, int):
        return head(0, value, chance)
    data = value.encode() if isinstance(value, str) else value
    assert isinstance(data, bytes)
    return head(2 if isinstance(value, bytes) else 3, len(data), chance) + data


def head(major: int, number: int, chance: random.Random) -> bytes:
    """The head of an item, mostly the shortest."""
    forms = [number.to_bytes(size, "big") for size in (1, 2, 4, 8) if number < 1 << 8 * size]
    longer = [bytes([major << 5 | 23 + len(form).bit_length()]) + form for form in forms]
    if number < 24:
        longer.insert(0, bytes([major << 5 | number]))
    return longer[0] if chance.random() < 0.9 else chance.choice(longer)


@given(
    st.integers(0, 2**64 - 2), st.integers(0, 2**64 - 1), types, st.lists(ids, max_size=3), st.integers(0, 65536), st.randoms(use_true_random=False)
)
def test_a_header_is_accepted_in_the_one_form_in_which_it_is_encoded(
    seq: int, hlc: int, type_: str, refs: list[EventId], body_size: int, chance: random.Random
) -> None:
    fields = [1, GROUP, bytes(32), seq, bytes(32), hlc, type_, refs, body_size, bytes(32)]
    data = written(fields, chance) + chance.choice((b"", b"", b"", b"\0"))
    try:
        header = read_header(data)
    except NotCanonicalError:
        assert data != encode(fields)
    else:
        assert data == encode(list(header)) == encode(fields)


@given(st.lists(scalars, max_size=7))
def test_any_array_is_a_certificate_or_is_refused(fields: list[object]) -> None:
    for candidate in (fields, [1, GROUP, *fields], [1, GROUP, bytes(32), 0, bytes(32), bytes(64)]):
        try:
            read_certificate(encode(candidate), GROUP)
        except CertificateInvalidError:
            continue
        raise AssertionError("nobody signed this")


@given(bodies, bodies)
def test_a_body_belongs_to_one_header(one: bytes, other: bytes) -> None:
    run = SampleLog("alice").write(Draft("note", one))

    if one == other:
        assert read_event(run.first.header_bytes, other).header.body_hash == hash_bytes(other)
    else:
        with contextlib.suppress(EventRejectedError):
            read_event(run.first.header_bytes, other)
            raise AssertionError("a foreign body was accepted")
