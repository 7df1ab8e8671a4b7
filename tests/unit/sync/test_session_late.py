"""What a hostile or merely unlucky other side must not bring about by its order of words: crashes and stalls."""

import pytest

from peer.core.certificate import LogKind
from peer.core.control import Role
from peer.core.frontier import Tip
from peer.core.group import join_bytes
from peer.core.identity import EventId, GroupId
from peer.core.interfaces import Page
from peer.sync import effects as fx
from peer.sync import limits, messages
from peer.sync.handshake import Handshake
from peer.sync.messages import encode_message
from tests.samples import SampleLog, key_pair
from tests.sync_site import Clock, LinkEnd, SampleGroup, Site, entry_of, events_of, have_of, linked, open_end, pump, puppet, side_of


def refusal(group: SampleGroup) -> messages.Error:
    return messages.Error("not_a_member", "no", group.id)


# Handshake


def joining_end(bob: Site, group: GroupId) -> tuple[LinkEnd, Handshake]:
    """Bob dials Mallory to join a group."""
    end = open_end(bob, 1, key_pair("mallory"), fx.UsedInvitation(group, key_pair("invitation")))
    end.feed(fx.Opened())
    listener = Handshake(side_of("mallory"), None)
    (hello,) = end.sent
    assert isinstance(hello, messages.Hello)
    listener.take_hello(hello, encode_message(hello))
    return end, listener


@pytest.mark.parametrize("after_hello", [False, True])
def test_nobody_is_believed_to_have_let_us_in_before_they_proved_who_they_are(after_hello: bool) -> None:  # noqa: FBT001
    bob, group = Site("bob", Clock()), SampleGroup("mallory", "bob")
    end, listener = joining_end(bob, group.id)

    if after_hello:
        end.receive(listener.hello)
    end.receive(messages.Joined(group.id, group.genesis.to_bytes()))

    assert end.closed is not None
    assert end.closed.code == "protocol_violation"
    assert not end.asked


def test_a_listener_proves_itself_once() -> None:
    bob, group = Site("bob", Clock()), SampleGroup("mallory", "bob")
    end, listener = joining_end(bob, group.id)
    end.receive(listener.hello)
    proof = messages.Proof(listener.prove(), joining=False)

    end.receive(proof, proof)

    assert end.closed is not None
    assert end.closed.code == "protocol_violation"


@pytest.mark.parametrize("joining", [True, False])
def test_a_dialler_proves_itself_once_and_asks_to_join_once(bob: Site, group: SampleGroup, joining: bool) -> None:  # noqa: FBT001
    """Not again while its request is being decided: neither more requests nor a link that is established twice."""
    end = open_end(bob, 1)
    dialler = Handshake(side_of("mallory"), key_pair("bob").peer_id)
    end.receive(dialler.hello)
    hello = end.sent[0]
    assert isinstance(hello, messages.Hello)
    dialler.take_hello(hello, encode_message(hello))
    end.receive(messages.Proof(dialler.prove(), joining=True))
    key = key_pair("invitation")
    join = messages.Join(group.id, key.public, key.sign(join_bytes(group.id, key_pair("mallory").peer_id, hello.nonce)), "mallory")
    end.receive(join)
    assert len(end.asked) == 1

    end.receive(messages.Proof(dialler.prove(), joining=joining))

    assert end.closed is not None
    assert end.closed.code == "protocol_violation"
    assert len(end.asked) == 1


