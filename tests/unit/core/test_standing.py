"""Which role somebody has at which event: cuts, demotions, seals, voids, invitations. Random histories are in tests/property/test_roster.py."""

from collections.abc import Sequence

from peer.core.control import ControlEvent, Point, Role, event_void, invite, log_seal, member_set
from peer.core.encoding import encode
from peer.core.identity import EventId, LogId, PeerId
from peer.core.judging import HeldLog, Judgement, rejudge
from peer.core.roster import Roster, evaluate
from peer.core.run import Draft
from tests.control_histories import Lineage, point_at
from tests.samples import SampleLog, control_log, genesis, key_pair

KEY = key_pair("an invitation").public
NOWHERE = EventId(bytes(32))


def peer(name: str) -> PeerId:
    return key_pair(name).peer_id


def another_log(author: str, label: str) -> SampleLog:
    return SampleLog(author, genesis().group, kind=control_log(author).certificate.kind, label=label)


def roles_at(roster: Roster, entries: Sequence[ControlEvent]) -> list[Role]:
    """The role of each event's author at it."""
    lineage = Lineage(entries)
    return [
        roster.standing(entry.author).role_at(entry.event.header.log, lambda point, event=entry.event: lineage.is_under(event, point))  # type: ignore[misc]
        for entry in entries
    ]


def set_role(by: SampleLog, name: str, role: Role, *, replaces: Sequence[ControlEvent] = (), cut: Sequence[Point] = ()) -> ControlEvent:
    return by.decide(member_set(peer(name), name, role, replaces=[each.event.id for each in replaces], cut=cut))


def test_what_lies_under_the_cut_of_a_demotion_keeps_its_role() -> None:
    alice, bob = control_log("alice"), control_log("bob")
    admin = set_role(alice, "bob", Role.ADMIN)
    before = [set_role(bob, "carol", Role.WRITER), set_role(bob, "dave", Role.READER)]
    demoted = set_role(alice, "bob", Role.READER, replaces=[admin], cut=[point_at(before[1].event)])
    after = set_role(bob, "erin", Role.WRITER)
    roster = evaluate([peer("alice")], [admin, *before, demoted, after])

    assert roles_at(roster, [*before, after]) == [Role.ADMIN, Role.ADMIN, Role.READER]
    assert {roster.role(peer(name)) for name in ("carol", "dave", "erin")} == {Role.WRITER, Role.READER, Role.NONE}


def test_a_cut_leaves_out_other_logs_and_branches() -> None:
    alice, bob = control_log("alice"), control_log("bob")
    admin = set_role(alice, "bob", Role.ADMIN)
    first = set_role(bob, "carol", Role.WRITER)
    tip = bob.tip
    second = set_role(bob, "dave", Role.WRITER)
    removed = set_role(alice, "bob", Role.NONE, replaces=[admin], cut=[point_at(second.event)])
    bob.tip = tip
    fork = set_role(bob, "erin", Role.WRITER)
    fresh = set_role(another_log("bob", "fresh"), "frank", Role.WRITER)
    roster = evaluate([peer("alice")], [admin, first, second, removed, fork, fresh])

    assert roles_at(roster, [first, second, fork, fresh]) == [Role.ADMIN, Role.ADMIN, Role.NONE, Role.NONE]
    assert set(roster.members) == {peer("alice"), peer("carol"), peer("dave")}


def test_a_point_that_is_not_here_covers_what_may_still_turn_out_to_be_its_past() -> None:
    alice, bob = control_log("alice"), control_log("bob")
    admin = set_role(alice, "bob", Role.ADMIN)
    entries = [set_role(bob, "carol", Role.WRITER), set_role(bob, "dave", Role.WRITER)]
    later = Point(bob.certificate.log, 5, NOWHERE)
    removed = set_role(alice, "bob", Role.NONE, replaces=[admin], cut=[later])

    assert roles_at(evaluate([peer("alice")], [admin, removed, *entries]), entries) == [Role.ADMIN, Role.ADMIN]

    entries += [set_role(bob, "erin", Role.WRITER) for _ in range(3)]

    assert set(roles_at(evaluate([peer("alice")], [admin, removed, *entries]), entries)) == {Role.NONE}


