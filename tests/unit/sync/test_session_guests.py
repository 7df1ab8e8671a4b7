"""Who is not on the roster: what a guest may show, what it hears, for how long, and what follows once it is a member."""

import pytest

from peer.core.certificate import LogKind
from peer.core.control import Role, member_set
from peer.sync import effects as fx
from peer.sync import limits, messages
from peer.sync.guests import GuestRoom
from peer.sync.handshake import Handshake
from peer.sync.messages import encode_message
from tests.samples import SampleLog, key_pair
from tests.sync_site import (
    Clock,
    LinkEnd,
    SampleGroup,
    Site,
    connect,
    entry_of,
    events_of,
    have_of,
    knocking,
    linked,
    open_end,
    pump,
    puppet,
    side_of,
)


def said_about_the_group(end: LinkEnd) -> list[messages.Message]:
    return [message for message in end.sent if not isinstance(message, messages.Error | messages.Ping | messages.Pong)]


# Strangers


def test_a_stranger_that_names_the_group_is_told_that_it_is_a_guest_and_nothing_else(bob: Site, group: SampleGroup) -> None:
    log = SampleLog("alice", group.id)
    bob.write(log, log.write_notes(3))
    end = knocking("zoe", bob, group)
    bob.write(log, log.write_notes(1))
    bob.write(group.control, group.set_role("carol"))
    end.receive(*[messages.Want(group.id, each.certificate.log, (), search=search) for each in (log, group.control) for search in (False, True)])
    end.receive(messages.BlobWant(1, group.id, b"b" * 32, 0, 10, relay=False))  # type: ignore[arg-type]

    assert said_about_the_group(end) == [messages.Guest(group.id), messages.BlobPart(1, "not_a_member", b"")]
    assert not end.asked
    assert end.closed is None


def test_a_stranger_that_shows_nothing_is_refused_after_a_while_and_noted(bob: Site, group: SampleGroup) -> None:
    end = knocking("zoe", bob, group)
    bob.tick((limits.GUEST_SILENT_MS - 1) / 1000)
    assert end.closed is None

    bob.tick(1)

    assert end.closed is not None
    assert end.closed.code == "not_a_member"
    assert [effect for effect in end.effects if isinstance(effect, fx.Knocked)] == [fx.Knocked(key_pair("zoe").peer_id, "zoe", (group.id,))]


def test_a_stranger_that_names_nothing_that_is_here_is_refused_at_once_and_noted(bob: Site) -> None:
    other = SampleGroup("zoe", name="another-group")
    end = knocking("zoe", bob, other)

    assert end.closed is not None
    assert end.closed.code == "not_a_member"
    assert fx.Knocked(key_pair("zoe").peer_id, "zoe", (other.id,)) in end.effects
    assert not [effect for effect in end.effects if isinstance(effect, fx.Established)]


def test_nobody_is_noted_whose_key_is_not_proved(bob: Site, group: SampleGroup) -> None:
    end = open_end(bob, 1)
    end.receive(Handshake(side_of("zoe"), key_pair("bob").peer_id).hello)
    end.receive(messages.Proof(bytes(64), joining=False, groups=(group.id,)))

    assert end.closed is not None
    assert not [effect for effect in end.effects if isinstance(effect, fx.Knocked)]


def test_a_listener_that_names_groups_is_no_listener_of_ours(bob: Site, group: SampleGroup) -> None:
    end = open_end(bob, 1, key_pair("mallory"))
    end.feed(fx.Opened())
    listener = Handshake(side_of("mallory"), None)
    hello = end.sent[0]
    assert isinstance(hello, messages.Hello)
    listener.take_hello(hello, encode_message(hello))
    end.receive(listener.hello, messages.Proof(listener.prove(), joining=False, groups=(group.id,)))

    assert end.closed is not None
    assert end.closed.code == "protocol_violation"


def test_a_dialler_names_no_group_to_a_stranger(bob: Site) -> None:
    end = open_end(bob, 1, key_pair("zoe"))
    end.feed(fx.Opened())
    listener = Handshake(side_of("zoe"), None)
    hello = end.sent[0]
    assert isinstance(hello, messages.Hello)
    listener.take_hello(hello, encode_message(hello))
    end.receive(listener.hello, messages.Proof(listener.prove(), joining=False))

    (proof,) = end.heard(messages.Proof)
    assert isinstance(proof, messages.Proof)
    assert proof.groups == ()
    assert not end.heard(messages.Have)


