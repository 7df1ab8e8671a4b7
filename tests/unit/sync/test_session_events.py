from peer.core.certificate import LogKind
from peer.core.control import Role
from peer.core.frontier import Tip
from peer.core.identity import EventId, GroupId, LogId
from peer.core.run import Draft
from peer.sync import effects as fx
from peer.sync import limits, messages
from peer.sync.messages import encode_message
from peer.transport.status import refusal_of
from tests.samples import SampleLog, key_pair
from tests.sync_site import (
    Clock,
    LinkEnd,
    SampleGroup,
    Site,
    entry_of,
    events_of,
    have_of,
    puppet,
)

SAMPLE_ID, SAMPLE_LOG = EventId(b"e" * 32), LogId(b"l" * 32)
NO_GROUP = GroupId(b"g" * 32)
INVITATION = key_pair("invitation")


# Groups


def test_a_group_of_others_is_refused_and_the_link_goes_on(bob: Site, group: SampleGroup, end: LinkEnd) -> None:
    """Bob has a group that Mallory is not in: she learns nothing of it, however she asks."""
    secret = SampleGroup("alice", "bob", name="secret")
    bob.hold(secret)
    log = SampleLog("alice", secret.id)
    bob.write(log, log.write_notes(3))
    end.site.tell(fx.GroupsChanged())
    end.sent.clear()

    end.receive(messages.Have(secret.id, complete=True, more=False, logs=()), messages.Want(secret.id, log.certificate.log, (), search=True))
    bob.write(log, log.write_notes(1))

    assert end.sent == [messages.Error("not_a_member", "you are no member of this group here", secret.id)] * 2
    assert not end.asked
    assert end.closed is None
    assert end.session.shared_groups() == {group.id}


def test_a_group_is_shared_for_certain_once_they_speak_of_it(bob: Site, group: SampleGroup) -> None:
    """Until then they may be about to say that they do not want it."""
    end = puppet("mallory", bob)
    assert (end.session.shared_groups(), end.session.shared_groups(heard=True)) == ({group.id}, set())

    end.receive(messages.Have(group.id, complete=True, more=False, logs=()))
    assert end.session.shared_groups(heard=True) == {group.id}


def test_a_removed_member_loses_the_group_and_nothing_else(bob: Site, group: SampleGroup) -> None:
    other = SampleGroup("alice", "bob", "mallory", name="another-group")
    bob.hold(other)
    end = puppet("mallory", bob)
    logs = [SampleLog("alice", each.id) for each in (group, other)]
    for log in logs:
        bob.write(log, log.write_notes(1))
        end.receive(messages.Want(log.certificate.group, log.certificate.log, (), search=False))
    end.answer_all()
    assert len(end.heard(messages.Events)) == 2

    bob.write(group.control, group.set_role("mallory", role=Role.NONE))
    end.sent.clear()
    for log in logs:
        bob.write(log, log.write_notes(1))
    end.answer_all()

    assert [message.group for message in end.sent if isinstance(message, messages.Events | messages.Have)] == [other.id]
    assert end.session.shared_groups() == {other.id}
    assert end.closed is None


def test_a_member_that_is_removed_gets_the_decision_that_says_so_and_then_no_more(bob: Site, group: SampleGroup, end: LinkEnd) -> None:
    """Once it holds the control logs, or after a while if it says nothing."""
    log = SampleLog("alice", group.id)
    removal = group.set_role("mallory", role=Role.NONE)
    bob.write(group.control, removal)
    bob.write(log, log.write_notes(1))

    told = end.heard(messages.Have)
    assert [(each.group, [entry.tips[-1].event_id for entry in each.logs]) for each in told if isinstance(each, messages.Have)] == [
        (group.id, [removal.last.id])  # type: ignore[union-attr]
    ]
    assert end.heard(messages.Guest) == [messages.Guest(group.id)]
    assert not end.heard(messages.Error)
    bob.tick(limits.GUEST_SILENT_MS / 1000)
    assert [(error.code, error.group) for error in end.heard(messages.Error) if isinstance(error, messages.Error)] == [("not_a_member", group.id)]