def test_reach_is_the_height_above_which_nothing_counts() -> None:
    alice = control_log("alice")
    bob = control_log("bob")
    added = set_role(alice, "bob", Role.WRITER)
    point = Point(bob.certificate.log, 7, NOWHERE)
    removed = set_role(alice, "bob", Role.NONE, replaces=[added], cut=[point])
    other = another_log("bob", "other").certificate.log
    sealed = control_log("carol").decide(log_seal(other, [Point(other, 3, NOWHERE)]))
    carol = set_role(alice, "carol", Role.WRITER)
    own_seal = another_log("carol", "second").decide(
        log_seal(control_log("carol").certificate.log, [Point(control_log("carol").certificate.log, 2, NOWHERE)])
    )

    def reach(who: str, log: bytes, *entries: ControlEvent) -> int | None:
        roster = evaluate([peer("alice")], entries)
        judgement = rejudge(Judgement(evaluate([peer("alice")], ())), roster, (), lambda _: HeldLog(), {}, frozenset())
        return judgement.reach(peer(who), LogId(log))

    assert reach("bob", bob.certificate.log) == 0
    assert reach("bob", bob.certificate.log, added) is None
    assert reach("bob", bob.certificate.log, added, removed) == 7
    assert reach("bob", other, added, removed) == 0
    assert reach("bob", other, added, carol, sealed) is None, "nobody seals another's log"
    assert reach("carol", control_log("carol").certificate.log, carol, own_seal) == 2


def test_of_a_sealed_log_only_what_lies_under_its_seals_counts() -> None:
    stolen, fresh, newest = another_log("alice", "stolen"), another_log("alice", "fresh"), another_log("alice", "newest")
    good = set_role(stolen, "bob", Role.WRITER)
    bad = set_role(stolen, "mallory", Role.ADMIN)
    seal = fresh.decide(log_seal(stolen.certificate.log, [point_at(good.event)]))

    assert set(evaluate([peer("alice")], [good, bad, seal]).members) == {peer("alice"), peer("bob")}

    more = newest.decide(log_seal(stolen.certificate.log, [point_at(bad.event)]))

    assert peer("mallory") in evaluate([peer("alice")], [good, bad, seal, more]).members, "seals add up"


def test_a_log_says_nothing_about_itself_and_nothing_beyond_its_own_seal() -> None:
    stolen, other, fresh = another_log("alice", "stolen"), another_log("alice", "other"), another_log("alice", "fresh")
    good, kept = set_role(stolen, "bob", Role.WRITER), set_role(other, "carol", Role.WRITER)
    seals = [fresh.decide(log_seal(log.certificate.log, [point_at(last.event)])) for log, last in ((stolen, good), (other, kept))]
    bad = set_role(stolen, "mallory", Role.ADMIN)
    by_itself = stolen.decide(log_seal(stolen.certificate.log, [point_at(bad.event)]))
    by_the_other = other.decide(log_seal(stolen.certificate.log, [point_at(bad.event)]))

    assert peer("mallory") not in evaluate([peer("alice")], [good, kept, *seals, bad, by_itself, by_the_other]).members


def test_a_demoted_admin_does_not_undo_what_it_decided_as_one() -> None:
    alice, bob = control_log("alice"), control_log("bob")
    admin = set_role(alice, "bob", Role.ADMIN)
    added = set_role(bob, "carol", Role.WRITER)
    demoted = set_role(alice, "bob", Role.READER, replaces=[admin], cut=[point_at(added.event)])
    seal = another_log("bob", "later").decide(log_seal(bob.certificate.log, []))

    assert evaluate([peer("alice")], [admin, added, demoted, seal]).role(peer("carol")) is Role.WRITER


