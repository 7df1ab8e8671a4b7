"""What a hostile other side must not make grow without end, and frames of ours that others must be able to take."""

from typing import Any

import pytest

from peer import errors
from peer.core.frontier import Tip
from peer.core.identity import EventId, LogId
from peer.sync import effects as fx
from peer.sync import limits, messages
from peer.sync.backfill import BackfillSide
from peer.sync.handshake import Handshake
from peer.sync.messages import encode_message
from tests.samples import SampleLog, key_pair
from tests.sync_site import Clock, LinkEnd, SampleGroup, Site, connect, entry_of, events_of, have_of, open_end, pump, puppet, side_of


def refusal(group: SampleGroup) -> messages.Error:
    return messages.Error("not_a_member", "no", group.id)


def branches(group: SampleGroup) -> tuple[SampleLog, SampleLog]:
    """One log of Carol's, twice: a fork from the first event on."""
    one, other = SampleLog("carol", group.id), SampleLog("carol", group.id)
    other.clock_ms += 1_000_000
    return one, other


# Growth


def test_what_is_pushed_for_a_long_time_leaves_nothing_behind(end: LinkEnd, group: SampleGroup) -> None:
    log = SampleLog("mallory", group.id)
    first = log.write_notes(1)
    end.receive(have_of(group.id, log), events_of(group.id, first))
    for _ in range(50):
        end.receive(events_of(group.id, log.write_notes(1)))
        end.answer_all()

    entry = end.session._parts.backfill._groups[group.id].logs[log.certificate.log]  # type: ignore[union-attr]
    assert len(entry.held) <= 1
    assert len(entry.tips) == 1


def test_groups_that_we_never_spoke_about_cannot_be_refused_without_end(end: LinkEnd) -> None:
    for number in range(1000):
        end.receive(messages.Error("not_a_member", "no", number.to_bytes(32, "big")))

    assert not end.session._parts.speaking.telling.refused  # type: ignore[union-attr]
    assert end.closed is None


def test_refusing_and_taking_up_a_group_again_and_again_ends_the_link(end: LinkEnd, group: SampleGroup) -> None:
    """Each time everything would be told again."""
    for _ in range(limits.RETELLS_MAX + 1):
        end.receive(refusal(group), messages.Have(group.id, complete=True, more=False, logs=()))

    assert end.closed is not None
    assert end.closed.code == "limit_exceeded"


