"""Who is in: one answer, whatever the order in which decisions arrive, and none that the deciders had no right to."""

import itertools
import random
from collections.abc import Iterable

import pytest

from peer.core.control import ControlEvent, Role, invite, member_set
from peer.core.encoding import encode
from peer.core.identity import PeerId
from peer.core.roster import Roster, evaluate
from peer.core.run import Draft
from tests.samples import SampleLog, control_log, ids, key_pair


def peer(name: str) -> PeerId:
    return key_pair(name).peer_id


def decide(by: SampleLog, about: str, role: Role, *, replaces: Iterable[ControlEvent] = ()) -> ControlEvent:
    return by.decide(member_set(peer(about), about, role, replaces=ids(list(replaces))))  # type: ignore[arg-type]


def roster(*events: ControlEvent, owners: tuple[str, ...] = ("alice",)) -> Roster:
    """The roster, the same in every order of arrival: up to five events are tried in all orders, more in some."""
    orders = list(itertools.permutations(events)) if len(events) <= 5 else [random.Random(seed).sample(events, len(events)) for seed in range(60)]
    found = [evaluate([peer(owner) for owner in owners], order) for order in orders]
    assert all(each == found[0] for each in found)
    return found[0]


def roles(*events: ControlEvent, owners: tuple[str, ...] = ("alice",)) -> dict[str, Role]:
    return {member.name: member.role for member in roster(*events, owners=owners).members.values() if member.role is not Role.OWNER}


def test_a_group_begins_with_its_owners() -> None:
    both = roster(owners=("alice", "bob"))

    assert both.role(peer("alice")) is both.role(peer("bob")) is Role.OWNER
    assert both.role(peer("carol")) is Role.NONE
    assert not both.invites


@pytest.mark.parametrize("role", [Role.READER, Role.WRITER, Role.ADMIN])
def test_an_owner_appoints(role: Role) -> None:
    assert roles(decide(control_log("alice"), "bob", role)) == {"bob": role}


def test_a_stranger_decides_nothing() -> None:
    mallory = control_log("mallory")

    assert roles(decide(mallory, "mallory", Role.ADMIN), decide(mallory, "bob", Role.ADMIN)) == {}


@pytest.mark.parametrize("role", [Role.READER, Role.WRITER])
def test_a_member_that_is_no_admin_decides_nothing(role: Role) -> None:
    given = decide(control_log("alice"), "bob", role)
    bob = control_log("bob")

    assert roles(given, decide(bob, "bob", Role.ADMIN, replaces=[given]), decide(bob, "carol", Role.READER)) == {"bob": role}


def test_an_admin_appoints_admins_who_appoint_in_turn() -> None:
    assert roles(
        decide(control_log("alice"), "bob", Role.ADMIN),
        decide(control_log("bob"), "carol", Role.ADMIN),
        decide(control_log("carol"), "dave", Role.ADMIN),
        decide(control_log("dave"), "erin", Role.WRITER),
    ) == {"bob": Role.ADMIN, "carol": Role.ADMIN, "dave": Role.ADMIN, "erin": Role.WRITER}


def test_admins_that_appoint_only_one_another_are_none() -> None:
    """A ring of strangers hangs on nobody."""
    assert roles(decide(control_log("bob"), "carol", Role.ADMIN), decide(control_log("carol"), "bob", Role.ADMIN)) == {}


def test_of_concurrent_decisions_the_lowest_role_wins() -> None:
    owners = ("alice", "bob")
    added, removed = decide(control_log("alice", *owners), "carol", Role.WRITER), decide(control_log("bob", *owners), "carol", Role.NONE)

    assert roles(added, removed, owners=owners) == {}


def test_two_adds_agree() -> None:
    owners = ("alice", "bob")
    adds = [decide(control_log(owner, *owners), "carol", Role.WRITER) for owner in owners]

    assert roles(*adds, owners=owners) == {"carol": Role.WRITER}


def test_a_decision_replaces_the_one_that_it_names() -> None:
    alice = control_log("alice")
    first = decide(alice, "bob", Role.READER)
    second = decide(alice, "bob", Role.ADMIN, replaces=[first])
    third = decide(alice, "bob", Role.NONE, replaces=[second])

    assert roles(first, second) == {"bob": Role.ADMIN}
    assert roles(first, second, third) == {}
    assert roles(first, second, third, decide(alice, "bob", Role.WRITER, replaces=[third])) == {"bob": Role.WRITER}