def test_an_admin_voids_any_event_and_others_their_own() -> None:
    alice, bob = control_log("alice"), control_log("bob")
    mine, theirs, stranger = (EventId(bytes([number]) * 32) for number in (1, 2, 3))
    events = [
        set_role(alice, "bob", Role.WRITER),
        alice.decide(event_void(theirs)),
        bob.decide(event_void(mine)),
        control_log("mallory").decide(event_void(stranger)),
    ]
    roster = evaluate([peer("alice")], events)

    assert roster.is_void(theirs, peer("bob"))
    assert roster.is_void(mine, peer("bob"))
    assert not roster.is_void(mine, peer("carol")), "a writer voids nobody else's"
    assert not roster.is_void(stranger, peer("mallory"))
    assert not roster.is_void(stranger, peer("alice"))


def test_an_add_under_an_invitation_counts_as_a_decision_of_the_junior_of_both() -> None:
    """The owner's peer lets somebody in for an admin of admins: that makes nobody senior to the inviter's own seniors."""
    alice, bob, carol = control_log("alice"), control_log("bob"), control_log("carol")
    events = [
        set_role(alice, "bob", Role.ADMIN),
        set_role(bob, "carol", Role.ADMIN),
        carol.decide(invite(KEY, Role.ADMIN, 1000)),
        alice.decide(member_set(peer("dave"), "dave", Role.ADMIN, invite=KEY)),
        set_role(control_log("dave"), "bob", Role.NONE),
        set_role(control_log("dave"), "carol", Role.NONE),
    ]
    roster = evaluate([peer("alice")], events)

    assert {roster.role(peer(name)) for name in ("bob", "carol", "dave")} == {Role.ADMIN}


def test_of_two_adds_under_one_invitation_that_of_the_senior_counts() -> None:
    alice, bob = control_log("alice"), control_log("bob")
    events = [
        set_role(alice, "bob", Role.ADMIN),
        alice.decide(invite(KEY, Role.WRITER, 1000)),
        bob.decide(member_set(peer("mallory"), "mallory", Role.WRITER, invite=KEY)),
        alice.decide(member_set(peer("carol"), "carol", Role.WRITER, invite=KEY)),
    ]
    roster = evaluate([peer("alice")], events)

    assert (roster.role(peer("carol")), roster.role(peer("mallory"))) == (Role.WRITER, Role.NONE)
    assert roster.invites[KEY].used_by == peer("carol")


def test_an_add_gives_no_more_than_its_invitation() -> None:
    alice = control_log("alice")
    events = [alice.decide(invite(KEY, Role.READER, 1000)), alice.decide(member_set(peer("bob"), "bob", Role.ADMIN, invite=KEY))]

    assert evaluate([peer("alice")], events).role(peer("bob")) is Role.NONE


def test_a_cut_or_seal_that_is_not_well_formed_is_poison() -> None:
    alice = control_log("alice")
    body = {"peer_id": peer("bob"), "name": "bob", "role": "writer"}
    for cut in (
        "x",
        [1],
        [[b"", 1, bytes(32)]],
        [[bytes(32), 0, bytes(32)]],
        [[bytes(32), True, bytes(32)]],
        [[bytes(32), 1]],
        [[bytes(32), 1, bytes(32)]] * 801,
    ):
        assert alice.decide(Draft("member.set", encode(body | {"cut": cut}))).fact is None  # type: ignore[arg-type]
    assert alice.decide(Draft("log.seal", encode({"log": bytes(32), "tips": [[bytes([1]) * 32, 1, bytes(32)]]}))).fact is None
    assert alice.decide(Draft("event.void", encode({"event_id": bytes(31)}))).fact is None


def test_a_chain_of_thousands_of_appointments_is_no_deeper_than_the_stack() -> None:
    """Whoever appoints puppets that appoint puppets gets a long list, and no more."""
    names = [f"puppet-{number}" for number in range(2_000)]
    logs = [control_log("alice"), *(control_log(name) for name in names)]
    events = [set_role(log, name, Role.ADMIN) for log, name in zip(logs, names, strict=False)]

    assert len(evaluate([peer("alice")], events).members) == len(names) + 1