def test_a_newcomer_shows_the_control_log_that_admits_it_and_gets_everything(group: SampleGroup) -> None:
    """Alice admitted Zoe and is gone. Bob has not heard of it."""
    clock = Clock()
    bob = Site("bob", clock, group)
    bobs = SampleLog("bob", group.id)
    bob.write(bobs, bobs.write_notes(3))
    group.set_role("zoe")
    zoe = Site("zoe", clock, group)
    zoes = SampleLog("zoe", group.id)
    zoe.write(zoes, zoes.write_notes(5))

    ends = linked(zoe, bob)

    assert bob.store.groups[group.id].tips == zoe.store.groups[group.id].tips
    assert len(bob.store.groups[group.id].tips) == 3
    assert {end.session.phase for end in ends} == {fx.Phase.PUSH}
    assert ends[1].heard(messages.Guest) == [messages.Guest(group.id)]
    assert ends[1].heard(messages.Member) == [messages.Member(group.id)]
    zoe.write(zoes, zoes.write_notes(1))
    bob.write(bobs, bobs.write_notes(1))
    pump(*ends)
    assert bob.store.groups[group.id].tips == zoe.store.groups[group.id].tips


def test_what_a_guest_is_asked_for_is_asked_for_from_the_start(bob: Site, group: SampleGroup) -> None:
    """Positions would tell it what is held here."""
    end = knocking("zoe", bob, group)
    group.set_role("zoe")
    end.receive(have_of(group.id, group.control))

    assert end.heard(messages.Want) == [messages.Want(group.id, group.control.certificate.log, (), search=False)]


def test_data_logs_that_a_guest_announces_are_passed_over(bob: Site, group: SampleGroup) -> None:
    end = knocking("zoe", bob, group)
    logs = [SampleLog("alice", group.id, label=str(number)) for number in range(5)]
    for log in logs:
        log.write_notes(1)
    end.receive(have_of(group.id, *logs))

    assert not end.heard(messages.Want)
    assert not end.session._parts.backfill._groups[group.id].logs  # type: ignore[union-attr]


def test_a_control_log_of_a_stranger_is_not_asked_for(bob: Site, group: SampleGroup) -> None:
    """Nobody lets itself in."""
    end = knocking("zoe", bob, group)
    own = SampleLog("zoe", group.id, kind=LogKind.CONTROL)
    own.write(member_set(key_pair("zoe").peer_id, "zoe", Role.ADMIN))
    end.receive(have_of(group.id, own))

    assert not end.heard(messages.Want)


def test_a_guest_that_brings_something_gets_more_time_but_not_for_ever(bob: Site, group: SampleGroup) -> None:
    end = knocking("zoe", bob, group)
    step = limits.GUEST_SILENT_MS / 1000 - 1
    rounds = 0
    while end.closed is None and rounds < 100:
        rounds += 1
        run = group.set_role("carol")
        assert run is not None
        end.receive(have_of(group.id, group.control), events_of(group.id, run))
        end.answer_all()
        bob.tick(step)

    assert end.closed is not None
    assert end.closed.code == "not_a_member"
    assert limits.GUEST_MS_MAX / 1000 - step <= rounds * step <= limits.GUEST_MS_MAX / 1000 + step


def test_guests_have_a_room_of_limited_size(group: SampleGroup) -> None:
    bob = Site("bob", Clock(), group)
    ends = [knocking(f"stranger-{number}", bob, group, number=number) for number in range(1, limits.GUESTS_MAX + 2)]

    assert [bool(end.heard(messages.Guest)) for end in ends] == [True] * limits.GUESTS_MAX + [False]
    assert [(error.code, error.group) for error in ends[-1].heard(messages.Error) if isinstance(error, messages.Error)] == [
        ("not_a_member", group.id)
    ]
    bob.surroundings.drop_link(1)
    assert knocking("late", bob, group, number=99).heard(messages.Guest)