# Events


def announced(end: LinkEnd, group: SampleGroup, author: str = "mallory") -> SampleLog:
    log = SampleLog(author, group.id)
    log.write_notes(1)
    end.receive(have_of(group.id, log))
    return SampleLog(author, group.id)


def test_events_of_a_log_that_was_not_announced_are_a_violation(end: LinkEnd, group: SampleGroup) -> None:
    end.receive(events_of(group.id, SampleLog("mallory", group.id).write_notes(1)))

    assert end.closed is not None
    assert end.closed.code == "protocol_violation"


def test_an_unknown_about_what_was_never_announced_is_a_violation(end: LinkEnd, group: SampleGroup) -> None:
    end.receive(messages.Unknown(group.id, SAMPLE_LOG))

    assert end.closed is not None
    assert end.closed.code == "protocol_violation"


def test_a_log_that_we_do_not_hold_cannot_be_wanted(end: LinkEnd, group: SampleGroup) -> None:
    end.receive(messages.Want(group.id, SAMPLE_LOG, (), search=False))

    assert end.closed is not None
    assert end.closed.code == "protocol_violation"


def test_a_log_of_a_stranger_is_not_asked_for_until_it_is_a_member(bob: Site, group: SampleGroup, end: LinkEnd) -> None:
    log = SampleLog("zoe", group.id)
    run = log.write_notes(1)
    end.receive(have_of(group.id, log), events_of(group.id, run))
    assert not end.heard(messages.Want)
    assert not end.asked

    bob.write(group.control, group.set_role("zoe"))

    assert [message.log for message in end.heard(messages.Want) if isinstance(message, messages.Want)] == [run.log]


def test_a_run_that_does_not_verify_costs_its_log_and_nothing_else(end: LinkEnd, group: SampleGroup) -> None:
    log, other = announced(end, group), SampleLog("carol", group.id)
    run, fine = log.write_notes(2), other.write_notes(2)

    end.receive(events_of(group.id, run)._replace(signature=bytes(64)), events_of(group.id, run))
    assert end.heard(messages.Rejected) == [messages.Rejected(group.id, run.log, "signature_mismatch")]
    assert end.session.last_refusal == "signature_mismatch"
    assert not end.asked
    end.receive(have_of(group.id, other), events_of(group.id, fine))
    end.answer_all()

    assert end.closed is None
    assert fine.last.id in end.site.store.ids()
    assert run.last.id not in end.site.store.ids()


def test_another_link_may_bring_a_log_that_was_refused_on_one(bob: Site, end: LinkEnd, group: SampleGroup) -> None:
    log = announced(end, group, "carol")
    run = log.write_notes(1)
    end.receive(events_of(group.id, run)._replace(signature=bytes(64)))
    carol = puppet("carol", bob, number=2)

    carol.receive(have_of(group.id, log))

    assert [want.log for want in carol.heard(messages.Want) if isinstance(want, messages.Want)] == [run.log]


def test_a_run_with_a_gap_leads_to_searches_and_in_the_end_to_a_refusal(end: LinkEnd, group: SampleGroup) -> None:
    log = SampleLog("mallory", group.id)
    log.write_notes(1)
    second = log.write_notes(1)
    end.receive(have_of(group.id, log))
    for _ in range(limits.WANT_REPEATS_MAX):
        end.receive(events_of(group.id, second))
        end.answer_all()
    assert [want.search for want in end.heard(messages.Want) if isinstance(want, messages.Want)] == [False] + [True] * limits.WANT_REPEATS_MAX

    end.receive(events_of(group.id, second))
    end.answer_all()

    assert end.heard(messages.Rejected) == [messages.Rejected(group.id, second.log, "log_gap")]
    assert end.closed is None


def big_run(log: SampleLog) -> messages.Events:
    return events_of(log.certificate.group, log.write(*(Draft("note", bytes(60_000)) for _ in range(4))))