def test_frames_that_wait_while_a_group_is_opened_are_bounded_in_bytes() -> None:
    bob, group = Site("bob", Clock()), SampleGroup("mallory", "bob")
    end, listener = joining_end(bob, group.id)
    end.receive(listener.hello, messages.Proof(listener.prove(), joining=False), messages.Joined(group.id, group.genesis.to_bytes()))
    assert isinstance(end.asked[0], fx.OpenGroup)

    for _ in range(limits.HELD_BYTES_MAX // (limits.FRAME_SIZE_MAX // 2) + 2):
        end.feed(fx.FrameReceived(bytes(limits.FRAME_SIZE_MAX // 2)))

    assert end.closed is not None
    assert end.closed.code == "limit_exceeded"


def test_a_link_that_ends_among_held_frames_ends_once() -> None:
    bob, group = Site("bob", Clock()), SampleGroup("mallory", "bob")
    end, listener = joining_end(bob, group.id)
    end.receive(listener.hello, messages.Proof(listener.prove(), joining=False), messages.Joined(group.id, group.genesis.to_bytes()))
    end.receive(messages.Error("protocol_violation", "bye", b""), messages.Ping(1))
    opening = end.asked.popleft()
    assert isinstance(opening, fx.OpenGroup)
    bob.hold(group)

    effects = end.feed(fx.GroupOpened(opening, None, ""))

    assert [type(effect) for effect in effects].count(fx.CloseLink) == 1


# Facts that arrive late


def a_question(end: LinkEnd, group: SampleGroup, log: SampleLog, kind: type[fx.Effect]) -> fx.Effect:
    """Bring Bob's session to ask its store something of this kind about a log of Mallory's."""
    first, second = log.write_notes(2), log.write_notes(2)
    if kind is fx.FindEvents:
        end.site.write(log, first)
        end.site.write(log, second)
        end.receive(messages.Have(group.id, complete=True, more=False, logs=(entry_of(log)._replace(tips=(Tip(2, first.last.id),)),)))
    elif kind is fx.StoreRun:
        end.receive(have_of(group.id, log), events_of(group.id, first))
    elif kind is fx.ReadLocator:
        end.receive(have_of(group.id, log), messages.Unknown(group.id, log.certificate.log))
    else:
        end.site.write(log, first)
        end.receive(messages.Want(group.id, log.certificate.log, (), search=False))
    (asked,) = (effect for effect in end.asked if isinstance(effect, kind))
    end.asked.clear()
    return asked


def late_answers(asked: fx.Effect) -> list[fx.Fact]:
    match asked:
        case fx.FindEvents(_, _, events):
            return [fx.EventsFound(asked, frozenset(events)), fx.EventsFound(asked, frozenset())]
        case fx.StoreRun():
            return [fx.RunStored(asked, None), fx.RunStored(asked, "log_gap")]
        case fx.ReadLocator():
            return [fx.LocatorRead(asked, [EventId(bytes(32))])]
        case fx.ReadRuns():
            return [fx.RunsRead(asked, Page([], complete=False))]
        case _:
            raise AssertionError(asked)


@pytest.mark.parametrize("again", [False, True], ids=["left", "left-and-back"])
@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("kind", [fx.FindEvents, fx.StoreRun, fx.ReadLocator, fx.ReadRuns])
def test_an_answer_about_a_group_that_they_left_meanwhile_does_no_harm(
    end: LinkEnd,
    group: SampleGroup,
    kind: type[fx.Effect],
    number: int,
    again: bool,  # noqa: FBT001
) -> None:
    log = SampleLog("mallory", group.id)
    asked = a_question(end, group, log, kind)
    end.receive(refusal(group))
    if again:
        end.receive(messages.Have(group.id, complete=True, more=False, logs=()))
    answers = late_answers(asked)

    end.feed(answers[number % len(answers)])
    end.site.tick(1)

    assert end.closed is None


def test_a_log_that_another_link_took_before_its_group_was_left_does_no_harm(end: LinkEnd, group: SampleGroup) -> None:
    log = SampleLog("alice", group.id)
    log.write_notes(1)
    end.receive(have_of(group.id, log))
    other = puppet("carol", end.site, number=2)
    end.site.tick(4)
    other.receive(have_of(group.id, log))
    end.site.clock.now_ms += 4000
    other.feed(fx.Tick())
    source = end.site.sources.get(group.id, log.certificate.log)
    assert source is not None
    assert source.link == 2

    end.receive(refusal(group), messages.Have(group.id, complete=True, more=False, logs=()))
    end.feed(fx.Tick())

    assert end.closed is None


def test_a_late_answer_does_not_upset_the_count_of_what_is_being_stored(end: LinkEnd, group: SampleGroup) -> None:
    """After leaving and coming back a run with a gap still leads to a search."""
    log = SampleLog("mallory", group.id)
    first, second, third = log.write_notes(1), log.write_notes(1), log.write_notes(1)
    end.receive(have_of(group.id, log), events_of(group.id, first))
    late = end.asked.popleft()
    assert isinstance(late, fx.StoreRun)
    end.receive(refusal(group), have_of(group.id, log))
    end.feed(fx.RunStored(late, "store_busy"))
    end.asked.clear()

    end.receive(events_of(group.id, third))
    end.answer()

    assert any(isinstance(effect, fx.ReadLocator) for effect in end.asked)
    assert second


def test_events_under_way_of_a_group_that_we_left_do_not_end_the_link(bob: Site, group: SampleGroup) -> None:
    """Mallory is removed while a run of hers travels: it is dropped, its credit comes back, other groups go on."""
    other = SampleGroup("alice", "bob", "mallory", name="another-group")
    bob.hold(other)
    end = puppet("mallory", bob)
    log = SampleLog("mallory", group.id)
    runs = [log.write_notes(1) for _ in range(3)]
    end.receive(have_of(group.id, log), events_of(group.id, runs[0]))
    end.answer_all()
    bob.write(group.control, group.set_role("mallory", role=Role.NONE))
    bob.tick(limits.GUEST_SILENT_MS / 1000)
    assert refused_groups(end) == [group.id]

    before = end.session._parts.backfill._grants.left + end.session._parts.backfill._grants.to_grant  # type: ignore[union-attr]
    end.receive(events_of(group.id, runs[1]), messages.Unknown(group.id, log.certificate.log))
    after = end.session._parts.backfill._grants.left + end.session._parts.backfill._grants.to_grant  # type: ignore[union-attr]

    assert end.closed is None
    assert not end.asked
    assert before == after
    assert end.session.shared_groups() == {other.id}
    bob.write(group.control, group.set_role("mallory"))
    end.receive(events_of(group.id, runs[2]))
    assert end.closed is None


def refused_groups(end: LinkEnd) -> list[bytes]:
    return [message.group for message in end.sent if isinstance(message, messages.Error)]


def test_a_want_taken_back_before_it_was_looked_at_starts_nothing(end: LinkEnd, group: SampleGroup) -> None:
    log = SampleLog("alice", group.id)
    first = log.write_notes(1)
    end.site.write(log, first)
    end.site.write(log, log.write_notes(1))

    end.receive(messages.Want(group.id, first.log, (first.last.id,), search=False), messages.Unwant(group.id, first.log))
    end.answer_all()

    assert not end.heard(messages.Events)


# Stalls


def test_certificates_come_again_after_a_group_was_refused_and_taken_up_again(bob: Site, group: SampleGroup) -> None:
    """The other side has forgotten all that it was told."""
    end = puppet("mallory", bob)

    end.receive(refusal(group), messages.Have(group.id, complete=True, more=False, logs=()))

    (told,) = end.heard(messages.Have)
    assert isinstance(told, messages.Have)
    assert [entry.certificate for entry in told.logs] == [group.control.certificate.to_bytes()]


def test_a_member_that_leaves_and_comes_back_gets_everything(group: SampleGroup) -> None:
    clock = Clock()
    alice, bob = Site("alice", clock, group), Site("bob", clock, group)
    ends = linked(alice, bob)
    alice.write(group.control, group.set_role("bob", role=Role.NONE))
    pump(*ends)
    log = SampleLog("alice", group.id)
    alice.write(log, log.write_notes(3))
    pump(*ends)
    assert log.certificate.log not in bob.store.groups[group.id].tips

    alice.write(group.control, group.set_role("bob"))
    pump(*ends)

    assert ends[0].closed is ends[1].closed is None
    assert bob.store.groups[group.id].tips == alice.store.groups[group.id].tips


def test_a_removed_members_log_does_not_hold_up_the_others(bob: Site, group: SampleGroup) -> None:
    """Its control log was lacking when the removal came: nobody waits for it."""
    end = puppet("alice", bob)
    carols, alices = SampleLog("carol", group.id, kind=LogKind.CONTROL), SampleLog("alice", group.id)
    carols.write_notes(1)
    alices.write_notes(1)
    end.receive(have_of(group.id, carols, alices))
    assert not [want for want in end.heard(messages.Want) if want.log == alices.certificate.log]  # type: ignore[union-attr]

    bob.write(group.control, group.set_role("carol", role=Role.NONE))
    bob.tick(1)

    assert [want for want in end.heard(messages.Want) if want.log == alices.certificate.log]  # type: ignore[union-attr]


def branches(group: SampleGroup) -> tuple[SampleLog, SampleLog]:
    """One log of Carol's, twice: a fork from the first event on."""
    one, other = SampleLog("carol", group.id), SampleLog("carol", group.id)
    other.clock_ms += 1_000_000
    return one, other


def test_a_run_of_one_branch_does_not_make_the_other_forgotten(end: LinkEnd, group: SampleGroup) -> None:
    """They have two branches, send more of the higher one, and we still lack the lower."""
    high, low = branches(group)
    first, low_run = high.write_notes(5), low.write_notes(2)
    tips = tuple(sorted([Tip(5, first.last.id), Tip(2, low_run.last.id)]))
    end.receive(messages.Have(group.id, complete=True, more=False, logs=(entry_of(high)._replace(tips=tips),)))
    end.receive(events_of(group.id, first), events_of(group.id, high.write_notes(1)))
    end.answer_all()

    assert end.session.phase is fx.Phase.BACKFILL
    assert end.session.missing_events
    end.receive(events_of(group.id, low_run))
    end.answer_all()
    assert end.session.phase is fx.Phase.PUSH
    assert not end.session.missing_events


def test_a_gap_followed_by_a_run_that_fits_is_searched_for(end: LinkEnd, group: SampleGroup) -> None:
    one, other = branches(group)
    one.write_notes(1)
    gap, fits = one.write_notes(1), other.write_notes(1)
    tips = tuple(sorted([Tip(2, gap.last.id), Tip(1, fits.last.id)]))
    end.receive(messages.Have(group.id, complete=True, more=False, logs=(entry_of(one)._replace(tips=tips),)))

    end.receive(events_of(group.id, gap), events_of(group.id, fits))
    end.answer()
    end.answer()

    assert any(isinstance(effect, fx.ReadLocator) for effect in end.asked)


def test_searches_count_from_the_last_that_helped(end: LinkEnd, group: SampleGroup) -> None:
    """A link may stand for a year: what was found before is no reason to give up."""
    log = SampleLog("mallory", group.id)
    runs = [log.write_notes(1) for _ in range(2 * limits.WANT_REPEATS_MAX + 2)]
    end.receive(have_of(group.id, log))

    for run in runs:
        end.receive(messages.Unknown(group.id, run.log))
        end.answer_all()
        end.receive(events_of(group.id, run))
        end.answer_all()

    assert not end.heard(messages.Rejected)
    assert end.site.store.groups[group.id].tips[log.certificate.log][0].height == len(runs)


def test_a_refused_control_log_does_not_hold_up_the_rest(bob: Site, group: SampleGroup) -> None:
    """It was the last that was lacking, and no other event comes to look again."""
    end = puppet("mallory", bob)
    control, data = SampleLog("carol", group.id, kind=LogKind.CONTROL), SampleLog("mallory", group.id)
    run, note = control.write_notes(1), data.write_notes(1)
    bob.write(data, note)
    end.receive(have_of(group.id, control, data), events_of(group.id, run)._replace(signature=bytes(64)))
    assert len(end.heard(messages.Rejected)) == 1

    bob.tick(1)

    assert data.certificate.log in [want.log for want in end.heard(messages.Want) if isinstance(want, messages.Want)]
    assert end.session.phase is fx.Phase.PUSH


def test_a_link_that_is_one_too_many_ends_with_a_word(end: LinkEnd) -> None:
    """So that the other side looks for somebody else, and does not come back at once."""
    end.feed(fx.LetGo())

    assert end.sent[-1:] == [messages.Error("enough_links", "there are enough links here: find somebody else", b"")]
    assert end.closed is not None
    assert end.closed.code == "enough_links"