def test_a_decision_that_names_nothing_replaces_nothing() -> None:
    alice = control_log("alice")

    assert roles(decide(alice, "bob", Role.READER), decide(alice, "bob", Role.ADMIN)) == {"bob": Role.READER}


def test_a_decision_about_one_peer_replaces_none_about_another() -> None:
    alice = control_log("alice")
    removed = decide(alice, "bob", Role.NONE)
    added = decide(alice, "bob", Role.WRITER)

    assert roles(removed, added, decide(alice, "carol", Role.WRITER, replaces=[removed])) == {"carol": Role.WRITER}


def test_only_a_more_senior_owner_decides_on_an_owner() -> None:
    owners = ("alice", "bob")
    alice, bob = control_log("alice", *owners), control_log("bob", *owners)
    admin = decide(alice, "carol", Role.ADMIN)
    decided = roster(
        decide(alice, "bob", Role.NONE),
        decide(bob, "alice", Role.NONE),
        admin,
        decide(control_log("carol", *owners), "alice", Role.NONE),
        owners=owners,
    )

    assert decided.role(peer("alice")) is Role.OWNER
    assert decided.role(peer("bob")) is Role.NONE


def test_an_owner_may_name_itself() -> None:
    named = roster(
        control_log("alice").decide(member_set(peer("alice"), "head-office", Role.NONE)), decide(control_log("mallory"), "alice", Role.NONE)
    )

    assert named.members[peer("alice")] == (peer("alice"), "head-office", Role.OWNER)


def test_a_junior_owner_cannot_undo_what_a_senior_decided() -> None:
    owners = ("alice", "bob")
    removed = decide(control_log("alice", *owners), "carol", Role.NONE)

    assert roles(removed, decide(control_log("bob", *owners), "carol", Role.ADMIN, replaces=[removed]), owners=owners) == {}


def test_a_senior_owner_can_undo_what_a_junior_decided() -> None:
    owners = ("alice", "bob")
    removed = decide(control_log("bob", *owners), "carol", Role.NONE)

    assert roles(removed, decide(control_log("alice", *owners), "carol", Role.WRITER, replaces=[removed]), owners=owners) == {"carol": Role.WRITER}


def test_the_admin_that_was_appointed_first_is_senior() -> None:
    alice = control_log("alice")
    appointed = [decide(alice, "bob", Role.ADMIN), decide(alice, "carol", Role.ADMIN)]
    removed = decide(control_log("bob"), "dave", Role.NONE)
    back = decide(control_log("carol"), "dave", Role.WRITER, replaces=[removed])

    assert "dave" not in roles(*appointed, removed, back)

    removed = decide(control_log("carol"), "dave", Role.NONE)
    back = decide(control_log("bob"), "dave", Role.WRITER, replaces=[removed])

    assert roles(*appointed, removed, back)["dave"] is Role.WRITER


def test_an_admin_cannot_undo_what_an_owner_decided() -> None:
    alice, bob = control_log("alice"), control_log("bob")
    admin, removed = decide(alice, "bob", Role.ADMIN), decide(alice, "carol", Role.NONE)

    assert roles(admin, removed, decide(bob, "carol", Role.ADMIN, replaces=[removed])) == {"bob": Role.ADMIN}


def test_an_admin_can_neither_remove_nor_raise_itself() -> None:
    alice, bob = control_log("alice"), control_log("bob")
    admin = decide(alice, "bob", Role.ADMIN)

    assert roles(admin, decide(bob, "bob", Role.NONE, replaces=[admin])) == {"bob": Role.ADMIN}


def test_what_a_removed_admin_decided_counts_no_more() -> None:
    """Without a cut a removal reaches back: appointments by the removed go with it."""
    alice, bob, carol = control_log("alice"), control_log("bob"), control_log("carol")
    admin = decide(alice, "bob", Role.ADMIN)
    by_bob, by_carol = decide(bob, "carol", Role.ADMIN), decide(carol, "dave", Role.WRITER)

    assert roles(admin, by_bob, by_carol) == {"bob": Role.ADMIN, "carol": Role.ADMIN, "dave": Role.WRITER}
    assert roles(admin, by_bob, by_carol, decide(alice, "bob", Role.NONE, replaces=[admin])) == {}