def test_more_events_than_were_granted_close_the_link(end: LinkEnd, group: SampleGroup) -> None:
    log = announced(end, group)
    log.tip = None
    sent = 0
    while True:
        message = big_run(log)
        sent += len(encode_message(message))
        if sent > limits.CREDIT_INITIAL:
            break
        end.receive(message)
    assert end.closed is None

    end.receive(message)

    assert end.closed is not None
    assert end.closed.code == "credit_exceeded"


def test_what_was_stored_or_refused_is_granted_again(end: LinkEnd, group: SampleGroup) -> None:
    log = announced(end, group)
    bad = SampleLog("carol", group.id)
    bad.write_notes(1)
    end.receive(have_of(group.id, bad))
    used = 0
    for number in range(40):
        message = big_run(log) if number % 2 else big_run(bad)._replace(signature=bytes(64))
        used += len(encode_message(message))
        end.receive(message)
        end.answer_all()

    granted = sum(message.size for message in end.heard(messages.Credit) if isinstance(message, messages.Credit))
    assert end.closed is None
    assert used > limits.CREDIT_INITIAL
    assert used - limits.CREDIT_GRANT_MIN < granted <= used


def test_without_credit_nothing_goes_out(bob: Site, group: SampleGroup, end: LinkEnd) -> None:
    log = SampleLog("alice", group.id)
    for _ in range(30):
        bob.write(log, log.write(*(Draft("note", bytes(60_000)) for _ in range(4))))
    end.receive(messages.Want(group.id, log.certificate.log, (), search=False))
    end.answer_all()

    sent = sum(len(encode_message(message)) for message in end.heard(messages.Events))
    assert limits.CREDIT_INITIAL - 300_000 < sent <= limits.CREDIT_INITIAL
    end.receive(messages.Credit(limits.CREDIT_INITIAL))
    end.answer_all()
    assert len(end.heard(messages.Events)) == 30


def test_what_they_sent_never_goes_back_to_them(end: LinkEnd, group: SampleGroup) -> None:
    log = announced(end, group)
    run = log.write_notes(2)
    end.receive(events_of(group.id, run))
    end.answer_all()

    end.receive(messages.Want(group.id, run.log, (), search=False), messages.Want(group.id, run.log, (run.last.id,), search=True))
    end.answer_all()

    assert not end.heard(messages.Events)


def test_positions_that_we_do_not_hold_are_unknown_and_a_search_finds_the_highest_common(bob: Site, group: SampleGroup, end: LinkEnd) -> None:
    log = SampleLog("alice", group.id)
    first, second = log.write_notes(4), log.write_notes(4)
    for run in (first, second):
        bob.write(log, run)

    end.receive(messages.Want(group.id, log.certificate.log, (SAMPLE_ID,), search=False))
    end.answer_all()
    assert end.heard(messages.Unknown) == [messages.Unknown(group.id, log.certificate.log)]
    end.receive(messages.Want(group.id, log.certificate.log, (SAMPLE_ID, first.last.id, first.first.id), search=True))
    end.answer_all()

    assert end.heard(messages.Events) == [events_of(group.id, second)]


def test_control_logs_come_before_data(end: LinkEnd, group: SampleGroup) -> None:
    control, data = SampleLog("carol", group.id, kind=LogKind.CONTROL), SampleLog("carol", group.id)
    run = control.write_notes(1)
    data.write_notes(1)
    end.receive(have_of(group.id, data, control))
    wanted = [message.log for message in end.heard(messages.Want) if isinstance(message, messages.Want)]
    assert wanted == [control.certificate.log]

    end.receive(events_of(group.id, run))
    end.answer_all()

    wanted = [message.log for message in end.heard(messages.Want) if isinstance(message, messages.Want)]
    assert wanted == [control.certificate.log, data.certificate.log]


def test_a_log_announced_under_the_certificate_of_another_is_a_violation(end: LinkEnd, group: SampleGroup) -> None:
    log = SampleLog("mallory", group.id)
    log.write_notes(1)

    end.receive(messages.Have(group.id, complete=True, more=False, logs=(entry_of(log)._replace(log=SAMPLE_LOG),)))

    assert end.closed is not None
    assert end.closed.code == "protocol_violation"


