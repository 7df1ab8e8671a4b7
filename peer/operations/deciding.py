"""What a decision on a member would do, before it is written: who may make it, and whether it would change anything. Pure."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from peer.core.control import ControlEvent, Role
from peer.core.event import UINT64_MAX, link_event
from peer.core.hashing import hash_bytes
from peer.core.identity import EventId, LogId, PeerId
from peer.core.interfaces import GroupView
from peer.core.names import folded
from peer.core.roster import Roster, evaluate
from peer.core.run import Draft
from peer.errors import DecisionOverruledError, NoChangeError, NotAllowedError, NotFoundError
from peer.operations.json_form import Json
from peer.operations.references import choose

SHORT_DIGITS = 8
ASKED_MAX = 5


class Target(NamedTuple):
    """Somebody to decide on."""

    peer: PeerId
    name: str
    role: Role
    """In whatever it writes next."""
    live: tuple[EventId, ...]
    """The decisions that speak."""


class Foreseen(NamedTuple):
    """What would be, if something were written."""

    roster: Roster
    written: tuple[EventId, ...]
    """Ids that stand for what would be written."""


def find_target(view: GroupView, reference: str) -> Target:
    """Who is or was a member, by name or id. Raises `NotFoundError` or `AmbiguousError`."""
    present = [(peer, member.name, peer) for peer, member in view.roster.members.items()]
    former = [(peer, name_of(view, peer), peer) for peer, each in view.roster.standings.items() if each.has_been_member]
    candidates = {peer: (peer, name, peer) for peer, name, _ in [*former, *present]}
    named = {name for _, name, _ in present if folded(name) == folded(reference)}
    if named:  # Of several that had a name, the one that is a member is meant.
        candidates = {peer: each for peer, each in candidates.items() if peer in view.roster.members or folded(each[1]) != folded(reference)}
    try:
        return target_of(view, choose(reference, "member", candidates.values()))
    except NotFoundError as error:
        fix = f"see `recmesh group show {view.genesis.name}`; `recmesh peer add --group {view.genesis.name}` adds somebody"
        raise NotFoundError(f"{reference[:128]!r} neither is nor was a member of {view.genesis.name}", fix=fix) from error


def target_of(view: GroupView, peer: PeerId) -> Target:
    """`peer`, whoever it is."""
    place = view.roster.standing(peer).now
    return Target(peer, name_of(view, peer), place.role, place.live)


def name_of(view: GroupView, peer: PeerId) -> str:
    """What the group calls, or called, `peer`."""
    member = view.roster.members.get(peer)
    if member is not None:
        return member.name
    names = [decision.name for decision in view.roster.standing(peer).decisions]
    return names[-1] if names else peer.hex()[:SHORT_DIGITS]


def foresee(view: GroupView, me: PeerId, drafts: Sequence[Draft]) -> Foreseen:
    """What becomes of the roster if `me` writes `drafts` next: computed, not guessed."""
    hlc = max((entry.event.header.hlc for entry in view.control), default=0)
    log = LogId(hash_bytes(b"a log that is not written" + me))
    written: list[ControlEvent] = []
    for seq, draft in enumerate(drafts):
        previous = written[-1].event.id if written else log
        place: dict[str, Any] = {"group": view.genesis.group, "log": log, "seq": seq, "previous": previous, "hlc": min(hlc + seq + 1, UINT64_MAX)}
        written.append(ControlEvent(link_event(**place, type_=draft.type, refs=list(draft.refs), body=draft.body), me))
    return Foreseen(evaluate(view.genesis.owners, [*view.control, *written]), tuple(entry.event.id for entry in written))


def check_decider(view: GroupView, me: PeerId, target: Target) -> None:
    """Raise what says why `me` decides on nobody, or not on `target`."""
    mine = view.roster.standing(me).now
    if mine.role < Role.ADMIN:
        raise NotAllowedError(
            f"only admins of {view.genesis.name} decide who is in it; this site is {_article(mine.role)}", fix=_ask(view, admins(view))
        )
    if target.peer == me:
        fix = f"`recmesh group leave {view.genesis.name}`, or {_ask(view, seniors(view, me))}"
        raise NotAllowedError("nobody decides on itself", fix=fix)


def check_decision(view: GroupView, me: PeerId, target: Target, role: Role, foreseen: Foreseen) -> None:
    """Raise what says why `me` cannot give `target` the role `role`, and who could, given what would become of it."""
    after = foreseen.roster.standing(target.peer)
    if after.now.role is role and all(event_id in after.now.live for event_id in foreseen.written):
        return
    mine = view.roster.standing(me).now
    stronger = [each for each in after.decisions if each.event_id in after.now.live and each.role < role and each.event_id not in foreseen.written]
    if not stronger or not any(event_id in after.now.live for event_id in foreseen.written):
        raise NotAllowedError(f"{target.name} is senior to this site", fix=_ask(view, seniors(view, target.peer)))
    deciders = sorted({each.author for each in stronger})
    who = " and ".join(name_of(view, author) for author in deciders)
    able = [author for author in deciders if view.roster.role(author) >= Role.ADMIN] or seniors(view, target.peer)
    if any(each.rank < mine.rank for each in stronger):
        raise NotAllowedError(
            f"{who} made {target.name} {_article(after.now.role)} and is senior to this site: only somebody at least as senior takes that back",
            fix=_ask(view, able),
        )
    raise NotAllowedError(f"{who} decided otherwise on {target.name}, and that would count then: {_article(after.now.role)}", fix=_ask(view, able))


def also_changed(view: GroupView, target: Target, foreseen: Foreseen) -> list[Json]:
    """Others whose role would be another one: whoever was let in by decisions that do not count any more, or put out."""
    before, after = view.roster, foreseen.roster
    peers = sorted(peer for peer in before.members.keys() | after.members.keys() if peer != target.peer and before.role(peer) is not after.role(peer))
    return [
        {"peer_id": peer.hex(), "name": name_of(view, peer), "role_before": before.role(peer).label, "role": after.role(peer).label} for peer in peers
    ]


def check_outcome(view: GroupView, target: Target, role: Role) -> None:
    """Raise unless the roster says now what was decided. What arrived in between may have overruled it."""
    now = view.roster.role(target.peer)
    if now is not role:
        raise DecisionOverruledError(
            f"the decision was written, but {target.name} is {_article(now)}: others decided at the same time",
            fix=f"see `recmesh group show {view.genesis.name}` and decide again",
        )


def check_change(target: Target, role: Role, *, leaves_out: bool) -> None:
    """Raise if a decision would change nothing."""
    if target.role is role and len(target.live) <= 1 and not leaves_out:
        raise NoChangeError(f"{target.name} is {_article(role)} already", fix="nothing needs to be done")


def admins(view: GroupView) -> list[PeerId]:
    """Everybody who may decide, the most senior first."""
    deciding = [peer for peer, member in view.roster.members.items() if member.role >= Role.ADMIN]
    return sorted(deciding, key=lambda peer: view.roster.standing(peer).now.rank)


def seniors(view: GroupView, peer: PeerId) -> list[PeerId]:
    """Those who may decide on `peer`, the most senior first."""
    rank = view.roster.standing(peer).now.rank
    return [each for each in admins(view) if view.roster.standing(each).now.rank < rank]


def conflicts(view: GroupView) -> list[Json]:
    """Peers on whom decisions stand that do not agree: the lowest role of them counts."""
    found: list[Json] = []
    for peer, standing in sorted(view.roster.standings.items()):
        place = standing.now
        live = [decision for decision in standing.decisions if decision.event_id in place.live]
        if len({decision.role for decision in live}) > 1:
            values = [
                {"role": each.role.label, "author": each.author.hex(), "author_name": name_of(view, each.author), "event_id": each.event_id.hex()}
                for each in live
            ]
            found.append({"register": f"role:{peer.hex()}", "name": name_of(view, peer), "value": place.role.label, "values": values})
    return found


def _ask(view: GroupView, peers: Sequence[PeerId]) -> str:
    if not peers:
        return "nobody can: there is nobody above"
    return "ask " + " or ".join(f"{name_of(view, peer)} ({peer.hex()[:SHORT_DIGITS]})" for peer in peers[:ASKED_MAX])


def _article(role: Role) -> str:
    if role is Role.NONE:
        return "no member"
    return f"an {role.label}" if role >= Role.ADMIN else f"a {role.label}"