def test_what_a_junior_writes_changes_nothing_of_what_its_seniors_decided() -> None:
    """Whatever the appointed write, in any number, the roster of those above them stays the same."""
    alice, bob = control_log("alice"), control_log("bob")
    above = [decide(alice, "bob", Role.ADMIN), decide(alice, "dave", Role.NONE)]
    below = [
        decide(bob, about, role, replaces=replaced)
        for about in ("alice", "bob", "dave")
        for role in (Role.NONE, Role.ADMIN)
        for replaced in ([], above)
    ]

    assert roles(*above, *below) == roles(*above)


def test_hearing_of_a_decision_twice_changes_nothing() -> None:
    decided = decide(control_log("alice"), "bob", Role.WRITER)

    assert roster(decided) == roster(decided, decided)


KEY = key_pair("an invitation").public


def test_an_invitation_by_an_admin_is_known() -> None:
    invited = control_log("alice").decide(invite(KEY, Role.WRITER, 1000))

    assert roster(invited).invites == {KEY: (invited.event.id, peer("alice"), KEY, Role.WRITER, 1000, None)}


def test_an_invitation_by_somebody_else_is_not() -> None:
    added = decide(control_log("alice"), "bob", Role.WRITER)

    assert not roster(added, control_log("bob").decide(invite(KEY, Role.WRITER, 1000))).invites


def test_an_invitation_knows_who_used_it() -> None:
    alice = control_log("alice")
    used = [alice.decide(invite(KEY, Role.WRITER, 1000)), alice.decide(member_set(peer("bob"), "bob", Role.WRITER, invite=KEY))]

    assert roster(*used).invites[KEY].used_by == peer("bob")


def test_a_stranger_cannot_use_up_an_invitation() -> None:
    invited = control_log("alice").decide(invite(KEY, Role.WRITER, 1000))
    claimed = control_log("mallory").decide(member_set(peer("mallory"), "mallory", Role.WRITER, invite=KEY))

    assert roster(invited, claimed).invites[KEY].used_by is None


def test_an_invitation_that_was_revoked_stays_revoked() -> None:
    alice = control_log("alice")
    events = [alice.decide(invite(KEY, role, 1000 + number)) for number, role in enumerate([Role.WRITER, Role.NONE, Role.ADMIN, Role.WRITER])]

    assert roster(*events).invites[KEY].role is Role.NONE


GOOD = {"peer_id": peer("bob"), "name": "bob", "role": "writer"}
POISON = [
    b"",
    b"\xff",
    encode([]),
    encode({}),
    encode(GOOD) + b"\0",
    *(encode(GOOD | {"peer_id": value}) for value in (b"", bytes(31), "x" * 32, None, 7)),
    *(encode(GOOD | {"name": value}) for value in ("", "../up", "a" * 129, b"bob", None, "a\n")),
    *(encode(GOOD | {"role": value}) for value in ("owner", "OWNER", "Writer", "", 2, None, b"writer", ["writer"], {})),
]


@pytest.mark.parametrize("body", POISON)
def test_a_poisoned_decision_is_ignored(body: bytes) -> None:
    alice = control_log("alice")

    assert roles(alice.decide(Draft("member.set", body)), decide(alice, "carol", Role.READER)) == {"carol": Role.READER}


@pytest.mark.parametrize("value", [True, "x", 5, None, [KEY]])
def test_a_decision_under_no_real_invitation_is_a_decision_all_the_same(value: object) -> None:
    assert roles(control_log("alice").decide(Draft("member.set", encode(GOOD | {"invite": value})))) == {"bob": Role.WRITER}


GOOD_INVITE = {"key": KEY, "role": "writer", "expires_ms": 1000}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        encode({}),
        *(encode(GOOD_INVITE | {"key": value}) for value in (b"", bytes(31), "x" * 32, None)),
        *(encode(GOOD_INVITE | {"role": value}) for value in ("owner", 2, None)),
        *(encode(GOOD_INVITE | {"expires_ms": value}) for value in (-1, True, "1000", None)),
    ],
)
def test_a_poisoned_invitation_is_ignored(body: bytes) -> None:
    assert not roster(control_log("alice").decide(Draft("invite", body))).invites


def test_events_of_unknown_types_are_ignored() -> None:
    assert roles(control_log("alice").decide(Draft("member.sing", encode(GOOD)))) == {}


def test_a_thousand_members_and_ten_thousand_decisions_take_no_time() -> None:
    alice = control_log("alice")
    events = [decide(alice, f"peer-{number % 1000}", Role.WRITER) for number in range(10_000)]

    assert len(evaluate([peer("alice")], events).members) == 1001