def test_a_silent_source_is_replaced_by_a_link_that_has_more(bob: Site, group: SampleGroup, end: LinkEnd) -> None:
    log = SampleLog("alice", group.id)
    log.write_notes(1)
    end.receive(have_of(group.id, log))
    other = puppet("carol", bob, number=2)
    other.receive(have_of(group.id, log))
    assert not other.heard(messages.Want)

    bob.tick((limits.SOURCE_SILENT_MS - 1) / 1000)
    assert not other.heard(messages.Want)
    bob.tick(1)
    bob.tick(1)

    assert len(other.heard(messages.Want)) == 1
    assert end.heard(messages.Unwant) == [messages.Unwant(group.id, log.certificate.log)]


def test_links_that_tell_and_do_not_bring_do_not_take_turns_among_themselves() -> None:
    group = SampleGroup("alice", "bob", "carol", "mallory", "dave")
    bob, log = Site("bob", Clock(), group), SampleLog("alice", group.id)
    log.write_notes(1)
    liars = [puppet("mallory", bob), puppet("carol", bob, number=2)]
    last = puppet("dave", bob, number=3)
    for each in (*liars, last):
        each.receive(have_of(group.id, log))

    for _ in range(3 * limits.SOURCE_SILENT_MS // 1000):
        bob.tick(1)

    assert all(len(each.heard(messages.Want)) == 1 for each in liars)
    assert len(last.heard(messages.Want)) == 1
    for _ in range(2 * limits.SOURCE_IN_VAIN_MAX * limits.SOURCE_SILENT_MS // 1000):
        bob.tick(1)
    assert all(len(each.heard(messages.Want)) > 1 for each in (*liars, last))


# Liveness


def test_a_quiet_link_is_pinged_twice_and_then_ended(end: LinkEnd) -> None:
    interval = limits.PING_INTERVAL_MS / 1000
    for number in range(limits.PINGS_MISSED_MAX):
        end.site.tick(interval)
        assert len(end.heard(messages.Ping)) == number + 1
    assert end.closed is None

    end.site.tick(interval)

    assert end.closed is not None
    assert end.closed.code == "link_silent"


def test_any_frame_is_a_sign_of_life(end: LinkEnd) -> None:
    for _ in range(10):
        end.site.tick(limits.PING_INTERVAL_MS / 1000)
        end.receive(messages.Credit(1))

    assert end.closed is None


def test_the_answer_to_a_ping_tells_the_round_trip_time(end: LinkEnd) -> None:
    end.site.tick(limits.PING_INTERVAL_MS / 1000)
    (ping,) = end.heard(messages.Ping)
    assert isinstance(ping, messages.Ping)
    end.site.clock.now_ms += 37

    end.receive(messages.Pong(ping.number))

    assert end.session.liveness.rtt_ms == 37


def test_tips_of_a_log_are_announced_by_each_commit_to_who_did_not_ask(bob: Site, group: SampleGroup, end: LinkEnd) -> None:
    log = SampleLog("alice", group.id)
    first, second = log.write_notes(1), log.write_notes(1)
    for run in (first, second):
        bob.write(log, run)

    told = [message.logs for message in end.heard(messages.Have) if isinstance(message, messages.Have)]
    certificate = log.certificate.to_bytes()
    assert told == [
        (messages.LogEntry(log.certificate.log, certificate, (Tip(1, first.last.id),)),),
        (messages.LogEntry(log.certificate.log, b"", (Tip(2, second.last.id),)),),
    ]


def test_what_they_refuse_of_ours_is_known_for_the_operator(end: LinkEnd, group: SampleGroup) -> None:
    assert refusal_of(end.session) is None

    end.receive(messages.Rejected(group.id, SAMPLE_LOG, "event_version_unknown"))

    shown = refusal_of(end.session)
    assert shown is not None
    assert shown["code"] == "event_version_unknown"
    assert "upgrade" in shown["fix"]
