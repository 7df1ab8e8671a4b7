"""What an operator should know about groups and peers, each with what to do about it."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from peer.core.clock import hlc_ms
from peer.core.control import Role
from peer.core.identity import PeerId
from peer.core.interfaces import GroupView
from peer.errors import RemovedFromGroupError
from peer.operations.deciding import name_of
from peer.operations.json_form import Json

CLOCK_AHEAD_MS = 5 * 60 * 1000
MS_PER_MINUTE = 60_000
NAMED_MAX = 3


class GroupHealth(Protocol):
    """What is odd about what is held of a group."""

    @property
    def hidden(self) -> Mapping[PeerId, int]:
        """By author, how many events do not count, voids aside."""
        ...

    @property
    def clocks(self) -> Mapping[PeerId, int]:
        """By author, the highest clock."""
        ...

    @property
    def waiting_logs(self) -> int:
        """Logs that wait until their authors have sealed others."""
        ...


class Looked(NamedTuple):
    """A group, as it is looked at."""

    view: GroupView
    health: GroupHealth


def group_problems(me: PeerId, groups: Sequence[Looked], now_ms: int) -> list[Json]:
    """Of all groups, in order."""
    return [problem for group in groups for problem in (*_membership(me, group.view), *_forks(me, group.view), *_odd(me, group, now_ms))]


def link_problems(links: Sequence[Mapping[str, object]]) -> list[Json]:
    """What stands against links that could work."""
    found: list[Json] = []
    for link in links:
        error = link.get("last_error")
        if isinstance(error, Mapping) and link["state"] not in ("offline", "connecting", "paused"):
            what = "refuses the link: " if link["state"] == "refused" else ""
            found.append(_problem(str(error["code"]), f"{link['name']}: {what}{error['text']}", str(error["fix"])))
    return found


def unreadable_problems(groups: Sequence[Json]) -> list[Json]:
    """Events that say nothing here, of all groups."""
    found: list[Json] = []
    for group in groups:
        count, name = group["poison"], group["name"]
        if count:
            events = "1 event" if count == 1 else f"{count} events"
            fix = f"nothing is lost; `recmesh events {name}` marks them: tell their sites, or upgrade recmesh here if theirs is newer"
            found.append(_problem("events_unreadable", f"{events} in {name} fit no schema", fix))
    return found


def pending_problems(pending: Sequence[Json]) -> list[Json]:
    """Who wants in."""
    if not pending:
        return []
    who = ", ".join(f"{each['name']} {str(each['peer_id'])[:8]}" for each in pending[:NAMED_MAX])
    more = f" and {len(pending) - NAMED_MAX} more" if len(pending) > NAMED_MAX else ""
    return [_problem("peer_pending", f"unknown peers knocked: {who}{more}", "`recmesh peer pending` shows them; accept or ignore each")]


def _membership(me: PeerId, view: GroupView) -> list[Json]:
    name, standing = view.genesis.name, view.roster.standing(me)
    if standing.now.role is not Role.NONE or not standing.has_been_member:
        return []
    deciders = {each.author for each in standing.decisions if each.event_id in standing.now.live and each.role is Role.NONE}
    who = " and ".join(sorted(name_of(view, each) for each in deciders)) or "an admin"
    fix = f"ask {who} to add this site again, or forget the group here with `recmesh group leave {name}`"
    return [_problem(RemovedFromGroupError.code, f"this site was removed from {name} by {who}", fix)]


def _forks(me: PeerId, view: GroupView) -> list[Json]:
    name, found = view.genesis.name, []
    for author in sorted({fork.author for fork in view.forks}):
        count = sum(fork.author == author for fork in view.forks)
        if author == me:
            fix = "nothing is lost, and this site writes on in a new log; make sure that one copy of its data directory runs, not two"
            found.append(_problem("log_forked", f"logs of this site in {name} went {count + 1} ways: its data directory was copied or restored", fix))
        else:
            fix = "nothing is lost; tell its operator that two copies of its data directory were used"
            found.append(_problem("log_forked", f"logs of {name_of(view, author)} in {name} went {count + 1} ways", fix))
    return found


def _odd(me: PeerId, group: Looked, now_ms: int) -> list[Json]:
    (view, health), found = group, []
    name = view.genesis.name
    for author, count in sorted(health.hidden.items()):
        who = "this site" if author == me else name_of(view, author)
        events = "1 event" if count == 1 else f"{count} events"
        fix = "nothing, if that is what a removal or seal was for; else an admin decides anew with `recmesh group role`"
        found.append(_problem("events_quarantined", f"{events} of {who} in {name} do not count", fix))
    for author, clock in sorted(health.clocks.items()):
        ahead_ms = hlc_ms(clock) - now_ms
        if ahead_ms > CLOCK_AHEAD_MS:
            who = "this site" if author == me else name_of(view, author)
            text = f"the clock of {who} is {ahead_ms // MS_PER_MINUTE} minutes ahead in {name}"
            found.append(_problem("clock_ahead", text, "set the clocks of both sites right; nothing is lost meanwhile"))
    if health.waiting_logs:
        text = f"{health.waiting_logs} logs of {name} wait: their authors have too many"
        found.append(_problem("logs_waiting", text, "look at the site that opens log after log; it seals old ones by itself"))
    return found


def _problem(code: str, text: str, fix: str) -> Json:
    return {"code": code, "text": text, "fix": fix}
