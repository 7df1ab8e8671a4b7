"""Who asks to leave: as long as the decisions stand that made it the member that it was when it asked."""

from peer.core.control import Role, member_leave, member_set
from peer.core.identity import PeerId
from peer.core.roster import evaluate
from tests.samples import control_log, key_pair

ALICE, BOB = key_pair("alice").peer_id, key_pair("bob").peer_id


def test_a_member_asks_until_it_is_removed_and_its_request_is_not_remembered_against_it() -> None:
    alice, bob = control_log("alice"), control_log("bob")
    added = alice.decide(member_set(BOB, "bob", Role.WRITER))
    asked = bob.decide(member_leave([added.event.id]))
    removed = alice.decide(member_set(BOB, "bob", Role.NONE, replaces=[added.event.id]))
    again = alice.decide(member_set(BOB, "bob", Role.WRITER, replaces=[removed.event.id]))

    assert evaluate([ALICE], [added]).leaving == frozenset()
    assert evaluate([ALICE], [added, asked]).leaving == {BOB}
    assert evaluate([ALICE], [asked, added]).leaving == {BOB}
    assert evaluate([ALICE], [added, asked, removed]).leaving == frozenset()
    assert evaluate([ALICE], [added, asked, removed, again]).leaving == frozenset()


def test_nobody_asks_for_somebody_else_and_no_stranger_for_itself() -> None:
    added = control_log("alice").decide(member_set(BOB, "bob", Role.WRITER))
    mallory = control_log("mallory").decide(member_leave([added.event.id]))

    assert evaluate([ALICE], [added, mallory]).leaving == frozenset()


def test_who_was_removed_does_not_ask_any_more() -> None:
    alice = control_log("alice")
    added = alice.decide(member_set(BOB, "bob", Role.WRITER))
    removed = alice.decide(member_set(BOB, "bob", Role.NONE, replaces=[added.event.id]))
    asked = control_log("bob").decide(member_leave([removed.event.id]))

    assert evaluate([ALICE], [added, removed, asked]).leaving == frozenset()


def test_a_request_that_names_nothing_is_none() -> None:
    added = control_log("alice").decide(member_set(BOB, "bob", Role.WRITER))
    asked = control_log("bob").decide(member_leave([]))

    assert evaluate([ALICE], [added, asked]).leaving == frozenset()


def test_a_request_changes_nothing_but_that_it_is_there() -> None:
    alice, bob = control_log("alice"), control_log("bob")
    added = alice.decide(member_set(BOB, "bob", Role.ADMIN))
    before = evaluate([ALICE], [added])

    after = evaluate([ALICE], [added, bob.decide(member_leave([added.event.id]))])

    assert after._replace(leaving=frozenset[PeerId]()) == before
