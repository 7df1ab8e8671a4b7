"""Decisions in a simulated mesh: members are removed with and without a cut, let in again, get other roles, seal logs, and fork them below cuts.

The owner and those that it made admins decide by what they hold at that moment, while everything else goes on. At the end all members have the same
roster, the same role at every event that counts, and offer the same; what somebody wrote after its removal counts nowhere.
"""

from typing import TYPE_CHECKING

from peer.core.certificate import LogKind
from peer.core.control import Point, Role, log_seal, member_set
from peer.core.encoding import encode
from peer.core.judging import top
from peer.core.run import Draft
from tests.simulation.lines import points_of
from tests.simulation.shell import Peer

if TYPE_CHECKING:
    from tests.simulation.world import World

DECISIONS = 24
TRUST_KINDS = (
    "removals_with_a_cut",
    "removals_without_a_cut",
    "readmissions",
    "role_changes",
    "seals",
    "forks_below_a_cut",
    "late_writes",
    "left_out",
)


def plan_trust(world: "World", duration_ms: int) -> None:
    """Let things be decided at any time of the storm."""
    chance = world.random
    for peer in world.peers[1:3]:
        world.after(chance.randint(500, 4_000), lambda peer=peer: decide(world, world.peers[0], peer, Role.ADMIN))
    for _ in range(2):
        world.after(chance.randint(4_000, duration_ms - 15_000), lambda: _remove_from_afar(world))
    for _ in range(DECISIONS):
        action = chance.choice([_decide_something, _decide_something, _seal, _write_after_removal, _fork_below_a_cut, _fork_below_a_cut])
        world.after(chance.randint(4_000, duration_ms), lambda action=action: action(world))


def decide(world: "World", by: Peer, about: Peer, role: Role, cut: tuple[Point, ...] = ()) -> None:
    """Write a decision, if `by` may."""
    roster = by.store.groups[world.group].roster
    if not by.up or by.pending or by is about or roster.role(by.key.peer_id) < Role.ADMIN:
        return
    before = roster.role(about.key.peer_id)
    if role is Role.NONE:
        world.faults["removals_with_a_cut" if cut else "removals_without_a_cut"] += 1
    else:
        world.faults["role_changes" if before is not Role.NONE else "readmissions"] += 1
    replaces = roster.standing(about.key.peer_id).now.live
    by.write(world.group, LogKind.CONTROL, [member_set(about.key.peer_id, about.name, role, replaces=replaces, cut=cut)])


def _decide_something(world: "World") -> None:
    chance = world.random
    by = world.peers[0] if chance.random() < 0.75 else chance.choice(world.peers)
    about = chance.choice(world.peers[1:])
    role = chance.choice((Role.NONE, Role.NONE, Role.NONE, Role.READER, Role.WRITER, Role.ADMIN))
    decide(world, by, about, role, _cut(world, by, about) if chance.random() < 0.7 else ())


def _remove_from_afar(world: "World") -> None:
    """The owner is by itself when it removes somebody, who goes on among the others and forks its log below the cut, until all hear of it."""
    owner = world.peers[0]
    about = world.random.choice([peer for peer in world.members if peer is not owner] or world.peers[1:])
    world.part({owner})
    world.faults["partitions"] += 1
    decide(world, owner, about, Role.NONE, _cut(world, owner, about))
    for delay in (1_000, 2_000, 3_000):
        world.after(delay, lambda: _fork_below_a_cut(world))
        world.after(delay + 500, lambda: _write_after_removal(world))
    world.after(world.random.randint(6_000, 12_000), world.heal)


def _cut(world: "World", by: Peer, about: Peer) -> tuple[Point, ...]:
    """What counts of `about` at `by`, of some logs less than that."""
    chance, group = world.random, by.store.groups[world.group]
    points = []
    for log, tips in group.tips.items():
        if group.certificates[log].peer == about.key.peer_id:
            for tip in tips:
                event = group.events[log][tip.event_id]
                while chance.random() < 0.3 and event.header.seq:
                    event = group.events[log][event.header.previous]  # type: ignore[index]
                points.append(Point(log, event.height, event.id))
    return tuple(points)


def _seal(world: "World") -> None:
    """Somebody goes on in a new log and seals the old one, at all of it or at less."""
    peer = world.random.choice(world.peers)
    own = peer.own_log(world.group, LogKind.DATA)
    if not peer.up or peer.pending or own is None or own.last is None:
        return
    log = own.certificate.log
    held = peer.store.groups[world.group].events[log]
    event = own.last if world.random.random() < 0.5 else world.random.choice(list(held.values()))
    peer.rotate(world.group, LogKind.DATA)
    world.faults["seals"] += 1
    peer.write(world.group, LogKind.CONTROL, [log_seal(log, [Point(log, event.height, event.id)])])


def _write_after_removal(world: "World") -> None:
    """Somebody that the owner has removed writes all the same, in its old log or in a new one."""
    for peer in world.peers[1:]:
        if peer.up and world.checks.is_removed(peer):
            world.faults["late_writes"] += 1
            if world.random.random() < 0.3:
                peer.rotate(world.group, LogKind.DATA)
            peer.write(world.group, LogKind.DATA, [_note()])


def _fork_below_a_cut(world: "World") -> None:
    """Somebody that the owner has removed goes on from an event that lies under the cut."""
    for peer in world.peers[1:]:
        own = peer.own_log(world.group, LogKind.DATA)
        if not peer.up or peer.pending or own is None or not world.checks.is_removed(peer):
            continue
        held = peer.store.groups[world.group].events.get(own.certificate.log, {})
        standing = world.peers[0].store.groups[world.group].roster.standing(peer.key.peer_id)
        below = [event for event in held.values() if event.height < top(points_of(standing, own.certificate.log))]
        if below:
            world.faults["forks_below_a_cut"] += 1
            own.last = world.random.choice(below)
            peer.write(world.group, LogKind.DATA, [_note()] * world.random.randint(1, 5))


def _note() -> Draft:
    return Draft("test.note", encode({"text": "late"}))
