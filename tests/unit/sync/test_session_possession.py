"""Proofs of possession over a link: for members, of what they asked for, on links that know of them, and not without end."""

import pytest

from peer.core.identity import BlobId, EventId, GroupId
from peer.sync import limits, messages
from peer.sync.possession import PossessionArrived, PossessionRead, ReadPossession, RoundsHeard, TellRounds, WantPossession
from tests.sync_site import LinkEnd, SampleGroup
from tests.unit.sync.test_session_digests import between

BLOB, RECORDING, ROUND, PROOF = BlobId(b"b" * 32), EventId(b"r" * 32), b"o" * 32, b"p" * 32
UNKNOWN = GroupId(b"g" * 32)


def want(group: GroupId, number: int = 1, pieces: int = 1) -> messages.PossessionWant:
    return messages.PossessionWant(number, group, RECORDING, ROUND, tuple((BLOB, piece) for piece in range(pieces)))


def reads(end: LinkEnd) -> list[ReadPossession]:
    return [effect for effect in end.effects if isinstance(effect, ReadPossession)]


def arrived(end: LinkEnd) -> list[PossessionArrived]:
    return [effect for effect in end.effects if isinstance(effect, PossessionArrived)]


def test_a_member_gets_the_proofs_that_it_asks_for(end: LinkEnd, group: SampleGroup) -> None:
    end.receive(want(group.id, 3))
    (effect,) = reads(end)
    end.feed(PossessionRead(effect, None, [PROOF]))

    assert effect.want == want(group.id, 3)
    assert end.heard(messages.Possession) == [messages.Possession(3, "", (PROOF,))]


def test_what_stands_against_it_is_said_with_its_code(end: LinkEnd, group: SampleGroup) -> None:
    end.receive(want(group.id, 3))
    end.feed(PossessionRead(reads(end)[0], "copy_releasing", []))

    assert end.heard(messages.Possession) == [messages.Possession(3, "copy_releasing", ())]


def test_nothing_is_proven_and_no_rounds_are_heard_of_in_a_group_that_the_asker_is_no_member_of(end: LinkEnd) -> None:
    end.receive(want(UNKNOWN, 3), messages.RoundsWant(UNKNOWN, (ROUND,)), messages.RoundsEnded(UNKNOWN, (ROUND,)))

    assert not reads(end)
    assert not [effect for effect in end.effects if isinstance(effect, RoundsHeard)]
    assert end.heard(messages.Possession) == [messages.Possession(3, "not_a_member", ())]


def test_who_asks_gets_what_came_under_its_number(end: LinkEnd, group: SampleGroup) -> None:
    end.feed(WantPossession(want(group.id, 1, pieces=2)))
    end.feed(WantPossession(want(group.id, 2)))
    end.receive(messages.Possession(2, "not_found", ()), messages.Possession(1, "", (PROOF, PROOF)))

    assert end.heard(messages.PossessionWant) == [want(group.id, 1, pieces=2), want(group.id, 2)]
    assert arrived(end) == [PossessionArrived(2, "not_found", ()), PossessionArrived(1, None, (PROOF, PROOF))]


@pytest.mark.parametrize("answer", [messages.Possession(1, "", (PROOF, PROOF)), messages.Possession(1, "", ()), messages.Possession(2, "", (PROOF,))])
def test_proofs_that_nobody_asked_for_are_a_violation(end: LinkEnd, group: SampleGroup, answer: messages.Possession) -> None:
    end.feed(WantPossession(want(group.id, 1)))
    end.receive(answer)

    assert end.closed is not None
    assert end.closed.code == "protocol_violation"
    assert not arrived(end)


def test_too_many_questions_at_once_close_the_link(end: LinkEnd, group: SampleGroup) -> None:
    for number in range(limits.PROOF_QUESTIONS_MAX):
        end.receive(want(group.id, number))
    assert end.closed is None
    end.receive(want(group.id, 99))

    assert end.closed is not None
    assert end.closed.code == "limit_exceeded"


def test_we_ask_no_more_at_once_than_is_allowed(end: LinkEnd, group: SampleGroup) -> None:
    for number in range(limits.PROOF_QUESTIONS_MAX + 1):
        end.feed(WantPossession(want(group.id, number)))

    assert len(end.heard(messages.PossessionWant)) == limits.PROOF_QUESTIONS_MAX
    assert arrived(end) == [PossessionArrived(limits.PROOF_QUESTIONS_MAX, "limit_exceeded", ())]


def test_who_asks_for_too_many_proofs_is_told_to_come_later(end: LinkEnd, group: SampleGroup) -> None:
    questions = limits.PROOFS_PER_MINUTE_MAX // limits.PROOFS_MAX
    for number in range(questions + 1):
        end.receive(want(group.id, number, pieces=limits.PROOFS_MAX))
        if len(reads(end)) > number:
            end.feed(PossessionRead(reads(end)[-1], None, [PROOF] * limits.PROOFS_MAX))

    assert len(reads(end)) == questions
    assert end.heard(messages.Possession)[-1] == messages.Possession(questions, "limit_exceeded", ())
    end.site.clock.now_ms += 60_000
    end.receive(want(group.id, 1))
    assert len(reads(end)) == questions + 1


def test_what_is_said_of_rounds_is_handed_on_as_it_came(end: LinkEnd, group: SampleGroup) -> None:
    said: list[messages.RoundsWant | messages.RoundsEnded] = [messages.RoundsWant(group.id, (ROUND,)), messages.RoundsEnded(group.id, (ROUND,))]
    end.receive(*said)
    for message in said:
        end.feed(TellRounds(message))

    assert [effect.message for effect in end.effects if isinstance(effect, RoundsHeard)] == said
    assert end.sent == said


def test_more_about_rounds_than_a_link_is_for_is_passed_over(end: LinkEnd, group: SampleGroup) -> None:
    for _ in range(limits.ROUND_FRAMES_PER_MINUTE_MAX + 5):
        end.receive(messages.RoundsEnded(group.id, (ROUND,)))

    assert len([effect for effect in end.effects if isinstance(effect, RoundsHeard)]) == limits.ROUND_FRAMES_PER_MINUTE_MAX
    assert end.closed is None


@pytest.mark.parametrize("versions", [((1, 2, 3), (1, 2)), ((1, 2), (1, 2, 3))])
def test_an_older_peer_is_asked_and_told_nothing_and_proves_nothing(group: SampleGroup, versions: tuple[tuple[int, ...], ...]) -> None:
    """It would end the link at a message that it does not know."""
    ends = between(group, *versions)
    for end in ends:
        end.sent.clear()
        end.feed(WantPossession(want(group.id)))
        end.feed(TellRounds(messages.RoundsWant(group.id, (ROUND,))))
        assert not end.sent
        assert arrived(end) == [PossessionArrived(1, "version_mismatch", ())]


def test_who_speaks_an_older_version_says_nothing_of_the_newer(group: SampleGroup) -> None:
    end, _ = between(group, (1, 2, 3), (2,))
    end.receive(want(group.id))

    assert end.closed is not None
    assert end.closed.code == "protocol_violation"