def test_the_bytes_of_a_guest_are_limited(bob: Site, group: SampleGroup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "GUEST_BYTES_MAX", 1000)
    end = knocking("zoe", bob, group)
    for _ in range(5):
        run = group.set_role("carol")
        assert run is not None
        end.receive(have_of(group.id, group.control), events_of(group.id, run))

    assert end.closed is not None
    assert end.closed.code == "limit_exceeded"


def test_the_logs_that_a_guest_announces_are_limited(bob: Site, group: SampleGroup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "GUEST_LOGS_MAX", 10)
    monkeypatch.setattr(limits, "GUEST_ENTRIES_MAX", 25)
    logs = [SampleLog("alice", group.id, kind=LogKind.CONTROL, label=str(number)) for number in range(11)]
    for log in logs:
        log.write_notes(1)
    many, again = knocking("zoe", bob, group), knocking("yan", bob, group, number=2)
    many.receive(have_of(group.id, *logs))
    for _ in range(3):
        again.receive(have_of(group.id, *logs[:10]))

    assert many.closed is not None
    assert again.closed is not None
    assert many.closed.code == again.closed.code == "limit_exceeded"


def test_one_author_takes_its_share_of_what_a_guest_shows(bob: Site, group: SampleGroup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "GUEST_LOGS_MAX", 5)
    monkeypatch.setattr(limits, "GUEST_LOGS_PER_AUTHOR_MAX", 2)
    flood = [SampleLog("carol", group.id, kind=LogKind.CONTROL, label=str(number)) for number in range(9)]
    for log in flood:
        log.write_notes(1)
    guest = knocking("zoe", bob, group)
    group.set_role("zoe")

    guest.receive(have_of(group.id, *flood, group.control))

    assert guest.closed is None
    assert group.control.certificate.log in {want.log for want in guest.heard(messages.Want)}  # type: ignore[union-attr]


def test_a_guest_does_not_keep_a_member_from_bringing_a_log(bob: Site, group: SampleGroup) -> None:
    guest, member = knocking("zoe", bob, group), puppet("mallory", bob, number=2)
    group.set_role("carol")
    guest.receive(have_of(group.id, group.control))
    assert guest.heard(messages.Want)

    member.receive(have_of(group.id, group.control))

    assert len(member.heard(messages.Want)) == 1


# Former members


def test_a_former_member_that_dials_hears_the_decision_and_that_it_is_none(bob: Site, group: SampleGroup) -> None:
    mallory = Site("mallory", bob.clock, group)
    log = SampleLog("alice", group.id)
    bob.write(group.control, group.remove("mallory"))
    bob.write(log, log.write_notes(2))

    ends = connect(mallory, bob)
    pump(*ends)

    assert mallory.store.groups[group.id].roster.role(key_pair("mallory").peer_id) is Role.NONE
    assert log.certificate.log not in mallory.store.groups[group.id].tips
    assert [error.code for error in ends[1].heard(messages.Error) if isinstance(error, messages.Error)] == ["not_a_member"]
    bob.tick()
    pump(*ends)
    assert ends[0].closed is not None
    assert ends[0].closed.code == "not_a_member"


def test_a_member_removed_while_linked_hears_the_decision_and_gets_no_data_any_more(group: SampleGroup) -> None:
    clock = Clock()
    bob, mallory = Site("bob", clock, group), Site("mallory", clock, group)
    log = SampleLog("alice", group.id)
    bob.write(log, log.write_notes(1))
    ends = linked(mallory, bob)
    held = mallory.store.ids()
    decision = group.remove("mallory")

    bob.write(group.control, decision)
    bob.write(log, log.write_notes(5))
    pump(*ends)

    assert mallory.store.ids() - held == {decision.last.id}
    assert [(error.code, error.group) for error in ends[1].heard(messages.Error) if isinstance(error, messages.Error)] == [("not_a_member", group.id)]
    assert ends[1].session.shared_groups() == set()