def test_logs_with_worthless_certificates_leave_nothing_behind_and_end_the_link(end: LinkEnd, group: SampleGroup) -> None:
    for number in range(limits.REJECTIONS_MAX // 100 + 1):
        logs = tuple(
            messages.LogEntry(LogId((number * 100 + place).to_bytes(32, "big")), b"junk", (Tip(1, EventId(bytes(32))),)) for place in range(100)
        )
        end.receive(messages.Have(group.id, complete=False, more=False, logs=logs))

    assert len(end.heard(messages.Rejected)) <= limits.REJECTIONS_MAX
    assert end.closed is not None
    assert end.closed.code == "limit_exceeded"


def test_a_log_mentioned_with_a_worthless_certificate_still_gets_ours(end: LinkEnd, group: SampleGroup) -> None:
    log = SampleLog("alice", group.id)
    run = log.write_notes(1)
    end.receive(messages.Have(group.id, complete=False, more=False, logs=(entry_of(log)._replace(certificate=b"junk"),)))

    end.site.write(log, run)

    told = end.heard(messages.Have)[-1]
    assert isinstance(told, messages.Have)
    assert told.logs[0].certificate == log.certificate.to_bytes()


def test_logs_are_limited_by_group(end: LinkEnd, group: SampleGroup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LOGS_PER_GROUP_MAX", 5)
    logs = [SampleLog("mallory", group.id, label=str(number)) for number in range(6)]
    for log in logs:
        log.write_notes(1)

    end.receive(have_of(group.id, *logs[:5]))
    assert end.closed is None
    end.receive(have_of(group.id, logs[5], complete=False))

    assert end.closed is not None
    assert end.closed.code == "limit_exceeded"


def test_one_author_takes_its_share_of_logs_and_tips_and_the_link_goes_on(end: LinkEnd, group: SampleGroup, monkeypatch: pytest.MonkeyPatch) -> None:
    """A member that opens and forks logs without end must not end the links of the others, who tell each other what it did."""
    monkeypatch.setattr(limits, "LOGS_PER_AUTHOR_MAX", 3)
    monkeypatch.setattr(limits, "TIPS_PER_AUTHOR_MAX", 70)
    monkeypatch.setattr(limits, "LOGS_PER_GROUP_MAX", 5)
    monkeypatch.setattr(limits, "TIPS_PER_GROUP_MAX", 100)
    many = tuple(Tip(number + 1, EventId(number.to_bytes(32, "big"))) for number in range(limits.TIPS_PER_LOG_MAX))
    flood = [SampleLog("carol", group.id, label=str(number)) for number in range(9)]
    forked = [SampleLog("alice", group.id, label=str(number)) for number in range(2)]
    for log in (*flood, *forked):
        log.write_notes(1)

    end.receive(have_of(group.id, *flood, complete=False))
    for log in forked:
        end.receive(messages.Have(group.id, complete=False, more=False, logs=(entry_of(log)._replace(tips=many),)))

    assert end.closed is None
    wanted = {want.log for want in end.heard(messages.Want)}  # type: ignore[union-attr]
    assert wanted == {log.certificate.log for log in (*flood[:3], forked[0])}


def test_tips_are_limited_by_group(end: LinkEnd, group: SampleGroup, monkeypatch: pytest.MonkeyPatch) -> None:
    """A million branches cost their author nothing."""
    monkeypatch.setattr(limits, "TIPS_PER_GROUP_MAX", 100)
    tips = tuple(Tip(number + 1, EventId(number.to_bytes(32, "big"))) for number in range(limits.TIPS_PER_LOG_MAX))
    logs = [SampleLog("mallory", group.id, label=str(number)) for number in range(2)]
    for log in logs:
        log.write_notes(1)
        end.receive(messages.Have(group.id, complete=False, more=False, logs=(entry_of(log)._replace(tips=tips),)))

    assert end.closed is not None
    assert end.closed.code == "limit_exceeded"


def test_the_store_is_asked_about_few_tips_at_once_however_many_they_name(end: LinkEnd, group: SampleGroup) -> None:
    """Each announcement names other low tips of logs of which we hold more."""
    logs = [SampleLog("carol", group.id, label=str(number)) for number in range(2 * limits.FINDS_UNDER_WAY_MAX)]
    for log in logs:
        end.site.write(log, log.write_notes(100))
    for number in range(20):
        tips = tuple(Tip(height, EventId((number * 100 + height).to_bytes(32, "big"))) for height in range(1, 65))
        end.receive(messages.Have(group.id, complete=False, more=False, logs=tuple(entry_of(log)._replace(tips=tips) for log in logs)))
    assert len(end.asked) == limits.FINDS_UNDER_WAY_MAX
    assert end.closed is None

    answers = 0
    while end.asked:
        assert len(end.asked) <= limits.FINDS_UNDER_WAY_MAX
        end.answer()
        answers += 1

    assert answers <= 3 * len(logs)
    entry = end.session._parts.backfill._groups[group.id].logs[logs[0].certificate.log]  # type: ignore[union-attr]
    assert not entry.finding
    assert len(entry.absent) <= limits.TIPS_PER_LOG_MAX
    assert all(want.log for want in end.heard(messages.Want))  # type: ignore[union-attr]
    assert len(end.heard(messages.Want)) == len(logs)


def test_wants_in_a_loop_ask_the_store_a_few_things_at_once(end: LinkEnd, group: SampleGroup) -> None:
    log = SampleLog("alice", group.id)
    end.site.write(log, log.write_notes(3))

    for number in range(200):
        positions = tuple(EventId((number * 2000 + place).to_bytes(32, "big")) for place in range(limits.POSITIONS_MAX))
        end.receive(messages.Want(group.id, log.certificate.log, positions, search=True))
    assert end.closed is None
    assert len(end.asked) <= limits.FINDS_UNDER_WAY_MAX

    end.answer_all()
    assert len(end.heard(messages.Events)) == 1


def test_wants_for_many_logs_with_many_positions_have_a_limit(end: LinkEnd, group: SampleGroup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "POSITIONS_WAITING_MAX", 10 * limits.POSITIONS_MAX)
    logs = [SampleLog("alice", group.id, label=str(number)) for number in range(limits.FINDS_UNDER_WAY_MAX + 11)]
    positions = tuple(EventId(place.to_bytes(32, "big")) for place in range(limits.POSITIONS_MAX))
    for log in logs:
        end.site.write(log, log.write_notes(1))
        end.receive(messages.Want(group.id, log.certificate.log, positions, search=False))

    assert end.closed is not None
    assert end.closed.code == "limit_exceeded"


def test_wanting_a_log_from_ever_new_positions_does_not_pile_them_up(end: LinkEnd, group: SampleGroup) -> None:
    log = SampleLog("alice", group.id)
    runs = [log.write_notes(256) for _ in range(12)]
    for run in runs:
        end.site.write(log, run)
    events = [event.id for run in runs for event in run.events]

    for start in range(0, len(events), 1024):
        end.receive(messages.Want(group.id, log.certificate.log, tuple(events[start : start + 1024]), search=False))
        end.answer_all()

    (flow,) = end.session._push._flows.values()
    assert len(flow.positions) <= limits.POSITIONS_MAX + len(runs)


def test_pings_have_a_limit(end: LinkEnd) -> None:
    for number in range(limits.PINGS_PER_INTERVAL_MAX):
        end.receive(messages.Ping(number))
    assert end.closed is None
    end.site.clock.now_ms += limits.PING_INTERVAL_MS
    end.receive(messages.Ping(0))
    assert end.closed is None

    for number in range(limits.PINGS_PER_INTERVAL_MAX):
        end.receive(messages.Ping(number))

    assert end.closed is not None
    assert end.closed.code == "limit_exceeded"


def test_a_pong_that_answers_nothing_tells_no_round_trip_time(end: LinkEnd) -> None:
    end.site.clock.now_ms += 5
    end.receive(messages.Pong(1))

    assert end.session.liveness.rtt_ms is None


# Frames of ours that others must be able to take


def test_a_log_with_more_branches_than_a_want_may_name_is_asked_for_all_the_same(bob: Site, group: SampleGroup) -> None:
    log = SampleLog("alice", group.id)
    log.write_notes(1)
    view = bob.store.groups[group.id]
    view.certificates[log.certificate.log] = log.certificate
    view.tips[log.certificate.log] = tuple(Tip(1, EventId(number.to_bytes(32, "big"))) for number in range(limits.POSITIONS_MAX + 5))
    end = puppet("alice", bob)

    end.receive(messages.Have(group.id, complete=True, more=False, logs=(entry_of(log)._replace(tips=(Tip(9, EventId(b"x" * 32)),)),)))

    (want,) = end.heard(messages.Want)
    assert isinstance(want, messages.Want)
    assert len(want.positions) == limits.POSITIONS_MAX


def test_a_frontier_with_many_branches_is_cut_into_frames_that_are_small_enough(bob: Site, group: SampleGroup) -> None:
    view = bob.store.groups[group.id]
    for number in range(500):
        log = SampleLog("alice", group.id, label=str(number))
        view.certificates[log.certificate.log] = log.certificate
        view.tips[log.certificate.log] = tuple(Tip(1, EventId((number * 100 + place).to_bytes(32, "big"))) for place in range(64))

    end = open_end(bob, 1)
    dialler = connect_puppet(end)

    frames = [effect.frame for effect in end.effects if isinstance(effect, fx.SendFrame)]
    told = [message for message in end.sent if isinstance(message, messages.Have)]
    assert dialler.hello.peer == key_pair("mallory").peer_id
    assert max(map(len, frames)) <= limits.FRAME_SIZE_MAX
    assert sum(len(message.logs) for message in told) == 501
    assert [message.more for message in told] == [True] * (len(told) - 1) + [False]


def connect_puppet(end: LinkEnd) -> Handshake:
    """Mallory shakes hands at this end."""
    dialler = Handshake(side_of("mallory"), key_pair("bob").peer_id)
    end.receive(dialler.hello)
    hello = end.sent[0]
    assert isinstance(hello, messages.Hello)
    dialler.take_hello(hello, encode_message(hello))
    end.receive(messages.Proof(dialler.prove(), joining=False, groups=tuple(end.site.store.groups)))
    return dialler


def test_codes_that_the_link_closes_with_are_those_of_the_error_tree(bob: Site) -> None:
    """Also for what nobody is to blame for."""
    known = {error.code for error in vars(errors).values() if isinstance(error, type) and issubclass(error, errors.MeshError)}
    slow, silent = open_end(bob, 1), puppet("mallory", bob, number=2)
    for _ in range(5):
        bob.tick(limits.PING_INTERVAL_MS / 1000)

    assert slow.closed is not None
    assert silent.closed is not None
    assert (slow.closed.code, silent.closed.code) == ("handshake_timeout", "link_silent")
    assert {slow.closed.code, silent.closed.code} <= known


def test_two_sites_with_forks_on_both_sides_agree(group: SampleGroup) -> None:
    clock = Clock()
    alice, bob = Site("alice", clock, group), Site("bob", clock, group)
    one, other = branches(group)
    for site, log in ((alice, one), (bob, other)):
        for _ in range(5):
            site.write(log, log.write_notes(3))

    ends = connect(alice, bob)
    pump(*ends)

    assert alice.store.groups[group.id].tips == bob.store.groups[group.id].tips
    assert len(alice.store.groups[group.id].tips[one.certificate.log]) == 2
    assert {end.session.phase for end in ends} == {fx.Phase.PUSH}


def test_a_decision_that_changes_no_member_costs_the_same_however_many_logs_there_are(
    bob: Site, end: LinkEnd, group: SampleGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs = [SampleLog("mallory", group.id, label=str(number)) for number in range(300)]
    for log in logs:
        log.write_notes(1)
    end.receive(have_of(group.id, *logs))
    bob.write(group.control, group.set_role("carol"))
    looked_at = 0
    look = BackfillSide._update_lacking

    def count(*arguments: Any) -> None:
        nonlocal looked_at
        looked_at += 1
        look(*arguments)

    monkeypatch.setattr(BackfillSide, "_update_lacking", count)

    for _ in range(10):
        bob.write(group.control, group.set_role("carol"))

    assert looked_at <= 20
