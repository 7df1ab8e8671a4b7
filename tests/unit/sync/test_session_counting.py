"""What is asked for, passed over and told where not all of a log counts: cuts, removals, logs that are put off."""

from peer.core.control import Role, member_set
from peer.core.run import Draft, Run
from peer.sync import effects as fx
from peer.sync import messages
from tests.samples import SampleLog, key_pair
from tests.sync_site import Clock, LinkEnd, SampleGroup, Site, events_of, have_of, puppet


def test_nothing_is_asked_for_of_an_author_of_whom_nothing_counts(bob: Site, group: SampleGroup, end: LinkEnd) -> None:
    log = SampleLog("carol", group.id)
    log.write_notes(3)
    bob.write(group.control, group.remove("carol"))
    end.receive(have_of(group.id, log))
    assert not end.heard(messages.Want)

    bob.write(group.control, group.set_role("carol"))

    assert [want.log for want in end.heard(messages.Want) if isinstance(want, messages.Want)] == [log.certificate.log]


def cut_off(group: SampleGroup, log: SampleLog, height: int, event_id: bytes) -> Run:
    """Carol is removed; what she wrote up to there keeps counting."""
    before = group.control.tip
    assert before is not None
    draft = member_set(key_pair("carol").peer_id, "carol", Role.NONE, cut=[(log.certificate.log, height, event_id)])  # type: ignore[list-item]
    run = group.control.write(Draft(draft.type, draft.body, (before.id,)))
    group.decisions.append(run)
    return run


def test_up_to_a_cut_a_log_is_asked_for_and_what_lies_beyond_is_passed_over(group: SampleGroup) -> None:
    """They have not heard of the cut yet. Nothing is wrong with what they send: when the author is taken back it comes again."""
    bob = Site("bob", Clock(), group)
    log = SampleLog("carol", group.id)
    first, second = log.write_notes(2), log.write_notes(3)
    bob.write(group.control, cut_off(group, log, first.last.height, first.last.id))
    end = puppet("mallory", bob)
    end.receive(have_of(group.id, log))
    assert len(end.heard(messages.Want)) == 1
    left = end.session._parts.backfill._grants  # type: ignore[union-attr]
    before = left.left + left.to_grant

    end.receive(events_of(group.id, first), events_of(group.id, second))
    end.answer_all()

    assert first.last.id in bob.store.ids()
    assert second.last.id not in bob.store.ids()
    assert left.left + left.to_grant == before
    assert not end.heard(messages.Rejected)
    assert end.heard(messages.Unwant) == [messages.Unwant(group.id, log.certificate.log)]
    assert end.session.missing_events == 0

    bob.write(group.control, group.set_role("carol"))
    end.answer_all()
    again = end.heard(messages.Want)[-1]
    assert isinstance(again, messages.Want)
    assert again.search
    end.receive(events_of(group.id, second))
    end.answer_all()
    assert second.last.id in bob.store.ids()


def test_what_counts_again_after_a_decision_is_told_without_a_commit(group: SampleGroup) -> None:
    bob = Site("bob", Clock(), group)
    log = SampleLog("carol", group.id)
    run = log.write_notes(3)
    bob.write(log, run)
    bob.write(group.control, group.remove("carol"))
    assert log.certificate.log not in bob.store.groups[group.id].tips
    asking, other = puppet("mallory", bob), puppet("alice", bob, number=2)
    asking.receive(messages.Want(group.id, log.certificate.log, (), search=False))
    asking.answer_all()
    assert not asking.heard(messages.Events)
    for end in (asking, other):
        end.sent.clear()

    bob.write(group.control, group.set_role("carol"))
    asking.answer_all()

    assert asking.heard(messages.Events) == [events_of(group.id, run)]
    told = [entry for have in other.heard(messages.Have) if isinstance(have, messages.Have) for entry in have.logs]
    assert (log.certificate.log, ((3, run.last.id),)) in [(entry.log, entry.tips) for entry in told]


def test_a_log_that_the_store_puts_off_is_asked_for_when_its_author_has_sealed_others(bob: Site, group: SampleGroup, end: LinkEnd) -> None:
    log = SampleLog("carol", group.id)
    run = log.write_notes(1)
    end.receive(have_of(group.id, log), events_of(group.id, run))
    effect = end.asked.popleft()
    assert isinstance(effect, fx.StoreRun)
    end.feed(fx.RunStored(effect, "too_many_logs"))
    end.site.tick(10)

    assert not end.heard(messages.Rejected)
    assert end.heard(messages.Unwant) == [messages.Unwant(group.id, log.certificate.log)]
    assert len(end.heard(messages.Want)) == 1
    assert end.session.last_refusal is None
    bob.write(group.control, group.set_role("carol"))
    end.answer_all()
    wants = [want for want in end.heard(messages.Want) if isinstance(want, messages.Want)]
    assert [(want.log, want.search) for want in wants] == [(log.certificate.log, False), (log.certificate.log, True)]