def test_pages_of_data_that_were_being_read_for_a_removed_member_do_not_go_out(bob: Site, group: SampleGroup, end: LinkEnd) -> None:
    log = SampleLog("alice", group.id)
    bob.write(log, log.write_notes(5))
    end.receive(messages.Want(group.id, log.certificate.log, (), search=False))
    assert isinstance(end.asked[-1], fx.ReadRuns)

    bob.write(group.control, group.remove("mallory"))
    end.answer_all()
    end.receive(messages.Want(group.id, log.certificate.log, (), search=False), messages.Credit(limits.CREDIT_INITIAL))
    end.answer_all()

    assert not end.heard(messages.Events)
    assert end.closed is None


def test_a_removed_member_that_is_taken_back_goes_on_over_the_same_link(group: SampleGroup) -> None:
    clock = Clock()
    bob, mallory = Site("bob", clock, group), Site("mallory", clock, group)
    ends = linked(mallory, bob)
    logs = [SampleLog("alice", group.id), SampleLog("mallory", group.id)]
    bob.write(group.control, group.remove("mallory"))
    bob.write(logs[0], logs[0].write_notes(2))
    pump(*ends)

    bob.write(group.control, group.set_role("mallory"))
    pump(*ends)
    mallory.write(logs[1], logs[1].write_notes(2))
    pump(*ends)

    assert ends[0].closed is ends[1].closed is None
    assert bob.store.groups[group.id].tips == mallory.store.groups[group.id].tips
    assert {log.certificate.log for log in logs} <= bob.store.groups[group.id].tips.keys()


def test_who_is_taken_back_where_nobody_has_heard_of_it_shows_that(group: SampleGroup) -> None:
    """Carol knows of the removal only; Mallory has the decision that took it back."""
    clock = Clock()
    group.remove("mallory")
    carol = Site("carol", clock, group)
    assert carol.store.groups[group.id].roster.role(key_pair("mallory").peer_id) is Role.NONE
    group.set_role("mallory")
    mallory = Site("mallory", clock, group)
    log = SampleLog("mallory", group.id)
    mallory.write(log, log.write_notes(3))

    ends = linked(mallory, carol)

    assert carol.store.groups[group.id].tips == mallory.store.groups[group.id].tips
    assert ends[1].heard(messages.Member)


# Ends


def test_a_link_without_a_group_to_speak_about_ends_after_a_while(group: SampleGroup, end: LinkEnd) -> None:
    end.receive(messages.Error("not_a_member", "no", group.id))
    end.site.tick()
    end.site.tick((limits.GROUPLESS_MS - 1) / 1000)
    assert end.closed is None

    end.site.tick(1)

    assert end.closed is not None
    assert end.closed.code == "not_a_member"


def test_two_that_were_added_while_they_were_apart_find_each_other(group: SampleGroup) -> None:
    """Each knows of itself only; the operator of one has named the other."""
    clock = Clock()
    group.set_role("zoe")
    zoe = Site("zoe", clock, group)
    group.set_role("yan")
    yan = Site("yan", clock, group)
    zoe.store.named[group.id] = {key_pair("yan").peer_id}

    linked(zoe, yan)

    assert zoe.store.groups[group.id].tips == yan.store.groups[group.id].tips


def test_a_room_gives_places_back() -> None:
    room = GuestRoom()
    assert all(room.enter(number) for number in range(limits.GUESTS_MAX))
    assert room.enter(0)
    assert not room.enter(limits.GUESTS_MAX)
    room.leave(3)
    assert room.enter(limits.GUESTS_MAX)


def test_entries_of_logs_are_told_with_certificates_again_after_guest_and_member(group: SampleGroup) -> None:
    """What was told to somebody who took us for a guest was passed over."""
    bob = Site("bob", Clock(), group)
    log = SampleLog("alice", group.id)
    bob.write(log, log.write_notes(1))
    end = puppet("mallory", bob)

    end.receive(messages.Guest(group.id))
    bob.write(log, log.write_notes(1))
    assert not end.heard(messages.Have)
    end.receive(messages.Member(group.id))

    (told,) = end.heard(messages.Have)
    assert isinstance(told, messages.Have)
    assert told.complete
    assert entry_of(log) in told.logs


def test_guest_and_member_without_end_are_cut_off(group: SampleGroup, end: LinkEnd) -> None:
    for _ in range(limits.RETELLS_MAX + 1):
        end.receive(messages.Guest(group.id), messages.Member(group.id))

    assert end.closed is not None
    assert end.closed.code == "limit_exceeded"
