"""What a decision on a member would do, before it is written: who may make it, and whether it would change anything. Pure."""

from collections.abc import Sequence
from typing import NamedTuple

from peer.core.control import Role
from peer.core.identity import EventId, PeerId
from peer.core.interfaces import GroupView
from peer.core.names import folded
from peer.core.standing import JUNIOR_TO_ALL, Decision, stand
from peer.errors import DecisionOverruledError, NoChangeError, NotAllowedError, NotFoundError
from peer.operations.json_form import Json
from peer.operations.references import choose

SHORT_DIGITS = 8
ASKED_MAX = 5
LAST = EventId(b"\xff" * 32)
"""The id of a decision that is not written yet: it comes after all others."""


class Target(NamedTuple):
    """Somebody to decide on."""

    peer: PeerId
    name: str
    role: Role
    """In whatever it writes next."""
    live: tuple[EventId, ...]
    """The decisions that speak."""


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


def check_decision(view: GroupView, me: PeerId, target: Target, role: Role) -> None:
    """Raise what says why `me` cannot give `target` the role `role`, and who could. No decision on somebody's own role is ever of effect."""
    mine = view.roster.standing(me).now
    if mine.role < Role.ADMIN:
        raise NotAllowedError(
            f"only admins of {view.genesis.name} decide who is in it; this site is {_article(mine.role)}", fix=_ask(view, admins(view))
        )
    if target.peer == me:
        raise NotAllowedError("nobody decides on itself", fix=f"`recmesh group leave {view.genesis.name}`, or {_ask(view, seniors(view, me))}")
    before = view.roster.standing(target.peer)
    assumed = Decision(mine.rank, LAST, me, target.name, role, (), target.live, (mine.rank[0] + 1, *JUNIOR_TO_ALL[1:]))
    after = stand(before.owner, sorted((*before.decisions, assumed)))
    if after.role is role and LAST in after.live:
        return
    if LAST in after.live:
        deciders = [each.author for each in before.decisions if each.event_id in after.live and each.role < role]
        who = ", ".join(sorted(name_of(view, author) for author in deciders))
        raise NotAllowedError(
            f"{who} made {target.name} {_article(after.role)} and is senior to this site: only somebody at least as senior takes that back",
            fix=_ask(view, [author for author in deciders if view.roster.role(author) >= Role.ADMIN] or seniors(view, target.peer)),
        )
    raise NotAllowedError(f"{target.name} is senior to this site", fix=_ask(view, seniors(view, target.peer)))


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
